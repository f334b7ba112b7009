//! Projects that are no wheels yet: sdists and source trees. What they say of
//! themselves without being run, and their files. Nothing here builds them.

mod archive;
mod metadata;
mod project;
mod requires;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use archive::unpack;
pub use metadata::{BuildSystem, Metadata, Origin};
pub use project::{Files, files};
pub use requires::required_name;

/// Why a project can't be used.
#[derive(Debug, Error)]
pub enum Error {
    /// A file or directory can't be read or written.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// `read`, `write` …
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An sdist that is not a gzipped tar, or is cut off.
    #[error("{archive} is not a .tar.gz that can be read")]
    Archive {
        /// Its file name.
        archive: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An sdist that unpacks to more than any does.
    #[error("{archive} has more than {limit} {what}")]
    Bomb {
        /// Its file name.
        archive: String,
        /// `bytes` or `entries`.
        what: &'static str,
        /// How many are accepted.
        limit: u64,
    },
    /// An entry that has no place in an sdist.
    #[error("`{path}` in {archive} is refused: {why}")]
    Entry {
        /// The sdist's file name.
        archive: String,
        /// The entry.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// Neither a source tree nor an sdist.
    #[error("{} is no Python project: it has neither pyproject.toml nor setup.py", path.display())]
    NotAProject {
        /// The directory.
        path: PathBuf,
    },
    /// A `pyproject.toml` that can't be read.
    #[error("{} is not a pyproject.toml that can be read", path.display())]
    Pyproject {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A source tree that says a thing only when it is built.
    #[error("{} does not say its {field}: [project] in pyproject.toml has none, or calls it dynamic", path.display())]
    Dynamic {
        /// The directory.
        path: PathBuf,
        /// `name` or `dependencies`.
        field: &'static str,
    },
    /// A file of a source tree that can't be built from.
    #[error("{} is {what}", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space with `dlpack cache gc`, or name another place with --store".into())
            }
            Self::Io { .. } => None,
            Self::Archive { .. } => {
                Some("sdists are .tar.gz (PEP 625); build a wheel of it and name it in `wheels`".into())
            }
            Self::Bomb { .. } | Self::Entry { .. } => {
                Some("have a look at what the archive is; a wheel built from it can be named in `wheels`".into())
            }
            Self::NotAProject { .. } => Some("`projects` names directories with a pyproject.toml, and sdists".into()),
            Self::Pyproject { .. } => None,
            Self::Dynamic { field, .. } => Some(format!(
                "write `{field}` into [project], or name the project's sdist: a lock runs nothing of a project"
            )),
            Self::NotAFile { .. } => Some("leave it out of the project's directory".into()),
        }
    }

    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}
