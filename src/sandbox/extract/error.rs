//! Why a layer can't be extracted.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::layer::read::ReadError;
use crate::oci::Digest;

/// Why a layer can't be extracted. Nothing of it is kept then.
#[derive(Debug, Error)]
pub enum ExtractError {
    /// The blob, or its tar.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The blob was not fetched.
    #[error("layer {layer} is not in the store")]
    Missing {
        /// The layer.
        layer: Digest,
    },
    /// A path, or a hard link's target, with `..` in it.
    #[error("layer {layer} has an entry `{path}`, which leads out of the image")]
    Leaves {
        /// The layer.
        layer: Digest,
        /// The path.
        path: String,
    },
    /// A path that no file can have: too long or deep, with NUL, or a whiteout of nothing.
    #[error("layer {layer} has an entry `{path}`, which no file can have as its name")]
    Name {
        /// The layer.
        layer: Digest,
        /// The path.
        path: String,
    },
    /// The root as something else than a directory.
    #[error("layer {layer} has the root as a {kind}")]
    Root {
        /// The layer.
        layer: Digest,
        /// What it would be.
        kind: &'static str,
    },
    /// An entry that is no file of a root filesystem.
    #[error("layer {layer} has `{path}` as a {kind}, which no layer has")]
    Kind {
        /// The layer.
        layer: Digest,
        /// The path.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// An entry whose parent is a file, or a link that leads nowhere or in a circle.
    #[error("layer {layer} has `{path}`, and what should be the directory above it is none")]
    Parent {
        /// The layer.
        layer: Digest,
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A hard link to nothing, to a directory, or to itself.
    #[error("layer {layer} has `{path}` as a hard link to `{target}`, which {what}")]
    HardLink {
        /// The layer.
        layer: Digest,
        /// The path.
        path: String,
        /// Where it leads.
        target: String,
        /// What is wrong with that.
        what: &'static str,
    },
    /// More entries, or longer names together, than any real layer has.
    #[error("layer {layer} has more {what} than any real layer")]
    TooMany {
        /// The layer.
        layer: Digest,
        /// `entries`, `names`.
        what: &'static str,
    },
    /// A filesystem on which owners can't be kept.
    #[error("the filesystem of {} keeps no user extended attributes", path.display())]
    Xattrs {
        /// The store's directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A kernel, or a container's filter, without openat2.
    #[error("openat2(2) does not work here: layers can't be extracted safely")]
    Openat2 {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry that this machine does not take.
    #[error("can't {doing} `{path}` of layer {layer}")]
    Entry {
        /// `write`, `link` …
        doing: &'static str,
        /// The entry.
        path: String,
        /// The layer.
        layer: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory of this machine that can't be used.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// `create`, `remove` …
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ExtractError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Missing { .. } => Some("fetch the base again: somebody has emptied the store meanwhile".to_owned()),
            Self::Leaves { .. }
            | Self::Name { .. }
            | Self::Root { .. }
            | Self::Kind { .. }
            | Self::Parent { .. }
            | Self::HardLink { .. }
            | Self::TooMany { .. } => Some("the image is broken, or was made to do harm: take another base".to_owned()),
            Self::Xattrs { .. } => Some(
                "put the store on ext4, xfs or btrfs with --store: tmpfs keeps them from Linux 6.6 on, NFS from 5.9"
                    .to_owned(),
            ),
            Self::Openat2 { .. } => {
                Some("it needs Linux 5.6, and a container runtime of 2021 or later around dlpack".to_owned())
            }
            Self::Entry { source, .. } | Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space with `dlpack cache gc`, or name another place with --store".to_owned())
            }
            Self::Entry { .. } | Self::Io { .. } => None,
        }
    }
}
