//! What a sandbox's steps changed, as a layer has it (image-spec `layer.md`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use super::Refusal;
use super::diff::{Frames, Owners, Trees};
use super::owners::{INODES, Inode, Inodes};
use super::places::BELOW;
use super::upper::{Upper, View};
use crate::layer::{self, Attributes, Device, LayerWriter};

/// A path that differs from what lies under the sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Relative to the root, without a slash at either end.
    pub path: String,
    /// What it is now.
    pub kind: ChangeKind,
    /// Its mode, and the owner that the steps gave it.
    pub attributes: Attributes,
    /// Its extended attributes, without those that the sandbox itself uses.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// A directory; an opaque one hides what lies under it.
    Directory {
        /// Whether it does.
        opaque: bool,
    },
    /// A file.
    File {
        /// Its length in bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        target: String,
    },
    /// Another name of a file that comes before it in the layer.
    HardLink {
        /// That file's path, relative to the root.
        to: String,
    },
    /// A FIFO.
    Fifo,
    /// A character or block device.
    Device {
        /// Whether it is a block device.
        block: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// The path was deleted.
    Whiteout,
}

impl Change {
    /// Whether it is a file, which has a content.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, ChangeKind::File { .. })
    }

    /// Writes it into a layer. `content` is that of a file. Returns whether it was written:
    /// a hard link is not if its file lies in another part of the layer.
    ///
    /// # Errors
    /// Those of [`LayerWriter`].
    pub fn write_to(&self, out: &mut LayerWriter, content: &mut dyn Read) -> Result<bool, layer::Error> {
        let (path, attributes) = (self.path.as_str(), self.attributes);
        out.with_xattrs(&self.xattrs);
        let written = match &self.kind {
            ChangeKind::HardLink { to } => return out.hard_link(path, attributes, to),
            ChangeKind::Directory { opaque: false } => out.directory(path, attributes),
            ChangeKind::Directory { opaque: true } => out.opaque_directory(path, attributes),
            ChangeKind::File { size } => out.stream(path, attributes, *size, content),
            ChangeKind::Symlink { target } => out.symlink(path, attributes, target),
            ChangeKind::Fifo => out.fifo(path, attributes),
            ChangeKind::Device { block, major, minor } => {
                out.device(path, attributes, Device { block: *block, major: *major, minor: *minor })
            }
            ChangeKind::Whiteout => out.whiteout(path),
        };
        written.map(|()| true)
    }
}

/// Writes what differs in `view` from what lies under it. An overlay is mounted for it, in
/// this process's mount namespace. Owners are `real` where steps were root on this machine.
pub(super) fn write(view: &View, real: bool, out: &UnixStream) -> Result<(), Refusal> {
    let (upper, whole) = match &view.upper {
        Upper::Overlay(upper) => (upper, false),
        Upper::Copy(copy) => (copy, true),
    };
    let record = view.directory.join(INODES);
    let inodes = Inodes::open(&record).map_err(|source| Refusal::call("read", record, source))?;
    // Inodes are those that steps saw.
    let seen = if whole { upper.clone() } else { view.root() };
    if !whole {
        view.mount()?;
    }
    let owner = |path: &[u8]| {
        let path = OsStr::from_bytes(path);
        let inode = Inode::at(&seen.join(path))?;
        // The step that had overlayfs copy a link or FIFO up saw it with the number that it has
        // below; a later mount, which finds no `origin` attribute on it, shows that of the copy.
        let below = view.lower.iter().rev().filter_map(|lower| Inode::at(&lower.join(path)).ok());
        let mut numbers = std::iter::once(inode).chain(below.map(|below| inode.numbered(below)));
        Ok(numbers.find_map(|inode| inodes.get(&inode)))
    };
    // The places that were made for mounts are under all else, and in no layer.
    let lower: Vec<_> = std::iter::once(view.directory.join(BELOW)).chain(view.lower.iter().cloned()).collect();
    let owners = match real {
        true => Owners::Real,
        false if inodes.is_empty() => Owners::AsBelow,
        false => Owners::Recorded(&owner),
    };
    Trees { lower: &lower, upper, whole, owners }.write(&mut Frames::new(out))
}
