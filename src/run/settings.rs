//! How a container is started: what the recipe's `[run]` says, and over it the command
//! line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Error;
use crate::oci::ContainerConfig;
use crate::recipe::{Bind, Container, Cwd, Net, Port};
use crate::sandbox::{Mount, MountKind};

/// How a container is started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where its command starts; the image's if not given.
    pub workdir: Option<String>,
    /// What it sees of this machine.
    pub mounts: Vec<Bind>,
    /// Where it sees the directory that dlpack is called in, and starts if nothing says where.
    pub cwd: Option<Cwd>,
    /// Variables in order; later ones win.
    pub env: Vec<(String, String)>,
    /// How large `/dev/shm` may grow, in bytes.
    pub shm_size: Option<u64>,
    /// What it reaches; what this machine does if not given.
    pub net: Option<Net>,
    /// Ports of this machine that lead to its own.
    pub ports: Vec<Port>,
    /// Which GPUs it has, as the recipe says it.
    pub gpus: Option<String>,
    /// Whether its root can't be written to.
    pub read_only: bool,
    /// Who it runs as, as the image config says it; the image's user if not given.
    pub user: Option<String>,
}

impl Settings {
    /// The variables of an image of this `config`, with these over them.
    pub fn env_over(&self, config: &ContainerConfig) -> BTreeMap<String, String> {
        let of_image = config.env.iter().flatten().filter_map(|line| line.split_once('='));
        let of_image = of_image.map(|(name, value)| (name.to_owned(), value.to_owned()));
        of_image.chain(self.env.iter().cloned()).collect()
    }

    /// These as one command line says them, which has a place for each mount.
    ///
    /// # Errors
    /// [`Error::MountedTwice`].
    pub fn distinct(self) -> Result<Self, Error> {
        for (n, second) in self.mounts.iter().enumerate() {
            if let Some(first) = self.mounts[..n].iter().find(|first| first.to == second.to) {
                let (first, second, to) = (first.from.clone(), second.from.clone(), second.to.clone());
                return Err(Error::MountedTwice { to, first, second });
            }
        }
        Ok(self)
    }

    /// These over what a recipe says: single values replace it, lists are added to it.
    pub fn over(self, recipe: &Container) -> Self {
        // a later mount at the same place is another one in its stead
        let mut mounts: Vec<Bind> = Vec::new();
        for bind in recipe.mounts.iter().chain(&self.mounts) {
            mounts.retain(|mount| mount.to != bind.to);
            mounts.push(bind.clone());
        }
        // and so is another port that leads to the same one
        let led = |port: &&Port| !self.ports.iter().any(|own| own.to == port.to);
        let ports = recipe.ports.iter().filter(led).chain(&self.ports).copied().collect();
        let env = recipe.env.iter().map(|(name, value)| (name.clone(), value.clone())).chain(self.env).collect();
        // the recipe's own directory, wherever the command is to start
        let cwd = recipe.cwd.clone().map(|cwd| match (cwd, &recipe.workdir) {
            (Cwd::Workdir, Some(workdir)) => Cwd::At(workdir.clone()),
            (cwd, _) => cwd,
        });
        Self {
            workdir: self.workdir.or_else(|| recipe.workdir.clone()),
            mounts,
            cwd: self.cwd.or(cwd),
            env,
            shm_size: self.shm_size.or(recipe.shm_size),
            net: self.net.or(recipe.net),
            ports,
            gpus: self.gpus.or_else(|| recipe.gpus.clone()),
            read_only: self.read_only,
            user: self.user.or_else(|| recipe.user.clone()),
        }
    }

    /// Whether a container can be started so, as far as that can be told before there is an image.
    ///
    /// # Errors
    /// [`Error::PortsOfHost`]; [`Error::Source`], [`Error::NoHome`] of a mount.
    pub fn check(&self) -> Result<(), Error> {
        if !self.ports.is_empty() && self.net != Some(Net::Private) {
            return Err(Error::PortsOfHost);
        }
        self.mounts.iter().try_for_each(|bind| mount(bind).map(drop))
    }
}

/// What of this machine a mount is of.
pub(super) fn mount(bind: &Bind) -> Result<Mount, Error> {
    let home = || std::env::home_dir().ok_or_else(|| Error::NoHome { from: bind.from.clone() });
    let from = match bind.from.strip_prefix('~') {
        Some("") => home()?,
        Some(rest) if rest.starts_with('/') => home()?.join(&rest[1..]),
        _ => PathBuf::from(&bind.from),
    };
    let failed = |source| Error::Source { from: from.clone(), to: bind.to.clone(), source };
    let from = from.canonicalize().map_err(failed)?;
    let kind = if bind.read_only { MountKind::ReadOnly } else { MountKind::Writable };
    Ok(Mount::new(from, &bind.to, kind))
}
