//! An image's layers as directories for an overlay: those of the base flattened into one,
//! each other one by itself. They are those that builds use, and images that share layers
//! share them.

use std::path::PathBuf;

use crate::assemble::{Added, Described};
use crate::oci::{ChainId, Descriptor, DiffId};
use crate::progress::{Activity, Progress};
use crate::sandbox::{ExtractError, extract};
use crate::store::Store;

/// An image's layers, lowest first.
#[derive(Clone, Debug)]
pub struct Layers {
    layers: Vec<(Descriptor, DiffId)>,
    /// How many of them are its base's.
    base: usize,
}

impl Layers {
    /// Those of `image`.
    pub fn of(image: &Described) -> Self {
        let diff_ids = image.config.rootfs.diff_ids.iter().copied();
        let layers = image.manifest.layers.iter().cloned().zip(diff_ids).collect();
        Self { layers, base: Added::base_layers(&image.manifest) }
    }

    /// The ChainId of the lowest `count`.
    fn chain(&self, count: usize) -> Option<ChainId> {
        ChainId::of(&self.layers[..count].iter().map(|(_, diff_id)| *diff_id).collect::<Vec<_>>())
    }

    /// The most of the lowest layers that lie flattened in `store` already, with their
    /// directory.
    fn flattened(&self, store: &Store) -> Option<(usize, PathBuf)> {
        (1..=self.layers.len()).rev().find_map(|count| Some((count, extract::find(store, &self.chain(count)?)?)))
    }
}

/// The directories of `layers`, lowest first, extracted from `store` unless they are there.
/// `progress` is told of those that are not. The caller holds a lease.
///
/// # Errors
/// [`ExtractError`]: [`ExtractError::Missing`] if the store hasn't got a blob.
pub fn trees(store: &Store, layers: &Layers, progress: &Progress) -> Result<Vec<PathBuf>, ExtractError> {
    let mut lower = Vec::new();
    let below = match layers.flattened(store) {
        Some((count, tree)) => {
            lower.push(tree);
            count
        }
        None if layers.base > 0 => {
            let task = progress.task(Activity::Extract, "base", None);
            lower.push(extract::base(store, &layers.layers[..layers.base])?);
            task.end("extracted");
            layers.base
        }
        None => 0,
    };
    for (n, (layer, diff_id)) in layers.layers.iter().enumerate().skip(below) {
        let known = layers.chain(n + 1).and_then(|chain| extract::find_layer(store, &chain));
        lower.push(match known {
            Some(tree) => tree,
            None => {
                let task = progress.task(Activity::Extract, format!("layer {}", layer.digest.short()), None);
                let tree = extract::layer(store, layer, *diff_id, layers.chain(n), &lower)?;
                task.end("extracted");
                tree
            }
        });
    }
    Ok(lower)
}
