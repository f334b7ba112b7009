//! Calls that make a file: under another uid than root's, or in a set-group-ID directory
//! of another group, the supervisor makes it, and records whose it is. Otherwise the
//! kernel does, as ever.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;
use rustix::process::umask;

use super::call::{CREATES, Call};
use super::capabilities::capability;
use super::ownership::{kind_and_mode, name};
use super::places::{At, LINKS, Places};
use super::tracee::Tracee;
use super::{Answer, Supervisor};
use crate::sandbox::record::{DEVICE, DeviceNumber, Owner};
use crate::sandbox::sys::seccomp;

/// open(2): flags that are the same on all three architectures; of `O_TMPFILE` the bit
/// that is its own.
const O_CLOEXEC: u64 = 0o2_000_000;
const O_PATH: u64 = 0o10_000_000;
const TMPFILE: u64 = 0o20_000_000;

/// What is made.
enum Make {
    File { flags: u64, mode: u32 },
    Directory { mode: u32 },
    Symlink { target: CString },
    Node { mode: u32, device: u32 },
}

impl Supervisor {
    /// open(2), mkdir(2), symlink(2), mknod(2) and their families.
    pub(super) fn create(&mut self, tracee: &Tracee<'_>, call: Call) -> Result<Answer, Errno> {
        let cwd = libc::AT_FDCWD;
        let arguments = &tracee.args;
        let mut resolve = ResolveFlags::empty();
        let (dirfd, path, make) = match call {
            Call::Open => (cwd, arguments[0], file(arguments[1], arguments[2])),
            Call::Creat => (cwd, arguments[0], file(0o1101, arguments[1])),
            Call::Openat => (tracee.int(0), arguments[1], file(arguments[2], arguments[3])),
            Call::Openat2 => {
                let (make, wanted) = how(tracee)?;
                resolve = wanted;
                (tracee.int(0), arguments[1], make)
            }
            Call::Mkdir => (cwd, arguments[0], Make::Directory { mode: tracee.unsigned(1) }),
            Call::Mkdirat => (tracee.int(0), arguments[1], Make::Directory { mode: tracee.unsigned(2) }),
            Call::Symlink => (cwd, arguments[1], Make::Symlink { target: tracee.path(arguments[0])? }),
            Call::Symlinkat => (tracee.int(1), arguments[2], Make::Symlink { target: tracee.path(arguments[0])? }),
            Call::Mknod => (cwd, arguments[0], Make::Node { mode: tracee.unsigned(1), device: tracee.unsigned(2) }),
            Call::Mknodat => {
                (tracee.int(0), arguments[1], Make::Node { mode: tracee.unsigned(2), device: tracee.unsigned(3) })
            }
            _ => return Err(Errno::NOSYS),
        };
        let mut path = tracee.path(path)?;
        if matches!(make, Make::Directory { .. }) {
            path = without_slashes(path)?;
        }
        let at = At { dirfd, path: &path, follow: true, resolve };
        match make {
            // openat2(2) without O_CREAT; and "O_PATH … other flag bits … are ignored"
            Make::File { flags, .. } if flags & u64::from(CREATES) == 0 || flags & O_PATH != 0 => Ok(Answer::Continue),
            Make::File { flags, mode } if flags & TMPFILE != 0 => self.temporary_file(tracee, at, flags, mode),
            make => self.make(tracee, at, &make),
        }
    }

    /// Whose a new file in `directory` is, if not root's. path_resolution(7) and
    /// inode(7): the filesystem uid's, and the filesystem gid's or, in a set-group-ID
    /// directory, the directory's group's.
    fn heir(&self, tracee: &Tracee<'_>, directory: &OwnedFd) -> Result<Owner, Errno> {
        let credentials = self.processes.credentials(tracee.pid)?;
        let (uid, mut gid) = (credentials.uid.filesystem, credentials.gid.filesystem);
        let (_, mode) = kind_and_mode(directory)?;
        if mode & libc::S_ISGID != 0 {
            gid = self.ownership.owner(directory)?.unwrap_or_default().gid;
        }
        Ok(Owner { uid, gid })
    }

