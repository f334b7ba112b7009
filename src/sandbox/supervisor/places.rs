//! Finding the file that a path of another process names, as the kernel would find it
//! for that process: from its root, its working directory, its descriptors, and with
//! its `/proc/self`.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::tracee::Tracee;

/// path_resolution(7): the most symbolic links that are followed.
pub(super) const LINKS: usize = 40;

/// procfs(5): the inode of its root (`PROC_ROOT_INO`).
const PROC_ROOT: u64 = 1;

/// What a path starts from, and the path.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    /// The descriptor, or `AT_FDCWD`.
    pub(super) dirfd: i32,
    pub(super) path: &'a CStr,
    /// Whether a symbolic link at the end is followed.
    pub(super) follow: bool,
    /// openat2(2): how the caller wants it resolved.
    pub(super) resolve: ResolveFlags,
}

impl<'a> At<'a> {
    pub(super) fn new(dirfd: i32, path: &'a CStr, follow: bool) -> Self {
        Self { dirfd, path, follow, resolve: ResolveFlags::empty() }
    }

    fn is_absolute(&self) -> bool {
        self.path.to_bytes().starts_with(b"/")
    }
}

/// The supervisor's own place: its thread takes the root of the process whose path it
/// resolves, and its working directory stays `/proc`.
pub(super) struct Places {
    root: Root,
}

/// What tells one root from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Root {
    mount: u64,
    inode: u64,
}

impl Places {
    /// Makes `/proc` the working directory of this thread, which shares neither that nor
    /// its root with others.
    pub(super) fn new() -> Result<Self, Errno> {
        rustix::process::chdir("/proc")?;
        Ok(Self { root: Root::of("self")? })
    }

    /// Takes the root of `tracee` as this thread's: mostly it is already.
    fn enter(&mut self, tracee: &Tracee<'_>) -> Result<(), Errno> {
        let process = tracee.pid.to_string();
        let root = Root::of(&process)?;
        if root != self.root {
            rustix::process::chroot(format!("{process}/root"))?;
            self.root = root;
        }
        tracee.check()
    }

    /// Opens what a call names with a descriptor and a path, without the right to read
    /// or write it.
    pub(super) fn open(&mut self, tracee: &Tracee<'_>, at: At<'_>) -> Result<OwnedFd, Errno> {
        self.enter(tracee)?;
        let start = Self::start(tracee, at)?;
        Self::open_from(tracee, descriptor(&start), at)
    }

    /// What a relative path starts from; none for an absolute one.
    fn start(tracee: &Tracee<'_>, at: At<'_>) -> Result<Option<OwnedFd>, Errno> {
        if at.is_absolute() && at.resolve.is_empty() {
            Ok(None)
        } else if at.dirfd == libc::AT_FDCWD {
            tracee.working_directory().map(Some)
        } else {
            tracee.file(at.dirfd).map(Some)
        }
    }

    fn open_from(tracee: &Tracee<'_>, start: BorrowedFd<'_>, at: At<'_>) -> Result<OwnedFd, Errno> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, !at.follow);
        // openat2(2): magic links would be those of the supervisor's own /proc/self
        let resolve = at.resolve | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(start, at.path, flags, Mode::empty(), resolve) {
            Err(Errno::LOOP) if at.resolve.is_empty() => Walk::new(tracee, start, at)?.go(at),
            result => result,
        }
    }

    /// Opens the directory in which a call makes something, and gives the name there.
    /// Nothing if the path has no name at its end: the kernel says what is wrong with it.
    pub(super) fn parent(&mut self, tracee: &Tracee<'_>, at: At<'_>) -> Result<Option<(OwnedFd, PathBuf)>, Errno> {
        self.enter(tracee)?;
        let start = Self::start(tracee, at)?;
        Self::parent_from(tracee, descriptor(&start), at)
    }

