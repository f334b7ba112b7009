//! Owners where dlpack is real root and steps give them for real: from the record to the
//! files of a copy, and back to the record for whoever reads what changed. Symbolic links
//! stay root's.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use super::Refusal;
use super::owners::{owner_of, set_owner_of};
use super::record::Owner;

/// Gives each file and directory under `root`, which no step is in, its recorded owner.
pub(super) fn give(root: &Path) -> Result<(), Refusal> {
    walk(root, &mut |path, metadata| {
        let Some(owner) = owner_of(path)? else { return Ok(()) };
        lchown(path, Some(owner.uid), Some(owner.gid))?;
        // chown(2): "the S_ISUID and S_ISGID mode bits are cleared"
        fs::set_permissions(path, Permissions::from_mode(metadata.mode() & 0o7777))
    })
}

/// Records the owner of each file and directory under `root`, which no step is in.
pub(super) fn record(root: &Path) -> Result<(), Refusal> {
    walk(root, &mut |path, metadata| {
        let owner = Owner { uid: metadata.uid(), gid: metadata.gid() };
        if owner_of(path)?.unwrap_or(Owner::ROOT) != owner {
            set_owner_of(path, owner)?;
        }
        Ok(())
    })
}

/// Calls `each` for `path`, and for all files and directories under it.
fn walk(path: &Path, each: &mut dyn FnMut(&Path, &Metadata) -> io::Result<()>) -> Result<(), Refusal> {
    let failed = |source| Refusal::call("read or set the owner of", path, source);
    let metadata = path.symlink_metadata().map_err(failed)?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Ok(());
    }
    each(path, &metadata).map_err(failed)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            walk(&entry.map_err(failed)?.path(), each)?;
        }
    }
    Ok(())
}
