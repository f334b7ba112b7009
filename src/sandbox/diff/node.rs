//! One file as a container would see it: kind, mode, owner and attributes.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{ByPath, DIRECTORY};
use crate::sandbox::record::{DEVICE, DeviceNumber, OPAQUE, OURS, OVERLAY, OWNER, Owner, XATTR};

const CAPABILITY: &str = "security.capability";

/// A file as a container would see it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: Owner,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Filesystem and inode.
    pub(super) inode: (u64, u64),
}

#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    Directory { opaque: bool },
    File { size: u64 },
    Symlink { target: Vec<u8> },
    Fifo,
    Device(DeviceNumber),
}

impl Node {
    /// What is called `name` in `directory`, and lies at `path`. Nothing for a whiteout;
    /// nothing for a socket, which no layer can have. Without `owners` it is its owner's on
    /// this machine.
    ///
    /// # Errors
    /// [`Errno::NOENT`] if there is nothing.
    pub(super) fn read(
        directory: &impl AsFd,
        name: &[u8],
        path: &[u8],
        owners: Option<&ByPath<'_>>,
    ) -> io::Result<Option<Self>> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mut attributes = BTreeMap::new();
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                attributes = xattrs(&rustix::fs::openat(directory, name, DIRECTORY, Mode::empty())?)?;
                Kind::Directory { opaque: attributes.get(OPAQUE.as_bytes()).is_some_and(|value| value == b"y") }
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                attributes = xattrs(&rustix::fs::openat(directory, name, flags, Mode::empty())?)?;
                match attributes.get(DEVICE.as_bytes()).and_then(|value| DeviceNumber::parse(value)) {
                    Some(number) => Kind::Device(number),
                    None => Kind::File { size: stat.st_size as u64 },
                }
            }
            FileType::Symlink => {
                Kind::Symlink { target: rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes() }
            }
            FileType::Fifo => Kind::Fifo,
            // overlayfs: "A whiteout is created as a character device with 0/0 device number"
            FileType::CharacterDevice if stat.st_rdev == 0 => return Ok(None),
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => Kind::Device(DeviceNumber {
                block: kind == FileType::BlockDevice,
                major: rustix::fs::major(stat.st_rdev),
                minor: rustix::fs::minor(stat.st_rdev),
            }),
            _ => return Ok(None),
        };
        let owner = match (owners, attributes.get(OWNER.as_bytes())) {
            (None, _) => Owner { uid: stat.st_uid, gid: stat.st_gid },
            (Some(_), Some(value)) => Owner::parse(value).unwrap_or_default(),
            (Some(owners), None) if matches!(kind, Kind::Symlink { .. } | Kind::Fifo | Kind::Device(_)) => {
                owners(path)?.unwrap_or_default()
            }
            (Some(_), None) => Owner::ROOT,
        };
        let mode = if matches!(kind, Kind::Symlink { .. }) { 0o777 } else { stat.st_mode & 0o7777 };
        let xattrs = visible(attributes);
        Ok(Some(Self { kind, mode, owner, xattrs, inode: (stat.st_dev, stat.st_ino) }))
    }

    /// Whether a container would see the same, but for a file's content and what is in a
    /// directory.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        let same_kind = match (&self.kind, &other.kind) {
            (Kind::Directory { .. }, Kind::Directory { .. }) => true,
            (a, b) => a == b,
        };
        same_kind && self.mode == other.mode && self.owner == other.owner && self.xattrs == other.xattrs
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }
}

/// The attributes that belong into a layer: the image's own, and capabilities.
fn visible(attributes: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let kept = [XATTR.as_bytes(), CAPABILITY.as_bytes()].concat();
    let mut visible = BTreeMap::new();
    // In order of name: what is kept for a file comes last, and counts.
    for (name, value) in attributes {
        if name == CAPABILITY.as_bytes() || name == kept {
            visible.insert(CAPABILITY.as_bytes().to_vec(), without_root_id(value));
        } else if name.starts_with(b"user.")
            && ![OURS, OVERLAY].iter().any(|prefix| name.starts_with(prefix.as_bytes()))
        {
            visible.insert(name, value);
        }
    }
    visible
}

/// capabilities(7): "VFS_CAP_REVISION_3" names, after what revision 2 has, the root of the
/// user namespace in which it was set. That is none of an image's business.
fn without_root_id(mut value: Vec<u8>) -> Vec<u8> {
    const REVISION: usize = 3;
    if value.len() == 24 && value[REVISION] == 3 {
        value.truncate(20);
        value[REVISION] = 2;
    }
    value
}

/// The attributes of an open file, by name.
fn xattrs(file: &OwnedFd) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut attributes = BTreeMap::new();
    let mut names = match rustix::fs::flistxattr_query(file) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(attributes),
        length => vec![0; length?],
    };
    let length = rustix::fs::flistxattr(file, &mut names[..])?;
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if !name.starts_with(b"user.") && name != CAPABILITY.as_bytes() {
            continue;
        }
        let mut value = vec![0; rustix::fs::fgetxattr_query(file, name)?];
        let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
        value.truncate(length);
        attributes.insert(name.to_owned(), value);
    }
    Ok(attributes)
}

/// The names in a directory, sorted.
pub(super) fn names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_lose_the_namespace_they_were_set_in() {
        let bits: Vec<u8> = (0..16).collect();
        let v3 = [&[1, 0, 0, 3], &bits[..], &[0xe8, 3, 0, 0]].concat();
        let v2 = [&[1, 0, 0, 2], &bits[..]].concat();
        assert_eq!(without_root_id(v3), v2);
        assert_eq!(without_root_id(v2.clone()), v2);
        assert_eq!(without_root_id(vec![3; 4]), [3; 4]);
    }
}
