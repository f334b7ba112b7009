//! Fewer records: those that newer ones have replaced, those that nobody wrote anew for long, and
//! the oldest where there are too many. Images are left alone, whatever becomes of the records
//! of their layers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::Error;
use super::record::{
    ANCHOR, ANNOTATION_CREATED, ANNOTATION_RECORD, ANNOTATION_SIGNATURE, ARTIFACT_TYPE, Record, key_of_tag,
};
use crate::oci::{Descriptor, Digest, Manifest, ManifestOrIndex, parse_manifest};
use crate::registry::{self, ErrorKind, Repository};
use crate::store::LayerKey;

/// How many requests are under way at a time.
const PARALLEL: usize = 4;

/// Which records go, besides those that newer ones have replaced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// Oldest first, until the rest keeps at most so many bytes of blobs.
    pub ceiling: Option<u64>,
    /// Those that were written longer ago. A push writes anew what it uses, once that is a
    /// week old.
    pub unused_for: Option<Duration>,
}

/// A record as a repository has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its manifest.
    pub digest: Digest,
    /// The layer's key; none for a record of another version of dlpack.
    pub key: Option<LayerKey>,
    /// What an image's history says of the layer.
    pub history: String,
    /// When it was written; nothing if it doesn't say.
    pub created: Option<Timestamp>,
    /// The blobs that the registry keeps for it, as far as they are known: those of the layer's parts.
    pub blobs: Vec<Descriptor>,
    /// Its subject, where the registry keeps no list of what refers to that.
    subject: Option<Digest>,
    /// Whether a newer one says the same, vouched for by the same key.
    replaced: bool,
}

impl Stored {
    /// How long its blobs are, in bytes.
    pub fn size(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }
}

/// What a collection did, or would do.
#[derive(Debug, Default)]
pub struct Collected {
    /// What was removed, in this order.
    pub removed: Vec<Stored>,
    /// What the registry did not remove, and why.
    pub failed: Vec<(Stored, registry::Error)>,
    /// How many bytes of blobs no record keeps any longer. The registry frees those that
    /// no image has either, when it collects its garbage.
    pub freed: u64,
    /// How many records stay.
    pub records: usize,
    /// How many bytes of blobs those keep.
    pub kept: u64,
}

/// Removes what `policy` says of the records in `repository`, and those that newer ones have
/// replaced; or tells what that is, if it is a `rehearsal`. No other manifest is touched. A record that
/// the registry refuses to remove stays, and is told of.
///
/// # Errors
/// [`Error::List`]; [`Error::NoDeletion`], and [`Error::Remove`] if the registry can't be reached or
/// knows nobody, before which some records may have been removed.
pub async fn collect(repository: &Repository, policy: &Policy, rehearsal: bool) -> Result<Collected, Error> {
    let place = || repository.place().to_string();
    let stored = list(repository).await.map_err(|source| Error::List { place: place(), source })?;
    let (going, staying) = choose(stored, policy, Timestamp::now());
    let (removed, failed) = match rehearsal {
        true => (going, Vec::new()),
        false => remove(repository, going).await.map_err(|source| match &source {
            error if error.is_unsupported() => Error::NoDeletion { place: place(), source },
            _ => Error::Remove { place: place(), source },
        })?,
    };
    Ok(Collected::of(removed, failed, &staying))
}

impl Collected {
    fn of(removed: Vec<Stored>, failed: Vec<(Stored, registry::Error)>, staying: &[Stored]) -> Self {
        let left = || staying.iter().chain(failed.iter().map(|(record, _)| record));
        let (kept, all) = (Blobs::of(left()).bytes, Blobs::of(left().chain(&removed)).bytes);
        Self { records: left().count(), kept, freed: all - kept, removed, failed }
    }
}

/// What goes of `stored`, in this order, and what stays.
fn choose(mut stored: Vec<Stored>, policy: &Policy, now: Timestamp) -> (Vec<Stored>, Vec<Stored>) {
    // One that doesn't say how old it is counts as the oldest.
    stored.sort_by_key(|record| (!record.replaced, record.created, record.digest));
    let mut blobs = Blobs::of(&stored);
    stored.into_iter().partition(|record| {
        let age = now.as_second().saturating_sub(record.created.map_or(i64::MIN, Timestamp::as_second));
        let too_old = policy.unused_for.is_some_and(|limit| u64::try_from(age).is_ok_and(|age| age > limit.as_secs()));
        let too_much = policy.ceiling.is_some_and(|ceiling| blobs.bytes > ceiling);
        let goes = record.replaced || too_old || too_much;
        if goes {
            blobs.let_go(record);
        }
        goes
    })
}

