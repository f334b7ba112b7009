//! Why a project can't be built into a wheel.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::changeset::venv::VenvError;
use crate::python::{source, wheel};
use crate::sandbox::{self, Tail};
use crate::store;

/// Why a project can't be built into a wheel.
#[derive(Debug, Error)]
pub enum Error {
    /// The build failed.
    #[error("{project} can't be built: {ending}")]
    Build {
        /// Name and version.
        project: String,
        /// How the build ended.
        ending: sandbox::Error,
        /// What it printed last.
        #[source]
        tail: Tail,
    },
    /// The backend asks for what the lock has not.
    #[error("{project} needs {} to be built, which the lock has not", missing.join(", "))]
    Unmet {
        /// Name and version.
        project: String,
        /// Requirements.
        missing: Vec<String>,
    },
    /// Other than one wheel came.
    #[error("the build of {project} left {found} wheels instead of one")]
    Wheels {
        /// Name and version.
        project: String,
        /// How many.
        found: usize,
    },
    /// Another project's wheel, or one for another Python.
    #[error("the build of {project} gave {file}, {what}")]
    Other {
        /// Name and version.
        project: String,
        /// The wheel.
        file: String,
        /// `which is of another version` …
        what: &'static str,
    },
    /// The wheel requires something that the project did not say.
    #[error("{project} requires {requirement}, which it did not say before it was built")]
    Requires {
        /// Name and version.
        project: String,
        /// The requirement.
        requirement: String,
    },
    /// A source tree that is not the one that was locked.
    #[error("{} changed after the recipe was locked", path.display())]
    Changed {
        /// The tree.
        path: PathBuf,
    },
    /// The project's files can't be had.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The wheel, or one that it is built with, can't be installed.
    #[error(transparent)]
    Wheel(#[from] wheel::Error),
    /// The build can't be started.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// The store can't be written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The wheel can't become a layer.
    #[error(transparent)]
    Venv(#[from] VenvError),
    /// A file of the build's can't be read or written.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// `read`, `write` …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Build { tail, .. } => Some(self::hint(tail)),
            Self::Unmet { missing, .. } => {
                Some(format!("name them in `build-requirements`, and lock anew: \"{}\"", missing.join("\", \"")))
            }
            Self::Requires { requirement, .. } => {
                Some(format!("add \"{requirement}\" to `requirements`, and lock anew with `dlpack lock`"))
            }
            Self::Changed { .. } => Some("lock anew with `dlpack lock`, or take the change back".into()),
            Self::Wheels { .. } | Self::Other { .. } => Some("build the wheel yourself and name it in `wheels`".into()),
            Self::Source(error) => error.hint(),
            Self::Wheel(error) => error.hint(),
            Self::Sandbox(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Venv(error) => error.hint(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space with `dlpack cache gc`, or name another place with --store".into())
            }
            Self::Io { .. } => None,
        }
    }

    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// What is most often missing, by what builds then say.
fn hint(tail: &Tail) -> String {
    let said = |text: &str| tail.lines.iter().any(|line| line.contains(text));
    if said("Python.h") {
        return "the base has no headers of Python: an `apt` layer before the venv brings them (python3-dev)".into();
    }
    if ["gcc", "g++", "cc'", "compiler"].into_iter().any(said) {
        return "the base has no compiler: an `apt` layer before the venv brings one (gcc, python3-dev)".into();
    }
    if said("ModuleNotFoundError") {
        return "a module that the build needs goes into `build-requirements`".into();
    }
    "builds see the base, the `apt` and `run` layers before the venv, and no network".into()
}
