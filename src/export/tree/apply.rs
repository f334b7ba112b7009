//! One layer's entries over those of the layers below it.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

use super::{Bytes, Error, Id, Job, Kind, Node, ROOT, Tree};
use crate::export::Layer;
use crate::layer::Attributes;
use crate::layer::read::{self, Entry, ReadError};
use crate::oci::Digest;
use crate::sandbox::ExtractError;
use crate::sandbox::extract::apply::{self, Tally};
use crate::sandbox::extract::names::{self, Named, lossy, split};
use crate::sandbox::record::{KEPT_XATTRS, OURS, OVERLAY};

/// The longest name (`NAME_MAX`) and the longest link (`PATH_MAX`, with its NUL), in bytes.
const MAX_NAME: usize = 255;
const MAX_TARGET: usize = 4095;

impl Tree {
    /// Applies the `number`th layer.
    pub(super) fn apply(&mut self, job: &Job<'_>, number: usize, layer: &Layer) -> Result<(), Error> {
        let digest = layer.descriptor.digest;
        job.image.walk(layer, |blob, diff_id| {
            read::walk(&layer.descriptor, diff_id, job.counted(blob), |archive| {
                let mut tally = Tally::default();
                for at in 0.. {
                    let next = archive.next_entry().map_err(|source| ReadError::Tar { layer: digest, source })?;
                    let Some(entry) = next else { break };
                    job.is_wanted()?;
                    tally.count(digest, &entry)?;
                    Step { tree: self, layer: digest, number, at, entry: &entry }.apply()?;
                }
                Ok(())
            })
        })
    }

    /// Takes away what the layers below `layer` have as `name` of `parent`.
    // layer.md: whiteouts "MUST only apply to resources in lower/parent layers", wherever in the tar they stand
    fn hide(&mut self, parent: Id, name: &[u8], layer: usize) {
        let Ok(directory) = self.directory(parent) else { return };
        let Some(named) = directory.names.get(name) else { return };
        let (id, is_named) = (named.id, named.layer == layer);
        match self.directory(id) {
            Ok(below) if is_named || below.touched == layer => self.hide_all(id, layer),
            Err(_) if is_named => {}
            _ => {
                if let Some(directory) = self.directory_mut(parent) {
                    directory.names.remove(name);
                }
            }
        }
    }

    fn hide_all(&mut self, id: Id, layer: usize) {
        let Ok(directory) = self.directory(id) else { return };
        let names: Vec<Vec<u8>> = directory.names.keys().cloned().collect();
        names.iter().for_each(|name| self.hide(id, name, layer));
    }
}

/// One entry on its way into the tree.
struct Step<'a> {
    tree: &'a mut Tree,
    layer: Digest,
    /// Which layer it is.
    number: usize,
    /// Which of the layer's entries it is.
    at: u64,
    entry: &'a Entry,
}

