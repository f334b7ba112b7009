//! The files of an image's layers, one over the other (image-spec `layer.md`, "Applying
//! Changesets"), without their contents: which entry of which layer has them.

mod apply;
mod contents;

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::Error;
use super::output::Job;
use crate::layer::Attributes;
use crate::sandbox::extract::names::{MAX_DEPTH, split};
pub(super) use contents::Content;

/// Which node of a tree.
pub(super) type Id = usize;

/// The root's.
pub(super) const ROOT: Id = 0;

/// How many symbolic links a path may lead over; path_resolution(7) has 40.
const MAX_LINKS: usize = 40;

/// The root filesystem of an image.
pub(super) struct Tree {
    /// Those that a later layer has replaced have no name any more.
    nodes: Vec<Node>,
}

/// A file of whatever kind, under one or more names.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) attributes: Attributes,
    /// Seconds since 1970.
    pub(super) mtime: u64,
    /// `user.*`, and those that only root may set and an image may bring.
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub(super) enum Kind {
    Directory(Directory),
    File(Bytes),
    Symlink(Vec<u8>),
    Fifo,
    Device { block: bool, major: u32, minor: u32 },
}

/// The names in a directory, sorted as bytes are.
pub(super) struct Directory {
    names: BTreeMap<Vec<u8>, Named>,
    parent: Id,
    depth: u32,
    /// The last layer that has something in it or under it.
    touched: usize,
}

struct Named {
    id: Id,
    /// The last layer that has this name.
    layer: usize,
}

/// Where a file's bytes are.
pub(super) enum Bytes {
    /// The entry of a layer, both counted from 0, and how many they are.
    Layer { layer: usize, entry: u64, size: u64 },
    /// They are no layer's.
    Here(Vec<u8>),
}

impl Bytes {
    /// How many they are.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Layer { size, .. } => *size,
            Self::Here(bytes) => bytes.len() as u64,
        }
    }
}

impl Directory {
    fn new(parent: Id, depth: u32, layer: usize) -> Self {
        Self { names: BTreeMap::new(), parent, depth, touched: layer }
    }

    /// Names and what they name, sorted.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], Id)> {
        self.names.iter().map(|(name, named)| (name.as_slice(), named.id))
    }
}

impl Tree {
    /// The tree of the image's layers. All of them are read, and are what the image says.
    pub(super) fn of(job: &Job<'_>) -> Result<Self, Error> {
        let mut tree = Self { nodes: vec![Node::directory(ROOT, 0, 0)] };
        for (number, layer) in job.image.layers.iter().enumerate() {
            tree.apply(job, number, layer)?;
        }
        Ok(tree)
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// All nodes that have a name, each once, with the number of its names: a directory's
    /// entries follow each other, before those of the directories among them.
    pub(super) fn named(&self) -> Vec<(Id, u32)> {
        let mut all = vec![(ROOT, 1)];
        let mut place = vec![None; self.nodes.len()];
        let mut next = 0;
        while let Some((id, _)) = all.get(next).copied() {
            next += 1;
            let Kind::Directory(directory) = &self.nodes[id].kind else { continue };
            for (_, child) in directory.entries() {
                match place[child] {
                    Some(at) => {
                        let (_, names): &mut (Id, u32) = &mut all[at];
                        *names += 1;
                    }
                    None => {
                        place[child] = Some(all.len());
                        all.push((child, 1));
                    }
                }
            }
        }
        all
    }

    /// Gives `path` a file that no layer has; the way to it is made.
    ///
    /// # Errors
    /// If something else than a directory is on the way.
    pub(super) fn put(&mut self, path: &[u8], node: Node) -> Result<(), Errno> {
        let (parent, name) = split(path);
        let after_all = usize::MAX;
        let parent = self.make_up_to(parent, after_all)?;
        self.name(parent, name, after_all, node);
        Ok(())
    }

    /// Only ever asked of directories.
    fn directory(&self, id: Id) -> Result<&Directory, Errno> {
        match &self.nodes[id].kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// The same, to change it.
    fn directory_mut(&mut self, id: Id) -> Option<&mut Directory> {
        match &mut self.nodes[id].kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The directory at `path`, links followed as if the root were `/`.
    fn look_up(&self, path: &[u8]) -> Result<Id, Errno> {
        let mut at = ROOT;
        let mut way: Vec<&[u8]> = path.split(|byte| *byte == b'/').rev().collect();
        let mut links = 0;
        while let Some(part) = way.pop() {
            let directory = self.directory(at)?;
            match part {
                b"" | b"." => continue,
                // path_resolution(7): "/.." is the same as "/"
                b".." => {
                    at = directory.parent;
                    continue;
                }
                _ => {}
            }
            let id = directory.names.get(part).ok_or(Errno::NOENT)?.id;
            match &self.nodes[id].kind {
                Kind::Directory(_) => at = id,
                Kind::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    if target.starts_with(b"/") {
                        at = ROOT;
                    }
                    way.extend(target.split(|byte| *byte == b'/').rev());
                }
                _ => return Err(Errno::NOTDIR),
            }
        }
        Ok(at)
    }

    /// The directory at `path`; those that are not there are made.
    fn make_up_to(&mut self, path: &[u8], layer: usize) -> Result<Id, Errno> {
        match self.look_up(path) {
            Err(Errno::NOENT) => {}
            found => {
                let found = found?;
                self.touch(found, layer)?;
                return Ok(found);
            }
        }
        let (parent, name) = split(path);
        let parent = self.make_up_to(parent, layer)?;
        let above = self.directory(parent)?;
        // A name that is there is a link that leads nowhere: nothing is made behind it.
        if above.names.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let node = Node::directory(parent, above.depth + 1, layer);
        let made = self.name(parent, name, layer, node);
        self.touch(made, layer)?;
        Ok(made)
    }

    /// Notes that the layer has something in the directory `id`, and so in all above it.
    fn touch(&mut self, id: Id, layer: usize) -> Result<(), Errno> {
        // However long the names: links may lead deep down.
        if self.directory(id)?.depth > MAX_DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        let mut at = id;
        while let Some(directory) = self.directory_mut(at) {
            directory.touched = layer;
            if at == ROOT {
                break;
            }
            at = directory.parent;
        }
        Ok(())
    }

    /// Lets `name` of the directory `parent` name a new node, in place of what it named.
    fn name(&mut self, parent: Id, name: &[u8], layer: usize, node: Node) -> Id {
        let id = self.nodes.len();
        self.nodes.push(node);
        self.link(parent, name, layer, id);
        id
    }

    fn link(&mut self, parent: Id, name: &[u8], layer: usize, id: Id) {
        if let Some(directory) = self.directory_mut(parent) {
            directory.names.insert(name.to_owned(), Named { id, layer });
        }
    }
}

impl Node {
    /// An empty directory that no layer names.
    fn directory(parent: Id, depth: u32, layer: usize) -> Self {
        Self {
            kind: Kind::Directory(Directory::new(parent, depth, layer)),
            attributes: Attributes::root(0o755),
            mtime: 0,
            xattrs: BTreeMap::new(),
        }
    }

    /// A file of root's with these bytes.
    pub(super) fn file(bytes: Vec<u8>, mode: u32, mtime: u64) -> Self {
        let kind = Kind::File(Bytes::Here(bytes));
        Self { kind, attributes: Attributes::root(mode), mtime, xattrs: BTreeMap::new() }
    }
}
