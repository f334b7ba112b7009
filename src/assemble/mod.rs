//! The only module that knows the whole flow: it fetches what a plan misses,
//! writes the layers, puts the image together, and sends or receives it.
//!
//! The network runs on tokio; a layer is written on a plain thread. The two meet
//! here and in the registry's push.

mod added;
mod annotations;
mod appended;
mod build;
mod collisions;
mod delivery;
mod fetch;
mod image;
mod layers;
mod making;
mod pull;
mod push;
mod rebase;
mod receive;
mod rootfs;
mod venv;
mod verify;
mod work;
mod writer;

use std::path::PathBuf;

use thiserror::Error;

pub use crate::layer::EPOCH;
use crate::oci::{Digest, InvalidManifest, Platform};
use crate::sandbox::ExtractError;
pub use added::{Added, account_files};
pub use annotations::ANNOTATION_CONTENTS;
pub use appended::Appended;
pub use build::{Built, build, known};
pub use delivery::Pushed;
pub use image::{Appendix, AppendixLayer, Image};
pub use pull::{Described, Pulled, bring, complete, describe, describe_remote, describe_stored, import, pull};
pub use push::{Published, publish, push};
pub use rebase::{Rebased, rebase};
pub use rootfs::lay_out_base;
pub use venv::{base_for_venv, built_for_venv, fetch_for_venv};
pub use verify::{Blob, Checked, Compared, Reason, Verdict, Verified, verify};
pub use work::Work;

/// How many blobs or wheels are under way at a time.
const PARALLEL: usize = 4;

/// Why an image can't be put together, sent or received.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] crate::plan::Error),
    /// A layer can't be written.
    #[error("can't build layer `{layer}`")]
    Layer {
        /// The recipe's layer.
        layer: String,
        /// Why.
        #[source]
        source: crate::changeset::Error,
    },
    /// A secret that nobody gave.
    #[error("layer `{layer}` needs the secret `{name}`")]
    NoSecret {
        /// The recipe's layer.
        layer: String,
        /// The secret.
        name: String,
    },
    /// Records can't be kept.
    #[error(transparent)]
    Cache(#[from] crate::cache::Error),
    /// A thread that wrote a layer was ended.
    #[error("the thread that wrote layer `{layer}` ended early")]
    Thread {
        /// The recipe's layer.
        layer: String,
    },
    /// A wheel or an interpreter can't be had.
    #[error(transparent)]
    Index(#[from] crate::python::index::Error),
    /// Wheels can't lie in one venv, which a wheel showed that was built from source.
    #[error(transparent)]
    Wheels(#[from] crate::lock::Error),
    /// A package can't be had.
    #[error(transparent)]
    Package(#[from] crate::registry::download::Error),
    /// It is not known where packages come from.
    #[error(transparent)]
    Mirrors(#[from] crate::apt::mirrors::Error),
    /// A layer that is no venv needs something from an index.
    #[error("layer `{layer}` has no index to fetch from")]
    NoIndexes {
        /// The recipe's layer.
        layer: String,
    },
    /// What lies under a layer can't be laid out on disk.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// A layer that was made elsewhere is not what its record says.
    #[error(transparent)]
    Read(#[from] crate::layer::read::ReadError),
    /// The base can't be had.
    #[error(transparent)]
    Base(#[from] crate::lock::base::Error),
    /// A blob can't be had.
    #[error(transparent)]
    Source(#[from] crate::registry::SourceError),
    /// The store does not work.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// A layer's blob can't begin or end.
    #[error(transparent)]
    Write(#[from] crate::layer::Error),
    /// The registry does not work.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// A manifest can't be understood.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// A config can't be understood.
    #[error("image config {digest} can't be read")]
    Config {
        /// The config.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A layer came out otherwise than when the image was tested.
    #[error("the image is {image}, and {tested} was tested")]
    Untested {
        /// The image's manifest.
        image: Digest,
        /// The manifest of the image that passed.
        tested: Digest,
    },
    /// An index without the platform.
    #[error("{reference} has no image for {platform}; it has {offered}")]
    Platform {
        /// What was asked for.
        reference: String,
        /// The platform.
        platform: Platform,
        /// What there is.
        offered: String,
    },
    /// An index in an index.
    #[error("manifest {digest} is an index, where an image should be")]
    NestedIndex {
        /// The inner index.
        digest: Digest,
    },
    /// An artifact that is no image.
    #[error("{digest} is no image: its config is a `{media_type}`")]
    NotAnImage {
        /// The manifest.
        digest: Digest,
        /// The config's media type.
        media_type: String,
    },
    /// Config or manifest can't be put into JSON.
    #[error("the image's config or manifest can't be written")]
    Encode(#[source] serde_json::Error),
    /// A blob that should be in the store is gone.
    #[error("{} is gone from the store", path.display())]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
}

impl Error {
    /// Whether a blob could not be had from the repository that it was to be pushed from.
    fn is_of_origin(&self) -> bool {
        matches!(self, Self::Registry(crate::registry::Error::OriginRepository { .. }))
    }

    /// Whether what a layer is made of was damaged in the store, which has dropped it.
    fn is_of_damaged_download(&self) -> bool {
        use crate::changeset::{Error as Of, apt::AptError, bytecode, source, venv::VenvError};
        let Self::Layer { source, .. } = self else { return false };
        let (Of::Venv(VenvError::Store(error))
        | Of::Source(source::Error::Venv(VenvError::Store(error)))
        | Of::Bytecode(bytecode::Error::Venv(VenvError::Store(error)))
        | Of::Apt(AptError::Store(error))) = source
        else {
            return false;
        };
        matches!(error, crate::store::Error::Damaged { .. })
    }

    /// Whether a layer that was sent as it was made is longer than one may be.
    fn is_of_parts(&self) -> bool {
        use crate::changeset::{Error as Of, venv::VenvError};
        use crate::python::{standalone, tree};
        let Self::Layer { source, .. } = self else { return false };
        let (Of::Layer(error)
        | Of::Venv(VenvError::Wheels(tree::Error::Layer(error)))
        | Of::Venv(VenvError::Interpreter(standalone::Error::Layer(error)))) = source
        else {
            return false;
        };
        matches!(error, crate::layer::Error::Parts { .. })
    }

    /// Whether it is that a registry has no such image, or none for the platform.
    pub fn is_no_such_image(&self) -> bool {
        matches!(self, Self::Registry(crate::registry::Error::NotFound { .. }) | Self::Platform { .. })
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Plan(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::Layer { source, .. } => source.hint(),
            Self::Extract(error) => error.hint(),
            Self::Index(error) => error.hint(),
            Self::Wheels(error) => error.hint(),
            Self::Package(error) => error.hint(),
            Self::Mirrors(error) => error.hint(),
            Self::Read(error) => error.hint(),
            Self::Base(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Write(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::NoSecret { name, .. } => Some(format!(
                "give it with `--secret {name}=FILE`, or with `--secret {name}` from the environment variable {name}"
            )),
            Self::Untested { .. } => Some("the same command tests it, and pushes it if it passes".into()),
            Self::Platform { .. } => Some("name one of these with --platform".into()),
            Self::Gone { .. } => Some("build the image again, or pull it".into()),
            Self::NestedIndex { .. } | Self::NotAnImage { .. } => Some("name the tag or digest of an image".into()),
            Self::Manifest(_) | Self::Config { .. } => {
                Some("the image is broken: push it again, or take another tag".into())
            }
            Self::Thread { .. } | Self::NoIndexes { .. } | Self::Encode(_) => None,
        }
    }
}
