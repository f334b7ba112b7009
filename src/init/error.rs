//! Why no recipe can be written from what lies in a directory.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::recipe;

/// Why no recipe or settings can be written.
#[derive(Debug, Error)]
pub enum Error {
    /// The directory to write for.
    #[error("{}", directory(path, source.kind()))]
    Directory {
        /// Its path.
        path: PathBuf,
        /// Why it can't be looked into.
        #[source]
        source: io::Error,
    },
    /// A file that a recipe is to be written from.
    #[error("can't read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of a kind that is not known by its name.
    #[error("{} is no file that a recipe can be written from", path.display())]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// A file that is not of its format.
    #[error("{place}: {message}")]
    Syntax {
        /// `FILE:LINE`.
        place: String,
        /// What is wrong there.
        message: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// A file with lists inside lists, or files inside files, deeper than anybody writes them.
    #[error("{} includes files more than {depth} deep", path.display())]
    Depth {
        /// The file that includes one more.
        path: PathBuf,
        /// How deep they may.
        depth: usize,
    },
    /// A flavour that there is not.
    #[error("there is no flavour `{name}`")]
    Flavour {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// An extra or a dependency group that no file has.
    #[error("no file that is read has the {what} `{name}`")]
    Selected {
        /// `extra` or `group`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A version of CUDA that no base is known for.
    #[error("no base image is known for CUDA {version}")]
    Cuda {
        /// What was asked for.
        version: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// A version of Python that is none, or that `dlpack` makes no venv for.
    #[error("Python `{version}` is no version that a venv can have")]
    Python {
        /// What was asked for.
        version: String,
    },
    /// A version of Python that no base with this CUDA has.
    #[error("no base image with CUDA {cuda} has Python {python}")]
    PythonOfCuda {
        /// The version of Python.
        python: String,
        /// The version of CUDA.
        cuda: String,
        /// The versions of Python that they have.
        known: Vec<String>,
    },
    /// No version of Python is what a file requires.
    #[error("{place} requires Python {wanted}, which no known base image has")]
    NoPython {
        /// The file.
        place: String,
        /// Its specifier.
        wanted: String,
    },
    /// A base of which it is not known which Python it has.
    #[error("it is not known which Python the base `{base}` has")]
    UnknownPython {
        /// The base.
        base: String,
    },
    /// A name that can't be an account's.
    #[error("`{name}` can't be an account's name")]
    User {
        /// What was asked for.
        name: String,
    },
    /// A recipe that is there already.
    #[error("there is a recipe already: {}", path.display())]
    Exists {
        /// The recipe.
        path: PathBuf,
    },
    /// What was written is not a recipe.
    #[error("the recipe that was to be written to {} would not be accepted", path.display())]
    NotAccepted {
        /// Where it was to go.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<recipe::Error>,
    },
    /// A file that can't be written.
    #[error("can't write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a directory can't be looked into, in a sentence.
fn directory(path: &Path, kind: io::ErrorKind) -> String {
    let path = path.display();
    match kind {
        io::ErrorKind::NotFound => format!("there is no directory {path}"),
        io::ErrorKind::NotADirectory => format!("{path} is no directory"),
        _ => format!("can't look into the directory {path}"),
    }
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Directory { path, source } if source.kind() == io::ErrorKind::NotADirectory => {
                let name = path.file_name().unwrap_or(path.as_os_str()).display();
                Some(format!("name the directory that it is in: `--from {name}` reads this file of it"))
            }
            Self::Directory { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => None,
            Self::Directory { .. } => Some("name a directory that is there, or leave it out for this one".into()),
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("paths start from the directory of the file that names them".into())
            }
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
                Some("`--from FILE` reads another file".into())
            }
            Self::Unreadable { .. } => None,
            Self::UnknownKind { .. } => Some(
                "recipes are written from requirements*.txt, pyproject.toml, environment.yml and a Dockerfile".into(),
            ),
            Self::Syntax { hint, .. } => hint.clone(),
            Self::Depth { .. } => Some("one of them includes itself".into()),
            Self::Flavour { known, .. } => Some(format!("the flavours are {}", known.join(", "))),
            Self::Selected { known, what, .. } if known.is_empty() => Some(format!(
                "{what}s are pyproject.toml's: `--from pyproject.toml` reads it where another file is read"
            )),
            Self::Selected { known, what, .. } => Some(format!("the {what}s are {}", known.join(", "))),
            Self::Cuda { known, .. } => Some(format!("give one of {}, or `none`", known.join(", "))),
            Self::Python { .. } => Some("write major and minor alone, from 3.8 on, such as 3.10".into()),
            Self::PythonOfCuda { known, .. } => Some(format!(
                "give --python {}; or --cuda none, for a base of any Python: wheels such as torch's bring CUDA's \
                 libraries",
                known.join(" or ")
            )),
            Self::NoPython { .. } => {
                Some("give another CUDA with --cuda, or --cuda none for a base of any Python".into())
            }
            Self::UnknownPython { .. } => Some("give it with --python, such as --python 3.10".into()),
            Self::User { .. } => Some(
                "a name is at most 32 lower-case letters, digits, `-` and `_`; `--user root` makes no account".into(),
            ),
            Self::Exists { .. } => {
                Some("--force replaces it; --output writes another file, and `--output -` to stdout".into())
            }
            Self::NotAccepted { source, .. } => source.hint(),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Some("`--output -` writes the recipe to stdout".into())
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("the directory is not yours to write to: `--output -` writes the recipe to stdout".into())
            }
            Self::Write { .. } => None,
        }
    }
}
