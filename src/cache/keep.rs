//! Writing records: after an image has arrived, those that are not there yet.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::listing::Listing;
use super::record::{ANCHOR, ANCHOR_TAG, Dated, EMPTY, Record, Signed, empty, tag};
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

/// A record that is to be written.
struct Due<'a> {
    layer: &'a Layer,
    /// What somebody has signed of it, if it is one that is renewed; else it is signed with the key that
    /// there is, if there is one.
    renewed: Option<Signed>,
}

impl Caches {
    /// Writes records of `layers`, whose blobs are in `target`, as far as the cache has
    /// none of them, or an old one; how many those were. Without a key, one that somebody has signed
    /// is renewed with its signature, and where keys are pinned nothing else is written: nobody would
    /// go by the rest. A cache that could not be read is not asked again.
    ///
    /// # Errors
    /// [`Error::Keep`], [`Error::Encode`]; what was written stays.
    pub async fn keep(&self, layers: &[Layer], target: &Repository) -> Result<usize, Error> {
        let Some(cache) = self.written().filter(|cache| !cache.is_given_up()) else { return Ok(0) };
        let listing = &cache.listing;
        let place = || listing.repository.place().to_string();
        let failed = |source| Error::Keep { place: place(), source };
        let due = self.due(listing, layers).await.map_err(failed)?;
        if due.is_empty() {
            return Ok(0);
        }
        prepare(listing).await.map_err(failed)?;
        stream::iter(&due)
            .map(async |Due { layer, renewed }| {
                let (record, now, listed) = (&layer.record, Timestamp::now(), listing.is_listed());
                let manifest = match renewed {
                    Some(signed) => Ok(record.renewed(signed, now, listed)),
                    None => record.manifest(now, listed, self.signer.as_ref()),
                };
                let manifest = manifest
                    .and_then(|manifest| manifest.encode())
                    .map_err(|source| Error::Encode { place: place(), source })?;
                self.write(&listing.repository, layer, &manifest, target).await.map_err(failed)
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        Ok(due.len())
    }

    /// The records that are to be written of `layers`.
    async fn due<'a>(&self, listing: &Listing, layers: &'a [Layer]) -> Result<Vec<Due<'a>>, registry::Error> {
        // An image may have a layer twice.
        let layers: BTreeMap<LayerKey, &Layer> = layers.iter().map(|layer| (layer.record.key, layer)).collect();
        let keys: Vec<LayerKey> = layers.keys().copied().collect();
        let found = listing.records(&keys).await?;
        let now = Timestamp::now().as_second();
        let of_layer = |layer: &'a Layer| {
            let records = found.get(&layer.record.key).map_or(&[][..], Vec::as_slice);
            self.due_beside(&layer.record, records, now).into_iter().map(move |renewed| Due { layer, renewed })
        };
        Ok(layers.into_values().flat_map(of_layer).collect())
    }

    /// What is to be written for `record` beside `records`, those of its key, the newest first:
    /// nothing, a new record, or older ones anew, each with its signature.
    fn due_beside(&self, record: &Record, records: &[Dated], now: i64) -> Vec<Option<Signed>> {
        let fresh = |dated: &Dated| dated.created.is_some_and(|created| now.saturating_sub(created) < STALE);
        // Of several, the newest is the one that is gone by.
        let is_newest = records.first().is_some_and(|newest| newest.record == *record);
        let same = || records.iter().filter(|dated| dated.record == *record);
        let kept = match &self.signer {
            // One without a signature may be as new, to the second, and says the same. Where keys are
            // pinned, one of them has signed it.
            Some(signer) => {
                let signed = |dated: &Dated| !self.pinned.is_empty() || dated.is_signed_by(&signer.verifying_key());
                is_newest && same().any(|dated| signed(dated) && fresh(dated))
            }
            // Under the same tag it would hide what somebody has signed for those who pin the key. When a
            // record was written is not signed: whoever uses it can renew it.
            None if records.iter().any(|dated| dated.signed.is_some()) => {
                let (fresh, old): (Vec<&Dated>, Vec<&Dated>) = same().partition(|dated| fresh(dated));
                let [fresh, old] = [fresh, old]
                    .map(|them| them.into_iter().filter_map(|dated| dated.signed.as_ref()).collect::<BTreeSet<_>>());
                return old.difference(&fresh).map(|signed| Some((*signed).clone())).collect();
            }
            None => !self.pinned.is_empty() || is_newest && records.first().is_some_and(fresh),
        };
        if kept { Vec::new() } else { vec![None] }
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
