//! Why a venv can't be exported.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::changeset::venv::VenvError;
use crate::oci::Platform;
use crate::python::scheme::PythonVersion;
use crate::python::{standalone, tree, unpack};
use crate::{sandbox, store};

/// Why a venv can't be exported.
#[derive(Debug, Error)]
pub enum Error {
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A wheel is not there, or is none.
    #[error(transparent)]
    Venv(#[from] VenvError),
    /// Wheels don't go together.
    #[error(transparent)]
    Wheels(#[from] tree::Error),
    /// A wheel can't be unpacked.
    #[error(transparent)]
    Unpack(#[from] unpack::Error),
    /// The interpreter's archive can't be unpacked.
    #[error(transparent)]
    Interpreter(#[from] standalone::Error),
    /// The directory can't be made.
    #[error(transparent)]
    Export(#[from] crate::export::Error),
    /// The image's files can't be read.
    #[error(transparent)]
    Rootfs(#[from] sandbox::Error),
    /// The image has nothing that could be exported.
    #[error("{} has neither a venv nor a Python", at.as_deref().map_or_else(|| "the image".to_owned(), |at| format!("{at} of the image")))]
    NoPackages {
        /// Where it was to be.
        at: Option<String>,
    },
    /// The image's venv has nothing in it.
    #[error("the venv {path} of the image has no packages")]
    EmptyVenv {
        /// Where it is, in the image.
        path: String,
    },
    /// The image has more than one venv, and nobody says which is meant.
    #[error("the image has several venvs: {found}")]
    SeveralVenvs {
        /// Their paths.
        found: String,
    },
    /// The packages are for another machine.
    #[error("the packages are for {wanted}, and this machine is {here}")]
    Platform {
        /// The image's.
        wanted: Platform,
        /// This machine's.
        here: Platform,
    },
    /// There is no Python for it.
    #[error("there is no Python {wanted} on this machine for {}", path.display())]
    NoPython {
        /// The venv.
        path: PathBuf,
        /// The image's.
        wanted: PythonVersion,
    },
    /// The Python that was named is another one.
    #[error("{} is {found}, and the venv is for Python {wanted}", path.display())]
    OtherPython {
        /// What was named.
        path: PathBuf,
        /// What it is.
        found: String,
        /// The image's.
        wanted: PythonVersion,
    },
    /// A path that no venv can have.
    #[error("{path:?} can't be the path of a venv: {why}")]
    Name {
        /// The path.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// There is something else where the venv would be.
    #[error("{} is there, and no export has made it", path.display())]
    NotOurs {
        /// The directory, or file.
        path: PathBuf,
        /// Whether it is a venv.
        is_venv: bool,
    },
    /// There is something in the venv where a file would be.
    #[error("{} is in the way, which no export has put there, and {others} more", path.display())]
    InTheWay {
        /// What is there.
        path: PathBuf,
        /// How many besides are in the way.
        others: usize,
    },
    /// A file can't be read or written.
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
            Self::Store(error) => error.hint(),
            Self::Venv(error) => error.hint(),
            Self::Wheels(error) => error.hint(),
            Self::Unpack(error) => error.hint(),
            Self::Interpreter(error) => error.hint(),
            Self::Export(error) => error.hint(),
            Self::Rootfs(error) => error.hint(),
            Self::NoPackages { .. } => {
                Some("name the directory of the image that has a `pyvenv.cfg`: --at PATH".into())
            }
            Self::EmptyVenv { .. } => Some("name another directory of the image that has some: --at PATH".into()),
            Self::SeveralVenvs { .. } => Some("say which: --at PATH".into()),
            Self::Platform { .. } => Some("export it on such a machine, or give --platform and lock again".into()),
            Self::NoPython { wanted, .. } => {
                Some(format!("get one with `uv python install {wanted}`, or name one with --python"))
            }
            Self::OtherPython { wanted, .. } => Some(format!("name a CPython {wanted} with --python")),
            Self::Name { .. } => Some("name another directory; an image is named with --image".into()),
            Self::NotOurs { is_venv: true, .. } => Some("name another directory, or replace it with --force".into()),
            Self::NotOurs { .. } => Some("name a directory that is not there yet".into()),
            Self::InTheWay { .. } => Some("move it away, or replace what is in the way with --force".into()),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("free some space there, and export again: what is there is gone on with".into())
                }
                io::ErrorKind::NotFound => Some("make the directory first, or name another one".into()),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("name a directory that you can write to".into())
                }
                _ => None,
            },
        }
    }

    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}