    /// As [`Places::parent`], from a directory that is open already, for the target of a
    /// symbolic link in it.
    pub(super) fn parent_from(
        tracee: &Tracee<'_>,
        start: BorrowedFd<'_>,
        at: At<'_>,
    ) -> Result<Option<(OwnedFd, PathBuf)>, Errno> {
        let path = at.path.to_bytes();
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..=slash], &path[slash + 1..]),
            None => (&b"."[..], path),
        };
        if matches!(name, b"" | b"." | b"..") {
            return Ok(None);
        }
        let name = PathBuf::from(std::ffi::OsStr::from_bytes(name));
        let parent = std::ffi::CString::new(parent).map_err(|_| Errno::INVAL)?;
        let at = At { path: &parent, follow: true, ..at };
        Ok(Some((Self::open_from(tracee, start, at)?, name)))
    }
}

impl Root {
    fn of(process: &str) -> Result<Self, Errno> {
        let stat =
            rustix::fs::statx(CWD, format!("{process}/root"), AtFlags::empty(), StatxFlags::INO | StatxFlags::MNT_ID)?;
        Ok(Self { mount: stat.stx_mnt_id, inode: stat.stx_ino })
    }
}

/// path_resolution(7), a name at a time: for paths that lead through a magic link such
/// as `/proc/self/fd/1`, where `self` must be the caller.
struct Walk<'a> {
    tracee: &'a Tracee<'a>,
    current: OwnedFd,
    links: usize,
}

impl<'a> Walk<'a> {
    fn new(tracee: &'a Tracee<'a>, start: BorrowedFd<'_>, at: At<'_>) -> Result<Self, Errno> {
        let current =
            if at.is_absolute() { directory(CWD, "/")? } else { start.try_clone_to_owned().map_err(errno)? };
        Ok(Self { tracee, current, links: 0 })
    }

    fn go(mut self, at: At<'_>) -> Result<OwnedFd, Errno> {
        let mut names = names(at.path.to_bytes());
        while let Some(name) = names.pop_front() {
            let follow = at.follow || !names.is_empty();
            if let Some(target) = self.step(&name, follow)? {
                if target.to_bytes().starts_with(b"/") {
                    self.current = directory(CWD, "/")?;
                }
                for name in self::names(target.to_bytes()).into_iter().rev() {
                    names.push_front(name);
                }
            }
        }
        Ok(self.current)
    }

    /// Goes to `name`, or returns the target of the symbolic link that it is.
    fn step(&mut self, name: &[u8], follow: bool) -> Result<Option<std::ffi::CString>, Errno> {
        if self.is_proc()? && matches!(name, b"self" | b"thread-self") {
            self.current = directory(&self.current, self.tracee.pid.to_string().as_str())?;
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let entry = rustix::fs::openat(&self.current, name, flags, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&entry)?.st_mode);
        if kind != FileType::Symlink || !follow {
            self.current = entry;
            return Ok(None);
        }
        self.links += 1;
        if self.links > LINKS {
            return Err(Errno::LOOP);
        }
        let link = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::openat2(&self.current, name, link, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
            // a magic link leads where no path may lead
            Err(Errno::LOOP) => {
                self.current = rustix::fs::openat(&self.current, name, link, Mode::empty())?;
                Ok(None)
            }
            _ => Ok(Some(rustix::fs::readlinkat(&entry, c"", Vec::new())?)),
        }
    }

    fn is_proc(&self) -> Result<bool, Errno> {
        let proc = rustix::fs::fstatfs(&self.current)?.f_type == rustix::fs::PROC_SUPER_MAGIC;
        Ok(proc && rustix::fs::fstat(&self.current)?.st_ino == PROC_ROOT)
    }
}

fn names(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect()
}

/// An absolute path is found from any descriptor.
fn descriptor(start: &Option<OwnedFd>) -> BorrowedFd<'_> {
    start.as_ref().map_or(CWD, AsFd::as_fd)
}

fn directory(at: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
