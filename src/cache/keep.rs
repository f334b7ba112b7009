//! Writing records: after an image has arrived, those that are not there yet.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::listing::Listing;
use super::record::{ANCHOR, ANCHOR_TAG, Dated, EMPTY, Record, empty, tag};
use super::{Caches, Error};
use crate::oci::media_type;
use crate::registry::{self, BlobOrigin, Repository};
use crate::store::LayerKey;

/// How many records are under way at a time.
const PARALLEL: usize = 4;

/// A record that is still of use is written anew after so long, in seconds: its age is
/// then that of its last use, give or take a week.
const STALE: i64 = 7 * 24 * 3600;

/// A layer of an image that was pushed.
pub struct Layer {
    /// What is known of it.
    pub record: Record,
    /// Where its blob can be read, for a cache that is another repository.
    pub origin: BlobOrigin,
}

impl Caches {
    /// Writes records of `layers`, whose blobs are in `target`, as far as the cache has
    /// none of them, or an old one; how many those were. Where keys are pinned, only what is
    /// signed is written: nobody would go by the rest.
    ///
    /// # Errors
    /// [`Error::Keep`], [`Error::Encode`]; what was written stays.
    pub async fn keep(&self, layers: &[Layer], target: &Repository) -> Result<usize, Error> {
        let Some(cache) = self.written() else { return Ok(0) };
        let listing = &cache.listing;
        if self.signer.is_none() && !self.pinned.is_empty() {
            return Ok(0);
        }
        let place = || listing.repository.place().to_string();
        let failed = |source| Error::Keep { place: place(), source };
        let missing = missing(listing, layers).await.map_err(failed)?;
        if missing.is_empty() {
            return Ok(0);
        }
        prepare(listing).await.map_err(failed)?;
        stream::iter(&missing)
            .map(async |layer| {
                let manifest = layer.record.manifest(Timestamp::now(), listing.is_listed(), self.signer.as_ref());
                let manifest = manifest
                    .and_then(|manifest| manifest.encode())
                    .map_err(|source| Error::Encode { place: place(), source })?;
                write(&listing.repository, layer, &manifest, target).await.map_err(failed)
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        Ok(missing.len())
    }
}

/// Those of `layers` that have no record, another one, or an old one.
async fn missing<'a>(listing: &Listing, layers: &'a [Layer]) -> Result<Vec<&'a Layer>, registry::Error> {
    let keys: Vec<LayerKey> = layers.iter().map(|layer| layer.record.key).collect();
    let found = listing.records(&keys).await?;
    let now = Timestamp::now().as_second();
    let fresh = |dated: &Dated| dated.created.is_some_and(|created| now.saturating_sub(created) < STALE);
    // Of several, the newest is the one that is gone by.
    let newest = |layer: &Layer| found.get(&layer.record.key).and_then(|records| records.first());
    let kept = |layer: &Layer| newest(layer).is_some_and(|dated| dated.record == layer.record && fresh(dated));
    Ok(layers.iter().filter(|layer| !kept(layer)).collect())
}

/// What the first record of a repository finds there: the empty config, and the manifest
/// that all records are about, so that it is no dangling reference that a registry might
/// clear away.
async fn prepare(listing: &Listing) -> Result<(), registry::Error> {
    let repository = &listing.repository;
    let nothing = BlobOrigin::Bytes(Bytes::from_static(EMPTY));
    repository.push_blob(&empty(), &nothing, None, &|_| {}).await?;
    if listing.is_listed() && listing.is_empty() {
        repository.push_manifest(ANCHOR_TAG, media_type::MANIFEST, ANCHOR.as_bytes()).await?;
    }
    Ok(())
}

/// Writes one record. A manifest's blobs must be there before it.
async fn write(cache: &Repository, layer: &Layer, manifest: &[u8], target: &Repository) -> Result<(), registry::Error> {
    if !cache.is(target) {
        cache.push_blob(&layer.record.descriptor, &layer.origin, Some(target), &|_| {}).await?;
    }
    cache.push_manifest(&tag(&layer.record.key), media_type::MANIFEST, manifest).await?;
    Ok(())
}
