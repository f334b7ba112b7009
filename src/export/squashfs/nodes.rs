//! The tree as inodes and directories: what is in a directory comes before it.

use std::collections::HashMap;

use super::data::{Contents, Extent};
use super::directory::{self, Entry};
use super::inode::{Head, Listing, kind};
use super::metadata::{Place, Table};
use super::xattr::Xattrs;
use super::{Error, Job};
use crate::export::tree::{Directory, Id, Kind, Node, ROOT, Tree};
use crate::layer::Compression;

/// The tables that the tree comes to.
pub(super) struct Nodes {
    pub(super) inodes: Vec<u8>,
    pub(super) directories: Vec<u8>,
    /// The users and groups, in the order in which they came.
    pub(super) ids: Vec<u32>,
    /// Names and values, and the sets of them.
    pub(super) xattrs: Option<(Vec<u8>, Vec<[u8; 16]>)>,
    pub(super) root: Place,
    pub(super) count: u32,
}

impl Nodes {
    pub(super) fn write(
        tree: &Tree,
        contents: &Contents,
        compression: Compression,
        job: &Job<'_>,
    ) -> Result<Self, Error> {
        let named = tree.named();
        // more inodes than 32 bits count are more than all layers may have entries
        let count = named.len() as u32;
        let numbers = named.iter().zip(1..).map(|((id, names), number)| (*id, (number, *names))).collect();
        let mut writer = Writer {
            tree,
            contents,
            job,
            numbers,
            places: HashMap::new(),
            ids: HashMap::new(),
            inodes: Table::new(compression),
            directories: Table::new(compression),
            xattrs: Xattrs::new(compression),
        };
        // the root's parent is a number that no inode has
        let root = writer.node(ROOT, count + 1)?;
        let mut ids: Vec<(u16, u32)> = writer.ids.into_iter().map(|(id, at)| (at, id)).collect();
        ids.sort_unstable();
        Ok(Self {
            inodes: writer.inodes.finish().0,
            directories: writer.directories.finish().0,
            ids: ids.into_iter().map(|(_, id)| id).collect(),
            xattrs: writer.xattrs.finish(),
            root,
            count,
        })
    }
}

struct Writer<'a> {
    tree: &'a Tree,
    contents: &'a Contents,
    job: &'a Job<'a>,
    /// The number of each inode, and how many names it has.
    numbers: HashMap<Id, (u32, u32)>,
    /// Where the inodes are that were written.
    places: HashMap<Id, Place>,
    ids: HashMap<u32, u16>,
    inodes: Table,
    directories: Table,
    xattrs: Xattrs,
}

impl Writer<'_> {
    /// Writes the inode `id`, unless another name has brought it already.
    fn node(&mut self, id: Id, parent: u32) -> Result<Place, Error> {
        if let Some(place) = self.places.get(&id) {
            return Ok(*place);
        }
        let node = self.tree.node(id);
        let (number, names) = self.numbers.get(&id).copied().unwrap_or_default();
        let head = Head {
            mode: node.attributes.mode,
            uid: self.id(node.attributes.uid)?,
            gid: self.id(node.attributes.gid)?,
            mtime: u32::try_from(node.mtime).unwrap_or(u32::MAX),
            number,
            links: names,
            xattrs: self.xattrs.set(&node.xattrs),
        };
        let inode = match &node.kind {
            Kind::Directory(directory) => self.directory(head, directory, parent)?,
            Kind::File(bytes) => {
                let none = Extent::default();
                head.file(bytes.size(), self.contents.extents.get(&id).unwrap_or(&none))
            }
            Kind::Symlink(target) => head.symlink(target),
            Kind::Fifo => head.fifo(),
            Kind::Device { block, major, minor } => head.device(*block, *major, *minor),
        };
        let place = self.inodes.place();
        self.inodes.put(&inode);
        self.places.insert(id, place);
        Ok(place)
    }

    fn directory(&mut self, head: Head, directory: &Directory, parent: u32) -> Result<Vec<u8>, Error> {
        self.job.is_wanted()?;
        let (mut entries, mut below) = (Vec::new(), 0);
        for (name, id) in directory.entries() {
            let place = self.node(id, head.number)?;
            let kind = kind_of(self.tree.node(id));
            below += u32::from(kind == kind::DIRECTORY);
            let (number, _) = self.numbers.get(&id).copied().unwrap_or_default();
            entries.push(Entry { name, place, number, kind });
        }
        let place = self.directories.place();
        let length = directory::write(&entries, &mut self.directories);
        // its own name, `.`, and the `..` of each directory in it
        let head = Head { links: 2 + below, ..head };
        Ok(head.directory(Listing { place, length, parent }))
    }

    /// Where a user or group stands in the table of them.
    fn id(&mut self, id: u32) -> Result<u16, Error> {
        if let Some(at) = self.ids.get(&id) {
            return Ok(*at);
        }
        // the superblock counts them in 16 bits
        let at = u16::try_from(self.ids.len()).ok().filter(|at| *at < u16::MAX);
        let at = at.ok_or(Error::TooManyOwners { manifest: self.job.image.manifest.descriptor.digest })?;
        self.ids.insert(id, at);
        Ok(at)
    }
}

fn kind_of(node: &Node) -> u16 {
    match node.kind {
        Kind::Directory(_) => kind::DIRECTORY,
        Kind::File(_) => kind::FILE,
        Kind::Symlink(_) => kind::SYMLINK,
        Kind::Fifo => kind::FIFO,
        Kind::Device { block: true, .. } => kind::BLOCK_DEVICE,
        Kind::Device { block: false, .. } => kind::CHARACTER_DEVICE,
    }
}
