//! What dlpack keeps on disk: an OCI image layout that any tool can read, the
//! keys of layers beside it, and what was downloaded for them.
//!
//! ```text
//! STORE/
//!   oci-layout, index.json   image-layout.md; tags are `org.opencontainers.image.ref.name`
//!   blobs/sha256/HEX         manifests, configs, layers
//!   keys/HH/HEX.json         LayerKey → LayerRecord (v2)
//!   downloads/sha256/HEX     wheels and interpreters, by their own hash
//!   listings/HEX.json        what a base's layer holds, by the layer's digest (v3)
//!   repositories/NAME/       what was pushed to the embedded registry, by repository (v1)
//!     _blobs/HEX               an empty file: the repository has this blob
//!     _manifests/HEX           a file with the media type that the manifest came as
//!   rootfs/sha256/HEX/       a base's layers, extracted and flattened, by ChainId (v2)
//!   overlays/sha256/HEX/     a sandboxed layer, extracted in overlayfs's form, by ChainId (v2)
//!   unpacked/sha256/HEX/     a wheel or an interpreter, by the digest of what it was made from (v1)
//!     root/, owners            the files; what one uid can't give to links and FIFOs
//!     files                    times and sums of those, by which damage is found
//!     content.json             how much it is; its time is that of the last use
//!   rates/HEX.json           how fast a registry took what was pushed last, by its name (v2)
//!   containers/NAME/         what is known of a container while it runs, and of one that is kept
//!   tests/HEX.json           that an image has passed its tests, by the digest of both (v1)
//!   caches/NAME/             cache directories of `run` layers
//!   logs/NAME.log            what steps printed
//!   uploads/HEX.json         where the upload of a blob to a repository stands (v2)
//!     HEX.lock                 held by whoever is at it
//!   scratch/                 what steps write, while they run
//!   tmp/                     what is being written, locked by its writer; stores for one piece of work
//!   lock                     shared by every user of the store, exclusive for collection
//!   index.lock               held while index.json is replaced
//! ```
//!
//! Nothing in it is ever rewritten in place: a file is written under `tmp/`,
//! verified, synced and renamed, so that a kill at any instant leaves the old
//! state or the new one. Reading verifies; what fails is dropped and made again.

mod apart;
mod blobs;
mod collect;
mod containers;
mod images;
mod keys;
mod lease;
mod links;
mod listings;
mod passed;
mod rates;
mod sealed;
mod steps;
mod tags;
mod tree_files;
mod trees;
mod uploads;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::oci::Digest;
pub use apart::Apart;
pub use blobs::{Area, BlobReader, BlobWriter};
pub use collect::{Collected, Entry, Kind, Policy, Verified};
pub use containers::CONTAINER;
pub use images::Image;
pub use keys::{LayerKey, LayerPart, LayerRecord};
pub use lease::Lease;
pub use links::Link;
pub use listings::{Listed, ListedKind, Listing};
pub use rates::Rate;
use tags::INDEX_LOCK;
pub use tree_files::Checksums;
pub use trees::{Tree, TreeContent, TreeWriter, remove as remove_tree};
pub use uploads::{UploadEntry, UploadName, UploadState};

