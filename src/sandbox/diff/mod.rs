//! What differs between the trees under a sandbox and what its steps left: a function of
//! what a container would see in either, and not of how it is stored. So a layer is the same
//! whether steps wrote to an overlay or to a copy, and a file that was rewritten as it
//! was is in none.

mod lower;
mod node;
mod walk;
mod wire;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use super::Refusal;
use super::changes::{Change, ChangeKind};
use super::record::Owner;

use walk::Listed;
pub(super) use wire::{Broken, Frames, receive};

/// A lookup of the owners of what can't have user attributes, by path.
pub(super) type ByPath<'a> = dyn Fn(&[u8]) -> io::Result<Option<Owner>> + 'a;

/// What is compared.
pub(super) struct Trees<'a> {
    /// What lies under the sandbox, in overlayfs's form, lowest first.
    pub lower: &'a [PathBuf],
    /// Where its steps wrote.
    pub upper: &'a Path,
    /// Whether that is all that a container would see, and not an overlay's upper directory.
    pub whole: bool,
    /// Whose the files in `upper` are.
    pub owners: Owners<'a>,
}

/// Whose files are.
#[derive(Clone, Copy)]
pub(super) enum Owners<'a> {
    /// Whom the record says; what can't have user attributes is looked up.
    Recorded(&'a ByPath<'a>),
    /// The same, and no step has recorded an owner of what can't have user attributes.
    AsBelow,
    /// Whose they are on this machine, where steps are real root.
    Real,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Trees<'_> {
    /// Tells what differs, sorted by path, each file's content with it. Of a file's names
    /// those after the first that the layer has are hard links to that one, as far as it
    /// takes them: one that is in parts has the file once in each.
    ///
    /// # Errors
    /// [`Refusal::Call`] if something can't be read, [`Refusal::Name`] for a name that is no UTF-8.
    pub(super) fn write(&self, out: &mut Frames<'_>) -> Result<(), Refusal> {
        let upper = open_tree(self.upper)?;
        let mut held = HashMap::new();
        for Listed { mut change, also } in walk::compare(self, &upper)? {
            let cannot = |path: &str| {
                let path = path.to_owned();
                move |source: io::Error| Refusal::call("read", path, source)
            };
            if let Some(to) = also.and_then(|inode| held.get(&inode)) {
                let link = ChangeKind::HardLink { to: String::clone(to) };
                let kind = std::mem::replace(&mut change.kind, link);
                if out.offer(&change, None).map_err(cannot(&change.path))? {
                    continue;
                }
                change.kind = kind;
            }
            let content = change.is_file().then(|| content(&upper, &change)).transpose();
            let content = content.map_err(cannot(&change.path))?;
            match also.filter(|_| change.is_file()) {
                Some(inode) => {
                    if out.offer(&change, content).map_err(cannot(&change.path))? {
                        held.insert(inode, change.path);
                    }
                }
                None => out.send(&change, content).map_err(cannot(&change.path))?,
            }
        }
        out.end().map_err(|source| Refusal::call("write", "the changes", source))
    }
}

fn open_tree(path: &Path) -> Result<OwnedFd, Refusal> {
    let opened = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty());
    opened.map_err(|source| Refusal::call("open", path, source))
}

fn content(upper: &impl AsFd, change: &Change) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(File::from(rustix::fs::openat2(upper, change.path.as_str(), flags, Mode::empty(), resolve)?))
}
