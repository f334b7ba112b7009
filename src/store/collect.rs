//! Looking at the store as a whole: what is in it, whether it is sound, and what
//! nobody needs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::keys::noted;
use super::tree_files::Look;
use super::{Area, Error, LayerKey, Link, Listing, Store, Tree, sealed};
use crate::oci::Digest;

/// The kinds that are files, and those that are trees of them.
const FILES: [Kind; 5] = [Kind::Blob, Kind::Download, Kind::Listing, Kind::Record, Kind::Passed];
const TREES: [Kind; 3] = [Kind::Root, Kind::Overlay, Kind::Unpacked];

/// What a file of the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A manifest, a config or a layer.
    Blob,
    /// A wheel or an interpreter.
    Download,
    /// A base's layers, extracted.
    Root,
    /// A sandboxed layer, extracted.
    Overlay,
    /// A wheel or an interpreter, unpacked.
    Unpacked,
    /// What a base's layer holds.
    Listing,
    /// What is known of a layer by its key.
    Record,
    /// That an image has passed its tests.
    Passed,
    /// What a step printed.
    Log,
    /// A directory of `run` layers that persists between builds.
    Cache,
}

impl Kind {
    /// Whether something says what it should be, by which it can be verified.
    pub fn is_verifiable(self) -> bool {
        !matches!(self, Self::Log | Self::Cache)
    }

    /// The form of the tree that it is, if it is one.
    fn tree(self) -> Option<Tree> {
        match self {
            Self::Root => Some(Tree::Flattened),
            Self::Overlay => Some(Tree::Overlay),
            Self::Unpacked => Some(Tree::Unpacked),
            _ => None,
        }
    }
}

/// One file of the store, or one tree of files.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The digest in its name: its own, or for a record its key, for a tree its ChainId
    /// or that of what it was made from, for a cache directory that of its id, for what has passed
    /// that of an image and its tests. For a log that of its name.
    pub digest: Digest,
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes, or that of all files of a tree.
    pub size: u64,
    /// When it was last read or written, to a minute. A layer's blob counts as
    /// used with a record that names it.
    pub last_used: SystemTime,
    /// The tags that lead to it, digests where the index has no name, and containers.
    pub needed_by: Vec<String>,
    /// Whether it is a layer that can be made again, at any time, from downloads that are
    /// here: its bytes are kept twice.
    pub twice: bool,
}

/// What a collection removes, besides what killed processes left half-written.
/// What a tag or a container needs is never removed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// What is kept twice first, then least recently used first, until the store has at
    /// most so many bytes.
    pub ceiling: Option<u64>,
    /// Everything that was not used for so long.
    pub unused_for: Option<Duration>,
}

/// What a collection did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collected {
    /// What was removed, in this order.
    pub removed: Vec<Entry>,
    /// How many files and trees under `tmp/` and `scratch/` were nobody's any more.
    pub leftovers: usize,
    /// How many bytes of entries and leftovers are free again.
    pub freed: u64,
    /// How many bytes of entries stay.
    pub kept: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verified {
    /// How many files were read.
    pub files: usize,
    /// How many bytes that was.
    pub bytes: u64,
    /// Files that were not what their names say. They have been removed, but for
    /// those of a store that can't be written.
    pub damaged: Vec<PathBuf>,
}

