//! From an image's root filesystem and what a person wants to a container that runs.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::process::Signal;

use super::owner::{Owner, stop_signal};
use super::settings::mount;
use super::{Devices, Error, Ports, Record, Settings, Wanted, loader, streams};
use crate::oci::ContainerConfig;
use crate::recipe::{Bind, Cwd, Net, mount_point};
use crate::sandbox::{
    Account, Door, Ending, Identity, Lasting, Log, Machine, Mount, MountKind, Network, Rootfs, Sandbox, Step,
};

/// The variable by which dlpack's own entrypoint is told what to start.
const SERVICES: &str = "DLPACK_SERVICES";

/// A container, ready to run its command.
pub struct Container {
    sandbox: Sandbox,
    step: Step,
    stop: Signal,
    /// What further commands come in by, once others can call.
    inside: Option<OwnedFd>,
}

impl Container {
    /// Who the caller is in one on `rootfs`, for an image of this `config`.
    ///
    /// # Errors
    /// If the image knows no such user.
    pub fn identity(rootfs: &Rootfs, config: &ContainerConfig, settings: &Settings) -> Result<Identity, Error> {
        let account = rootfs.account(user(config, settings))?;
        Ok(Identity::of(account.uid, account.gid))
    }

    /// Opens one on `rootfs`, for an image of this `config`. What it writes stays in `lasting`,
    /// and is what an earlier one wrote there; without such a directory it is gone with it.
    ///
    /// # Errors
    /// [`Error`]: what is to be mounted is looked at before anything is made.
    pub fn open(
        rootfs: &Rootfs,
        config: &ContainerConfig,
        settings: &Settings,
        devices: &Devices,
        wanted: &Wanted,
        lasting: Option<&Lasting>,
    ) -> Result<Self, Error> {
        streams::check()?;
        let user = user(config, settings);
        let account = rootfs.account(user)?;
        let mut step = step(config, settings, devices, wanted, &account)?;
        step.user = Some(user.to_owned());
        let identity = Identity::of(account.uid, account.gid);
        let mut sandbox = match lasting {
            Some(lasting) => rootfs.open_lasting(lasting, identity)?,
            None => rootfs.open_as(identity)?,
        };
        if step.machine.read_only && sandbox.copies_mounts() {
            return Err(Error::Writable);
        }
        // A person's directory is not replaced by a copy of it.
        if let Some(mount) = step.mounts.iter().chain(&step.binds).find(|mount| mount.kind == MountKind::Writable)
            && sandbox.copies_mounts()
        {
            return Err(Error::Copied { from: mount.from.clone(), to: mount.to.clone() });
        }
        loader::find(&mut sandbox, rootfs, &mut step, &devices.libraries)?;
        Ok(Self { sandbox, step, stop: stop_signal(config), inside: None })
    }

    /// All that is to be known of it, who runs here, and is to be kept or not.
    pub fn record(&self, begun: Record, kept: bool) -> Record {
        Record {
            command: self.step.command.clone(),
            user: self.step.user.clone().unwrap_or_default(),
            directory: self.sandbox.directory().to_owned(),
            kept,
            ..begun
        }
    }

    /// Lets others call: see [`super::connect`]. What `signals` is told of is for the command;
    /// `ports` lead into the container.
    ///
    /// # Errors
    /// [`Error::Listen`]; [`Error::PortsWithoutNetwork`] where they would lead back to this machine.
    pub fn listen(&mut self, signals: &PipeWriter, ports: Ports) -> Result<(), Error> {
        let apart = || Ok::<_, Error>(self.step.network == Network::None && self.sandbox.has_own_network()?);
        if !ports.is_empty() && !apart()? {
            return Err(Error::PortsWithoutNetwork);
        }
        let directory = self.sandbox.directory();
        let failed = |source| Error::Listen { path: directory.to_owned(), source };
        let (door, inside) = Door::open().map_err(failed)?;
        let door = Arc::new(door);
        ports.lead(&door).map_err(failed)?;
        let signals = signals.try_clone().map_err(failed)?;
        Owner { door, signals, stop: self.stop }.listen(directory).map_err(failed)?;
        self.inside = Some(inside);
        Ok(())
    }

