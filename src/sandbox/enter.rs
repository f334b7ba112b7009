//! Makes a step's root its own: /proc, /sys, /dev and what it is given are mounted, and
//! pivot_root(2) leaves nothing else.

use std::io;
use std::path::Path;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{fchdir, pivot_root};

use super::containment::Isolation;
use super::mounts::{Root, attach, existing, fresh};
use super::spec::Task;
use super::step::MountKind;
use super::sys::{mount::make_read_only, network::loopback_up};
use super::upper::View;
use super::{Refusal, devices};

/// What a step's machine is called; the same everywhere, since programs write it down.
const HOSTNAME: &[u8] = b"sandbox";

/// Makes `view` this process' root, with the mounts of `task`.
pub(super) fn root(view: &View, isolation: &Isolation, task: &Task) -> Result<(), Refusal> {
    let path = view.root();
    view.mount()?;
    let root = Root::open(&path)?;
    system(&root, isolation, task)?;
    for mount in &task.mounts {
        let place = root.file(mount.to.trim_matches('/'))?;
        let tree = existing(&mount.from).map_err(|source| Refusal::call("mount", &mount.from, source))?;
        if mount.kind == MountKind::ReadOnly {
            make_read_only(std::os::fd::AsFd::as_fd(&tree))
                .map_err(|source| Refusal::call("make read-only", &mount.from, source))?;
        }
        attach(tree, place).map_err(|source| Refusal::call("mount", &mount.to, source))?;
    }
    if isolation.own_network(task.network) {
        loopback_up().map_err(|source| Refusal::call("set up", "lo", source))?;
    }
    rustix::system::sethostname(HOSTNAME).map_err(|source| Refusal::call("set", "the host's name", source))?;
    pivot(&root).map_err(|source| Refusal::call("pivot_root to", path, source))
}

/// runtime-spec `config-linux.md`, Default Filesystems: /proc, /sys, /dev, /dev/pts, /dev/shm.
fn system(root: &Root, isolation: &Isolation, task: &Task) -> Result<(), Refusal> {
    let mounted = |what: &'static str| move |source| Refusal::call("mount", what, source);
    let proc = if isolation.processes { fresh("proc", &[]) } else { existing(Path::new("/proc")) };
    attach(proc.map_err(mounted("/proc"))?, root.directory("proc")?).map_err(mounted("/proc"))?;
    let sys = sysfs(isolation.own_network(task.network)).map_err(mounted("/sys"))?;
    attach(sys, root.directory("sys")?).map_err(mounted("/sys"))?;
    let dev = root.directory("dev")?;
    devices::mount(std::os::fd::AsFd::as_fd(&dev)).map_err(mounted("/dev"))?;
    Ok(())
}

/// sysfs(5) shows a network namespace's devices, and wants that namespace to be one's own.
fn sysfs(own_network: bool) -> io::Result<std::os::fd::OwnedFd> {
    let sys = match own_network.then(|| fresh("sysfs", &[])) {
        Some(Ok(sys)) => sys,
        _ => existing(Path::new("/sys"))?,
    };
    make_read_only(std::os::fd::AsFd::as_fd(&sys))?;
    Ok(sys)
}

/// pivot_root(2), "pivot_root(".", ".")": the old root is stacked under the new one, and
/// unmounted.
fn pivot(root: &Root) -> io::Result<()> {
    fchdir(root.descriptor())?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}
