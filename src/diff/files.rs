//! The files of the layers that differ. A base's layer whose listing the store has is not fetched:
//! of its files size and attributes are compared, and not the content.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::Serialize;
use tar::EntryType;
use thiserror::Error;

use super::LayerOf;
use crate::layer::read::{self, Archive, ReadError};
use crate::oci::{Digest, Hasher};
use crate::progress::{Activity, Progress};
use crate::registry::{Source, SourceError};
use crate::store::{self, Area, Listed, ListedKind, Store};

/// How long all names of an image's layers that differ may be together, in bytes.
const MAX_NAMES: usize = 512 << 20;

/// Why an image's files can't be told.
#[derive(Debug, Error)]
pub enum Error {
    /// A layer can't be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A layer can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store does not work.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A config that has not as many DiffIDs as there are layers.
    #[error("the image's config says nothing of layer {layer}")]
    NoDiffId {
        /// The layer.
        layer: Digest,
    },
    /// Names of more than 512 MiB.
    #[error("layer {layer} has more names than any real layer")]
    TooManyNames {
        /// The layer.
        layer: Digest,
    },
    /// The thread that read a layer ended without a word.
    #[error("reading layer {layer} was interrupted")]
    Interrupted {
        /// The layer.
        layer: Digest,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Read(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::NoDiffId { .. } | Self::TooManyNames { .. } => Some("the image is broken: take another tag".into()),
            Self::Interrupted { .. } => None,
        }
    }
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum FileChange {
    /// The second image's layers alone have it.
    Added,
    /// The first image's layers alone have it.
    Removed,
    /// Its content, its kind or a link's target is another.
    Content,
    /// Its mode or owner is another.
    Attributes,
}

/// What stands for the kind of a whiteout.
const HIDDEN: &str = "hidden";

/// A file of a layer.
#[derive(Clone, Debug, PartialEq)]
struct File {
    /// `file`, `directory` …, and a link's target.
    kind: String,
    size: u64,
    attributes: (u32, u32, u32),
    /// The digest of its content, where that was read.
    content: Option<Digest>,
}

/// The paths that layers bring, or hide.
type Files = BTreeMap<String, File>;

/// What differs between the files of two images' layers, `one` and `other`. Layers that both have
/// are not read: a file over one of theirs counts as added. What the store has not is fetched from
/// `sources`.
///
/// # Errors
/// [`Error`].
pub async fn of_files(
    (one, other): (&[LayerOf], &[LayerOf]),
    sources: (&Source, &Source),
    store: &Store,
    progress: &Progress,
) -> Result<BTreeMap<String, FileChange>, Error> {
    let (before, after) =
        (files(one, sources.0, store, progress).await?, files(other, sources.1, store, progress).await?);
    let mut changes = BTreeMap::new();
    for path in before.keys().chain(after.keys()) {
        let change = match (before.get(path), after.get(path)) {
            (Some(before), Some(after)) if before.is_hidden() == after.is_hidden() => before.differs(after),
            // What a layer hides, one below had: it is gone, or there again.
            (Some(before), _) if before.is_hidden() => Some(FileChange::Added),
            (_, Some(after)) if !after.is_hidden() => Some(FileChange::Added),
            _ => Some(FileChange::Removed),
        };
        changes.extend(change.map(|change| (path.clone(), change)));
    }
    Ok(changes)
}

impl File {
    fn is_hidden(&self) -> bool {
        self.kind == HIDDEN
    }

