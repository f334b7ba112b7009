//! Reads a Dockerfile: its last stage, instruction by instruction, as the layers and the
//! config of a recipe.

mod account;
mod apt;
mod copy;
mod ignore;
mod install;
mod list;
mod pip;
mod run;
mod shell;
mod stages;
mod syntax;
mod translate;
mod tree;
mod words;

use std::path::Path;

pub(super) use account::makes;

use super::draft::Draft;
use super::error::Error;
use super::file;
use super::packages::Packages;

/// What a Dockerfile says.
#[derive(Debug, Default)]
pub(super) struct Dockerfile {
    /// Base, config and layers.
    pub(super) draft: Draft,
    /// The image it is on, without variables.
    pub(super) image: String,
    /// Its Python packages, where it installs any, and the part of the draft that gets them.
    pub(super) venv: Option<Installed>,
}

/// What a Dockerfile installs with pip.
#[derive(Debug)]
pub(super) struct Installed {
    /// The place of its layer among the draft's parts.
    pub(super) part: usize,
    /// Where the venv lies, if the Dockerfile makes one.
    pub(super) path: Option<String>,
    /// The minor version of Python 3 that a command names for it.
    pub(super) python: Option<u8>,
    pub(super) packages: Packages,
}

/// What the Dockerfile `name` in `directory` says.
///
/// # Errors
/// If it can't be read or is none, with the line.
pub(super) fn read(directory: &Path, name: &str) -> Result<Dockerfile, Error> {
    let instructions = syntax::parse(name, &file::read(directory, name)?)?;
    let stages = stages::Stages::of(name, instructions)?;
    translate::translate(directory, &stages)
}
