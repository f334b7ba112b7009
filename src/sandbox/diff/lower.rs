//! What lies under a sandbox: a stack of directories, seen as overlayfs shows it.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::node::{Kind, Node, names};
use super::{DIRECTORY, open_tree};
use crate::sandbox::Refusal;
use crate::sandbox::owners::owners_by_path;
use crate::sandbox::record::OwnersByPath;

/// One directory of the stack.
struct Sheet {
    directory: OwnedFd,
    owners: Rc<OwnersByPath>,
}

/// A directory as all of the stack shows it, topmost first.
#[derive(Default)]
pub(super) struct Lower(Vec<Sheet>);

impl Lower {
    /// The roots of extracted layers, lowest first.
    pub(super) fn open(roots: &[impl AsRef<Path>]) -> Result<Self, Refusal> {
        let sheet = |root: &Path| {
            let owners = Rc::new(owners_by_path(root)?);
            Ok(Sheet { directory: open_tree(root)?, owners })
        };
        roots.iter().rev().map(|root| sheet(root.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// What is called `name` in it, and lies at `path`.
    pub(super) fn get(&self, name: &[u8], path: &[u8]) -> io::Result<Option<Node>> {
        for sheet in &self.0 {
            match Node::read(&sheet.directory, name, path, Some(&|path| Ok(sheet.owners.get(path).copied()))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        Ok(None)
    }

    /// The directory `name` in it; empty if that is none.
    pub(super) fn below(&self, name: &[u8]) -> io::Result<Self> {
        let mut sheets = Vec::new();
        for sheet in &self.0 {
            let directory = match rustix::fs::openat(&sheet.directory, name, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                Err(Errno::NOTDIR | Errno::LOOP) => break,
                directory => directory?,
            };
            let shows = Node::read(&directory, b".", b"", Some(&|_| Ok(None)))?;
            sheets.push(Sheet { directory, owners: Rc::clone(&sheet.owners) });
            // overlayfs: what lies below an opaque directory is not merged
            if shows.is_some_and(|node| node.kind == Kind::Directory { opaque: true }) {
                break;
            }
        }
        Ok(Self(sheets))
    }

    /// The names in it.
    pub(super) fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut all = BTreeSet::new();
        for sheet in &self.0 {
            all.extend(names(&sheet.directory)?);
        }
        let mut shown = Vec::new();
        for name in all {
            if self.get(&name, b"")?.is_some() {
                shown.push(name);
            }
        }
        Ok(shown)
    }

    /// Whether the file `name` has the content of `other`, which is as long.
    pub(super) fn has_content(&self, name: &[u8], other: &OwnedFd) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for sheet in &self.0 {
            match rustix::fs::openat(&sheet.directory, name, flags, Mode::empty()) {
                Err(Errno::NOENT) => {}
                file => return same(file?, other.try_clone()?),
            }
        }
        Ok(false)
    }
}

fn same(a: OwnedFd, b: OwnedFd) -> io::Result<bool> {
    const CHUNK: u64 = 128 << 10;
    let (mut a, mut b) = (std::fs::File::from(a), std::fs::File::from(b));
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut a).take(CHUNK).read_to_end(&mut left)?;
        (&mut b).take(CHUNK).read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
    }
}
