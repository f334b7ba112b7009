//! The first recipe of a project, written from the files that it has, and settings for its
//! editor.
//!
//! A file is read into a draft in the recipe's own words (`requirements`, `pyproject`,
//! `conda`, `dockerfile`); what a recipe can't say becomes a comment with the line that says
//! it (`note`). The draft is written as TOML (`render`), and what the recipe's own reader
//! does not accept gets no name on disk (`write`).

mod bases;
mod compose;
mod conda;
mod dockerfile;
mod draft;
mod error;
mod file;
mod found;
mod note;
mod order;
mod packages;
mod poetry;
mod project;
mod pyproject;
mod python;
mod render;
mod requirements;
mod vscode;
mod write;

pub use compose::{Answers, Written, compose};
pub use error::Error;
pub use found::{Defaults, Found, flavours, look};
pub use pyproject::Selection;
pub use vscode::{Merged, Outcome, merge};
pub use write::{Change, check, write};

/// The versions of CUDA that a recipe can be written for, newest first.
pub fn cuda_versions() -> Vec<&'static str> {
    bases::known_cuda()
}
