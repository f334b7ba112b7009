//! Writing records: after an image has arrived, those that are not there yet.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::listing::Listing;
use super::record::{ANCHOR, ANCHOR_TAG, Dated, EMPTY, Record, empty, tag};
use super::{Caches, Error};
use crate::oci::media_type;
use crate::progress::Activity;
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
    /// What is in it, in a few words.
    pub title: String,
    /// Where its blobs can be read, for a cache that is another repository.
    pub origin: BlobOrigin,
}

impl Caches {
    /// Writes records of `layers`, whose blobs are in `target`, as far as the cache has
    /// none of them, or an old one; how many those were. Where keys are pinned, only what is
    /// signed is written: nobody would go by the rest. A cache that could not be read is not
    /// asked again.
    ///
    /// # Errors
    /// [`Error::Keep`], [`Error::Encode`]; what was written stays.
    pub async fn keep(&self, layers: &[Layer], target: &Repository) -> Result<usize, Error> {
        let Some(cache) = self.written() else { return Ok(0) };
        let listing = &cache.listing;
        if cache.is_given_up() || self.signer.is_none() && !self.pinned.is_empty() {
            return Ok(0);
        }
        let place = || listing.repository.place().to_string();
        let failed = |source| Error::Keep { place: place(), source };
        let missing = self.missing(listing, layers).await.map_err(failed)?;
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
                self.write(&listing.repository, layer, &manifest, target).await.map_err(failed)
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        Ok(missing.len())
    }

    /// Those of `layers` that have no record, another one, or an old one.
    async fn missing<'a>(&self, listing: &Listing, layers: &'a [Layer]) -> Result<Vec<&'a Layer>, registry::Error> {
        let keys: Vec<LayerKey> = layers.iter().map(|layer| layer.record.key).collect();
        let found = listing.records(&keys).await?;
        let now = Timestamp::now().as_second();
        let kept = |layer: &&Layer| {
            found.get(&layer.record.key).is_some_and(|records| self.has_kept(&layer.record, records, now))
        };
        Ok(layers.iter().filter(|layer| !kept(layer)).collect())
    }

    /// Whether `records`, those of the key of `record`, the newest first, need no other beside them.
    fn has_kept(&self, record: &Record, records: &[Dated], now: i64) -> bool {
        let fresh = |dated: &Dated| dated.created.is_some_and(|created| now.saturating_sub(created) < STALE);
        match &self.signer {
            // Under the same tag it would hide what somebody has signed for those who pin the key.
            None if records.iter().any(|dated| dated.signature.is_some()) => true,
            // Of several, the newest is the one that is gone by. Where keys are pinned, one of them has signed it.
            None => records.first().is_some_and(|newest| newest.record == *record && fresh(newest)),
            // One without a signature may be as new, to the second, and says the same.
            Some(signer) => {
                let signed = |dated: &Dated| !self.pinned.is_empty() || dated.is_signed_by(&signer.verifying_key());
                let kept = |dated: &Dated| dated.record == *record && signed(dated) && fresh(dated);
                records.first().is_some_and(|newest| newest.record == *record) && records.iter().any(kept)
            }
        }
    }

    /// Writes one record. A manifest's blobs must be there before it.
    async fn write(
        &self,
        cache: &Repository,
        layer: &Layer,
        manifest: &[u8],
        target: &Repository,
    ) -> Result<(), registry::Error> {
        let blobs = if cache.is(target) { Vec::new() } else { layer.record.descriptors() };
        for blob in &blobs {
            let task = self.progress.task(Activity::Push, format!("{} to the cache", layer.title), Some(blob.size));
            let pushed = cache.push_blob(blob, &layer.origin, Some(target), &|moved| moved.tell(&task)).await?;
            task.end(pushed.outcome());
        }
        cache.push_manifest(&tag(&layer.record.key), media_type::MANIFEST, manifest).await?;
        Ok(())
    }
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