/// What records keep: several may keep the same blob.
struct Blobs {
    /// How many records keep each blob, and its length in bytes.
    kept: BTreeMap<Digest, (usize, u64)>,
    bytes: u64,
}

impl Blobs {
    fn of<'a>(stored: impl IntoIterator<Item = &'a Stored>) -> Self {
        let mut kept = BTreeMap::new();
        for Descriptor { digest, size, .. } in stored.into_iter().flat_map(|record| &record.blobs) {
            kept.entry(*digest).or_insert((0, *size)).0 += 1;
        }
        let bytes = kept.values().map(|(_, size)| size).sum();
        Self { kept, bytes }
    }

    fn let_go(&mut self, record: &Stored) {
        for Descriptor { digest, .. } in &record.blobs {
            if let Some((count, size)) = self.kept.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    self.bytes -= *size;
                }
            }
        }
    }
}

/// All records: those that the registry lists, and those that tags alone lead to.
async fn list(repository: &Repository) -> Result<Vec<Stored>, registry::Error> {
    let anchor = Digest::of(ANCHOR.as_bytes());
    let listed = repository.listed_referrers(&anchor, Some(ARTIFACT_TYPE), usize::MAX).await?;
    let mut found = Vec::new();
    for referrer in listed.into_iter().flat_map(|listed| listed.found) {
        found.push(Told::new(referrer.descriptor.digest, &referrer.descriptor.annotations, None));
    }
    let known: BTreeSet<LayerKey> = found.iter().filter_map(|told| told.stored.key).collect();
    let tags = repository.tags().await?;
    let unlisted = tags.iter().filter(|tag| key_of_tag(tag).is_some_and(|key| !known.contains(&key)));
    let asked = stream::iter(unlisted).map(|tag| ask(repository, tag)).buffer_unordered(PARALLEL);
    let tagged: Vec<Option<Told>> = asked.try_collect().await?;
    found.extend(tagged.into_iter().flatten());
    Ok(mark_replaced(found))
}

/// The record under `tag`; nothing if that is none.
async fn ask(repository: &Repository, tag: &str) -> Result<Option<Told>, registry::Error> {
    let (descriptor, bytes) = match repository.own_manifest(tag).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        // Somebody's tag of that name is no record.
        Err(error) if error.kind() == ErrorKind::Integrity => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(ManifestOrIndex::Manifest(manifest)) = parse_manifest(&bytes, &descriptor.media_type) else {
        return Ok(None);
    };
    let is_record = manifest.artifact_type.as_deref() == Some(ARTIFACT_TYPE);
    Ok(is_record.then(|| Told::new(descriptor.digest, &manifest.annotations, Some(&manifest))))
}

/// A record, and what it says as it stands.
struct Told {
    stored: Stored,
    text: Option<String>,
    signature: Option<String>,
}

impl Told {
    /// What `annotations` say; its `manifest` knows more, if it was read.
    fn new(digest: Digest, annotations: &BTreeMap<String, String>, manifest: Option<&Manifest>) -> Self {
        // Who vouches for it is nothing to those who clear it away.
        let record = Record::read(annotations, &[]).ok().map(|dated| dated.record);
        let of_manifest = || manifest.map(|manifest| manifest.layers.clone()).unwrap_or_default();
        let stored = Stored {
            digest,
            key: record.as_ref().map(|record| record.key),
            created: annotations.get(ANNOTATION_CREATED).and_then(|text| text.parse().ok()),
            blobs: record.as_ref().map_or_else(of_manifest, Record::descriptors),
            history: record.map(|record| record.history).unwrap_or_default(),
            subject: manifest.and_then(|manifest| manifest.subject.as_ref()).map(|subject| subject.digest),
            replaced: false,
        };
        let said = |name: &str| annotations.get(name).cloned();
        Self { stored, text: said(ANNOTATION_RECORD), signature: said(ANNOTATION_SIGNATURE) }
    }
}

/// Of records that say the same, all but the newest are replaced.
fn mark_replaced(mut found: Vec<Told>) -> Vec<Stored> {
    found.sort_by_key(|told| (Reverse(told.stored.created), told.stored.digest));
    let mut newest = BTreeSet::new();
    let mark = |Told { stored, text, signature }: Told| {
        let replaced = text.is_some() && !newest.insert((text, signature));
        Stored { replaced, ..stored }
    };
    found.into_iter().map(mark).collect()
}