    fn make(&mut self, tracee: &Tracee<'_>, at: At<'_>, make: &Make) -> Result<Answer, Errno> {
        // where nothing can be made, the kernel says why
        let Ok(Some((mut directory, mut name))) = self.places.parent(tracee, at) else { return Ok(Answer::Continue) };
        for _ in 0..LINKS {
            let owner = self.heir(tracee, &directory)?;
            if owner == Owner::ROOT && !make.is_device() {
                return Ok(Answer::Continue);
            }
            if make.is_device() && !self.processes.credentials(tracee.pid)?.may(capability::MKNOD) {
                return Err(Errno::PERM);
            }
            let _umask = Umask::of(tracee)?;
            match make.within(&directory, &name) {
                Ok(Some(file)) => {
                    self.ownership.give(&file, owner)?;
                    return hand_over(tracee, &file, make);
                }
                Ok(None) => {
                    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let file = rustix::fs::openat(&directory, &name, flags, Mode::empty())?;
                    self.ownership.give(&file, owner)?;
                    return Ok(Answer::Value(0));
                }
                // there is something: open(2) follows a symbolic link that leads nowhere
                // yet, and opens what it leads to
                Err(Errno::EXIST) if make.opens_what_is_there() => {
                    if !at.resolve.is_empty() {
                        return Ok(Answer::Continue);
                    }
                    let Ok(target) = rustix::fs::readlinkat(&directory, &name, Vec::new()) else {
                        return Ok(Answer::Continue);
                    };
                    let at = At { path: &target, ..at };
                    match Places::parent_from(tracee, directory.as_fd(), at)? {
                        Some(next) => (directory, name) = next,
                        None => return Ok(Answer::Continue),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Errno::LOOP)
    }

    /// open(2) `O_TMPFILE`: the path is the directory.
    fn temporary_file(&mut self, tracee: &Tracee<'_>, at: At<'_>, flags: u64, mode: u32) -> Result<Answer, Errno> {
        let directory = self.places.open(tracee, at)?;
        let owner = self.heir(tracee, &directory)?;
        if owner == Owner::ROOT {
            return Ok(Answer::Continue);
        }
        let _umask = Umask::of(tracee)?;
        let open = OFlags::from_bits_retain(flags as u32) | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::openat(&directory, ".", open, Mode::from_raw_mode(mode & 0o7777))?;
        self.ownership.give(&file, owner)?;
        hand_over(tracee, &file, &Make::File { flags, mode })
    }
}

impl Make {
    fn is_device(&self) -> bool {
        matches!(self, Self::Node { mode, .. } if matches!(mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK))
    }

    /// Whether open(2) takes a file that is there already.
    fn opens_what_is_there(&self) -> bool {
        matches!(self, Self::File { flags, .. } if flags & 0o200 == 0) // O_EXCL
    }

    /// Makes it, new, and returns the open file if it is one.
    fn within(&self, directory: &OwnedFd, name: &PathBuf) -> Result<Option<OwnedFd>, Errno> {
        match self {
            // nothing but a new regular file is opened here: a FIFO would keep everybody waiting
            Self::File { flags, mode } => {
                let always = OFlags::EXCL | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
                let flags = OFlags::from_bits_retain(*flags as u32) | always;
                rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(mode & 0o7777)).map(Some)
            }
            Self::Directory { mode } => {
                rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(mode & 0o7777)).map(|()| None)
            }
            Self::Symlink { target } => rustix::fs::symlinkat(target.as_c_str(), directory, name).map(|()| None),
            Self::Node { mode, device } if self.is_device() => {
                placeholder(directory, name, *mode, *device).map(|()| None)
            }
            // mknod(2): "Zero file type is equivalent to type S_IFREG."
            Self::Node { mode, .. } => {
                let kind = match mode & libc::S_IFMT {
                    0 => FileType::RegularFile,
                    kind => FileType::from_raw_mode(kind),
                };
                rustix::fs::mknodat(directory, name, kind, Mode::from_raw_mode(mode & 0o7777), 0).map(|()| None)
            }
        }
    }
}

/// An empty file that stands for a device, which one uid can't make.
fn placeholder(directory: &OwnedFd, path: &PathBuf, mode: u32, device: u32) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, path, flags, Mode::from_raw_mode(mode & 0o7777))?;
    // linux/kdev_t.h: new_decode_dev
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    let record = DeviceNumber { block: mode & libc::S_IFMT == libc::S_IFBLK, major, minor };
    let recorded = rustix::fs::setxattr(name(&file), DEVICE, record.value().as_bytes(), XattrFlags::empty());
    if recorded.is_err() {
        rustix::fs::unlinkat(directory, path, AtFlags::empty())?;
        return Err(Errno::PERM);
    }
    Ok(())
}

fn hand_over(tracee: &Tracee<'_>, file: &OwnedFd, make: &Make) -> Result<Answer, Errno> {
    let close_on_exec = matches!(make, Make::File { flags, .. } if flags & O_CLOEXEC != 0);
    seccomp::answer_file(tracee.listener, tracee.id, file.as_fd(), close_on_exec)?;
    Ok(Answer::Given)
}

fn file(flags: u64, mode: u64) -> Make {
    // `int flags`: the upper half of the register means nothing
    Make::File { flags: flags & 0xffff_ffff, mode: mode as u32 }
}

/// openat2(2)'s `struct open_how`, and its size.
fn how(tracee: &Tracee<'_>) -> Result<(Make, ResolveFlags), Errno> {
    if tracee.args[3] < 24 {
        return Err(Errno::INVAL);
    }
    let how = tracee.read::<24>(tracee.args[2])?;
    let field = |n: usize| u64::from_ne_bytes(std::array::from_fn(|byte| how[8 * n + byte]));
    Ok((Make::File { flags: field(0), mode: field(1) as u32 }, ResolveFlags::from_bits_retain(field(2))))
}

/// A directory may be made under a name with slashes at its end.
fn without_slashes(path: CString) -> Result<CString, Errno> {
    let bytes = path.to_bytes();
    match bytes.iter().rposition(|byte| *byte != b'/') {
        Some(last) if last + 1 < bytes.len() => CString::new(&bytes[..=last]).map_err(|_| Errno::INVAL),
        _ => Ok(path),
    }
}

/// The umask of a process, on this thread, until it is dropped.
struct Umask(Mode);

impl Umask {
    fn of(tracee: &Tracee<'_>) -> Result<Self, Errno> {
        Ok(Self(umask(tracee.umask()?)))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.0);
    }
}
