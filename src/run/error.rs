//! Why a container can't be started.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::sandbox::{self, Mount, Refusal, Unfit};
use crate::store;

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
    /// Two mounts are at one place.
    #[error("both {first} and {second} are to be mounted at `{to}`")]
    MountedTwice {
        /// Where the container was to see them.
        to: String,
        /// What is mounted, as it was written.
        first: String,
        /// What else is.
        second: String,
    },
    /// The recipe wants the directory that dlpack is called in where none can be mounted: the
    /// image's working directory, if it is `/`.
    #[error("can't mount the directory that dlpack is called in at `{to}`: {why}")]
    Project {
        /// Where the container was to see it.
        to: String,
        /// Why not there.
        why: String,
    },
    /// The container has something else where a mount is to be.
    #[error("can't mount {} at `{to}`: {}", from.display(), unfit(*is))]
    Place {
        /// What was to be mounted.
        from: PathBuf,
        /// Where.
        to: String,
        /// What is there.
        is: Unfit,
    },
    /// The image knows no such user or group.
    #[error("the image has no {} `{name}`", if database == "group" { "group" } else { "user" })]
    User {
        /// `passwd` or `group`.
        database: String,
        /// Who was looked for.
        name: String,
    },
    /// The command can't start where it is to.
    #[error("can't start in `{path}`")]
    Workdir {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program can't be started.
    #[error("can't run `{program}`")]
    Program {
        /// As it was named.
        program: String,
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
    /// A stream would lead a command out of its root.
    #[error("{stream} is a directory")]
    DirectoryAsStream {
        /// `stdin`, `stdout` or `stderr`.
        stream: &'static str,
    },
    /// Nothing can be kept from being written where nothing can be mounted.
    #[error("can't make the container's root read-only: dlpack is root in a container without namespaces")]
    Writable,
    /// A port of this machine can't be listened on.
    #[error("can't listen on {on}")]
    Port {
        /// The address.
        on: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Ports lead to a container whose ports are this machine's.
    #[error("ports lead to a container with a network of its own, and this one has this machine's")]
    PortsOfHost,
    /// Ports lead to a container that shares this machine's loopback, for want of namespaces.
    #[error("ports lead to a container with a network of its own, and this machine gives none")]
    PortsWithoutNetwork,
    /// The name is another container's, which runs.
    #[error("a container `{name}` runs already")]
    NameInUse {
        /// The name.
        name: String,
    },
    /// The name is that of a container of another machine, whose lock may not be seen here.
    #[error("the container `{name}` was started on {host}, and may run there")]
    OfAnotherMachine {
        /// The name.
        name: String,
        /// The machine.
        host: String,
    },
    /// What is known of a container can't be read.
    #[error("can't read what the container `{name}` is")]
    Unreadable {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The container that was kept under this name is of another image.
    #[error("the container `{name}` was kept, and is of another image: {image}")]
    AnotherImage {
        /// The name.
        name: String,
        /// How its image was named.
        image: String,
    },
    /// The files of the container that was kept under this name are another user's.
    #[error("the container `{name}` was kept, and its files are those of another user: {user}")]
    AnotherUser {
        /// The name.
        name: String,
        /// Who it ran as, as the image config says it.
        user: String,
    },
    /// What a container that was kept has written is not here.
    #[error("what the container `{name}` has written is not here: it was in {} of {host}", path.display())]
    Lost {
        /// The name.
        name: String,
        /// Where it was.
        path: PathBuf,
        /// The machine that it ran on.
        host: String,
    },
    /// There is no such container.
    #[error("there is no container `{name}`")]
    NoContainer {
        /// The name.
        name: String,
    },
    /// The container is to be removed while it runs.
    #[error("the container `{name}` runs")]
    Runs {
        /// The name.
        name: String,
    },
    /// The container has ended, and was kept.
    #[error("the container `{name}` does not run")]
    NotRunning {
        /// The name.
        name: String,
    },
    /// The container runs on another machine that shares the store, unless it was killed there.
    #[error("the container `{name}` runs on {host}, and not here")]
    Elsewhere {
        /// The name.
        name: String,
        /// The machine.
        host: String,
    },
    /// Nobody can call the dlpack that is to run a container.
    #[error("can't listen in {}", path.display())]
    Listen {
        /// The container's own directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The dlpack that runs a container can't be talked to.
    #[error("can't reach the dlpack that runs the container `{name}`")]
    Owner {
        /// The container's name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is known of containers can't be read or written.
    #[error("can't {doing} {}", path.display())]
    State {
        /// `create`, `lock` …
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(sandbox::Error),
}

impl From<sandbox::Error> for Error {
    /// What a step of a build and a command in an image may both lack has two remedies.
    fn from(error: sandbox::Error) -> Self {
        match error {
            sandbox::Error::Refused(Refusal::User { database, name }) => Self::User { database, name },
            sandbox::Error::Refused(Refusal::Workdir { path, source }) => Self::Workdir { path, source },
            sandbox::Error::Refused(Refusal::Program { program, source }) => Self::Program { program, source },
            error => Self::Sandbox(error),
        }
    }
}

/// Why nothing can be mounted on what `is` there.
fn unfit(is: Unfit) -> &'static str {
    match is {
        Unfit::NoDirectory => "it is a directory, and what the container has there is none",
        Unfit::Directory => "it is no directory, and what the container has there is one",
        Unfit::Under => "a file of the container is on the way there",
        Unfit::Link | Unfit::Nowhere => "symbolic links of the image lead nowhere there",
        Unfit::Root => "it leads to the container's root, which is the image's",
        Unfit::Up => "it has `..` in it",
        Unfit::Own => "the container has a /proc, a /sys and a /dev of its own",
    }
}

impl Error {
    /// `error`, which befell a container with these mounts of a person's.
    pub(super) fn with_binds(error: sandbox::Error, binds: &[Mount]) -> Self {
        if let sandbox::Error::Refused(Refusal::MountPoint { path, is }) = &error
            && let Some(bind) = binds.iter().find(|bind| bind.to.trim_start_matches('/') == path)
        {
            return Self::Place { from: bind.from.clone(), to: bind.to.clone(), is: *is };
        }
        error.into()
    }

    /// Whether it is that the store can't be written.
    pub fn is_of_a_closed_store(&self) -> bool {
        let Self::State { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCommand => Some("name one after the image".to_owned()),
            Self::Source { source, from, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!("`mkdir -p {}` makes it, if it is to be an empty directory", from.display()))
            }
            Self::MountedTwice { .. } => Some("one would hide the other: take another place for it".to_owned()),
            Self::Project { .. } => {
                Some("say where with `cwd = \"/work\"` in the recipe's [run], or give the image a workdir".to_owned())
            }
            Self::Place { from, to, is: Unfit::Directory } => {
                let name = from.file_name().unwrap_or_default().to_string_lossy();
                Some(format!("name the file, too: `{to}/{name}`"))
            }
            Self::Place { is: Unfit::NoDirectory, .. } => {
                Some("take a directory of the image, or a place where nothing is: it is made".to_owned())
            }
            Self::User { .. } => Some("name one of its /etc/passwd and /etc/group, or a number".to_owned()),
            Self::Workdir { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("name a directory that is in the container".to_owned())
            }
            Self::Workdir { .. } => Some("name a directory, or one that can be made".to_owned()),
            Self::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(
                "is it in the image, and in its PATH? A script needs the program that its first line names, too"
                    .to_owned(),
            ),
            Self::Program { source, .. } if source.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
                Some("it is for another processor, or a script without #!".to_owned())
            }
            Self::Copied { from, to } => Some(format!(
                "`-v {}:{to}:ro` gives the container a copy to read; copy what it makes out of it",
                from.display()
            )),
            Self::NoHome { .. } => Some("set HOME, or write the path from `/` on".to_owned()),
            Self::EnvLine { .. } => Some("a line is KEY=VALUE, KEY alone for the caller's value, or `# …`".to_owned()),
            Self::DirectoryAsStream { .. } => Some("a command could go up from it, and out of its root".to_owned()),
            Self::Writable => Some("leave --read-only out: what the container writes is gone with it".to_owned()),
            Self::Port { on, source } => match source.kind() {
                io::ErrorKind::AddrInUse => Some(format!(
                    "another program listens there (`ss -ltnp` may name it): take another port, or 0 for any, in place of {}",
                    on.port()
                )),
                io::ErrorKind::PermissionDenied => Some("ports below 1024 are root's: take a higher one".to_owned()),
                _ => None,
            },
            Self::PortsOfHost => {
                Some("leave -p, or the recipe's `ports`, out, since what listens in it listens here; or give it `--net private`".to_owned())
            }
            Self::PortsWithoutNetwork => Some(
                "leave -p out: what listens in it listens here. `dlpack doctor` says what stands in the way".to_owned(),
            ),
            Self::NameInUse { name } => Some(format!("`dlpack stop {name}` ends it; or take another name")),
            Self::OfAnotherMachine { name, host } => Some(format!(
                "`dlpack ps` on {host} tells; if {host} is gone, `--force` goes on with it, and `dlpack rm --force {name}` removes it"
            )),
            // serde's errors have no number
            Self::Unreadable { name, source } => Some(match source.raw_os_error() {
                Some(_) => "its files are left as they are: try again when its record can be read".to_owned(),
                None => format!("`dlpack rm {name}` removes it, with what it wrote in the store; or take another name"),
            }),
            Self::AnotherImage { name, .. } => Some(format!("`dlpack rm {name}` removes it; or take another name")),
            Self::AnotherUser { name, user } => {
                Some(format!("`--user {user}` goes on with it; `dlpack rm {name}` removes it; or take another name"))
            }
            Self::Lost { name, .. } => Some(format!("go on with it there, or remove it with `dlpack rm {name}`")),
            Self::NoContainer { .. } => Some("`dlpack ps -a` shows those that there are".to_owned()),
            Self::Runs { name } => Some(format!("`dlpack stop {name}` ends it")),
            Self::NotRunning { name } => Some(format!("`dlpack run --name {name} IMAGE` goes on with it")),
            Self::Elsewhere { name, host } => Some(format!(
                "call dlpack there: `ssh {host}`; `dlpack rm --force {name}` removes it if {host} is gone"
            )),
            Self::State { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space with `dlpack cache gc`, or name another store with --store".to_owned())
            }
            Self::State { .. } if self.is_of_a_closed_store() => {
                Some("name a store that you can write with --store or DLPACK_STORE".to_owned())
            }
            Self::Store(error) => error.hint(),
            Self::Sandbox(error) => error.hint(),
            Self::Source { .. }
            | Self::Place { .. }
            | Self::Program { .. }
            | Self::EnvFile { .. }
            | Self::Listen { .. }
            | Self::Owner { .. }
            | Self::State { .. } => None,
        }
    }
}
