//! One layer's tar, entry by entry.

use std::io::{self, Read};

use rustix::io::Errno;
use tar::EntryType;

use super::ExtractError;
use super::names::{self, Named, lossy, split};
use super::root::Root;
use crate::layer::read::{Archive, Entry, ReadError};
use crate::oci::Digest;

/// How many entries a layer may have, and how long all their names may be together, in bytes.
const MAX_ENTRIES: u64 = 4_000_000;
const MAX_NAMES: usize = 128 << 20;

/// What an entry is, once its kind is known to be one that layers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Device { block: bool },
}

/// What the entries of a layer come to that have been read.
#[derive(Default)]
pub(crate) struct Tally {
    entries: u64,
    names: usize,
}

impl Tally {
    /// Counts an entry of `layer`.
    ///
    /// # Errors
    /// [`ExtractError::TooMany`].
    pub(crate) fn count(&mut self, layer: Digest, entry: &Entry) -> Result<(), ExtractError> {
        self.entries += 1;
        self.names += entry.path.len() + entry.target.len();
        if self.entries > MAX_ENTRIES {
            return Err(ExtractError::TooMany { layer, what: "entries" });
        }
        if self.names > MAX_NAMES {
            return Err(ExtractError::TooMany { layer, what: "names" });
        }
        Ok(())
    }
}

/// What an entry of `layer` is.
///
/// # Errors
/// [`ExtractError::Kind`] for one that is nothing that layers have.
pub(crate) fn kind(layer: Digest, entry: &Entry) -> Result<Kind, ExtractError> {
    let refused = |kind| ExtractError::Kind { layer, path: lossy(&entry.path), kind };
    if entry.sparse {
        return Err(refused("sparse file"));
    }
    Ok(match entry.kind {
        // old tars mark a directory by its slash alone
        EntryType::Regular if entry.path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => Kind::Device { block: false },
        EntryType::Block => Kind::Device { block: true },
        _ => return Err(refused("kind of its own")),
    })
}

/// What the hard link that is an entry of `layer` is another name of, relative to the root.
///
/// # Errors
/// [`ExtractError::HardLink`] for the root itself, and those of a name.
pub(crate) fn hard_link_target(layer: Digest, entry: &Entry) -> Result<Vec<u8>, ExtractError> {
    let target = names::relative(layer, &entry.target)?;
    if split(&target).1.is_empty() { Err(wrong_hard_link(layer, entry, "is the root")) } else { Ok(target) }
}

/// Says `what` is wrong with what a hard link leads to.
pub(crate) fn wrong_hard_link(layer: Digest, entry: &Entry, what: &'static str) -> ExtractError {
    ExtractError::HardLink { layer, path: lossy(&entry.path), target: lossy(&entry.target), what }
}

/// Applies the tar of `layer`, up to its last entry.
pub(super) fn apply(layer: Digest, archive: &mut Archive<&mut dyn Read>, root: &mut Root) -> Result<(), ExtractError> {
    let invalid = |source| ReadError::Tar { layer, source };
    let mut tally = Tally::default();
    while let Some(entry) = archive.next_entry().map_err(invalid)? {
        tally.count(layer, &entry)?;
        let mut step = Step { layer, root, entry: &entry };
        match names::read(layer, &entry.path)? {
            Named::Aufs => {}
            Named::Whiteout(path) => step.white_out(&path)?,
            Named::Opaque(path) => step.make_opaque(&path)?,
            Named::Root => step.change_root()?,
            Named::Path(path) => step.make(&path, archive)?,
        }
    }
    Ok(())
}

/// One entry on its way into the tree.
struct Step<'a> {
    layer: Digest,
    root: &'a mut Root,
    entry: &'a Entry,
}

