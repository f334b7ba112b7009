//! One command on a root filesystem, and all that it is given.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One command on a root filesystem.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The program, looked up in `PATH` of `env`, and its arguments.
    pub command: Vec<String>,
    /// Its whole environment but for what says how to reach the network.
    pub env: BTreeMap<String, String>,
    /// Where it starts, absolute; made if it is not there.
    pub workdir: String,
    /// Who it runs as, as the image config says it: `user`, `uid`, `user:group` …; root
    /// if not given.
    pub user: Option<String>,
    /// What it reaches.
    pub network: Network,
    /// What it sees besides the root filesystem; none of it is in a layer.
    pub mounts: Vec<Mount>,
    /// Symbolic links that are made when those are mounted, in place of what is there.
    pub links: Vec<Link>,
    /// What a person mounts over all of it: nothing is made in these.
    pub binds: Vec<Mount>,
    /// What it takes for its machine.
    pub machine: Machine,
}

impl Step {
    /// `command` as root in `/`, without network, in an environment like a login's.
    pub fn new(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let env = [
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ];
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            workdir: "/".to_owned(),
            user: None,
            network: Network::None,
            mounts: Vec::new(),
            links: Vec::new(),
            binds: Vec::new(),
            machine: Machine::default(),
        }
    }

    /// Adds a variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Lets it reach the network.
    pub fn on_network(mut self) -> Self {
        self.network = Network::Host;
        self
    }

    /// Adds a mount.
    pub fn mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }
}

/// What a step takes for its machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name; this machine's if none.
    pub hostname: Option<String>,
    /// How large `/dev/shm` may grow, in bytes; half of the memory if not given.
    pub shm_size: Option<u64>,
    /// Whether the root filesystem can't be written to; `/tmp`, `/var/tmp` and `/run` are
    /// in memory then.
    pub read_only: bool,
}

impl Default for Machine {
    /// That of a step of a build, with a name that is everywhere the same, since programs
    /// write it down.
    fn default() -> Self {
        Self { hostname: Some("sandbox".to_owned()), shm_size: None, read_only: false }
    }
}

/// What a step reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Its own loopback.
    None,
    /// What this machine reaches: with its resolv.conf, proxy variables and CA bundle.
    Host,
}

/// A file or directory of this machine that a step sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is on this machine, absolute.
    pub from: PathBuf,
    /// Where the step sees it, absolute.
    pub to: String,
    /// What the step may do with it.
    pub kind: MountKind,
}

impl Mount {
    /// `from` of this machine at `to` of the step.
    pub fn new(from: impl Into<PathBuf>, to: impl Into<String>, kind: MountKind) -> Self {
        Self { from: from.into(), to: to.into(), kind }
    }

    /// Whether what the step sees at `path`, absolute, comes from it.
    pub fn covers(&self, path: &str) -> bool {
        Path::new(path).starts_with(&self.to)
    }
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it says.
    pub target: String,
    /// Where it is, absolute.
    pub path: String,
}

/// What a step may do with a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// Read it.
    ReadOnly,
    /// Write to it: a cache directory, a place for results.
    Writable,
    /// Use it as its mode allows: a device node.
    Device,
    /// Read it: a copy of the file, of mode 0400 and the step's user's. It is in memory, but
    /// on disk for as long as the step runs where nothing may be mounted
    /// ([`super::Fallback::Chroot`]).
    Secret,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// With an exit status.
    Exit(i32),
    /// By a signal.
    Signal(i32),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "signal {name}"),
                None => write!(f, "signal {signal}"),
            },
        }
    }
}

/// signal(7)'s name of a number, where it is the same on all of our architectures.
fn signal_name(signal: i32) -> Option<&'static str> {
    let names = [(1, "SIGHUP"), (2, "SIGINT"), (3, "SIGQUIT"), (4, "SIGILL"), (6, "SIGABRT"), (7, "SIGBUS")];
    let more = [(8, "SIGFPE"), (9, "SIGKILL"), (11, "SIGSEGV"), (13, "SIGPIPE"), (14, "SIGALRM"), (15, "SIGTERM")];
    names.into_iter().chain(more).find(|(number, _)| *number == signal).map(|(_, name)| name)
}
