//! What can go wrong with a remote cache.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::VerifyingKey;
use crate::registry;

/// What can go wrong with a remote cache.
#[derive(Debug, Error)]
pub enum Error {
    /// A repository that a person named as a cache can't be read.
    #[error("the cache {place} can't be read")]
    Read {
        /// The repository.
        place: String,
        /// Why.
        #[source]
        source: registry::Error,
    },
    /// The store can't be asked where it pushed to.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// Records can't be kept in a repository.
    #[error("records can't be kept in {place}")]
    Keep {
        /// The repository.
        place: String,
        /// Why.
        #[source]
        source: registry::Error,
    },
    /// It can't be said which records a repository has.
    #[error("the records in {place} can't be listed")]
    List {
        /// The repository.
        place: String,
        /// Why.
        #[source]
        source: registry::Error,
    },
    /// A registry that removes no manifests.
    #[error("{place} lets nobody remove records")]
    NoDeletion {
        /// The repository.
        place: String,
        /// What it says.
        #[source]
        source: registry::Error,
    },
    /// Records can't be removed, for another reason.
    #[error("records can't be removed from {place}")]
    Remove {
        /// The repository.
        place: String,
        /// Why.
        #[source]
        source: registry::Error,
    },
    /// A record can't be put into JSON.
    #[error("a record for {place} can't be written")]
    Encode {
        /// The repository.
        place: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The file of a secret key can't be read.
    #[error("can't read the key {}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that holds no secret ed25519 key.
    #[error("{} is not a secret ed25519 key in PEM", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// Records that are signed with a key that the recipe does not trust.
    #[error("the recipe's `cache-keys` do not have the key of {}", path.display())]
    NotPinned {
        /// The file.
        path: PathBuf,
        /// The public key in it.
        key: VerifyingKey,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. }
            | Self::Keep { source, .. }
            | Self::List { source, .. }
            | Self::Remove { source, .. } => source.hint(),
            Self::NoDeletion { .. } => Some(
                "docker-registry has to be told to: `storage: {delete: {enabled: true}}`; others remove tags that begin \
                 with `dlpack-` by their own means alone"
                    .into(),
            ),
            Self::Store(error) => error.hint(),
            Self::Encode { .. } => None,
            Self::KeyFile { .. } | Self::Key { .. } => {
                Some("`openssl genpkey -algorithm ed25519 -out FILE` makes one".into())
            }
            Self::NotPinned { key, .. } => Some(format!("its records would not be used; add \"{key}\" to them")),
        }
    }
}
