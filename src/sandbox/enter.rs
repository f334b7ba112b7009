//! Makes a step's root its own: /proc, /sys, /dev and what it is given are mounted, and
//! pivot_root(2) leaves nothing else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::mount::{OpenTreeFlags, UnmountFlags, open_tree, unmount};
use rustix::process::{fchdir, pivot_root};

use super::containment::Isolation;
use super::mounts::{attach, existing, fresh};
use super::places::{self, Kind, Root};
use super::spec::Task;
use super::sys::{mount::make_read_only, network::loopback_up};
use super::upper::View;
use super::{Mount, MountKind, Refusal, devices};

/// What a step's machine is called; the same everywhere, since programs write it down.
const HOSTNAME: &[u8] = b"sandbox";

/// How large a secret may be, in bytes.
const LARGEST_SECRET: u64 = 16 << 20;

/// Makes `view` this process' root, with the mounts of `task`.
pub(super) fn root(view: &View, isolation: &Isolation, task: &Task) -> Result<(), Refusal> {
    for path in ["/proc", "/sys", "/dev"] {
        places::below(view, path, Kind::Directory)?;
    }
    for mount in &task.mounts {
        places::below(view, &mount.to, Kind::of(&mount.from)?)?;
    }
    view.mount()?;
    let root = Root::open(view)?;
    let dev = system(&root, isolation, task)?;
    for mount in &task.mounts {
        given(&root, &dev, mount)?;
    }
    if isolation.own_network(task.network) {
        loopback_up().map_err(|source| Refusal::call("set up", "lo", source))?;
    }
    rustix::system::sethostname(HOSTNAME).map_err(|source| Refusal::call("set", "the host's name", source))?;
    pivot(&root).map_err(|source| Refusal::call("pivot_root to", view.root(), source))
}

/// runtime-spec `config-linux.md`, Default Filesystems: /proc, /sys, /dev, /dev/pts,
/// /dev/shm. Returns the root of /dev.
fn system(root: &Root, isolation: &Isolation, task: &Task) -> Result<OwnedFd, Refusal> {
    let mounted = |what: &'static str| move |source| Refusal::call("mount", what, source);
    let proc = if isolation.processes { fresh("proc", &[]) } else { existing(Path::new("/proc")) };
    attach(proc.map_err(mounted("/proc"))?, root.directory("proc")?).map_err(mounted("/proc"))?;
    let sys = sysfs(isolation.own_network(task.network)).map_err(mounted("/sys"))?;
    attach(sys, root.directory("sys")?).map_err(mounted("/sys"))?;
    devices::mount(root.directory("dev")?.as_fd()).map_err(mounted("/dev"))
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

/// Mounts what a step is given.
fn given(root: &Root, dev: &OwnedFd, mount: &Mount) -> Result<(), Refusal> {
    let failed = |source| Refusal::call("mount", &mount.from, source);
    let place = root.place(&mount.to, Kind::of(&mount.from)?)?;
    let tree = match mount.kind {
        MountKind::Secret => secret(dev, &mount.from).map_err(failed)?,
        MountKind::ReadOnly | MountKind::Writable => existing(&mount.from).map_err(failed)?,
    };
    if mount.kind == MountKind::ReadOnly {
        make_read_only(tree.as_fd()).map_err(failed)?;
    }
    attach(tree, place).map_err(failed)
}

/// A copy of the file `from` that is in memory only. It lies in /dev for the moment that
/// it takes to mount it elsewhere.
fn secret(dev: &OwnedFd, from: &Path) -> io::Result<OwnedFd> {
    const NAME: &str = ".secret";
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let copy = openat(dev, NAME, flags, Mode::from_raw_mode(0o400))?;
    let content = io::Read::take(std::fs::File::open(from)?, LARGEST_SECRET);
    io::copy(&mut { content }, &mut std::fs::File::from(copy))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(dev, NAME, flags)?;
    unlinkat(dev, NAME, AtFlags::empty())?;
    Ok(tree)
}

/// pivot_root(2), "pivot_root(".", ".")": the old root is stacked under the new one, and
/// unmounted.
fn pivot(root: &Root) -> io::Result<()> {
    fchdir(root.descriptor())?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}
