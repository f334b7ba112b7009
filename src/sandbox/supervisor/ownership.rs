//! Reading and writing the owners of open files in the record.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::io::Errno;

use crate::sandbox::owners::{self, Inode, Inodes};
use crate::sandbox::record::{DeviceNumber, Owner};

/// The record, as far as a supervisor uses it. Its thread works in `/proc`.
pub(super) struct Ownership {
    inodes: Inodes,
}

/// The name of an open file for calls that take only paths, where the working directory
/// is `/proc`: xattr calls refuse descriptors that can't read.
pub(super) fn name(file: impl AsFd) -> PathBuf {
    PathBuf::from(format!("self/fd/{}", file.as_fd().as_raw_fd()))
}

impl Ownership {
    pub(super) fn new(inodes: Inodes) -> Self {
        Self { inodes }
    }

    /// Who owns `file`; none if there is no record: root, or whoever the kernel says.
    pub(super) fn owner(&self, file: impl AsFd) -> Result<Option<Owner>, Errno> {
        match owners::owner_of(&name(&file))? {
            None if !self.inodes.is_empty() => Ok(self.inodes.get(&inode(file)?)),
            owner => Ok(owner),
        }
    }

    /// The device that `file` stands for, if it does.
    pub(super) fn device(&self, file: impl AsFd) -> Result<Option<DeviceNumber>, Errno> {
        owners::device_of(&name(file))
    }

    /// Gives `file` to `owner`.
    pub(super) fn give(&mut self, file: impl AsFd, owner: Owner) -> Result<(), Errno> {
        if owners::set_owner_of(&name(&file), owner)? {
            return Ok(());
        }
        self.inodes.set(inode(file)?, owner).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

fn inode(file: impl AsFd) -> Result<Inode, Errno> {
    Ok(Inode::of(&rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, Inode::STATX)?))
}

/// The kind of `file`, and its permission bits.
pub(super) fn kind_and_mode(file: impl AsFd) -> Result<(FileType, u32), Errno> {
    let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE | StatxFlags::MODE)?;
    let mode = u32::from(stat.stx_mode);
    Ok((FileType::from_raw_mode(mode), mode & 0o7777))
}
