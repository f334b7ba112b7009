//! Where a base is read from: a repository, or an image layout on disk. Both give
//! manifests and blobs by descriptor, verified.

use futures_util::TryStreamExt as _;
use thiserror::Error;

use super::{BlobOrigin, BlobStream, Reference, Repository};
use crate::oci::{Descriptor, Digest, Layout, LayoutError};
use crate::store::Store;

/// The longest config that is read, in bytes; real ones have some ten thousand.
const MAX_CONFIG: u64 = 8 << 20;

/// Why a base can't be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] super::Error),
    /// The layout on disk.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A manifest or config of another type or length than its descriptor says.
    #[error("{} should be a `{}` of {} bytes, and came as a `{}` of {} bytes", expected.digest, expected.media_type, expected.size, found.media_type, found.size)]
    Manifest {
        /// What it should be.
        expected: Box<Descriptor>,
        /// What it is.
        found: Box<Descriptor>,
    },
    /// A config that is longer than any real one.
    #[error("config {} of {} bytes is over the limit of {MAX_CONFIG}", descriptor.digest, descriptor.size)]
    Config {
        /// The config.
        descriptor: Box<Descriptor>,
    },
    /// The store does not take it.
    #[error(transparent)]
    Keep(#[from] crate::store::Error),
    /// The thread that writes ended without a word.
    #[error("writing {digest} was interrupted")]
    Interrupted {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl SourceError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Layout(error) => error.hint(),
            Self::Manifest { .. } => Some("the registry or a mirror of it is at fault: try another mirror".to_owned()),
            Self::Keep(error) => error.hint(),
            Self::Config { .. } | Self::Interrupted { .. } => None,
        }
    }
}

/// Where a base is read from. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Source {
    /// A repository; the reference says which tag or digest.
    Registry(Box<Repository>),
    /// A layout on disk, and the name in its index.
    Layout(Layout, Option<String>),
}

impl Source {
    /// What the recipe names: the descriptor of a manifest or an index, and its bytes, from `store`
    /// if it is there.
    ///
    /// # Errors
    /// Those of [`Repository::manifest`] and of [`Layout::find`].
    pub async fn named(&self, store: &Store) -> Result<(Descriptor, Vec<u8>), SourceError> {
        match self {
            Self::Registry(repository) => {
                Ok(repository.manifest_or_stored(wanted(repository.reference()), store).await?)
            }
            Self::Layout(layout, tag) => {
                let descriptor = layout.find(tag.as_deref())?;
                let bytes = layout.read(&descriptor)?;
                Ok((descriptor, bytes))
            }
        }
    }

    /// The bytes of the manifest or index that `descriptor` describes.
    ///
    /// # Errors
    /// Those of [`Self::named`]; [`SourceError::Manifest`] if it comes as another type.
    pub async fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        match self {
            Self::Registry(repository) => {
                let (found, bytes) = repository.manifest(&descriptor.digest.to_string()).await?;
                if (found.size, &found.media_type) != (descriptor.size, &descriptor.media_type) {
                    let (expected, found) = (Box::new(descriptor.clone()), Box::new(found));
                    return Err(SourceError::Manifest { expected, found });
                }
                Ok(bytes)
            }
            Self::Layout(layout, _) => Ok(layout.read(descriptor)?),
        }
    }

    /// A config, whole.
    ///
    /// # Errors
    /// [`SourceError::Config`] if it is over 8 MiB; those of [`Repository::pull_blob`].
    pub async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        if descriptor.size > MAX_CONFIG {
            return Err(SourceError::Config { descriptor: Box::new(descriptor.clone()) });
        }
        match self {
            Self::Registry(repository) => {
                let mut blob = repository.pull_blob(descriptor);
                let mut whole = Vec::new();
                while let Some(chunk) = blob.try_next().await? {
                    whole.extend_from_slice(&chunk);
                }
                Ok(whole)
            }
            Self::Layout(layout, _) => Ok(layout.read(descriptor)?),
        }
    }

    /// The bytes of a blob as they come; its last item is an error if they were not
    /// what `descriptor` says.
    pub fn blob(&self, descriptor: &Descriptor) -> BlobStream {
        self.origin(descriptor).open(descriptor)
    }

    /// The same as something to push from.
    pub fn origin(&self, descriptor: &Descriptor) -> BlobOrigin {
        match self {
            Self::Registry(repository) => BlobOrigin::Repository(repository.clone()),
            Self::Layout(layout, _) => BlobOrigin::file(layout.blob_path(&descriptor.digest)),
        }
    }

    /// The repository that blobs can be mounted from, where it is one.
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Registry(repository) => Some(repository),
            Self::Layout(..) => None,
        }
    }
}

/// The digest that a reference names, else its tag.
fn wanted(reference: &Reference) -> &str {
    reference.digest().or(reference.tag()).unwrap_or("latest")
}
