//! What can be wrong with a base.

use thiserror::Error;

use super::scan::LayerError;
use crate::oci::{Digest, InvalidManifest, Platform};
use crate::registry::{ParseError, SourceError};

/// Why a base can't be resolved.
#[derive(Debug, Error)]
pub enum Error {
    /// A name that no image can have.
    #[error("`{name}` is not the name of an image")]
    Reference {
        /// The name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The registry or the layout.
    #[error(transparent)]
    Source(Box<SourceError>),
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// What a base from an archive consists of can't be known.
    #[error("can't resolve the base")]
    Archive(#[from] crate::apt::base::Error),
    /// It can't be made.
    #[error("can't make the base")]
    Made(#[from] crate::apt::made::Error),
    /// The recipe's keyring can't be read.
    #[error(transparent)]
    Keys(#[from] crate::apt::sources::Error),
    /// A package of it can't be had.
    #[error(transparent)]
    Download(#[from] crate::registry::download::Error),
    /// The setting of mirrors can't be understood.
    #[error(transparent)]
    Mirrors(#[from] crate::apt::mirrors::Error),
    /// Its manifest or config can't be put into JSON.
    #[error("the base's config or manifest can't be written")]
    Encode(#[source] serde_json::Error),
    /// It has no image.
    #[error("the base was not made")]
    NotMade,
    /// The packages that a lock names come to another base than the locked one.
    #[error("the base comes to {found} here, and the lock has {expected}")]
    MadeOtherwise {
        /// The locked manifest.
        expected: Digest,
        /// The one that was made.
        found: Digest,
    },
    /// A manifest that is none.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// An index that leads to another index.
    #[error("index {index} leads to another index, {nested}")]
    Nested {
        /// The index.
        index: Digest,
        /// What it leads to.
        nested: Digest,
    },
    /// An index without the platform.
    #[error("the base has no image for {wanted}")]
    Platform {
        /// The platform that was asked for.
        wanted: Platform,
        /// Those that it has.
        offered: Vec<Platform>,
    },
    /// An image that says itself that it runs elsewhere.
    #[error("the base is an image for {found}, not for {wanted}")]
    OtherPlatform {
        /// The platform that was asked for.
        wanted: Box<Platform>,
        /// What its config says.
        found: Box<Platform>,
    },
    /// A manifest of something else: a chart, a signature.
    #[error("manifest {manifest} is no image: its config is a `{media_type}`")]
    NotAnImage {
        /// The manifest.
        manifest: Digest,
        /// What its config is.
        media_type: String,
    },
    /// A config that is none.
    #[error("config {config} can't be read")]
    Config {
        /// The config.
        config: Digest,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A config with more or fewer layers than the manifest.
    #[error("the layers of manifest {manifest} are {layers} by itself, and {diff_ids} by its config")]
    Layers {
        /// The manifest.
        manifest: Digest,
        /// How many layers it has.
        layers: usize,
        /// How many the config has.
        diff_ids: usize,
    },
    /// A lock whose manifest names another config than the lock.
    #[error("manifest {manifest} of the lock does not have the lock's config {config}")]
    OtherConfig {
        /// The manifest.
        manifest: Digest,
        /// The lock's config.
        config: Digest,
    },
    /// A layer that is none.
    #[error(transparent)]
    Layer(Box<LayerError>),
    /// An account file or a file of the skeleton that is longer than any real one.
    #[error("/{path} of the base has {size} bytes, too many to be amended or copied")]
    NotKept {
        /// The file.
        path: String,
        /// Its length in bytes.
        size: u64,
    },
    /// It can't be laid out on disk.
    #[error(transparent)]
    Extract(#[from] crate::sandbox::ExtractError),
    /// A thread ended by panicking.
    #[error("reading layer {layer} broke off")]
    Broken {
        /// The layer.
        layer: Digest,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
    /// The lock names a base, and the recipe has none to read it from.
    #[error("manifest {manifest} of the lock is not in the store, and the recipe's base is scratch")]
    NoSource {
        /// The manifest.
        manifest: Digest,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(error) => error.hint(),
            Self::Made(error) => error.hint(),
            Self::Keys(error) => error.hint(),
            Self::NotMade | Self::Encode(_) => None,
            Self::Download(error) => error.hint(),
            Self::Mirrors(error) => error.hint(),
            Self::MadeOtherwise { .. } => Some(
                "lock anew with `dlpack lock`: another dlpack may have made it, or a sandbox that lacked something"
                    .into(),
            ),
            Self::Reference { .. } => {
                Some("write it as in `docker pull`: nvidia/cuda:12.4.1-devel-ubuntu22.04".to_owned())
            }
            Self::Source(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Extract(error) => error.hint(),
            Self::Platform { offered, .. } if offered.is_empty() => Some("its index names no platform".to_owned()),
            Self::Platform { offered, .. } => {
                let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
                Some(format!("it has {}: choose one with --platform, or another base", offered.join(", ")))
            }
            Self::OtherPlatform { found, .. } => Some(format!("--platform {found}, or another base")),
            Self::NotAnImage { .. } | Self::Nested { .. } => Some("name the tag or digest of an image".to_owned()),
            Self::Config { .. } | Self::Layers { .. } | Self::Layer(_) | Self::Manifest(_) => {
                Some("the base is broken or somebody changed it: take another tag, or push it again".to_owned())
            }
            Self::NotKept { .. } => Some("real account files are far shorter: take another base".to_owned()),
            Self::Broken { .. } => None,
            Self::NoSource { .. } | Self::OtherConfig { .. } => Some("lock again with --update".to_owned()),
        }
    }
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}

impl From<LayerError> for Error {
    fn from(error: LayerError) -> Self {
        Self::Layer(Box::new(error))
    }
}