/// What was removed, and what was refused.
type Outcome = (Vec<Stored>, Vec<(Stored, registry::Error)>);

/// Removes the manifests of `records`, by their digests: a tag that names a newer one stays.
async fn remove(repository: &Repository, records: Vec<Stored>) -> Result<Outcome, registry::Error> {
    let outcomes = stream::iter(records).map(async |record| match repository.delete_manifest(&record.digest).await {
        Ok(_) => Ok((record, None)),
        Err(error) if is_of_one(&error) => Ok((record, Some(error))),
        Err(error) => Err(error),
    });
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    for (record, error) in outcomes.buffered(PARALLEL).try_collect::<Vec<_>>().await? {
        match error {
            None => removed.push(record),
            Some(error) => failed.push((record, error)),
        }
    }
    // dlpack gives a record a subject only where the registry keeps the list; other tools bring some along.
    let mut referred: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
    for record in &removed {
        record.subject.iter().for_each(|subject| referred.entry(*subject).or_default().push(record.digest));
    }
    for (subject, gone) in &referred {
        repository.forget_referrers(subject, gone).await?;
    }
    Ok((removed, failed))
}

/// Whether a registry's answer is about one record, and not what it would say of each.
fn is_of_one(error: &registry::Error) -> bool {
    let answered = matches!(error, registry::Error::Refused { .. });
    answered && !error.is_transient() && error.kind() != ErrorKind::Authentication && !error.is_unsupported()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;

    fn stored(name: &str, hours_ago: i64, replaced: bool) -> Stored {
        let blob = Descriptor::of(media_type::LAYER_GZIP, name.as_bytes());
        let created = Timestamp::from_second(1_000_000 - hours_ago * 3600).ok();
        let digest = Digest::of(format!("{name} {hours_ago}").as_bytes());
        Stored { digest, key: None, history: name.into(), created, blobs: vec![blob], subject: None, replaced }
    }

    fn removed(ceiling: Option<u64>, hours: Option<u64>) -> (Vec<String>, u64, u64) {
        let records = vec![
            stored("new", 1, false),
            stored("same", 5, true),
            stored("same", 2, false),
            stored("oldest", 9, false),
        ];
        let policy = Policy { ceiling, unused_for: hours.map(|hours| Duration::from_secs(hours * 3600)) };
        let (going, staying) = choose(records, &policy, Timestamp::from_second(1_000_000).unwrap());
        let collected = Collected::of(going, Vec::new(), &staying);
        assert_eq!(collected.records + collected.removed.len(), 4);
        let names = collected.removed.into_iter().map(|record| record.history).collect();
        (names, collected.freed, collected.kept)
    }

    #[test]
    fn what_was_replaced_goes_then_what_is_old_then_the_oldest_of_too_many() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(removed(None, None), (names(&["same"]), 0, 13));
        assert_eq!(removed(None, Some(9)), (names(&["same"]), 0, 13), "not older than that");
        assert_eq!(removed(None, Some(8)), (names(&["same", "oldest"]), 6, 7));
        assert_eq!(removed(Some(7), None), (names(&["same", "oldest"]), 6, 7));
        assert_eq!(removed(Some(6), None), (names(&["same", "oldest", "same"]), 10, 3));
        assert_eq!(removed(Some(0), None).0.len(), 4);
    }

    #[test]
    fn a_record_of_a_layer_in_parts_keeps_all_of_them() {
        let part = Descriptor::of(media_type::LAYER_GZIP, b"another part");
        let mut record = stored("long", 1, false);
        record.blobs.push(part.clone());
        let shares = Stored { blobs: vec![part], ..stored("other", 2, false) };
        let policy = Policy { ceiling: Some(12), unused_for: None };
        let (going, staying) = choose(vec![record, shares], &policy, Timestamp::from_second(1_000_000).unwrap());
        let collected = Collected::of(going, Vec::new(), &staying);
        assert_eq!(
            (collected.freed, collected.kept, collected.removed.len()),
            (16, 0, 2),
            "the long one keeps the part"
        );
    }

    #[test]
    fn a_record_that_does_not_say_when_it_was_written_is_the_oldest() {
        let policy = Policy { ceiling: None, unused_for: Some(Duration::from_secs(1 << 40)) };
        let undated = Stored { created: None, ..stored("undated", 0, false) };
        assert_eq!(choose(vec![undated], &policy, Timestamp::UNIX_EPOCH).0.len(), 1);
    }
}