impl Store {
    /// Every file of the store but `tmp/` and links, in order of kind and digest.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`].
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut needed: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        let containers = self.needs_of_containers();
        let kept = containers.iter().map(|(name, needs)| (name.clone(), needs.manifest.clone()));
        for (name, descriptor) in self.roots()?.into_iter().chain(kept) {
            for found in self.closure(&descriptor)? {
                needed.entry(found.digest).or_default().push(name.clone());
            }
        }
        let mut entries = Vec::new();
        for kind in FILES {
            for (digest, metadata) in self.files(kind)? {
                let last_used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let needed_by = needed.get(&digest).filter(|_| kind == Kind::Blob).cloned().unwrap_or_default();
                let path = self.path_of(kind, &digest);
                entries.push(Entry { kind, digest, path, size: metadata.len(), last_used, needed_by, twice: false });
            }
        }
        for kind in TREES {
            for (digest, path) in self.trees_of(kind)? {
                let (content, last_used) =
                    Self::peek_tree(&path).unwrap_or((Default::default(), SystemTime::UNIX_EPOCH));
                let size = content.bytes;
                let real = path.canonicalize().unwrap_or_else(|_| path.clone());
                let needs =
                    containers.iter().filter(|(_, needs)| needs.trees.iter().any(|tree| tree.starts_with(&real)));
                let needed_by = needs.map(|(name, _)| name.clone()).collect();
                entries.push(Entry { kind, digest, path, size, last_used, needed_by, twice: false });
            }
        }
        entries.extend(self.left_by_steps()?);
        self.use_with_records(&mut entries);
        Ok(entries)
    }

    /// What records say of blobs: when they were used, and whether they are kept twice.
    fn use_with_records(&self, entries: &mut [Entry]) {
        let mut said: BTreeMap<Digest, (SystemTime, bool)> = BTreeMap::new();
        for record in entries.iter().filter(|entry| entry.kind == Kind::Record) {
            if let Some((layer, made_from)) = self.peek_noted(&LayerKey(record.digest)) {
                let here = |download: &Digest| self.size(Area::Downloads, download).is_some();
                let twice = !made_from.is_empty() && made_from.iter().all(here);
                for part in layer.parts() {
                    let (latest, any) = said.entry(part.descriptor.digest).or_insert((record.last_used, twice));
                    *latest = record.last_used.max(*latest);
                    *any |= twice;
                }
            }
        }
        for blob in entries.iter_mut().filter(|entry| entry.kind == Kind::Blob) {
            if let Some((used, twice)) = said.get(&blob.digest) {
                blob.last_used = blob.last_used.max(*used);
                blob.twice = *twice;
            }
        }
    }

    /// The files of a kind, in order of digest. One that vanishes meanwhile is none.
    fn files(&self, kind: Kind) -> Result<Vec<(Digest, fs::Metadata)>, Error> {
        let (top, suffix) = match kind {
            Kind::Blob => ("blobs/sha256", ""),
            Kind::Download => ("downloads/sha256", ""),
            Kind::Listing => ("listings", ".json"),
            Kind::Record => ("keys", ".json"),
            Kind::Passed => ("tests", ".json"),
            Kind::Root | Kind::Overlay | Kind::Unpacked | Kind::Log | Kind::Cache => return Ok(Vec::new()),
        };
        let top = self.root.join(top);
        if !top.is_dir() {
            return Ok(Vec::new());
        }
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(&top).min_depth(1).max_depth(2).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.io_error().is_some_and(|it| it.kind() == io::ErrorKind::NotFound) => continue,
                Err(error) => return Err(Error::io("read", &top)(error.into())),
            };
            let hex = entry.file_name().to_str().and_then(|name| name.strip_suffix(suffix));
            if let (Some(Ok(digest)), Ok(metadata)) = (hex.map(Digest::from_hex), entry.metadata())
                && metadata.is_file()
            {
                files.push((digest, metadata));
            }
        }
        Ok(files)
    }

    fn path_of(&self, kind: Kind, digest: &Digest) -> PathBuf {
        match kind {
            Kind::Blob => self.path(Area::Blobs, digest),
            Kind::Download => self.path(Area::Downloads, digest),
            Kind::Listing => self.listing_path(digest),
            Kind::Record => self.key_path(&LayerKey(*digest)),
            Kind::Passed => self.passed_path(digest),
            Kind::Root => self.tree_path(Tree::Flattened, digest),
            Kind::Overlay => self.tree_path(Tree::Overlay, digest),
            Kind::Unpacked => self.tree_path(Tree::Unpacked, digest),
            Kind::Log => self.logs(),
            Kind::Cache => self.caches().join(digest.hex()),
        }
    }

    fn trees_of(&self, kind: Kind) -> Result<Vec<(Digest, PathBuf)>, Error> {
        kind.tree().map_or(Ok(Vec::new()), |tree| self.trees(tree))
    }

    /// Reads everything, and removes what is not what its name says. `seen` is
    /// told of bytes as they are read. It does not count as use.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Index`] for an `index.json` that is none: only a
    /// person knows what it should say.
    pub fn verify(&self, seen: &dyn Fn(u64)) -> Result<Verified, Error> {
        let _lease = self.lease()?;
        self.roots()?;
        let mut verified = Verified::default();
        for kind in FILES {
            for (digest, _) in self.files(kind)? {
                let path = self.path_of(kind, &digest);
                let Some((sound, bytes)) = self.is_sound(kind, &digest, &path, seen)? else { continue };
                verified.files += 1;
                verified.bytes += bytes;
                if !sound {
                    let _ = fs::remove_file(&path);
                    verified.damaged.push(path);
                }
            }
        }
        for kind in TREES {
            for (_, path) in self.trees_of(kind)? {
                verified.files += 1;
                let bytes = Cell::new(0);
                let sound = Self::peek_tree(&path).is_some()
                    && self.is_as_made(&path, Look::Whole, &|count| {
                        bytes.set(bytes.get() + count);
                        seen(count);
                    })?;
                verified.bytes += bytes.get();
                if !sound {
                    // somebody may be using it
                    let _ = self.set_aside(&path);
                    verified.damaged.push(path);
                }
            }
        }
        Ok(verified)
    }

    /// Whether a file is what it should be, and its length; nothing if it is gone.
    fn is_sound(
        &self,
        kind: Kind,
        digest: &Digest,
        path: &Path,
        seen: &dyn Fn(u64),
    ) -> Result<Option<(bool, u64)>, Error> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let failed = |error| Error::io("read", path)(error);
        if matches!(kind, Kind::Blob | Kind::Download) {
            let mut hasher = crate::oci::Hasher::new();
            let mut buffer = vec![0; 1 << 20];
            loop {
                match file.read(&mut buffer).map_err(failed)? {
                    0 => break,
                    count => {
                        hasher.update(&buffer[..count]);
                        seen(count as u64);
                    }
                }
            }
            let (found, length) = hasher.finish();
            return Ok(Some((found == *digest, length)));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        seen(bytes.len() as u64);
        let sound = match kind {
            Kind::Record => noted(&LayerKey(*digest), &bytes).is_some(),
            Kind::Passed => sealed::open::<bool>(digest, &bytes).is_some(),
            _ => sealed::open::<Listing>(digest, &bytes).is_some(),
        };
        Ok(Some((sound, bytes.len() as u64)))
    }

    /// Removes what `policy` says, and what killed processes left under `tmp/` and `scratch/`.
    /// Killed in the middle, it leaves a sound store.
    ///
    /// # Errors
    /// [`Error::InUse`] while anybody has a lease; [`Error::Io`], [`Error::Index`].
    pub fn gc(&self, policy: &Policy) -> Result<Collected, Error> {
        let Some(_alone) = self.exclusive()? else { return Err(Error::InUse { path: self.root.clone() }) };
        let mut collected = self.sweep()?;
        let mut entries = self.entries()?;
        collected.kept = entries.iter().map(|entry| entry.size).sum();
        // What is kept twice goes first: a build makes it again without fetching anything.
        // A record is small and still good for a registry that has the blob: it goes after it.
        entries.sort_by_key(|entry| (!entry.twice, entry.last_used, entry.kind));
        let now = SystemTime::now();
        for entry in entries.into_iter().filter(|entry| entry.needed_by.is_empty()) {
            let age = now.duration_since(entry.last_used).unwrap_or_default();
            let too_old = policy.unused_for.is_some_and(|limit| age > limit);
            let too_much = policy.ceiling.is_some_and(|ceiling| collected.kept > ceiling);
            if too_old || too_much {
                let path = &entry.path;
                match entry.kind {
                    Kind::Root | Kind::Overlay | Kind::Unpacked => self.remove_tree(path)?,
                    Kind::Cache => self.remove_cache(path)?,
                    _ => fs::remove_file(path).map_err(Error::io("remove", path))?,
                }
                collected.kept -= entry.size;
                collected.freed += entry.size;
                collected.removed.push(entry);
            }
        }
        self.unlink_removed(&collected)?;
        Ok(collected)
    }

    /// Removes files and trees under `tmp/` and `scratch/` whose writers are dead: a writer
    /// holds a lock. Also what the journal of uploads has that no registry remembers.
    pub(super) fn sweep(&self) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        let tmp = self.root.join("tmp");
        let scratch = fs::read_dir(self.scratch()).into_iter().flatten();
        for entry in fs::read_dir(&tmp).map_err(Error::io("read", &tmp))?.chain(scratch) {
            let path = entry.map_err(Error::io("read", &tmp))?.path();
            // Opened before it is locked, locked before it is removed: what its
            // writer renames meanwhile is locked still, or has left.
            let Ok(file) = File::open(&path) else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            if file.try_lock().is_err() {
                continue;
            }
            let removed = if metadata.is_dir() { super::remove_tree(&path) } else { fs::remove_file(&path) };
            if removed.is_ok() {
                collected.leftovers += 1;
                collected.freed += if metadata.is_dir() { 0 } else { metadata.len() };
            }
        }
        let (count, freed) = self.sweep_uploads();
        collected.leftovers += count;
        collected.freed += freed;
        Ok(collected)
    }

    fn unlink_removed(&self, collected: &Collected) -> Result<(), Error> {
        if collected.removed.iter().all(|entry| entry.kind != Kind::Blob) {
            return Ok(());
        }
        for repository in self.repositories()? {
            for link in [Link::Blob, Link::Manifest] {
                for digest in self.links(&repository, link)? {
                    if self.size(Area::Blobs, &digest).is_none() {
                        self.unlink(&repository, link, &digest)?;
                    }
                }
            }
        }
        Ok(())
    }
}
