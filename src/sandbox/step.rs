//! One command on a root filesystem, and all that it is given.

use std::collections::BTreeMap;
use std::path::PathBuf;

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

/// What a step reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Its own loopback.
    None,
    /// What this machine reaches: with its resolv.conf, proxy variables and CA bundle.
    Host,
}

/// A file or directory of this machine that a step sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// Where it is on this machine, absolute.
    pub from: PathBuf,
    /// Where the step sees it, absolute.
    pub to: String,
    /// What the step may do with it.
    pub kind: MountKind,
}

/// What a step may do with a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Read it.
    ReadOnly,
    /// Write to it: a cache directory, a place for results.
    Writable,
    /// Read it: a copy of the file in memory, of mode 0400 and the step's user's.
    Secret,
}
