//! The caches that a build asks, one after the other.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::listing::Listing;
use super::{Error, Signer, VerifyingKey};
use crate::oci::Digest;
use crate::progress::Progress;
use crate::registry::{self, ErrorKind, Repository};
use crate::store::{LayerKey, LayerRecord};

/// How many requests are under way at a time.
const PARALLEL: usize = 8;

/// A layer that need not be made: what is known of it, and who has its blob.
#[derive(Clone, Debug)]
pub struct Hit {
    /// What is known of the layer.
    pub record: LayerRecord,
    /// Where its blob was a moment ago, of the length that the record says.
    pub repository: Repository,
}

/// Why a repository is asked for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The image is to be pushed there.
    Target,
    /// A person named it.
    Named,
    /// A wheelhouse that layers are published in: without its records nobody finds them.
    Published,
    /// It has layers that are the same for everybody, and nothing is written there.
    Wheelhouse,
}

/// A repository that records are read from.
pub struct Cache {
    pub(super) listing: Listing,
    standing: Standing,
    /// How it failed, if it did: it is asked no more.
    failed: OnceLock<ErrorKind>,
    /// Whether it was said that it has records that nobody vouches for.
    said: AtomicBool,
    /// Whether it was said that its layers are taken on its writers' word.
    said_trusted: AtomicBool,
}

/// Caches in the order in which they are asked.
pub struct Caches {
    pub(super) caches: Vec<Cache>,
    pub(super) pinned: Vec<VerifyingKey>,
    pub(super) signer: Option<Signer>,
    /// Which other repository of the target's registry has a blob.
    pub(super) pushed: BTreeMap<Digest, Repository>,
    pub(super) progress: Progress,
}

impl Caches {
    /// No cache at all.
    pub fn none() -> Self {
        Self::new(Vec::new(), Progress::silent())
    }

    /// Caches whose records one of the `pinned` keys must vouch for; where there are none,
    /// whoever may write to the repository does. `progress` is told what is not used.
    pub fn new(pinned: Vec<VerifyingKey>, progress: Progress) -> Self {
        Self { caches: Vec::new(), pinned, signer: None, pushed: BTreeMap::new(), progress }
    }

    /// With the repository that the image is to be pushed to.
    pub fn with_target(self, repository: &Repository) -> Self {
        self.with(repository, Standing::Target)
    }

    /// With one that a person named. The first of these is also written to, in place of
    /// the target.
    pub fn with_named(self, repository: &Repository) -> Self {
        self.with(repository, Standing::Named)
    }

    /// With a wheelhouse: nothing is written there, and only layers that are the same for
    /// everybody are looked for.
    pub fn with_wheelhouse(self, repository: &Repository) -> Self {
        self.with(repository, Standing::Wheelhouse)
    }

    /// With a wheelhouse that layers are published in.
    pub fn with_published(self, repository: &Repository) -> Self {
        self.with(repository, Standing::Published)
    }

    /// Whose records `signer` signs.
    ///
    /// # Errors
    /// [`Error::NotPinned`] if keys are pinned, and this is none of them.
    pub fn signed_by(self, signer: Signer) -> Result<Self, Error> {
        let key = signer.verifying_key();
        if !self.pinned.is_empty() && !self.pinned.contains(&key) {
            return Err(Error::NotPinned { path: signer.path, key });
        }
        Ok(Self { signer: Some(signer), ..self })
    }

    fn with(mut self, repository: &Repository, standing: Standing) -> Self {
        let listing = Listing::new(repository.clone(), self.pinned.clone());
        let (said, said_trusted) = (AtomicBool::new(false), AtomicBool::new(false));
        self.caches.push(Cache { listing, standing, failed: OnceLock::new(), said, said_trusted });
        self
    }

    /// The layers of `keys` that need not be made, as far as caches know that are no
    /// wheelhouses. Each repository is asked at most once
    /// for each key, and once for its list; every blob that is promised is there, and has
    /// the right length.
    ///
    /// A cache that can't be read is said so once, and done without.
    ///
    /// # Errors
    /// [`Error::Read`] if a cache that a person named wants other credentials; [`Error::List`] if a
    /// wheelhouse that is to be published in can't be read.
    pub async fn look_up(&self, keys: &[LayerKey]) -> Result<BTreeMap<LayerKey, Hit>, Error> {
        self.ask(keys, |standing| standing != Standing::Wheelhouse).await
    }

