//! Laying layers out on disk, in overlayfs's form: the base's flattened into one
//! directory, each of ours into its own.

use std::path::PathBuf;

use super::Error;
use crate::oci::{ChainId, Descriptor, DiffId};
use crate::store::Store;

/// The directory of the root filesystem `chain`, if it has been extracted.
pub fn find(store: &Store, chain: &ChainId) -> Option<PathBuf> {
    let directory = store.root().join("rootfs/sha256").join(chain.0.hex());
    directory.is_dir().then_some(directory)
}

/// Applies `layers`, lowest first, whose blobs are in the store; the directory that has
/// what they come to. Extracted before, it is as it was.
///
/// # Errors
/// See [`Error`]; nothing half-made has its name.
pub fn base(store: &Store, layers: &[(Descriptor, DiffId)]) -> Result<PathBuf, Error> {
    let _ = (store, layers);
    Err(Error::NoRootfs { command: "extract".into() })
}

/// Extracts one of our layers, whose blob is in the store, over those of `under`.
///
/// # Errors
/// See [`Error`]; nothing half-made has its name.
pub fn layer(store: &Store, layer: &Descriptor, diff_id: DiffId, under: Option<ChainId>) -> Result<PathBuf, Error> {
    let _ = (store, layer, diff_id, under);
    Err(Error::NoRootfs { command: "extract".into() })
}
