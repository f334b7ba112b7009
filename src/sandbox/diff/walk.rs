//! Walking both trees at once.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use super::lower::Lower;
use super::node::{Kind, Node, names};
use super::{ByPath, DIRECTORY, Owners, Trees};
use crate::layer::Attributes;
use crate::sandbox::Refusal;
use crate::sandbox::changes::{Change, ChangeKind};

/// A path that may be in the layer.
struct Found {
    path: Vec<u8>,
    what: What,
}

enum What {
    /// It is new or other than below; or it is as it was, and counts only if one of its
    /// hard links does.
    Entry { node: Node, opaque: bool, as_it_was: bool },
    /// It is gone.
    Removed,
}

struct Walk<'a> {
    trees: &'a Trees<'a>,
    found: Vec<Found>,
}

/// A change, as it is if no other name of it comes before.
pub(super) struct Listed {
    pub(super) change: Change,
    /// The device and inode of a file that has other names among the changes.
    pub(super) also: Option<(u64, u64)>,
}

/// What differs, sorted by path.
pub(super) fn compare(trees: &Trees<'_>, upper: &OwnedFd) -> Result<Vec<Listed>, Refusal> {
    let lower = Lower::open(trees.lower)?;
    let mut walk = Walk { trees, found: Vec::new() };
    walk.directory(b"", upper, &lower, trees.whole)?;
    let mut found = walk.found;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    listed(found)
}

/// What became of the children that a directory has below.
struct Children {
    /// None of two or more is left.
    all_gone: bool,
    removed: Vec<Found>,
}

impl Walk<'_> {
    /// Compares the directory at `path`. What it shows is in `upper` alone if `alone`.
    fn directory(&mut self, path: &[u8], upper: &OwnedFd, lower: &Lower, alone: bool) -> Result<(), Refusal> {
        let children = self.children(path, upper, lower, alone)?;
        // The root can't be said to be opaque: it has no entry.
        self.found.extend(children.removed);
        Ok(())
    }

    fn children(&mut self, path: &[u8], upper: &OwnedFd, lower: &Lower, alone: bool) -> Result<Children, Refusal> {
        let cannot = |path: &[u8]| {
            let path = String::from_utf8_lossy(path).into_owned();
            move |source: io::Error| Refusal::call("read", path, source)
        };
        let mut removed = Vec::new();
        let own = names(upper).map_err(cannot(path))?;
        for name in &own {
            let child = join(path, name);
            let below = lower.get(name, &child).map_err(cannot(&child))?;
            // No step has run that could have recorded another owner.
            let as_below = |_: &[u8]| Ok(below.as_ref().map(|below| below.owner));
            let owners = match self.trees.owners {
                Owners::Recorded(owners) => Some(owners),
                Owners::AsBelow => Some(&as_below as &ByPath<'_>),
                Owners::Real => None,
            };
            let node = Node::read(upper, name, &child, owners).map_err(cannot(&child))?;
            match (node, below) {
                (None, None) => {}
                (None, Some(_)) => removed.push(Found { path: child, what: What::Removed }),
                (Some(node), below) if node.is_directory() => {
                    self.subdirectory(child, name, node, below, upper, lower, alone)?;
                }
                (Some(node), below) => {
                    let as_it_was = below.is_some_and(|below| node.looks_like(&below))
                        && same_content(&node, name, upper, lower).map_err(cannot(&child))?;
                    self.found.push(Found { path: child, what: What::Entry { node, opaque: false, as_it_was } });
                }
            }
        }
        let mut all_gone = false;
        if alone || !removed.is_empty() {
            let below = lower.names().map_err(cannot(path))?;
            if alone {
                let gone = below.iter().filter(|name| own.binary_search(name).is_err());
                removed.extend(gone.map(|name| Found { path: join(path, name), what: What::Removed }));
            }
            all_gone = below.len() > 1 && removed.len() == below.len();
        }
        Ok(Children { all_gone, removed })
    }

    #[allow(clippy::too_many_arguments, reason = "one step of a walk through two trees")]
    fn subdirectory(
        &mut self,
        path: Vec<u8>,
        name: &[u8],
        node: Node,
        below: Option<Node>,
        upper: &OwnedFd,
        lower: &Lower,
        alone: bool,
    ) -> Result<(), Refusal> {
        let cannot = |source: io::Error| Refusal::call("read", String::from_utf8_lossy(&path).into_owned(), source);
        let own = rustix::fs::openat(upper, name, DIRECTORY, Mode::empty()).map_err(|error| cannot(error.into()))?;
        let was_directory = below.as_ref().is_some_and(Node::is_directory);
        let under = if was_directory { lower.below(name).map_err(cannot)? } else { Lower::default() };
        let alone = alone || node.kind == Kind::Directory { opaque: true };
        let children = self.children(&path, &own, &under, alone)?;
        if !children.all_gone {
            self.found.extend(children.removed);
        }
        let as_it_was = below.is_some_and(|below| node.looks_like(&below));
        if children.all_gone || !as_it_was {
            self.found.push(Found { path, what: What::Entry { node, opaque: children.all_gone, as_it_was: false } });
        }
        Ok(())
    }
}

