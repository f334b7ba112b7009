//! A root filesystem copied from layers in overlayfs's form, for where overlayfs can't be
//! mounted. The layers are never written to, so files are copied, or share their blocks
//! where the filesystem can (copy_file_range(2)); a hard link would let a step write
//! through it. For the same reason each of a file's names gets its own copy: overlayfs too
//! breaks a link when it is written to (overlayfs.rst, "Non-standard behavior").

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, mknodat, utimensat};

use super::Refusal;
use super::real_owners::RealOwners;
use super::record::{OPAQUE, OVERLAY};

/// Copies `layers`, lowest first, over each other into the empty directory `to`. Owners stay
/// in the record, or become `real`.
pub(super) fn layers(layers: &[PathBuf], to: &Path, real: bool) -> Result<(), Refusal> {
    layers.iter().try_for_each(|layer| {
        let owners = if real { Owners::Real(RealOwners::of(layer)?) } else { Owners::InRecord };
        Copy { owners, exact: false }.directory(layer, to)
    })
}

/// Makes the directory `to` like `from`, with its owners and without what `from` has not.
pub(super) fn mirror(from: &Path, to: &Path) -> Result<(), Refusal> {
    Copy { owners: Owners::AsTheyAre, exact: true }.directory(from, to)
}

/// Whose copied files are.
enum Owners {
    /// This process', and the record, which is copied with them, says whose for a step.
    InRecord,
    /// Those whom the record says.
    Real(RealOwners),
    /// Those whose the originals are.
    AsTheyAre,
}

/// How a directory is copied.
struct Copy {
    owners: Owners,
    /// Whether what is in the copy alone is removed.
    exact: bool,
}

impl Copy {
    fn directory(&self, from: &Path, to: &Path) -> Result<(), Refusal> {
        let failed = |doing: &'static str| move |source| Refusal::call(doing, from, source);
        if is_opaque(from) {
            empty(to).map_err(failed("make way for"))?;
        }
        let entries = fs::read_dir(from).map_err(failed("read"))?;
        let names: BTreeSet<OsString> =
            entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>().map_err(failed("read"))?;
        if self.exact {
            remove_others(to, &names).map_err(|source| Refusal::call("empty", to, source))?;
        }
        for name in names {
            self.entry(&from.join(&name), &to.join(&name))?;
        }
        // after what is in it, which changes its time
        let metadata = from.symlink_metadata().map_err(failed("read"))?;
        self.attributes(from, to, &metadata).map_err(failed("copy the attributes of"))
    }

    fn entry(&self, from: &Path, to: &Path) -> Result<(), Refusal> {
        let failed = |source| Refusal::call("copy", from, source);
        let metadata = from.symlink_metadata().map_err(failed)?;
        if metadata.is_dir() {
            // what a lower layer has here may be a link that leads anywhere
            if !to.symlink_metadata().is_ok_and(|under| under.is_dir()) {
                remove(to).map_err(failed)?;
                DirBuilder::new().mode(0o700).create(to).map_err(failed)?;
            }
            return self.directory(from, to);
        }
        remove(to).map_err(failed)?;
        if is_whiteout(&metadata) {
            return Ok(());
        }
        contents(from, to, &metadata).and_then(|()| self.attributes(from, to, &metadata)).map_err(failed)
    }

    fn attributes(&self, from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
        if matches!(self.owners, Owners::AsTheyAre) {
            // before the mode: chown(2) clears S_ISUID and S_ISGID
            lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        attributes(from, to, metadata)?;
        if let Owners::Real(owners) = &self.owners { owners.give(from, to, metadata) } else { Ok(()) }
    }
}

/// overlayfs.rst: "A whiteout is created as a character device with 0/0 device number".
fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn is_opaque(directory: &Path) -> bool {
    let mut value = [0; 1];
    rustix::fs::lgetxattr(directory, OPAQUE, &mut value) == Ok(1) && value == *b"y"
}

fn contents(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if kind.is_file() {
        let mut source = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(from)?;
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        return io::copy(&mut source, &mut copy).map(drop);
    }
    let kind = FileType::from_raw_mode(metadata.mode());
    Ok(mknodat(CWD, to, kind, Mode::from_raw_mode(0o600), metadata.rdev())?)
}

/// Gives `to` the extended attributes, the mode and the time of `from`.
fn attributes(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    if !metadata.file_type().is_symlink() {
        // a directory of a layer may have those of the one under it
        for name in attribute_names(to)? {
            rustix::fs::lremovexattr(to, name.as_str())?;
        }
        for name in attribute_names(from)? {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(from, name.as_str(), &mut value)?;
            rustix::fs::lsetxattr(to, name.as_str(), &value[..length], XattrFlags::empty())?;
        }
        fs::set_permissions(to, Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    let time = Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The names of the user attributes that are not overlayfs's.
fn attribute_names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        length => length?,
    };
    let names = String::from_utf8_lossy(&names[..length]).into_owned();
    let ours = |name: &&str| name.starts_with("user.") && !name.starts_with(OVERLAY);
    Ok(names.split_terminator('\0').filter(ours).map(str::to_owned).collect())
}

/// Removes what is at `path`, if anything is, without following it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes what is in `directory`.
pub(super) fn empty(directory: &Path) -> io::Result<()> {
    remove_others(directory, &BTreeSet::new())
}

/// Removes what is in `directory` but for `names`.
fn remove_others(directory: &Path, names: &BTreeSet<OsString>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !names.contains(&entry.file_name()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}