    /// The same in wheelhouses, for `keys` of layers that are the same for everybody.
    ///
    /// # Errors
    /// None: a wheelhouse that can't be read is done without, whatever it is that it wants.
    pub async fn look_up_in_wheelhouses(&self, keys: &[LayerKey]) -> Result<BTreeMap<LayerKey, Hit>, Error> {
        self.ask(keys, |standing| standing == Standing::Wheelhouse).await
    }

    async fn ask(&self, keys: &[LayerKey], of: fn(Standing) -> bool) -> Result<BTreeMap<LayerKey, Hit>, Error> {
        let mut hits = BTreeMap::new();
        for cache in self.caches.iter().filter(|cache| of(cache.standing)) {
            let missing: Vec<LayerKey> = keys.iter().filter(|key| !hits.contains_key(*key)).copied().collect();
            if missing.is_empty() {
                break;
            }
            if cache.failed.get().is_some() {
                continue;
            }
            match cache.find(&missing).await {
                Ok(found) => {
                    self.tell_trusted(cache, found.len());
                    hits.extend(found);
                }
                Err(error) => self.gave_up(cache, error)?,
            }
            let missed: Vec<LayerKey> = missing.into_iter().filter(|key| !hits.contains_key(key)).collect();
            self.tell_untrusted(cache, &missed);
        }
        Ok(hits)
    }

    /// The cache that records are written to.
    pub(super) fn written(&self) -> Option<&Cache> {
        let first = |standing| self.caches.iter().find(move |cache| cache.standing == standing);
        first(Standing::Named).or_else(|| first(Standing::Target)).or_else(|| first(Standing::Published))
    }

    fn gave_up(&self, cache: &Cache, source: registry::Error) -> Result<(), Error> {
        let place = cache.listing.repository.place().to_string();
        match (cache.standing, source.kind()) {
            (Standing::Named, ErrorKind::Authentication) => return Err(Error::Read { place, source }),
            // A registry may say so of a repository that is still to come. If it means it, so does the push.
            (Standing::Target | Standing::Published, ErrorKind::Authentication) => {}
            (Standing::Published, _) => return Err(Error::List { place, source }),
            (standing, _) => {
                let what = if standing == Standing::Wheelhouse { "wheelhouse" } else { "cache" };
                self.progress.warn(format!("the {what} {place} can't be read, and is done without: {source}"));
            }
        }
        let _ = cache.failed.set(source.kind());
        Ok(())
    }

    fn tell_trusted(&self, cache: &Cache, found: usize) {
        let trusted = cache.standing == Standing::Wheelhouse && self.pinned.is_empty() && found > 0;
        if trusted && !cache.said_trusted.swap(true, Ordering::Relaxed) {
            let place = cache.listing.repository.place();
            self.progress.warn(format!(
                "what is in layers from the wheelhouse {place} is its writers' word: the recipe pins no `cache-keys`"
            ));
        }
    }

    fn tell_untrusted(&self, cache: &Cache, keys: &[LayerKey]) {
        let untrusted = cache.listing.untrusted(keys);
        if untrusted > 0 && !cache.said.swap(true, Ordering::Relaxed) {
            let place = cache.listing.repository.place();
            self.progress.warn(format!(
                "{place} has records of {untrusted} layers that no key of the recipe's `cache-keys` has signed: \
                 they are not used"
            ));
        }
    }
}

/// Whether the blobs of a layer can be had from `repository`.
async fn offers(repository: &Repository, record: &LayerRecord) -> Result<bool, registry::Error> {
    for part in record.parts() {
        if !repository.offers_blob(&part.descriptor).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Cache {
    /// Whether it failed in a way that an image's arrival there doesn't change.
    pub(super) fn is_given_up(&self) -> bool {
        // A target may have refused what was not there yet.
        let may_come = matches!(self.standing, Standing::Target | Standing::Published);
        let still_to_come = |kind: &ErrorKind| may_come && *kind == ErrorKind::Authentication;
        self.failed.get().is_some_and(|kind| !still_to_come(kind))
    }

    /// Those of `keys` that it has a record for, and whose blob is there.
    async fn find(&self, keys: &[LayerKey]) -> Result<BTreeMap<LayerKey, Hit>, registry::Error> {
        let repository = &self.listing.repository;
        let found = stream::iter(self.listing.records(keys).await?)
            .map(async |(key, records)| {
                for dated in records {
                    let record = dated.record.layer();
                    if offers(repository, &record).await? {
                        return Ok(Some((key, Hit { record, repository: repository.clone() })));
                    }
                }
                Ok(None)
            })
            .buffer_unordered(PARALLEL);
        found.try_filter_map(async |hit| Ok(hit)).try_collect().await
    }
}
