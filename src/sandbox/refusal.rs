//! Why a sandbox's first process gave up, told to the dlpack that started it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::probe::Obstacle;
use super::spec::errno;

/// Why a sandbox's first process gave up.
#[derive(Debug, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// This machine gives an ordinary user no namespaces.
    #[error("this machine lets nobody make a sandbox: {obstacle}")]
    Namespaces {
        /// What stands in the way.
        obstacle: Obstacle,
        /// What the kernel said.
        #[serde(with = "errno")]
        #[source]
        source: io::Error,
    },
    /// A system call failed that fails nowhere else.
    #[error("can't {doing} {}", path.display())]
    Call {
        /// `mount`, `read` …
        doing: String,
        /// On what.
        path: PathBuf,
        /// Why.
        #[serde(with = "errno")]
        #[source]
        source: io::Error,
    },
    /// The root filesystem has something else where a mount has to go.
    #[error("can't mount on /{path} of the root filesystem, which is {is}")]
    MountPoint {
        /// Relative to the root.
        path: String,
        /// What it has there.
        is: Unfit,
    },
    /// The working directory can't be made or entered.
    #[error("can't work in `{path}` of the root filesystem")]
    Workdir {
        /// As the step says it.
        path: String,
        /// Why.
        #[serde(with = "errno")]
        #[source]
        source: io::Error,
    },
    /// The program can't be started.
    #[error("can't run `{program}` in the root filesystem")]
    Program {
        /// As the step says it.
        program: String,
        /// Why.
        #[serde(with = "errno")]
        #[source]
        source: io::Error,
    },
    /// The root filesystem knows no such user or group.
    #[error("/etc/{database} of the root filesystem knows no `{name}`")]
    User {
        /// `passwd` or `group`.
        database: String,
        /// Who was looked for.
        name: String,
    },
    /// A further command was to run as somebody else where the kernel knows one id.
    #[error("can't run as `{wanted}`: the container has one user, {uid}")]
    OneUser {
        /// Who it was to run as.
        wanted: String,
        /// Who all of the container's processes run as.
        uid: u32,
    },
    /// What was written in a user namespace is to be gone on with where there is none.
    #[error("what is in {} was written in a user namespace, and this machine gives none", path.display())]
    WroteInNamespace {
        /// The sandbox's own directory.
        path: PathBuf,
    },
    /// What root wrote without a user namespace is to be gone on with in one.
    #[error("what is in {} was written by root without a user namespace, and here there is one", path.display())]
    WroteAsRoot {
        /// The sandbox's own directory.
        path: PathBuf,
    },
    /// A further command can't come in: the process of the container that starts such is gone.
    #[error("the container takes no more commands: its process that starts them is gone")]
    Shut {
        /// What the kernel said.
        #[serde(with = "errno")]
        #[source]
        source: io::Error,
    },
    /// A further command can't come in: nobody lets it in before the container goes on.
    #[error("the container is stopped")]
    Stopped,
    /// A secret that a step can't be given.
    #[error("{} has more than the {limit} bytes that a secret may have", path.display())]
    SecretTooLarge {
        /// The file of this machine.
        path: PathBuf,
        /// How many it may have.
        limit: u64,
    },
    /// A step made a file whose name no layer of dlpack can have.
    #[error("`{path}` is not UTF-8")]
    Name {
        /// The path, or a link's target, with what is no text replaced.
        path: String,
    },
    /// The sandbox's process 1 was killed from outside.
    #[error("the sandbox was killed")]
    Killed,
}

/// What a root filesystem has where a mount has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unfit {
    /// A symbolic link, where none is followed.
    Link,
    /// Something else than the directory that a directory needs.
    NoDirectory,
    /// A directory, on which no file can be mounted.
    Directory,
    /// A file on the way.
    Under,
    /// Symbolic links that lead nowhere.
    Nowhere,
    /// It is the root.
    Root,
    /// A path that goes up.
    Up,
    /// /proc, /sys or /dev, which a step has of its own.
    Own,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "a symbolic link",
            Self::NoDirectory => "no directory",
            Self::Directory => "a directory",
            Self::Under => "under something that is no directory",
            Self::Nowhere => "behind symbolic links that lead nowhere",
            Self::Root => "the root itself",
            Self::Up => "a path with `..`",
            Self::Own => "the sandbox's own",
        })
    }
}

impl Refusal {
    /// A failed system call.
    pub(super) fn call(doing: &str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Call { doing: doing.to_owned(), path: path.into(), source: source.into() }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Namespaces { obstacle, .. } => Some(obstacle.hint()),
            Self::Call { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or name another store with --store".to_owned())
            }
            Self::Call { source, .. } if source.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error()) => {
                Some("the sandbox needs Linux 5.12, and a container profile that knows its system calls".to_owned())
            }
            Self::Call { .. } => None,
            Self::MountPoint { path, is: Unfit::Directory } => {
                Some(format!("a file is to be mounted there: name another place than /{path}, or one in it"))
            }
            Self::MountPoint { is: Unfit::Up | Unfit::Root, .. } => {
                Some("name a place below the root, without `..`".to_owned())
            }
            Self::MountPoint { path, .. } => {
                Some(format!("the base must have a directory at /{path}: take another base, or repair this one"))
            }
            Self::Workdir { .. } => Some("name a directory that is there, or one that can be made".to_owned()),
            Self::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("is it in the image, by a layer before this one, and in PATH?".to_owned())
            }
            Self::Program { source, .. } if source.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
                Some("it is for another processor, or a script without #!".to_owned())
            }
            Self::Program { .. } => None,
            Self::User { .. } => Some("make the user in a layer before this one, or name a number".to_owned()),
            Self::OneUser { .. } => Some("start the container with --root: root can become any user in it".to_owned()),
            Self::WroteInNamespace { .. } => Some(
                "go on with it where user namespaces work: `dlpack doctor` says what keeps them from it".to_owned(),
            ),
            Self::WroteAsRoot { .. } => {
                Some("go on with it as root, in a container like the one that it was made in".to_owned())
            }
            Self::Shut { .. } => {
                Some("the container has ended, or something in it killed it: start the container anew".to_owned())
            }
            Self::Stopped => Some("`fg` where it was started lets it go on, or SIGCONT for its dlpack".to_owned()),
            Self::SecretTooLarge { .. } => Some("mount what need not be secret with `mounts`".to_owned()),
            Self::Name { .. } => Some("let the step rename or remove the file".to_owned()),
            Self::Killed => Some("was memory short? the kernel's log names who killed it".to_owned()),
        }
    }
}