impl Step<'_> {
    fn apply(mut self) -> Result<(), ExtractError> {
        match names::read(self.layer, &self.entry.path)? {
            Named::Aufs => Ok(()),
            Named::Whiteout(path) => {
                let (parent, name) = split(&path);
                if let Some(parent) = self.found(parent)? {
                    self.tree.hide(parent, name, self.number);
                }
                Ok(())
            }
            Named::Opaque(path) => {
                if let Some(directory) = self.found(&path)? {
                    self.tree.hide_all(directory, self.number);
                }
                Ok(())
            }
            Named::Root => self.change_root(),
            Named::Path(path) => self.make(&path),
        }
    }

    /// The directory that a whiteout is in; on nothing it has no effect.
    fn found(&self, path: &[u8]) -> Result<Option<Id>, ExtractError> {
        match self.tree.look_up(path) {
            Ok(id) => Ok(Some(id)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.parent(error)),
        }
    }

    fn change_root(&mut self) -> Result<(), ExtractError> {
        let kind = match apply::kind(self.layer, self.entry)? {
            apply::Kind::Directory => {
                self.dress(ROOT);
                return Ok(());
            }
            apply::Kind::Symlink => "symbolic link",
            apply::Kind::HardLink => "hard link",
            apply::Kind::File => "file",
            apply::Kind::Fifo | apply::Kind::Device { .. } => "device",
        };
        Err(ExtractError::Root { layer: self.layer, kind })
    }

    /// Gives a directory what its entry says.
    fn dress(&mut self, id: Id) {
        let node = self.tree.nodes.get_mut(id);
        if let Some(node) = node {
            (node.attributes, node.mtime, node.xattrs) =
                (attributes(self.entry), mtime(self.entry), xattrs(self.entry));
        }
    }

    fn make(&mut self, path: &[u8]) -> Result<(), ExtractError> {
        let entry = self.entry;
        let kind = apply::kind(self.layer, entry)?;
        let (parent, name) = split(path);
        let parent = self.tree.make_up_to(parent, self.number).map_err(|error| self.parent(error))?;
        if name.len() > MAX_NAME {
            return Err(self.name());
        }
        let kind = match kind {
            apply::Kind::Directory => return self.directory(parent, name),
            apply::Kind::HardLink => return self.hard_link(parent, name),
            apply::Kind::File => Kind::File(Bytes::Layer { layer: self.number, entry: self.at, size: entry.size }),
            apply::Kind::Symlink => {
                let target = &entry.target;
                // symlink(2): ENOENT for an empty one, ENAMETOOLONG for one that is too long
                if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) {
                    return Err(self.name());
                }
                Kind::Symlink(target.clone())
            }
            apply::Kind::Fifo => Kind::Fifo,
            apply::Kind::Device { block } => Kind::Device { block, major: entry.device.0, minor: entry.device.1 },
        };
        let node = Node { kind, attributes: attributes(entry), mtime: mtime(entry), xattrs: xattrs(entry) };
        self.tree.name(parent, name, self.number, node);
        Ok(())
    }

    /// A directory, which may be there already.
    fn directory(&mut self, parent: Id, name: &[u8]) -> Result<(), ExtractError> {
        let above = self.tree.directory(parent).map_err(|error| self.parent(error))?;
        let there = above.names.get(name).map(|named| named.id).filter(|id| self.tree.directory(*id).is_ok());
        let id = match there {
            Some(id) => {
                self.tree.link(parent, name, self.number, id);
                id
            }
            None => {
                let depth = above.depth + 1;
                self.tree.name(parent, name, self.number, Node::directory(parent, depth, self.number))
            }
        };
        self.dress(id);
        Ok(())
    }

    fn hard_link(&mut self, parent: Id, name: &[u8]) -> Result<(), ExtractError> {
        let wrong = |what| apply::wrong_hard_link(self.layer, self.entry, what);
        let target = apply::hard_link_target(self.layer, self.entry)?;
        let (target_parent, target_name) = split(&target);
        let target_parent = self.tree.look_up(target_parent).map_err(|_| wrong("is not there"))?;
        let names = &self.tree.directory(target_parent).map_err(|_| wrong("is not there"))?.names;
        let id = names.get(target_name).ok_or_else(|| wrong("is not there"))?.id;
        if self.tree.directory(id).is_ok() {
            return Err(wrong("is a directory"));
        }
        if (target_parent, target_name) == (parent, name) {
            return Err(wrong("is itself"));
        }
        self.tree.link(parent, name, self.number, id);
        Ok(())
    }

    fn name(&self) -> ExtractError {
        ExtractError::Name { layer: self.layer, path: lossy(&self.entry.path) }
    }

    /// What is wrong with the way to the entry.
    fn parent(&self, error: Errno) -> ExtractError {
        match error {
            Errno::NAMETOOLONG => self.name(),
            error => ExtractError::Parent {
                layer: self.layer,
                path: lossy(&self.entry.path),
                source: io::Error::from(error),
            },
        }
    }
}

fn attributes(entry: &Entry) -> Attributes {
    Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid }
}

fn mtime(entry: &Entry) -> u64 {
    u64::try_from(entry.mtime.0).unwrap_or(0)
}

/// The attributes that an image may bring; not those that mean something to dlpack or to overlayfs.
fn xattrs(entry: &Entry) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let may = |name: &[u8]| {
        let of_user = name.starts_with(b"user.");
        let special = name.starts_with(OURS.as_bytes()) || name.starts_with(OVERLAY.as_bytes());
        of_user && !special || KEPT_XATTRS.iter().any(|kept| kept.as_bytes() == name)
    };
    entry.xattrs.iter().filter(|(name, _)| may(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
