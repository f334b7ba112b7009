//! A step's /dev: a few devices of this machine, and its own terminals and shared memory.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, mkdirat, openat, symlinkat};

use super::mounts::{self, attach};

/// Devices that are this machine's: mknod(2) of a device is refused in a user namespace.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// Links that programs expect, as the kernel's devices.txt recommends.
pub(super) const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("ptmx", "pts/ptmx"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];

/// Mounts a /dev at `place` and returns its root. Shared memory may take `shm_size` bytes,
/// half of the machine's if not given.
pub(super) fn mount(place: BorrowedFd<'_>, shm_size: Option<u64>) -> io::Result<OwnedFd> {
    let dev = mounts::fresh("tmpfs", &[("mode", "755"), ("size", "64m")])?;
    attach(&dev, place)?;
    for name in DEVICES {
        let source = Path::new("/dev").join(name);
        if source.exists() {
            attach(mounts::existing(&source)?, file(dev.as_fd(), name)?)?;
        }
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev, name)?;
    }
    // gid=5 is not mapped
    attach(mounts::fresh("devpts", &[("ptmxmode", "666"), ("mode", "620")])?, directory(dev.as_fd(), "pts")?)?;
    let size = shm_size.map(|bytes| bytes.to_string());
    let options = [("mode", "1777")].into_iter().chain(size.as_deref().map(|size| ("size", size)));
    let shm = mounts::fresh("tmpfs", &options.collect::<Vec<_>>())?;
    attach(shm, directory(dev.as_fd(), "shm")?)?;
    let queues = directory(dev.as_fd(), "mqueue")?;
    // some kernels have none
    if let Ok(mqueue) = mounts::fresh("mqueue", &[]) {
        attach(mqueue, queues)?;
    }
    Ok(dev)
}

/// A new empty file on which something is mounted.
pub(super) fn file(under: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(openat(under, name, flags, Mode::from_raw_mode(0o644))?)
}

/// A new empty directory on which something is mounted.
pub(super) fn directory(under: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    mkdirat(under, name, Mode::from_raw_mode(0o755))?;
    Ok(openat(under, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}