/// What can go wrong with files of the store.
#[derive(Debug, Error)]
pub enum Error {
    /// A file or directory can't be read, written or renamed.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// `read`, `write`, `rename` …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A blob's bytes are not what its name says. It has been removed.
    #[error("{} was damaged: its bytes hash to {found}", path.display())]
    Damaged {
        /// The file that was removed.
        path: PathBuf,
        /// The digest of what was there.
        found: Digest,
    },
    /// What was written is not what was announced. Nothing was kept.
    #[error("expected {expected} of {expected_size} bytes, got {found} of {found_size} bytes")]
    Mismatch {
        /// The digest that was announced.
        expected: Digest,
        /// The length that was announced.
        expected_size: u64,
        /// The digest of the bytes that came.
        found: Digest,
        /// How many came.
        found_size: u64,
    },
    /// A file of the store that is not in the form this version writes.
    #[error("{} can't be understood", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The layout's `index.json` is not an index.
    #[error("{} is not the index of an image layout", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Option<crate::oci::InvalidManifest>,
    },
    /// The store can't be collected, since somebody has a lease.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// A directory that holds something else.
    #[error("{} is not empty and not a store", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space with `dlpack cache gc`, or name another place with --store".into())
            }
            Self::Io { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::PermissionDenied
                        | io::ErrorKind::ReadOnlyFilesystem
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::AlreadyExists
                ) =>
            {
                Some("name a directory that you can write with --store or DLPACK_STORE".into())
            }
            Self::Damaged { .. } => Some(
                "it was removed: run the command again, and if it is missed then, build or pull the image again".into(),
            ),
            Self::InUse { .. } => Some("wait for the builds, pushes and `dlpack serve` that use it".into()),
            Self::NotAStore { .. } => Some("name an empty directory, or one that dlpack made".into()),
            Self::Index { .. } => Some("it has the tags: put it back from a copy, or name another store".into()),
            Self::Format { .. } => Some("`dlpack cache verify` removes what can't be read".into()),
            _ => None,
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// A store on disk. Cheap to clone; safe to use from several threads and
/// processes at once.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// The directories of a store.
const DIRECTORIES: [&str; 5] = ["tmp", "blobs/sha256", "keys", "downloads/sha256", "listings"];

/// What may lie in a directory that is half-way to be a store.
const HALF_MADE: [&str; 6] = ["tmp", "blobs", "keys", "downloads", "listings", "index.json"];

impl Store {
    /// Opens the store at `root`, making it where there is none. An image layout of
    /// another tool becomes a store. One that can't be written can be read.
    ///
    /// # Errors
    /// [`Error::NotAStore`] if the directory holds something else; [`Error::Io`].
    pub fn open(root: &Path) -> Result<Self, Error> {
        let store = Self { root: root.to_owned() };
        let marker = root.join("oci-layout");
        if !marker.exists() {
            store.create(&marker)?;
        }
        for directory in DIRECTORIES {
            // Where it can't be made, writing will say so.
            let _ = fs::create_dir_all(root.join(directory));
        }
        Ok(store)
    }

    /// Makes what is missing; several processes may do so at once, and one that was
    /// killed on the way is continued.
    fn create(&self, marker: &Path) -> Result<(), Error> {
        let foreign = |entry: io::Result<fs::DirEntry>| {
            let known = |name: &str| HALF_MADE.contains(&name) || [INDEX_LOCK, "oci-layout"].contains(&name);
            entry.is_ok_and(|entry| !entry.file_name().to_str().is_some_and(known))
        };
        if fs::read_dir(&self.root).is_ok_and(|mut entries| entries.any(foreign)) {
            return Err(Error::NotAStore { path: self.root.clone() });
        }
        for directory in DIRECTORIES {
            let path = self.root.join(directory);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        // Under the lock of the index: another process may have tagged already.
        let _lock = self.lock_index()?;
        let index = self.root.join("index.json");
        if !index.exists() {
            self.replace(&index, tags::EMPTY_INDEX.as_bytes())?;
        }
        // image-layout.md: "imageLayoutVersion" is "1.0.0"
        self.replace(marker, br#"{"imageLayoutVersion":"1.0.0"}"#)
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the output of steps is kept.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Where cache directories of `run` layers persist.
    pub fn caches(&self) -> PathBuf {
        self.root.join("caches")
    }

    /// Where sandboxes write.
    pub fn scratch(&self) -> PathBuf {
        Self::scratch_under(&self.root)
    }

    /// The same for a store at `root`, whether it is made or not.
    pub fn scratch_under(root: &Path) -> PathBuf {
        root.join("scratch")
    }

    /// Writes `bytes` as `path`, whole or not at all.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut writer = BlobWriter::new(&self.root.join("tmp"))?;
        io::Write::write_all(&mut writer, bytes).map_err(Error::io("write", path))?;
        writer.rename_to(path)
    }
}
