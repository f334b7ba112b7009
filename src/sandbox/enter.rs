//! Furnishes a step's root: /proc, /sys, /dev and what it is given are mounted on places
//! inside of it; pivot_root(2) then leaves nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, XattrFlags, fsetxattr, openat, unlinkat};
use rustix::mount::{OpenTreeFlags, UnmountFlags, open_tree, unmount};
use rustix::process::{chdir, fchdir, pivot_root};

use super::containment::Isolation;
use super::mounts::{attach, existing, fresh, temporary};
use super::places::{Kind, Root};
use super::record::{OWNER, Owner};
use super::spec::Task;
use super::sys::mount::{make_only_this_read_only, make_read_only};
use super::sys::network::loopback_up;
use super::upper::View;
use super::user::Credentials;
use super::{Mount, MountKind, Refusal, devices};

/// What programs write to even where the root can't be written to.
const SCRATCH: [&str; 3] = ["/tmp", "/var/tmp", "/run"];

/// Where a secret lies in /dev for the moment that it takes to mount it elsewhere.
const SECRET: &str = ".secret";

/// How large a secret may be, in bytes.
const LARGEST_SECRET: u64 = 16 << 20;

/// Mounts the root of `view`, with nothing on it.
pub(super) fn bare(view: &View) -> Result<Root, Refusal> {
    view.mount()?;
    Root::open(view)
}

/// Mounts what a step has of this machine, and what it is given, on `root`.
pub(super) fn furnish(root: &Root, isolation: &Isolation, task: &Task, user: &Credentials) -> Result<(), Refusal> {
    let dev = system(root, isolation, task)?;
    for mount in &task.mounts {
        let place = root.place(&mount.to, Kind::of(&mount.from)?)?;
        given(place, &dev, mount, user)?;
    }
    root.make_links(&task.links)?;
    for bind in &task.binds {
        let place = root.place_of_bind(&bind.to, Kind::of(&bind.from)?)?;
        given(place, &dev, bind, user)?;
    }
    if isolation.own_network(task.network) {
        loopback_up().map_err(|source| Refusal::call("set up", "lo", source))?;
    }
    if let Some(name) = &task.machine.hostname {
        let set = rustix::system::sethostname(name.as_bytes());
        set.map_err(|source| Refusal::call("set", "the host's name", source))?;
    }
    Ok(())
}

/// runtime-spec `config-linux.md`, Default Filesystems: /proc, /sys, /dev, /dev/pts,
/// /dev/shm. Returns the root of /dev.
fn system(root: &Root, isolation: &Isolation, task: &Task) -> Result<OwnedFd, Refusal> {
    let mounted = |what: &'static str| move |source| Refusal::call("mount", what, source);
    let proc = if isolation.processes { fresh("proc", &[]) } else { existing(Path::new("/proc")) };
    attach(proc.map_err(mounted("/proc"))?, root.directory("proc")?).map_err(mounted("/proc"))?;
    let sys = sysfs(isolation.own_network(task.network)).map_err(mounted("/sys"))?;
    attach(sys, root.directory("sys")?).map_err(mounted("/sys"))?;
    devices::mount(root.directory("dev")?.as_fd(), task.machine.shm_size).map_err(mounted("/dev"))
}

/// sysfs(5) shows a network namespace's devices, and wants that namespace to be one's own.
fn sysfs(own_network: bool) -> io::Result<OwnedFd> {
    let sys = match own_network.then(|| fresh("sysfs", &[])) {
        Some(Ok(sys)) => sys,
        _ => existing(Path::new("/sys"))?,
    };
    make_read_only(sys.as_fd())?;
    Ok(sys)
}

/// Mounts what a step is given on `place`.
fn given(place: OwnedFd, dev: &OwnedFd, mount: &Mount, user: &Credentials) -> Result<(), Refusal> {
    let failed = |source| Refusal::call("mount", &mount.from, source);
    let tree = match mount.kind {
        MountKind::Secret => secret(dev, &mount.from, user)?,
        MountKind::ReadOnly | MountKind::Writable | MountKind::Device => existing(&mount.from).map_err(failed)?,
    };
    if mount.kind == MountKind::ReadOnly {
        make_read_only(tree.as_fd()).map_err(failed)?;
    }
    attach(tree, place).map_err(failed)?;
    if mount.kind == MountKind::Secret {
        unlinkat(dev, SECRET, AtFlags::empty()).map_err(|source| Refusal::call("hide", &mount.from, source))?;
    }
    Ok(())
}

/// Gives a step places to write to where its root can't be written to: before anything else
/// is mounted, which may lie in them.
pub(super) fn scratch(root: &Root) -> Result<(), Refusal> {
    for path in SCRATCH {
        let memory = temporary().map_err(|source| Refusal::call("mount", path, source))?;
        let place = root.place(path, Kind::Directory)?;
        attach(memory, place).map_err(|source| Refusal::call("mount", path, source))?;
    }
    Ok(())
}

/// Makes the root of a step read-only, but for what is mounted in it.
pub(super) fn close(root: &Root) -> Result<(), Refusal> {
    make_only_this_read_only(root.descriptor().as_fd())
        .map_err(|source| Refusal::call("make read-only", root.path(), source))
}

/// A copy of the file `from` that is in memory only.
fn secret(dev: &OwnedFd, from: &Path, user: &Credentials) -> Result<OwnedFd, Refusal> {
    let copy = secret_file(dev, Path::new(SECRET), from)?;
    give(&copy, user);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(dev, SECRET, flags).map_err(|source| Refusal::call("mount", from, source))
}

/// A new file at `to` that holds the secret in the file `from`.
pub(super) fn secret_file(under: impl AsFd, to: &Path, from: &Path) -> Result<File, Refusal> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let copied = || {
        let mut copy = File::from(openat(under, to, flags, Mode::from_raw_mode(0o400))?);
        // a pipe has no length that could be asked for before
        let length = io::copy(&mut File::open(from)?.take(LARGEST_SECRET + 1), &mut copy)?;
        Ok((copy, length))
    };
    let (copy, length) = copied().map_err(|source: io::Error| Refusal::call("copy", from, source))?;
    if length > LARGEST_SECRET {
        return Err(Refusal::SecretTooLarge { path: from.to_owned(), limit: LARGEST_SECRET });
    }
    Ok(copy)
}

/// Makes a secret the user's. In a user namespace of one id that is a record, by which
/// the user is shown as its owner; nobody is kept from reading it, as from any other file.
pub(super) fn give(secret: &File, user: &Credentials) {
    if std::os::unix::fs::fchown(secret, Some(user.uid), Some(user.gid)).is_ok() {
        return;
    }
    let owner = Owner { uid: user.uid, gid: user.gid };
    // tmpfs has such attributes since Linux 6.6; before, the owner is root
    let _ = fsetxattr(secret, OWNER, owner.value().as_bytes(), XattrFlags::empty());
}

/// pivot_root(2), "pivot_root(".", ".")": the old root is stacked under the new one, and
/// unmounted.
pub(super) fn pivot(root: &Root) -> Result<(), Refusal> {
    let pivoted = fchdir(root.descriptor())
        .and_then(|()| pivot_root(".", "."))
        .and_then(|()| unmount(".", UnmountFlags::DETACH))
        .and_then(|()| chdir("/"));
    pivoted.map_err(|source| Refusal::call("pivot_root to", root.path(), source))
}
