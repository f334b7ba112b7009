//! What stands in the way of a sandbox, told from what the kernel said and what this
//! machine is set to.

use std::fmt;
use std::fs;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// unshare(2) of a user namespace.
    UserNamespace,
    /// Writing `/proc/self/uid_map` or `gid_map`.
    IdMap,
    /// The first mount(2) in it, or the namespaces beside it.
    Mount,
}

/// What this machine is set to, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `Seccomp:` of `/proc/self/status`: 2 is a filter.
    pub seccomp: Option<u32>,
    /// `NoNewPrivs:` of `/proc/self/status`.
    pub no_new_privs: bool,
    /// `user.max_user_namespaces`.
    pub max_user_namespaces: Option<u64>,
    /// Debian's `kernel.unprivileged_userns_clone`.
    pub userns_clone: Option<u64>,
    /// Ubuntu's `kernel.apparmor_restrict_unprivileged_userns`.
    pub apparmor_restricts: Option<u64>,
    /// Whether `/` is not the root of the mount namespace: user_namespaces(7)'s EPERM.
    pub chrooted: bool,
}

impl Facts {
    /// Reads them from `/proc`. What can't be read is not known.
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().parse().ok()
        };
        let sysctl = |path: &str| fs::read_to_string(format!("/proc/sys/{path}")).ok()?.trim().parse().ok();
        Self {
            seccomp: field("Seccomp"),
            no_new_privs: field("NoNewPrivs") == Some(1),
            max_user_namespaces: sysctl("user/max_user_namespaces"),
            userns_clone: sysctl("kernel/unprivileged_userns_clone"),
            apparmor_restricts: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
            chrooted: chrooted(),
        }
    }
}

/// proc(5): the first mount of `mountinfo` that is on `/` is the root of the namespace;
/// in a chroot no line has `/` as its mount point, unless the chroot is one.
fn chrooted() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    !mounts.is_empty() && !mounts.lines().any(|line| line.split(' ').nth(4) == Some("/"))
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Obstacle {
    /// `user.max_user_namespaces` is 0.
    NoUserNamespaces,
    /// All of `user.max_user_namespaces` are in use.
    TooManyUserNamespaces,
    /// `kernel.unprivileged_userns_clone` is 0.
    UsernsCloneOff,
    /// `kernel.apparmor_restrict_unprivileged_userns` is 1, as on Ubuntu 24.04.
    AppArmor,
    /// A seccomp filter, as containers have it, refuses.
    ContainerProfile,
    /// The process is in a chroot.
    Chroot,
    /// The kernel was built without user namespaces.
    NoKernelSupport,
    /// Something that has no name here: another security module, say.
    Unknown,
}

/// What `errno` means for `attempt` on a machine of such `facts`.
pub fn diagnose(attempt: Attempt, errno: Errno, facts: &Facts) -> Obstacle {
    match (attempt, errno) {
        // user_namespaces(7): ENOSPC is the limit of max_user_namespaces (EUSERS before Linux 4.9)
        (_, Errno::NOSPC | Errno::USERS) if facts.max_user_namespaces == Some(0) => Obstacle::NoUserNamespaces,
        (_, Errno::NOSPC | Errno::USERS) => Obstacle::TooManyUserNamespaces,
        (Attempt::UserNamespace, Errno::INVAL | Errno::NOSYS) => Obstacle::NoKernelSupport,
        (Attempt::UserNamespace, Errno::PERM) if facts.userns_clone == Some(0) => Obstacle::UsernsCloneOff,
        (_, Errno::PERM) if facts.seccomp == Some(2) => Obstacle::ContainerProfile,
        // Ubuntu: the namespace is made, and its capabilities are taken away
        (_, Errno::ACCESS | Errno::PERM) if facts.apparmor_restricts == Some(1) => Obstacle::AppArmor,
        // user_namespaces(7): EPERM if the caller is in a chroot
        (Attempt::UserNamespace, Errno::PERM) if facts.chrooted => Obstacle::Chroot,
        _ => Obstacle::Unknown,
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoUserNamespaces => "user.max_user_namespaces is 0",
            Self::TooManyUserNamespaces => "all of user.max_user_namespaces are in use",
            Self::UsernsCloneOff => "kernel.unprivileged_userns_clone is 0",
            Self::AppArmor => "AppArmor restricts user namespaces (Ubuntu 24.04)",
            Self::ContainerProfile => "a seccomp filter refuses, as in most containers",
            Self::Chroot => "dlpack runs in a chroot",
            Self::NoKernelSupport => "the kernel has no user namespaces",
            Self::Unknown => "user namespaces are refused",
        })
    }
}

