//! What one uid can't give to a file, kept with it or beside it: the owner, a device's
//! number, capabilities. Extracting, the supervisor and the diff share this form.
//!
//! ```text
//! on files and directories, as extended attributes:
//!   user.dlpack.owner        `UID:GID`, where it is not 0:0
//!   user.dlpack.device       `c MAJOR:MINOR` or `b …`, on the empty file that stands for it
//!   user.dlpack.xattr.NAME   the attribute NAME, which only root may set
//! beside the tree, for what can't have user attributes (symbolic links, FIFOs):
//!   owners                   `UID:GID PATH` and NUL for each that is not 0:0
//! ```

use std::collections::BTreeMap;

/// The attribute that holds the owner, as `UID:GID`.
pub(super) const OWNER: &str = "user.dlpack.owner";
/// The attribute of a file that stands for a device.
pub(super) const DEVICE: &str = "user.dlpack.device";
/// What the name of an attribute that only root may set is put behind.
pub(super) const XATTR: &str = "user.dlpack.xattr.";
/// The attributes that are kept so.
pub(crate) const KEPT_XATTRS: [&str; 3] =
    ["security.capability", "system.posix_acl_access", "system.posix_acl_default"];
/// What all of dlpack's own attributes begin with.
pub(crate) const OURS: &str = "user.dlpack.";
/// What overlayfs's attributes begin with where it is mounted with `userxattr`.
pub(crate) const OVERLAY: &str = "user.overlay.";
/// overlayfs: "A directory is made opaque by setting the xattr"; `user.` with `userxattr`.
pub(super) const OPAQUE: &str = "user.overlay.opaque";
/// The file beside a tree that holds the owners by path.
pub(super) const BY_PATH: &str = "owners";

/// User and group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    /// Whose files need no record.
    pub(super) const ROOT: Self = Self { uid: 0, gid: 0 };

    /// The value of [`OWNER`].
    pub(super) fn value(self) -> String {
        format!("{}:{}", self.uid, self.gid)
    }

    /// Reads a value of [`OWNER`]; nothing if it is none.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (uid, gid) = std::str::from_utf8(value).ok()?.split_once(':')?;
        Some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    }
}

/// A device's kind and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeviceNumber {
    pub(super) block: bool,
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl DeviceNumber {
    /// The value of [`DEVICE`].
    pub(super) fn value(self) -> String {
        format!("{} {}:{}", if self.block { 'b' } else { 'c' }, self.major, self.minor)
    }

    /// Reads a value of [`DEVICE`]; nothing if it is none.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (kind, number) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        let (major, minor) = number.split_once(':')?;
        let block = match kind {
            "b" => true,
            "c" => false,
            _ => return None,
        };
        Some(Self { block, major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// The owners of what can't have user attributes, by path relative to the root.
pub(super) type OwnersByPath = BTreeMap<Vec<u8>, Owner>;

/// The content of [`BY_PATH`].
pub(super) fn write_by_path(owners: &OwnersByPath) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, owner) in owners {
        bytes.extend_from_slice(owner.value().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(path);
        bytes.push(0);
    }
    bytes
}

/// Reads the content of [`BY_PATH`]; nothing if it is none.
pub(super) fn read_by_path(bytes: &[u8]) -> Option<OwnersByPath> {
    let line = |line: &[u8]| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        Some((line[space + 1..].to_owned(), Owner::parse(&line[..space])?))
    };
    bytes.split_inclusive(|byte| *byte == 0).map(|entry| line(entry.strip_suffix(b"\0")?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let owner = Owner { uid: 101, gid: u32::MAX };
        assert_eq!(Owner::parse(owner.value().as_bytes()), Some(owner));
        let device = DeviceNumber { block: true, major: 8, minor: 1 };
        assert_eq!(DeviceNumber::parse(device.value().as_bytes()), Some(device));
        let owners = OwnersByPath::from([(b"a b\n\xff".to_vec(), owner), (b"c".to_vec(), Owner::ROOT)]);
        assert_eq!(read_by_path(&write_by_path(&owners)), Some(owners));
        assert_eq!(read_by_path(b""), Some(OwnersByPath::new()));
        for wrong in ["", "1", "1:", ":1", "a:b", "-1:0", "1:2:3"] {
            assert_eq!(Owner::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(read_by_path(b"1:2 path without an end"), None);
    }
}