    /// Runs the command to its end without anything to read. What it prints goes to `log`.
    ///
    /// # Errors
    /// If it can't be started, or fails.
    pub(super) fn run_logged(&mut self, log: &mut Log) -> Result<(), Error> {
        self.sandbox.run_logged(&self.step, log).map_err(|error| Error::with_binds(error, &self.step.binds))
    }

    /// Runs the command to its end, as if it were a program of this machine's. Each byte
    /// that comes from `signals`, which `signal` leads to, is the number of a signal for it. When
    /// it is stopped, so is this process.
    ///
    /// # Errors
    /// If it can't be started; however it ends is no error.
    pub fn attach(&mut self, signals: &PipeReader, signal: &PipeWriter) -> Result<Ending, Error> {
        let ended = self.sandbox.attach(&self.step, signals, signal, self.inside.take());
        ended.map_err(|error| Error::with_binds(error, &self.step.binds))
    }
}

/// Who it runs as, as the image config says it.
fn user<'a>(config: &'a ContainerConfig, settings: &'a Settings) -> &'a str {
    let own = config.user.as_deref().filter(|user| !user.is_empty()).unwrap_or("0");
    settings.user.as_deref().unwrap_or(own)
}

/// The command with all that it is given.
fn step(
    config: &ContainerConfig,
    settings: &Settings,
    devices: &Devices,
    wanted: &Wanted,
    account: &Account,
) -> Result<Step, Error> {
    let mut step = Step::new(wanted.words(config)?);
    // environ(7), login(1)
    step.env.remove("LC_ALL");
    for (name, value) in [("HOME", &account.home), ("USER", &account.name), ("LOGNAME", &account.name)] {
        step.env.insert(name.to_owned(), value.clone());
    }
    step.env.extend(std::env::var("TERM").map(|term| ("TERM".to_owned(), term)));
    let of_image = config.env.iter().flatten().filter_map(|line| line.split_once('='));
    step.env.extend(of_image.map(|(name, value)| (name.to_owned(), value.to_owned())));
    if wanted.is_named() {
        step.env.insert(SERVICES.to_owned(), String::new());
    }
    step.env.extend(devices.env.clone());
    step.env.extend(settings.env.iter().cloned());
    let own = config.working_dir.clone().filter(|directory| !directory.is_empty()).unwrap_or_else(|| "/".to_owned());
    let project = settings.cwd.as_ref().map(|cwd| match cwd {
        Cwd::Workdir => own.clone(),
        Cwd::At(path) => path.clone(),
    });
    step.workdir = settings.workdir.clone().or_else(|| project.clone()).unwrap_or(own);
    step.mounts = devices.mounts.clone();
    step.links = devices.links.clone();
    step.binds = binds(settings, project)?;
    // what lies deeper comes later, or it would be hidden
    let depth = |mount: &Mount| mount.to.split('/').filter(|part| !part.is_empty()).count();
    step.mounts.sort_by_key(depth);
    step.binds.sort_by_key(depth);
    let private = settings.net == Some(Net::Private);
    step.network = if private { Network::None } else { Network::Host };
    step.machine = Machine {
        hostname: private.then(|| "container".to_owned()),
        shm_size: settings.shm_size,
        read_only: settings.read_only,
    };
    Ok(step)
}

/// What a person mounts, with the directory that dlpack is called in at `project`, unless that is
/// where another is to be.
fn binds(settings: &Settings, project: Option<String>) -> Result<Vec<Mount>, Error> {
    let mut binds = settings.mounts.clone();
    if let Some(to) = project {
        let to = mount_point(&to).map_err(|why| Error::Project { to, why })?;
        let project = Bind { from: ".".to_owned(), to, read_only: false };
        if !binds.iter().any(|bind| bind.to == project.to) {
            binds.push(project);
        }
    }
    binds.iter().map(mount).collect()
}