impl Obstacle {
    /// What a person, or who runs the machine, can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoUserNamespaces => "as root: sysctl -w user.max_user_namespaces=15000",
            Self::TooManyUserNamespaces => "end other containers and browsers, or as root: raise user.max_user_namespaces",
            Self::UsernsCloneOff => "as root: sysctl -w kernel.unprivileged_userns_clone=1",
            Self::AppArmor => {
                "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give dlpack an AppArmor profile with `userns,`"
            }
            Self::ContainerProfile => {
                "start the container with --security-opt seccomp=unconfined, or run dlpack as root in it, which takes chroot"
            }
            Self::Chroot => "run dlpack outside of the chroot",
            Self::NoKernelSupport => "a kernel with CONFIG_USER_NS is needed",
            Self::Unknown => "does `unshare --user --map-root-user true` work? who runs the machine knows what refuses it",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that is set to let everybody do everything.
    fn free() -> Facts {
        Facts { seccomp: Some(0), max_user_namespaces: Some(15000), ..Facts::default() }
    }

    #[test]
    fn each_refusal_has_its_cause() {
        use Attempt::{IdMap, Mount, UserNamespace};
        let none = Facts { max_user_namespaces: Some(0), ..free() };
        let container = Facts { seccomp: Some(2), ..free() };
        let debian = Facts { userns_clone: Some(0), ..free() };
        let ubuntu = Facts { apparmor_restricts: Some(1), ..free() };
        let chroot = Facts { chrooted: true, ..free() };
        let lines = [
            (UserNamespace, Errno::NOSPC, &none, Obstacle::NoUserNamespaces),
            (UserNamespace, Errno::USERS, &none, Obstacle::NoUserNamespaces),
            (UserNamespace, Errno::NOSPC, &free(), Obstacle::TooManyUserNamespaces),
            (UserNamespace, Errno::PERM, &container, Obstacle::ContainerProfile),
            (Mount, Errno::PERM, &container, Obstacle::ContainerProfile),
            (UserNamespace, Errno::PERM, &debian, Obstacle::UsernsCloneOff),
            (IdMap, Errno::ACCESS, &ubuntu, Obstacle::AppArmor),
            (IdMap, Errno::PERM, &ubuntu, Obstacle::AppArmor),
            (Mount, Errno::ACCESS, &ubuntu, Obstacle::AppArmor),
            (UserNamespace, Errno::PERM, &chroot, Obstacle::Chroot),
            (UserNamespace, Errno::INVAL, &free(), Obstacle::NoKernelSupport),
            (UserNamespace, Errno::NOSYS, &free(), Obstacle::NoKernelSupport),
            (UserNamespace, Errno::PERM, &free(), Obstacle::Unknown),
            (Mount, Errno::ACCESS, &Facts::default(), Obstacle::Unknown),
        ];
        for (attempt, errno, facts, obstacle) in lines {
            assert_eq!(diagnose(attempt, errno, facts), obstacle, "{attempt:?} {errno:?} {facts:?}");
            assert!(!obstacle.hint().is_empty() && !obstacle.to_string().is_empty());
        }
    }

    #[test]
    fn facts_are_those_of_this_machine() {
        let facts = Facts::read();
        assert!(facts.seccomp.is_some() && !facts.chrooted, "{facts:?}");
    }
}
