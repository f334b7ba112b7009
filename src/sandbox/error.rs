//! Why a sandbox can't be made, or a step in it failed.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::{Ending, Refusal};

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
    /// A step failed.
    #[error("`{command}` ended with {ending}")]
    Step {
        /// The command.
        command: String,
        /// How it ended.
        ending: Ending,
    },
    /// The sandbox's first process could not do it.
    #[error(transparent)]
    Refused(Refusal),
    /// The sandbox's first process can't be talked to.
    #[error("the sandbox's first process is gone")]
    Helper {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => refusal.hint(),
            Self::Helper { .. } => Some("was it killed, or memory short?".to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space with `dlpack cache gc`, or name another place with --store".into())
            }
            Self::NoRootfs { .. } | Self::Io { .. } | Self::Step { .. } => None,
        }
    }
}