fn same_content(node: &Node, name: &[u8], upper: &OwnedFd, lower: &Lower) -> io::Result<bool> {
    if !matches!(node.kind, Kind::File { .. }) {
        return Ok(true);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    lower.has_content(name, &rustix::fs::openat(upper, name, flags, Mode::empty())?)
}

/// The names of one file.
#[derive(Default)]
struct Names {
    count: usize,
    /// Whether one of them is other than below.
    changed: bool,
}

/// The changes among `found`: of a file with several names none is left out if one is
/// other than below.
fn listed(found: Vec<Found>) -> Result<Vec<Listed>, Refusal> {
    let mut files: HashMap<(u64, u64), Names> = HashMap::new();
    for entry in &found {
        if let What::Entry { node: Node { kind: Kind::File { .. }, inode, .. }, as_it_was, .. } = &entry.what {
            let names = files.entry(*inode).or_default();
            names.count += 1;
            names.changed |= !as_it_was;
        }
    }
    let mut changes = Vec::new();
    for Found { path, what } in found {
        let path = text(path)?;
        let What::Entry { node, opaque, as_it_was } = what else {
            let (kind, attributes) = (ChangeKind::Whiteout, Attributes::root(0));
            changes.push(Listed { change: Change { path, kind, attributes, xattrs: Default::default() }, also: None });
            continue;
        };
        let names = if matches!(node.kind, Kind::File { .. }) { files.get(&node.inode) } else { None };
        if !names.map_or(!as_it_was, |names| names.changed) {
            continue;
        }
        let also = names.filter(|names| names.count > 1).map(|_| node.inode);
        let kind = match node.kind {
            Kind::File { size } => ChangeKind::File { size },
            Kind::Directory { .. } => ChangeKind::Directory { opaque },
            Kind::Symlink { target } => ChangeKind::Symlink { target: text(target)? },
            Kind::Fifo => ChangeKind::Fifo,
            Kind::Device(number) => {
                ChangeKind::Device { block: number.block, major: number.major, minor: number.minor }
            }
        };
        let attributes = Attributes { mode: node.mode, uid: node.owner.uid, gid: node.owner.gid };
        let xattrs = node.xattrs.into_iter().map(|(name, value)| Ok((text(name)?, value))).collect::<Result<_, _>>()?;
        changes.push(Listed { change: Change { path, kind, attributes, xattrs }, also });
    }
    Ok(changes)
}

fn text(bytes: Vec<u8>) -> Result<String, Refusal> {
    let name = |error: std::string::FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
    String::from_utf8(bytes).map_err(|error| Refusal::Name { path: name(error) })
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_owned() } else { [parent, b"/", name].concat() }
}
