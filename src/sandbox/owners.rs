//! Owners of what can't carry an extended attribute of its own: symbolic links, FIFOs,
//! sockets, devices of the host, and anything on a filesystem without user attributes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, XattrFlags};
use rustix::io::Errno;

use super::Refusal;
use super::extract::owners_beside;
use super::record::{DEVICE, DeviceNumber, OWNER, Owner, OwnersByPath, read_by_path};

/// The owner in the attributes of the file or directory at `path`, symbolic links
/// followed; none if it has none, or is of a kind that can't have one.
pub(super) fn owner_of(path: &Path) -> Result<Option<Owner>, Errno> {
    Ok(attribute(path, OWNER)?.as_deref().and_then(Owner::parse))
}

/// The device that the file at `path` stands for, if it does, symbolic links followed.
pub(super) fn device_of(path: &Path) -> Result<Option<DeviceNumber>, Errno> {
    Ok(attribute(path, DEVICE)?.as_deref().and_then(DeviceNumber::parse))
}

/// Writes the owner into the attributes of what is at `path`, symbolic links followed.
/// False if it can't have any.
pub(super) fn set_owner_of(path: &Path, owner: Owner) -> Result<bool, Errno> {
    let result = match owner {
        Owner::ROOT => rustix::fs::removexattr(path, OWNER),
        owner => rustix::fs::setxattr(path, OWNER, owner.value().as_bytes(), XattrFlags::empty()),
    };
    match result {
        Ok(()) | Err(Errno::NODATA) => Ok(true),
        // xattr(7): user attributes are "allowed only for regular files and directories"
        Err(Errno::PERM | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A short attribute of what is at `path`, symbolic links followed.
fn attribute(path: &Path, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    // an owner is at most two 32-bit numbers and a colon, a device one letter more
    let mut value = [0; 32];
    match rustix::fs::getxattr(path, name, &mut value) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::RANGE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The owners of what can't have user attributes in the extracted layer `root`.
///
/// # Errors
/// If they can't be read.
pub(super) fn owners_by_path(root: &Path) -> Result<OwnersByPath, Refusal> {
    let path = owners_beside(root);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(OwnersByPath::new()),
        bytes => bytes.map_err(|source| Refusal::call("read", &path, source))?,
    };
    let invalid = || Refusal::call("read", &path, io::Error::from(Errno::BADMSG));
    read_by_path(&bytes).ok_or_else(invalid)
}

/// The file in a sandbox's own directory that holds the owners by inode.
pub(super) const INODES: &str = "inodes";

/// What tells an inode from all that were, or will be, on the same filesystem. The
/// number alone does not: it is given to another file when the first one is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    /// The filesystem; 0 where a time of birth is known, since an overlay's number
    /// changes with each mount.
    device: u64,
    number: u64,
    /// When it was made, in nanoseconds since 1970; 0 if the filesystem doesn't know.
    born: i128,
}

impl Inode {
    /// What must be asked of statx(2) for [`Inode::of`].
    pub(super) const STATX: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

    /// The inode of a statx(2) answer.
    pub(super) fn of(stat: &Statx) -> Self {
        let born = match StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME) {
            true => i128::from(stat.stx_btime.tv_sec) * 1_000_000_000 + i128::from(stat.stx_btime.tv_nsec),
            false => 0,
        };
        let device = u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor);
        Self { device: if born == 0 { device } else { 0 }, number: stat.stx_ino, born }
    }

    /// The same made at the same time, with the number of `other`.
    pub(super) fn numbered(self, other: Self) -> Self {
        Self { number: other.number, ..self }
    }

    /// The inode at `path`, a symlink at its end not followed.
    ///
    /// # Errors
    /// If there is nothing at `path`.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, Self::STATX)?))
    }
}

/// The owners by inode, in a file that lives as long as a sandbox: the supervisors of its
/// steps write it, and whoever reads what changed. Each change is a line at its end.
#[derive(Debug, Default)]
pub(super) struct Inodes {
    owners: HashMap<Inode, Owner>,
    journal: Option<File>,
}

impl Inodes {
    /// Reads the file at `path`, and goes on writing to it; makes it if it isn't there.
    ///
    /// # Errors
    /// If the file can't be made or read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut owners = HashMap::new();
        // a last line without its end was cut off by a kill
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            if let Some((inode, owner)) = Self::decode(line) {
                owners.insert(inode, owner);
            }
        }
        Ok(Self { owners, journal: Some(file) })
    }

    fn decode(line: &str) -> Option<(Inode, Owner)> {
        let mut fields = line.split(' ');
        let inode = Inode {
            device: fields.next()?.parse().ok()?,
            number: fields.next()?.parse().ok()?,
            born: fields.next()?.parse().ok()?,
        };
        Some((inode, Owner::parse(fields.next()?.as_bytes())?))
    }

    /// Whether it knows of no inode at all.
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// The owner of `inode`.
    pub(super) fn get(&self, inode: &Inode) -> Option<Owner> {
        self.owners.get(inode).copied().filter(|owner| *owner != Owner::ROOT)
    }

    /// Notes the owner of what is at `path`, a symbolic link at its end not followed.
    /// Nothing if it is not there.
    ///
    /// # Errors
    /// As [`Inodes::set`].
    pub(super) fn note(&mut self, path: &Path, owner: Owner) -> io::Result<()> {
        match Inode::at(path) {
            Ok(inode) => self.set(inode, owner),
            Err(_) => Ok(()),
        }
    }

    /// Notes an owner for good.
    ///
    /// # Errors
    /// If it can't be written; it is known here all the same.
    pub(super) fn set(&mut self, inode: Inode, owner: Owner) -> io::Result<()> {
        if self.owners.get(&inode).copied().unwrap_or_default() == owner {
            return Ok(());
        }
        self.owners.insert(inode, owner);
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let Inode { device, number, born } = inode;
        journal.write_all(format!("{device} {number} {born} {}\n", owner.value()).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_by_inode_outlive_the_process_and_a_line_that_was_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("inodes"), directory.path().join("link"));
        std::os::unix::fs::symlink("there", &link).unwrap();
        let inode = Inode::at(&link).unwrap();
        let mut inodes = Inodes::open(&file).unwrap();
        inodes.set(inode, Owner { uid: 5, gid: 6 }).unwrap();
        inodes.set(inode, Owner { uid: 7, gid: 8 }).unwrap();
        OpenOptions::new().append(true).open(&file).unwrap().write_all(b"1 2 3 9:").unwrap();
        assert_eq!(Inodes::open(&file).unwrap().get(&inode), Some(Owner { uid: 7, gid: 8 }));
        inodes.set(inode, Owner::ROOT).unwrap();
        assert_eq!(inodes.get(&inode), None);
    }
}
