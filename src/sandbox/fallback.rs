//! What a sandbox takes where it can't have what it wants. Each is announced once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a sandbox takes where it can't have what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fallback {
    /// The upper directory is in memory: scratch is on a filesystem that overlayfs refuses.
    UpperInMemory,
    /// The root filesystem is copied: there is no overlayfs.
    Copy,
    /// `/proc` is this machine's: a fresh one may not be mounted.
    HostProc,
    /// There is no network namespace: a step without network reaches it nonetheless.
    HostNetwork,
    /// Steps run as this machine's root: there are no user namespaces, and dlpack is root.
    RealRoot,
    /// chroot, without namespaces: dlpack is root in a container.
    Chroot,
    /// Owners are recorded but not answered: processes can't be told apart.
    RecordedOwners,
    /// Owners are lost: there is no seccomp user notification.
    FakedOwners,
}

impl Fallback {
    /// Whether steps may give something else for it: a layer that was made so is not what
    /// the key of its inputs stands for.
    pub fn changes_layers(self) -> bool {
        self.lacking().is_some()
    }

    /// What steps did without that may show in a layer, if it may.
    pub(super) fn lacking(self) -> Option<&'static str> {
        match self {
            Self::HostNetwork => Some("without a network namespace"),
            Self::RecordedOwners => Some("without showing owners"),
            Self::FakedOwners => Some("without owners"),
            Self::UpperInMemory | Self::Copy | Self::HostProc | Self::RealRoot | Self::Chroot => None,
        }
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UpperInMemory => {
                "the sandbox writes to memory: the store is on a filesystem that overlayfs can't write to (NFS, another \
                 overlay …); a store on local disk (--store) needs less memory"
            }
            Self::Copy => {
                "the sandbox works on a copy of the root filesystem, which takes time and space: this kernel lets an \
                 ordinary user mount no overlayfs"
            }
            Self::HostProc => {
                "the sandbox's /proc is this machine's: a fresh one may not be mounted here, as in most containers"
            }
            Self::HostNetwork => "steps without network reach it nonetheless: there are no network namespaces here",
            Self::RealRoot => {
                "steps run as this machine's root, with few capabilities: there are no user namespaces here, and dlpack \
                 is root"
            }
            Self::Chroot => {
                "steps run in a chroot, as root with few capabilities, and with their secrets on disk as long as they run: \
                 nothing may be mounted here, as in most containers"
            }
            Self::RecordedOwners => {
                "owners that steps give are recorded but not shown to them: this machine limits realtime CPU time \
                 (`ulimit -R`), by which the sandbox tells processes apart"
            }
            Self::FakedOwners => {
                "owners that steps give are lost: seccomp user notification is missing, or taken by the container that \
                 dlpack runs in"
            }
        })
    }
}
