//! Why a container can't be started.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::sandbox;

/// Why a container can't be started.
#[derive(Debug, Error)]
pub enum Error {
    /// The image says nothing of what to run, and neither did the caller.
    #[error("the image has no command of its own")]
    NoCommand,
    /// What is to be mounted is not there.
    #[error("can't mount {} at `{to}`", from.display())]
    Source {
        /// Where it was looked for.
        from: PathBuf,
        /// Where the container was to see it.
        to: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing can be mounted here, and a person's directory is not replaced by a copy.
    #[error("can't mount {} at `{to}` so that it can be written to: dlpack is root in a container without namespaces", from.display())]
    Copied {
        /// What was to be mounted.
        from: PathBuf,
        /// Where the container was to see it.
        to: String,
    },
    /// Nothing here gives a container a GPU.
    #[error("the recipe's `[run]` wants `gpus = \"{gpus}\"`, and this dlpack gives containers no GPU")]
    Gpus {
        /// As the recipe says it.
        gpus: String,
    },
    /// There is no home directory that `~` could be.
    #[error("can't mount `{from}`: there is no home directory")]
    NoHome {
        /// As it was written.
        from: String,
    },
    /// A file of variables can't be read.
    #[error("can't read the variables in {}", path.display())]
    EnvFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of such a file is none.
    #[error("line {line} of {} is no `KEY=VALUE`", path.display())]
    EnvLine {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// stdin would lead a command out of its root.
    #[error("stdin is a directory")]
    DirectoryAsStdin,
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCommand => Some("name one after the image".to_owned()),
            Self::Source { source, from, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!("`mkdir -p {}` makes it, if it is to be an empty directory", from.display()))
            }
            Self::Copied { from, to } => Some(format!(
                "`-v {}:{to}:ro` gives the container a copy to read; copy what it makes out of it",
                from.display()
            )),
            Self::Gpus { .. } => Some("run the image with `docker run --gpus`, or write `gpus = \"none\"`".to_owned()),
            Self::NoHome { .. } => Some("set HOME, or write the path from `/` on".to_owned()),
            Self::EnvLine { .. } => Some("a line is KEY=VALUE, KEY alone for the caller's value, or `# …`".to_owned()),
            Self::DirectoryAsStdin => Some("a command could go up from it, and out of its root".to_owned()),
            Self::Sandbox(error) => error.hint(),
            Self::Source { .. } | Self::EnvFile { .. } => None,
        }
    }
}
