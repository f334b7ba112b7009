//! Why a sandbox can't be made, or a step in it failed.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a sandbox can't be made, or a step in it failed.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no root filesystem: the changeset did not say that it needs one.
    #[error("`{command}` was to run without a root filesystem")]
    NoRootfs {
        /// The command.
        command: String,
    },
    /// A directory of this machine can't be used.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// `create`, `read` …
        doing: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