impl Step<'_> {
    fn change_root(&mut self) -> Result<(), ExtractError> {
        let kind = match kind(self.layer, self.entry)? {
            Kind::Directory => {
                let top = self.root.top.clone();
                return self.root.dress_directory(&top, b"", self.entry).map_err(self.cannot("change"));
            }
            Kind::Symlink => "symbolic link",
            Kind::HardLink => "hard link",
            Kind::File => "file",
            Kind::Fifo | Kind::Device { .. } => "device",
        };
        Err(ExtractError::Root { layer: self.layer, kind })
    }

    fn white_out(&mut self, path: &[u8]) -> Result<(), ExtractError> {
        let (parent, name) = split(path);
        // In an overlay's layer a whiteout must stand somewhere; in a flattened one it has no effect on nothing.
        let found = if self.root.under.is_some() { self.root.make_up_to(parent) } else { self.root.look_up(parent) };
        match found {
            Ok(parent) => self.root.white_out(&parent, name).map_err(self.cannot("remove")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.parent(error)),
        }
    }

    fn make_opaque(&mut self, path: &[u8]) -> Result<(), ExtractError> {
        let found = if self.root.under.is_some() { self.root.make_up_to(path) } else { self.root.look_up(path) };
        match found {
            Ok(directory) => self.root.make_opaque(&directory).map_err(self.cannot("empty")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.parent(error)),
        }
    }

    fn make(&mut self, path: &[u8], archive: &mut Archive<&mut dyn Read>) -> Result<(), ExtractError> {
        let kind = kind(self.layer, self.entry)?;
        let (parent, name) = split(path);
        let parent = self.root.make_up_to(parent).map_err(|error| self.parent(error))?;
        let made = match kind {
            Kind::File => {
                return self.root.file(&parent, name, self.entry, archive).map_err(|failed| match failed {
                    super::kinds::Failed::Read(error) => {
                        let source = crate::layer::read::InvalidTar::Io { at: archive.position(), source: error };
                        ReadError::Tar { layer: self.layer, source }.into()
                    }
                    super::kinds::Failed::Write(error) => self.cannot("write")(error),
                });
            }
            Kind::HardLink => return self.hard_link(&parent, name),
            Kind::Directory => self.root.directory(&parent, name, path, self.entry),
            Kind::Symlink => self.root.symlink(&parent, name, self.entry),
            Kind::Fifo => self.root.fifo(&parent, name, self.entry),
            Kind::Device { block } => self.root.device(&parent, name, self.entry, block),
        };
        made.map_err(self.cannot("make"))
    }

    fn hard_link(&mut self, parent: &super::root::Directory, name: &[u8]) -> Result<(), ExtractError> {
        let wrong = |what| wrong_hard_link(self.layer, self.entry, what);
        let target = hard_link_target(self.layer, self.entry)?;
        let (target_parent, target_name) = split(&target);
        // The layer's file may be a copy that an overlay's layer has not: only what is in it can be linked to.
        let target_parent = self.root.look_up(target_parent).map_err(|_| wrong("is not there"))?;
        match self.root.hard_link(parent, name, &target_parent, target_name) {
            Ok(()) => Ok(()),
            Err(error) => Err(match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => wrong("is not there"),
                Some(Errno::ISDIR) => wrong("is a directory"),
                Some(Errno::LOOP) => wrong("is itself"),
                _ => self.cannot("link")(error),
            }),
        }
    }

    fn cannot(&self, doing: &'static str) -> impl Fn(io::Error) -> ExtractError + use<> {
        let (path, layer) = (lossy(&self.entry.path), self.layer);
        move |source| ExtractError::Entry { doing, path: path.clone(), layer, source }
    }

    /// What is wrong with the way to the entry.
    fn parent(&self, source: io::Error) -> ExtractError {
        let path = lossy(&self.entry.path);
        match Errno::from_io_error(&source) {
            Some(Errno::NOTDIR | Errno::LOOP | Errno::EXIST | Errno::NOENT) => {
                ExtractError::Parent { layer: self.layer, path, source }
            }
            Some(Errno::NAMETOOLONG) => ExtractError::Name { layer: self.layer, path },
            _ => ExtractError::Entry { doing: "make", path, layer: self.layer, source },
        }
    }
}
