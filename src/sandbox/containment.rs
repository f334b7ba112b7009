//! What keeps a step apart from this machine: a user namespace, or what root in a
//! container has without one.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{DumpableBehavior, getegid, geteuid};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::mounts;
use super::probe::{Attempt, Facts, diagnose};
use super::step::Network;
use super::sys::process::{Cloned, clone, unshare};
use super::{Fallback, Identity, Refusal};

/// What keeps a step's files apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Containment {
    /// A user namespace of one id, and a mount namespace in it.
    UserNamespace,
    /// A mount namespace alone: dlpack is root.
    MountNamespace,
    /// chroot(2): dlpack is root and may not even mount.
    Chroot,
}

impl Containment {
    /// Enters what there is, with the caller as `identity` where ids can be mapped.
    pub(super) fn enter(identity: Identity, fallbacks: &mut Vec<Fallback>) -> Result<Self, Refusal> {
        let root = geteuid().is_root();
        match user_namespace(identity) {
            Ok(()) => Ok(Self::UserNamespace),
            Err(_) if root => {
                let (containment, fallback) = match mount_namespace() {
                    Ok(()) => (Self::MountNamespace, Fallback::RealRoot),
                    Err(_) => (Self::Chroot, Fallback::Chroot),
                };
                fallbacks.push(fallback);
                Ok(containment)
            }
            Err((attempt, source)) => {
                let errno = Errno::from_io_error(&source).unwrap_or(Errno::IO);
                Err(Refusal::Namespaces { obstacle: diagnose(attempt, errno, &Facts::read()), source })
            }
        }
    }
}

/// user_namespaces(7): one's own id may be mapped without privilege, and the group's only
/// when setgroups(2) is denied.
fn user_namespace(identity: Identity) -> Result<(), (Attempt, io::Error)> {
    let (uid, gid) = (geteuid(), getegid());
    let (inner_uid, inner_gid) = identity.ids();
    unshare(UnshareFlags::NEWUSER).map_err(|error| (Attempt::UserNamespace, error))?;
    let map = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(|error| (Attempt::IdMap, error))
    };
    map("setgroups", "deny".to_owned())?;
    map("uid_map", format!("{inner_uid} {} 1", uid.as_raw()))?;
    map("gid_map", format!("{inner_gid} {} 1", gid.as_raw()))?;
    // proc(5): /proc/PID/root of this process leads to this machine's files, and a step has
    // its uid and its namespace's capabilities; now that the ids are mapped it is closed
    let closed = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    closed.map_err(|error| (Attempt::IdMap, error.into()))?;
    mount_namespace().map_err(|error| (Attempt::Mount, error))
}

/// A mount namespace whose mounts nobody else sees.
fn mount_namespace() -> io::Result<()> {
    unshare(UnshareFlags::NEWNS)?;
    let flags = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    Ok(mount_change("/", flags)?)
}

/// Which namespaces a step gets of its own.
#[derive(Clone, Debug)]
pub(super) struct Isolation {
    /// What keeps its files apart.
    pub containment: Containment,
    /// Who the caller is inside.
    pub identity: Identity,
    /// Whether it has its own process ids, and a process 1.
    pub processes: bool,
    /// Whether it may have its own network.
    pub network: bool,
}

impl Isolation {
    /// Finds out by trial.
    pub(super) fn find(containment: Containment, identity: Identity, fallbacks: &mut Vec<Fallback>) -> Self {
        if containment == Containment::Chroot {
            return Self { containment, identity, processes: false, network: false };
        }
        let processes = fresh_proc();
        if !processes {
            fallbacks.push(Fallback::HostProc);
        }
        Self { containment, identity, processes, network: true }
    }

    /// Whether a supervisor emulates other owners than the caller: they have one id, and
    /// are root.
    pub(super) fn emulates_owners(&self) -> bool {
        self.containment == Containment::UserNamespace && self.identity == Identity::Root
    }

    /// The namespaces of a step that reaches `network`.
    pub(super) fn flags(&self, network: Network) -> UnshareFlags {
        if self.containment == Containment::Chroot {
            return UnshareFlags::empty();
        }
        let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
        flags.set(UnshareFlags::NEWPID, self.processes);
        flags.set(UnshareFlags::NEWNET, self.own_network(network));
        flags
    }

    /// Whether a step that reaches `network` has a network namespace.
    pub(super) fn own_network(&self, network: Network) -> bool {
        self.network && network == Network::None
    }

    /// What a step that reaches `network` does without.
    pub(super) fn without(&self, network: Network) -> Option<Fallback> {
        (network == Network::None && !self.network).then_some(Fallback::HostNetwork)
    }

    /// Finds out by trial whether there is a network namespace to be had.
    pub(super) fn try_network(&mut self) {
        self.network = self.network && makes(UnshareFlags::NEWNET, || true);
    }

    /// Does without network namespaces; false if it did already.
    pub(super) fn without_network_namespace(&mut self) -> bool {
        std::mem::replace(&mut self.network, false)
    }
}

/// Whether a fresh procfs can be mounted for new process ids. The kernel refuses where
/// this machine's own is masked (`mount_too_revealing`), as in containers.
fn fresh_proc() -> bool {
    makes(UnshareFlags::NEWPID | UnshareFlags::NEWNS, || mounts::fresh("proc", &[]).is_ok())
}

/// Whether a process can be made in the namespaces of `flags`, and finds it to be so there.
fn makes(flags: UnshareFlags, is_so: impl FnOnce() -> bool) -> bool {
    match clone(flags) {
        Ok(Cloned::Child) => std::process::exit(i32::from(!is_so())),
        Ok(Cloned::Parent(pid, _)) => {
            let ended = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            matches!(ended, Ok(Some((_, status))) if status.exit_status() == Some(0))
        }
        Err(_) => false,
    }
}
