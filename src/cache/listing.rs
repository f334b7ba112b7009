//! Which records a repository has: from its list of referrers, in one request; where it
//! has none, or one that is longer than the image, from the tags of the keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::OnceCell;

use super::VerifyingKey;
use super::record::{ANCHOR, ARTIFACT_TYPE, Dated, Flaw, Record, tag};
use crate::locked::locked;
use crate::oci::{Digest, ManifestOrIndex, parse_manifest};
use crate::registry::{Error, ErrorKind, Repository};
use crate::store::LayerKey;

/// How many requests are under way at a time.
const PARALLEL: usize = 8;

/// The records of one repository, each asked for once.
pub(super) struct Listing {
    pub repository: Repository,
    pinned: Vec<VerifyingKey>,
    listed: OnceCell<Listed>,
    /// What was asked for by tag.
    tagged: Mutex<Records>,
}

/// Records by their keys, the newest first.
#[derive(Default)]
struct Records {
    found: BTreeMap<LayerKey, Vec<Dated>>,
    /// Keys of records that nobody vouches for.
    untrusted: BTreeSet<LayerKey>,
}

/// What the list of referrers says.
#[derive(Default)]
struct Listed {
    records: Records,
    /// Whether the registry keeps such a list.
    supported: bool,
    /// Whether a record that is not in it is nowhere.
    complete: bool,
}

impl Listing {
    pub(super) fn new(repository: Repository, pinned: Vec<VerifyingKey>) -> Self {
        Self { repository, pinned, listed: OnceCell::new(), tagged: Mutex::default() }
    }

    /// The trusted records of each of `keys`, newest first; a key without any is left out.
    pub(super) async fn records(&self, keys: &[LayerKey]) -> Result<BTreeMap<LayerKey, Vec<Dated>>, Error> {
        let listed = self.listed.get_or_try_init(|| self.list(keys.len())).await?;
        if !listed.complete {
            let unknown = |key: &&LayerKey| !listed.records.knows(key) && !self.tagged().knows(key);
            let unknown: Vec<LayerKey> = keys.iter().filter(unknown).copied().collect();
            stream::iter(unknown).map(|key| self.ask(key)).buffer_unordered(PARALLEL).try_collect::<()>().await?;
        }
        let tagged = self.tagged();
        let found = |key: &LayerKey| {
            let records = listed.records.found.get(key).or_else(|| tagged.found.get(key))?;
            (!records.is_empty()).then(|| (*key, records.clone()))
        };
        Ok(keys.iter().filter_map(found).collect())
    }

    /// How many of `keys` have records that nobody vouches for, as far as they were asked for.
    pub(super) fn untrusted(&self, keys: &[LayerKey]) -> usize {
        let listed = self.listed.get().map(|listed| &listed.records.untrusted);
        let tagged = self.tagged();
        let untrusted =
            |key: &&LayerKey| listed.is_some_and(|keys| keys.contains(key)) || tagged.untrusted.contains(key);
        keys.iter().filter(untrusted).count()
    }

    /// Whether the registry lists records, as far as it was asked.
    pub(super) fn is_listed(&self) -> bool {
        self.listed.get().is_some_and(|listed| listed.supported)
    }

    /// Whether the list has no record, as far as it was read.
    pub(super) fn is_empty(&self) -> bool {
        self.listed.get().is_none_or(|listed| listed.records.found.is_empty())
    }

    /// Reads the list, unless it has more pages than there are keys to ask for.
    async fn list(&self, keys: usize) -> Result<Listed, Error> {
        let anchor = Digest::of(ANCHOR.as_bytes());
        let Some(referrers) = self.repository.listed_referrers(&anchor, Some(ARTIFACT_TYPE), keys.max(1)).await? else {
            return Ok(Listed::default());
        };
        let mut records = Records::default();
        for referrer in referrers.found {
            records.add(Record::read(&referrer.descriptor.annotations, &self.pinned));
        }
        records.sort();
        Ok(Listed { records, supported: true, complete: referrers.complete })
    }

    /// Asks for the record of `key` by its tag.
    async fn ask(&self, key: LayerKey) -> Result<(), Error> {
        let read = match self.repository.own_manifest(&tag(&key)).await {
            Ok(Some((descriptor, bytes))) => self.read(&key, &bytes, &descriptor.media_type),
            Ok(None) => Err(Flaw::Unreadable),
            // Somebody's tag of that name is no record.
            Err(error) if error.kind() == ErrorKind::Integrity => Err(Flaw::Unreadable),
            Err(error) => return Err(error),
        };
        let mut tagged = self.tagged();
        tagged.found.entry(key).or_default();
        tagged.add(read);
        Ok(())
    }

    /// The record in a manifest that was found under the tag of `key`.
    fn read(&self, key: &LayerKey, bytes: &[u8], media_type: &str) -> Result<Dated, Flaw> {
        let Ok(ManifestOrIndex::Manifest(manifest)) = parse_manifest(bytes, media_type) else {
            return Err(Flaw::Unreadable);
        };
        let dated = Record::read(&manifest.annotations, &self.pinned)?;
        let same = dated.record.key == *key && manifest.layers == dated.record.descriptors();
        if same { Ok(dated) } else { Err(Flaw::Unreadable) }
    }

    fn tagged(&self) -> MutexGuard<'_, Records> {
        // what it guards grows by whole entries
        locked(&self.tagged)
    }
}

impl Records {
    fn knows(&self, key: &LayerKey) -> bool {
        self.found.contains_key(key)
    }

    fn add(&mut self, read: Result<Dated, Flaw>) {
        match read {
            Ok(dated) => self.found.entry(dated.record.key).or_default().push(dated),
            Err(Flaw::Untrusted(key)) => _ = self.untrusted.insert(key),
            Err(Flaw::Unreadable) => {}
        }
    }

    fn sort(&mut self) {
        for records in self.found.values_mut() {
            records.sort_by_key(|dated| (std::cmp::Reverse(dated.created), dated.record.descriptor.digest));
        }
    }
}
