//! Making each kind of file with its owner, mode, time and attributes.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::root::{ByPath, Directory, Pending, Root};
use crate::layer::read::{Archive, Entry};
use crate::sandbox::record::{DEVICE, DeviceNumber, KEPT_XATTRS, OPAQUE, OURS, OVERLAY, OWNER, Owner, XATTR};

/// How much of a file is read at a time, in bytes.
const CHUNK: usize = 128 << 10;

/// Which side of a copy failed.
pub(super) enum Failed {
    Read(io::Error),
    Write(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<Errno> for Failed {
    fn from(error: Errno) -> Self {
        Self::Write(error.into())
    }
}

impl Root {
    /// Takes away what is there under a name that an entry that is no directory gets.
    fn make_room(&mut self, parent: &Directory, name: &[u8]) -> io::Result<()> {
        match rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => self.discard(parent, name)?,
            Ok(_) => {
                self.forget();
                rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty())?;
            }
        }
        self.content.entries += 1;
        self.named.insert((parent.inode, name.to_owned()));
        Ok(())
    }

    /// A regular file.
    pub(super) fn file(
        &mut self,
        parent: &Directory,
        name: &[u8],
        entry: &Entry,
        archive: &mut Archive<&mut dyn Read>,
    ) -> Result<(), Failed> {
        let file = self.empty_file(parent, name)?;
        let mut content = archive.reader(entry.size);
        let mut buffer = vec![0; CHUNK.min(usize::try_from(entry.size).unwrap_or(CHUNK))];
        let mut left = entry.size;
        let (mut file, mut sum) = (std::fs::File::from(file), crc32fast::Hasher::new());
        while left > 0 {
            let count = match content.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count.map_err(Failed::Read)?,
            };
            io::Write::write_all(&mut file, &buffer[..count])?;
            sum.update(&buffer[..count]);
            left -= count as u64;
        }
        self.content.bytes += entry.size;
        self.sums.insert(rustix::fs::fstat(&file)?.st_ino, sum.finalize());
        Ok(dress(&file, entry)?)
    }

    fn empty_file(&mut self, parent: &Directory, name: &[u8]) -> io::Result<OwnedFd> {
        self.make_room(parent, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&parent.fd, name, flags, Mode::RUSR | Mode::WUSR)?)
    }

    /// A device, for which an empty file stands: one uid may make none, and a character
    /// device 0/0 would be a whiteout.
    pub(super) fn device(&mut self, parent: &Directory, name: &[u8], entry: &Entry, block: bool) -> io::Result<()> {
        let (major, minor) = entry.device;
        let file = self.empty_file(parent, name)?;
        // the inode may have been another file's before
        self.sums.remove(&rustix::fs::fstat(&file)?.st_ino);
        let number = DeviceNumber { block, major, minor }.value();
        rustix::fs::fsetxattr(&file, DEVICE, number.as_bytes(), XattrFlags::empty())?;
        dress(&file, entry)
    }

    /// A FIFO.
    pub(super) fn fifo(&mut self, parent: &Directory, name: &[u8], entry: &Entry) -> io::Result<()> {
        self.make_room(parent, name)?;
        rustix::fs::mknodat(&parent.fd, name, FileType::Fifo, Mode::empty(), 0)?;
        // It is ours and new: no link is followed here.
        rustix::fs::chmodat(&parent.fd, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
        self.without_xattrs(parent, name, entry)
    }

    /// A symbolic link.
    pub(super) fn symlink(&mut self, parent: &Directory, name: &[u8], entry: &Entry) -> io::Result<()> {
        self.make_room(parent, name)?;
        self.forget();
        rustix::fs::symlinkat(&entry.target[..], &parent.fd, name)?;
        self.without_xattrs(parent, name, entry)
    }

    /// The time and owner of what can't have a user xattr.
    fn without_xattrs(&mut self, parent: &Directory, name: &[u8], entry: &Entry) -> io::Result<()> {
        rustix::fs::utimensat(&parent.fd, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
        self.note_by_path(parent, name, owner(entry))
    }

    fn note_by_path(&mut self, parent: &Directory, name: &[u8], owner: Owner) -> io::Result<()> {
        if owner == Owner::ROOT {
            return Ok(());
        }
        let inode = rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW)?.st_ino;
        self.by_path.insert(self.real_path(parent, name)?, ByPath { inode, owner });
        Ok(())
    }

    /// Another name of `target_name` in `target`. `NOENT`, `ISDIR` and `LOOP` say that it is
    /// not there, a directory, or the link itself.
    pub(super) fn hard_link(
        &mut self,
        parent: &Directory,
        name: &[u8],
        target: &Directory,
        target_name: &[u8],
    ) -> io::Result<()> {
        let stat = rustix::fs::statat(&target.fd, target_name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(Errno::ISDIR.into());
        }
        if self.is_whiteout(target, target_name)? {
            return Err(Errno::NOENT.into());
        }
        if parent.inode == target.inode && name == target_name {
            return Err(Errno::LOOP.into());
        }
        let owner = self.by_path.values().find(|known| known.inode == stat.st_ino).map(|known| known.owner);
        self.make_room(parent, name)?;
        rustix::fs::linkat(&target.fd, target_name, &parent.fd, name, AtFlags::empty())?;
        self.note_by_path(parent, name, owner.unwrap_or_default())
    }

    /// A directory, which may be there already.
    pub(super) fn directory(&mut self, parent: &Directory, name: &[u8], path: &[u8], entry: &Entry) -> io::Result<()> {
        let there = match rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => None,
            stat => Some(stat?),
        };
        let is_there = there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if !is_there {
            let hides = there.is_some() && self.under.is_some();
            self.make_room(parent, name)?;
            rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU)?;
            if hides {
                // In place of a whiteout of this layer: what is below stays hidden.
                self.make_opaque(&Directory::below(parent, name)?)?;
            }
        }
        self.named.insert((parent.inode, name.to_owned()));
        self.dress_directory(&Directory::below(parent, name)?, path, entry)
    }

    /// Gives a directory what its entry says; mode and time when all is in it.
    pub(super) fn dress_directory(&mut self, directory: &Directory, path: &[u8], entry: &Entry) -> io::Result<()> {
        strip(&directory.fd)?;
        set_xattrs(&directory.fd, entry)?;
        let pending = Pending { path: path.to_owned(), mode: entry.mode, mtime: entry.mtime };
        self.pending.insert(directory.inode, pending);
        Ok(())
    }

    /// Gives a directory that an overlay's layer has, but does not name, what the one
    /// below it has: an overlay shows the upper one's mode and owner.
    pub(super) fn like_under(&mut self, directory: &Directory, path: &[u8]) -> io::Result<()> {
        let Some(under) = &self.under else { return Ok(()) };
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        for lower in under {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let found = match rustix::fs::openat2(lower, path, flags, Mode::empty(), resolve) {
                Err(Errno::NOENT) => continue,
                // a whiteout: nothing that is further below can be seen
                Err(Errno::NOTDIR) => return Ok(()),
                found => found?,
            };
            for (name, value) in xattrs(&found)? {
                if name.starts_with(b"user.") && !name.starts_with(OVERLAY.as_bytes()) {
                    rustix::fs::fsetxattr(&directory.fd, &name[..], &value, XattrFlags::empty())?;
                }
            }
            let stat = rustix::fs::fstat(&found)?;
            if let Some(pending) = self.pending.get_mut(&directory.inode) {
                pending.mode = stat.st_mode & 0o7777;
                pending.mtime = (stat.st_mtime, stat.st_mtime_nsec as u32);
            }
            return Ok(());
        }
        Ok(())
    }
}