    fn differs(&self, other: &Self) -> Option<FileChange> {
        let read = self.content.zip(other.content);
        if self.kind != other.kind || self.size != other.size || read.is_some_and(|(one, other)| one != other) {
            return Some(FileChange::Content);
        }
        (self.attributes != other.attributes).then_some(FileChange::Attributes)
    }
}

/// What `layers` bring, those above over those below.
async fn files(layers: &[LayerOf], source: &Source, store: &Store, progress: &Progress) -> Result<Files, Error> {
    let mut all = Files::new();
    for layer in layers {
        let here = store.size(Area::Blobs, &layer.digest) == Some(layer.size);
        let listing = if here { None } else { store.listing(&layer.digest)? };
        let brought = match listing {
            Some(listing) => listing.entries.into_iter().map(listed).collect(),
            None => {
                let task = progress.task(Activity::Pull, format!("layer {}", layer.digest.short()), Some(layer.size));
                source.fetch(&layer.descriptor, store, &task).await?;
                task.end("received");
                let (of, store) = (layer.clone(), store.clone());
                let reading = tokio::task::spawn_blocking(move || read(&of, &store)).await;
                reading.map_err(|source| Error::Interrupted { layer: layer.digest, source })??
            }
        };
        all.extend(brought);
    }
    Ok(all)
}

fn listed(entry: Listed) -> (String, File) {
    let (kind, size) = match entry.kind {
        ListedKind::File { size, .. } => ("file".to_owned(), size),
        ListedKind::Directory => ("directory".to_owned(), 0),
        ListedKind::Symlink { target } => (format!("link to {target}"), 0),
        ListedKind::HardLink { target } => (format!("other name of {target}"), 0),
        ListedKind::Special => ("device".to_owned(), 0),
        ListedKind::Whiteout => (HIDDEN.to_owned(), 0),
        ListedKind::Opaque => ("hidden below".to_owned(), 0),
    };
    (entry.path, File { kind, size, attributes: (entry.mode, entry.uid, entry.gid), content: None })
}

fn read(layer: &LayerOf, store: &Store) -> Result<Files, Error> {
    let diff_id = layer.diff_id.ok_or(Error::NoDiffId { layer: layer.digest })?;
    let blob: Box<dyn Read> = match store.open_blob(Area::Blobs, &layer.digest)? {
        Some(blob) => Box::new(blob),
        None => Box::new(io::empty()),
    };
    read::walk(&layer.descriptor, diff_id, blob, |archive| walk(layer.digest, archive))
}

fn walk(layer: Digest, archive: &mut Archive<&mut dyn Read>) -> Result<Files, Error> {
    let invalid = |source| ReadError::Tar { layer, source };
    let (mut files, mut names) = (Files::new(), 0);
    while let Some(entry) = archive.next_entry().map_err(invalid)? {
        names += entry.path.len() + entry.target.len();
        if names > MAX_NAMES {
            return Err(Error::TooManyNames { layer });
        }
        let path = String::from_utf8_lossy(&entry.path).trim_start_matches("./").trim_matches('/').to_owned();
        let target = String::from_utf8_lossy(&entry.target).into_owned();
        let mut content = None;
        let (path, kind) = match (hidden(&path), entry.kind) {
            (Some((path, kind)), _) => (path, kind.to_owned()),
            (None, EntryType::Directory) => (path, "directory".to_owned()),
            (None, EntryType::Symlink) => (path, format!("link to {target}")),
            (None, EntryType::Link) => (path, format!("other name of {}", target.trim_matches('/'))),
            (None, EntryType::Char | EntryType::Block | EntryType::Fifo) => (path, "device".to_owned()),
            (None, _) => {
                let (mut hasher, at) = (Hasher::new(), archive.position());
                io::copy(&mut archive.reader(entry.size), &mut hasher)
                    .map_err(|source| invalid(read::InvalidTar::Io { at, source }))?;
                content = Some(hasher.finish().0);
                (path, "file".to_owned())
            }
        };
        let size = if content.is_some() { entry.size } else { 0 };
        files.insert(path, File { kind, size, attributes: (entry.mode, entry.uid, entry.gid), content });
    }
    Ok(files)
}

/// What a whiteout hides, and how.
fn hidden(path: &str) -> Option<(String, &'static str)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    // layer.md: `.wh..wh..opq` hides all siblings, `.wh.NAME` hides NAME
    if name == ".wh..wh..opq" {
        return Some((parent.to_owned(), "hidden below"));
    }
    let name = name.strip_prefix(".wh.")?;
    Some((if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }, HIDDEN))
}
