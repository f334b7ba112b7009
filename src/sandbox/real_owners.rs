//! Owners where dlpack is real root and steps give them for real: the files of a copy
//! belong to whom the record says.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::Refusal;
use super::owners::{owner_of, owners_by_path, set_owner_of};
use super::record::{KEPT_XATTRS, Owner, OwnersByPath, XATTR};

/// What the record says of an extracted layer.
pub(super) struct RealOwners {
    layer: PathBuf,
    by_path: OwnersByPath,
}

impl RealOwners {
    /// Reads what is beside `layer`.
    pub(super) fn of(layer: &Path) -> Result<Self, Refusal> {
        Ok(Self { layer: layer.to_owned(), by_path: owners_by_path(layer)? })
    }

    /// Gives `to`, which has the attributes of the layer's `from`, what is recorded of
    /// that, and takes the record off it.
    pub(super) fn give(&self, from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
        if !metadata.is_file() && !metadata.is_dir() {
            let path = from.strip_prefix(&self.layer).map(|path| path.as_os_str().as_bytes());
            let owner = path.ok().and_then(|path| self.by_path.get(path)).copied().unwrap_or(Owner::ROOT);
            return lchown(to, Some(owner.uid), Some(owner.gid));
        }
        // root's are given too: a directory with S_ISGID would pass on its group
        let owner = owner_of(to)?.unwrap_or(Owner::ROOT);
        lchown(to, Some(owner.uid), Some(owner.gid))?;
        set_owner_of(to, Owner::ROOT)?;
        // capabilities(7): chown(2) clears them, so they come after it
        KEPT_XATTRS.iter().try_for_each(|name| keep(to, name))?;
        // chown(2): "the S_ISUID and S_ISGID mode bits are cleared"
        fs::set_permissions(to, Permissions::from_mode(metadata.mode() & 0o7777))
    }
}

/// Sets the attribute `name` of `to` to what the record has for it. Where root may not set
/// it (in a container without CAP_SETFCAP), it stays in the record.
fn keep(to: &Path, name: &str) -> io::Result<()> {
    let kept = format!("{XATTR}{name}");
    let mut value = vec![0; 64 << 10];
    let length = match rustix::fs::getxattr(to, kept.as_str(), &mut value) {
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(()),
        length => length?,
    };
    match rustix::fs::setxattr(to, name, &value[..length], XattrFlags::empty()) {
        Err(Errno::PERM | Errno::NOTSUP) => Ok(()),
        set => Ok(set.and_then(|()| rustix::fs::removexattr(to, kept.as_str()))?),
    }
}