/// Gives a file its attributes, mode and time, in this order: writing takes set-user-ID away.
fn dress(file: &impl AsFd, entry: &Entry) -> io::Result<()> {
    set_xattrs(file, entry)?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
    Ok(rustix::fs::futimens(file, &times(entry.mtime))?)
}

fn owner(entry: &Entry) -> Owner {
    Owner { uid: entry.uid, gid: entry.gid }
}

fn set_xattrs(file: &impl AsFd, entry: &Entry) -> io::Result<()> {
    let set = |name: &[u8], value: &[u8]| rustix::fs::fsetxattr(file, name, value, XattrFlags::empty());
    if owner(entry) != Owner::ROOT {
        set(OWNER.as_bytes(), owner(entry).value().as_bytes())?;
    }
    for (name, value) in &entry.xattrs {
        if KEPT_XATTRS.iter().any(|kept| kept.as_bytes() == name) {
            set(&[XATTR.as_bytes(), name].concat(), value)?;
        } else if name.starts_with(b"user.") && !is_ours(name) {
            set(name, value)?;
        }
    }
    Ok(())
}

/// Whether an attribute would be taken for one of dlpack's or of overlayfs's.
fn is_ours(name: &[u8]) -> bool {
    name.starts_with(OURS.as_bytes()) || name.starts_with(OVERLAY.as_bytes())
}

/// Takes away what an earlier layer gave a directory.
fn strip(directory: &OwnedFd) -> io::Result<()> {
    for (name, _) in xattrs(directory)? {
        if name.starts_with(b"user.") && name != OPAQUE.as_bytes() {
            rustix::fs::fremovexattr(directory, &name[..])?;
        }
    }
    Ok(())
}

/// The attributes of an open file.
fn xattrs(file: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; rustix::fs::flistxattr_query(file)?];
    let length = rustix::fs::flistxattr(file, &mut names[..])?;
    let mut attributes = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; rustix::fs::fgetxattr_query(file, name)?];
        let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
        value.truncate(length);
        attributes.push((name.to_owned(), value));
    }
    Ok(attributes)
}

/// The latest time that ext4 can keep, in seconds since 1970.
const LATEST: i64 = (1 << 34) - 1;

pub(super) fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds.clamp(0, LATEST), tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
