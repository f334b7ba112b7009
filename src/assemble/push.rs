//! From a plan to a registry: each layer goes out as soon as it is there, or while it
//! is made; the base's blobs are mounted or stream from their own registry; config
//! and manifest go last, so that the tag names the old image or the whole new one.

use super::Error;
use super::appended::Appended;
use super::build::{self, Built};
use super::delivery::{Delivery, Destination, Pushed};
use super::layers::{self, Layers};
use super::work::Work;
use crate::cache;
use crate::oci::Digest;
use crate::plan::{Place, Plan};
use crate::registry::{BlobOrigin, Repository};

/// Builds what `plan` says is missing and pushes the image to `target` under its tag.
/// A layer that needs no root filesystem is sent while it is made, and the store keeps
/// its record alone, unless it is to `keep_blobs`. Doing it twice sends nothing but questions and the manifest.
/// If an image was `tested`, it is pushed if it is that one.
///
/// # Errors
/// The first one that occurs, [`Error::Untested`] among them; layers that are done and blobs that
/// have arrived stay, the tag still names what it named before.
pub async fn push(
    work: &Work<'_>,
    plan: &Plan,
    target: &Repository,
    keep_blobs: bool,
    tested: Option<Digest>,
) -> Result<(Built, Pushed), Error> {
    let delivery = Delivery::new(work.store, work.progress, work.caches, target, keep_blobs);
    let built = build::image(work, plan, Destination::Registry(&delivery)).await?;
    let image = built.image.descriptor.digest;
    if let Some(tested) = tested.filter(|tested| *tested != image) {
        return Err(Error::Untested { image, tested });
    }
    delivery.image(&built.image).await?;
    // The image is there: what it can't leave behind for others must not fail the push.
    if let Err(error) = record(work, &built.layers, target).await {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        work.progress.warn(format!("the image was pushed, but {error}{source}"));
    }
    Ok((built, delivery.pushed()))
}

/// What a repository has of layers without an image.
pub struct Published {
    /// How many layers there are.
    pub layers: usize,
    /// How many of them were not known before.
    pub written: usize,
    /// How many records were written.
    pub records: usize,
    /// What became of their blobs.
    pub pushed: Pushed,
}

/// Sees that `target` has the layers of `plan`, and records of them, so that others can
/// take them from there: as [`push`], without an image.
///
/// # Errors
/// Those of [`push`]; [`Error::Cache`] if the records can't be written.
pub async fn publish(work: &Work<'_>, plan: &Plan, target: &Repository, keep_blobs: bool) -> Result<Published, Error> {
    let delivery = Delivery::new(work.store, work.progress, work.caches, target, keep_blobs);
    let Layers { appended, written } = layers::layers(work, plan, None, Destination::Registry(&delivery)).await?;
    let records = record(work, &appended, target).await?;
    Ok(Published { layers: appended.len(), written, records, pushed: delivery.pushed() })
}

/// Records `layers` in `target`, as far as the cache doesn't know them; how many those were.
async fn record(work: &Work<'_>, layers: &[Appended], target: &Repository) -> Result<usize, cache::Error> {
    let layer = |layer: &Appended| {
        let record = cache::Record::new(layer.key?, &layer.record, &layer.history);
        let origin = match &layer.place {
            Place::Remote(hit) => BlobOrigin::Repository(Box::new(hit.repository.clone())),
            Place::Target(_) => BlobOrigin::Repository(Box::new(target.clone())),
            _ => BlobOrigin::Store(work.store.clone()),
        };
        Some(cache::Layer { record, title: layer.title.clone(), origin })
    };
    let layers: Vec<cache::Layer> = layers.iter().filter_map(layer).collect();
    work.caches.keep(&layers, target).await
}
