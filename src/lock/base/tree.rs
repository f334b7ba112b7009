//! The files of a base: its layers' listings applied in order, as a runtime would
//! apply the layers.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::store::{Listed, ListedKind, Listing};

/// How many symbolic links are followed on the way to a file, as in Linux.
const MAX_LINKS: usize = 40;

/// What a file of the base is.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The kinds of files.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// Its content, where it is kept.
        content: Option<Vec<u8>>,
    },
    /// A directory.
    Directory,
    /// A symbolic link and what it leads to.
    Symlink(String),
    /// A device or a FIFO.
    Special,
}

/// Every file of a base by its path, relative to the root.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileList {
    nodes: BTreeMap<String, Node>,
}

impl FileList {
    /// Whether there is a file at `path`, symbolic links followed as in a container
    /// that has the base as its root.
    pub fn contains(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// The file at `path`, symbolic links followed; a leading slash changes nothing.
    /// Nothing for the root itself.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&self.resolve(path, true)?)
    }

    /// Where `path` leads, symbolic links followed, without a leading slash; nothing if there is no
    /// file.
    pub fn real(&self, path: &str) -> Option<String> {
        self.resolve(path, true).filter(|path| self.nodes.contains_key(path))
    }

    /// Whether a file anywhere is called `name`.
    pub fn has_named(&self, name: &str) -> bool {
        self.nodes.keys().any(|path| path.rsplit('/').next() == Some(name))
    }

    /// What lies under the directory `path`, which may be reached by links: paths
    /// relative to it, parents first. Links in it are not followed.
    pub fn under(&self, path: &str) -> impl Iterator<Item = (&str, &Node)> {
        let prefix = self.resolve(path, true).map(|path| format!("{path}/"));
        let from = prefix.clone().map_or(Bound::Unbounded, Bound::Included);
        let nodes = prefix.map(|prefix| {
            self.nodes
                .range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded))
                .map_while(move |(path, node)| Some((path.strip_prefix(prefix.as_str())?, node)))
                .collect::<Vec<_>>()
        });
        nodes.unwrap_or_default().into_iter()
    }

    /// Where `path` really lies, if a directory above it is a link: `usr/bin/x` for
    /// `bin/x` where `bin` is a link to `usr/bin`. Without leading slashes.
    pub fn behind_links(&self, path: &str) -> Option<String> {
        let path = path.trim_matches('/');
        let real = self.resolve(path, false)?;
        (real != path).then_some(real)
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none, as in `scratch`.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Applies the next layer.
    pub fn apply(&mut self, listing: Listing) {
        // layer.md: whiteouts "MUST only apply to resources in lower/parent layers", wherever in the tar they stand
        for entry in &listing.entries {
            match entry.kind {
                ListedKind::Whiteout => {
                    if let Some(path) = self.resolve(&entry.path, false) {
                        self.remove(&path);
                    }
                }
                ListedKind::Opaque => {
                    if let Some(path) = self.resolve(&entry.path, true) {
                        self.remove_children(&path);
                    }
                }
                _ => {}
            }
        }
        listing.entries.into_iter().for_each(|entry| self.add(entry));
    }

    fn add(&mut self, entry: Listed) {
        let Some(path) = self.resolve(&entry.path, false).filter(|path| !path.is_empty()) else { return };
        let (mut mode, mut uid, mut gid) = (entry.mode, entry.uid, entry.gid);
        let kind = match entry.kind {
            ListedKind::Whiteout | ListedKind::Opaque => return,
            ListedKind::File { size, content } => NodeKind::File { size, content },
            ListedKind::Directory => NodeKind::Directory,
            ListedKind::Symlink { target } => NodeKind::Symlink(target),
            ListedKind::Special => NodeKind::Special,
            ListedKind::HardLink { target } => {
                let target = self.resolve(&target, false).and_then(|target| self.nodes.get(&target));
                // a runtime can't apply a layer whose link leads nowhere
                let Some(node) = target else { return };
                (mode, uid, gid) = (node.mode, node.uid, node.gid);
                node.kind.clone()
            }
        };
        let replaces = |old: &Node| !(kind == NodeKind::Directory && old.kind == NodeKind::Directory);
        if self.nodes.get(&path).is_some_and(replaces) {
            self.remove(&path);
        }
        self.add_parents(&path);
        self.nodes.insert(path, Node { kind, mode, uid, gid });
    }

    /// Directories that no layer names are made by the runtime.
    fn add_parents(&mut self, path: &str) {
        let mut path = path;
        while let Some((parent, _)) = path.rsplit_once('/') {
            match self.nodes.get(parent) {
                Some(Node { kind: NodeKind::Directory, .. }) => return,
                _ => {
                    let node = Node { kind: NodeKind::Directory, mode: 0o755, uid: 0, gid: 0 };
                    self.nodes.insert(parent.to_owned(), node);
                }
            }
            path = parent;
        }
    }

    fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.remove_children(path);
    }

    fn remove_children(&mut self, path: &str) {
        if path.is_empty() {
            return self.nodes.clear();
        }
        // `0` follows `/` in ASCII: all that begins with `path/`
        let mut below = self.nodes.split_off(&format!("{path}/"));
        let mut after = below.split_off(&format!("{path}0"));
        self.nodes.append(&mut after);
    }

    /// `path` with every link on the way replaced by what it leads to; the last
    /// part too if `last`. Nothing if links go round in a circle.
    fn resolve(&self, path: &str, last: bool) -> Option<String> {
        let mut rest: Vec<&str> = path.split('/').rev().collect();
        let mut done = String::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part {
                "" | "." => continue,
                // a container's root has no parent but itself
                ".." => done.truncate(done.rfind('/').unwrap_or(0)),
                part => {
                    let parent = done.len();
                    if parent > 0 {
                        done.push('/');
                    }
                    done.push_str(part);
                    let is_last = rest.iter().all(|part| part.is_empty() || *part == ".");
                    if is_last && !last {
                        continue;
                    }
                    if let Some(Node { kind: NodeKind::Symlink(target), .. }) = self.nodes.get(&done) {
                        links += 1;
                        if links > MAX_LINKS {
                            return None;
                        }
                        done.truncate(if target.starts_with('/') { 0 } else { parent });
                        rest.extend(target.split('/').rev());
                    }
                }
            }
        }
        Some(done)
    }
}
