//! Which layers an image has, each with its key, and where each of them is: in
//! the store, in the target repository, in a cache, or still to be built. Nothing is written
//! here and nothing is fetched but answers to "have you got it?".

pub mod limits;
pub mod sending;
mod steps;
pub mod why;

use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use thiserror::Error;

use crate::cache::{self, Caches, Hit};
use crate::changeset::{Changeset, Inputs, Need};
use crate::lock::Lock;
use crate::oci::{ChainId, DiffId};
use crate::registry::Repository;
use crate::store::{Area, LayerKey, LayerRecord, Store};

/// A runtime mounts at most 127 layers; Docker pulls 125.
pub const MAX_LAYERS: usize = 125;

/// Why there is no plan.
#[derive(Debug, Error)]
pub enum Error {
    /// A layer can't be made of what the lock says.
    #[error(transparent)]
    Changeset(#[from] crate::changeset::Error),
    /// The store can't be asked.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The target can't be asked.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// A cache can't be asked.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A lock whose layers are not those of the recipe in it.
    #[error("the lock has something of another kind for layer `{layer}`")]
    Kind {
        /// The layer.
        layer: String,
    },
    /// More layers than a runtime mounts.
    #[error("the image would have {count} layers, of which {base} are the base's; runtimes mount at most {MAX_LAYERS}")]
    TooManyLayers {
        /// All of them.
        count: usize,
        /// The base's.
        base: usize,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Changeset(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::Kind { .. } => Some("lock the recipe again with `--update`".into()),
            Self::TooManyLayers { .. } => Some("use a base with fewer layers, or put files into one layer".into()),
        }
    }
}

/// Where a layer is.
#[expect(clippy::large_enum_variant, reason = "there is one a layer of an image")]
#[derive(Clone, Debug)]
pub enum Place {
    /// Its blob is in the store.
    Store(LayerRecord),
    /// It was built before and its blob is in the target repository; the store
    /// has only the record.
    Target(LayerRecord),
    /// It was built elsewhere: a cache has its record, and the repository its blob.
    Remote(Hit),
    /// It was built before and its blob is neither here nor in the target. It is made
    /// again while it is sent: nothing has to run for that.
    Again(LayerRecord),
    /// It has to be built.
    Build,
    /// It has to be built in the sandbox.
    Sandbox,
}

impl Place {
    /// What is known of the layer, if anything.
    pub fn record(&self) -> Option<&LayerRecord> {
        match self {
            Self::Store(record) | Self::Target(record) | Self::Again(record) => Some(record),
            Self::Remote(hit) => Some(&hit.record),
            Self::Build | Self::Sandbox => None,
        }
    }

    /// Whether its blob is nowhere.
    pub fn is_unmade(&self) -> bool {
        matches!(self, Self::Again(_) | Self::Build | Self::Sandbox)
    }
}

/// One layer of the image to be.
pub struct Step {
    /// The name of the recipe's layer.
    pub layer: String,
    /// Which of the recipe's layers that is, from 0; one past them for what
    /// dlpack adds.
    pub index: usize,
    /// What writes it.
    pub changeset: Arc<dyn Changeset>,
    /// What it is a function of.
    pub inputs: Inputs,
    /// Its key; none while a sandboxed layer under it has not been built.
    pub key: Option<LayerKey>,
    /// What must be fetched to write it.
    pub needs: Vec<Need>,
    /// Which steps before it lie under it when it is written, besides the base; lowest
    /// first. Empty for one that sees no root filesystem.
    pub under: Vec<usize>,
    /// Where it is.
    pub place: Place,
}

impl Step {
    /// Its key over `base` and the layers of the steps that lie under it.
    pub fn key_over(&self, base: &[DiffId], under: &[DiffId]) -> LayerKey {
        self.inputs.key(ChainId::of(&[base, under].concat()))
    }

    /// How many bytes it is written from, of what must be fetched.
    pub fn needed_bytes(&self) -> u64 {
        self.needs.iter().map(Need::size).sum()
    }

    /// The layer in a few words: the one thing in it, or the first and how many more.
    pub fn title(&self) -> String {
        match self.inputs.contents() {
            [] => match self.inputs.kind() {
                kind if kind == self.layer => kind.to_owned(),
                kind => format!("{} ({kind})", self.layer),
            },
            [only] => only.name.clone(),
            [first, others @ ..] => format!("{} and {} more", first.name, others.len()),
        }
    }
}

/// The layers over the base, lowest first.
pub struct Plan {
    /// The base's layers, lowest first.
    pub base: Vec<DiffId>,
    /// The layers that the recipe adds.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Plans the layers of `lock`; `directory` is the recipe's, where local files
    /// lie. Every layer is looked for in `store`, in `target` where one is given, and in
    /// `caches`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn new(
        lock: &Lock,
        directory: &Path,
        store: &Store,
        target: Option<&Repository>,
        caches: &Caches,
    ) -> Result<Self, Error> {
        let mut steps = steps::of(lock, directory, store)?;
        let base = lock.base.diff_ids.clone();
        if base.len() + steps.len() > MAX_LAYERS {
            return Err(Error::TooManyLayers { count: base.len() + steps.len(), base: base.len() });
        }
        let known = |steps: &[Step]| steps.iter().filter(|step| step.place.record().is_some()).count();
        // Each layer that is found may be what was missing for the key of one over it.
        loop {
            let before = known(&steps);
            look_up_in_store(&base, &mut steps, store)?;
            if let Some(target) = target {
                look_up_in_target(&mut steps, store, target).await?;
            }
            look_up_in_caches(&mut steps, caches).await?;
            if target.is_some() {
                look_up_made_before(&mut steps, store)?;
            }
            if known(&steps) == before {
                break;
            }
        }
        Ok(Self { base, steps })
    }

    /// Which layers `target` has, in the order of the steps: they are not sent.
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn present(&self, target: &Repository) -> Result<Vec<bool>, Error> {
        stream::iter(&self.steps)
            .map(async |step| match &step.place {
                Place::Store(record) => Ok(target.has_blob(&record.descriptor).await?),
                Place::Target(_) => Ok(true),
                Place::Remote(hit) if hit.repository.is(target) => Ok(true),
                Place::Remote(hit) => Ok(target.has_blob(&hit.record.descriptor).await?),
                Place::Again(_) | Place::Build | Place::Sandbox => Ok(false),
            })
            .buffered(4)
            .try_collect()
            .await
    }

    /// What must be fetched to build what is missing, each thing once.
    pub fn missing(&self, store: &Store) -> Vec<&Need> {
        let mut missing: Vec<&Need> = Vec::new();
        let unbuilt = self.steps.iter().filter(|step| step.place.is_unmade());
        for need in unbuilt.flat_map(|step| &step.needs) {
            if !need.at_hand(store) && !missing.contains(&need) {
                missing.push(need);
            }
        }
        missing
    }
}

/// Keys follow from the inputs; only a sandboxed step's also from what lies under
/// it, which is known as far as the steps before it are that it sees.
fn look_up_in_store(base: &[DiffId], steps: &mut [Step], store: &Store) -> Result<(), Error> {
    for at in 0..steps.len() {
        let step = &steps[at];
        if step.place.record().is_some() {
            continue;
        }
        let known = |under: &usize| steps[*under].place.record().map(|record| record.diff_id);
        let under: Option<Vec<DiffId>> = step.under.iter().map(known).collect();
        let key = match step.inputs.needs_rootfs() {
            true => under.map(|under| step.key_over(base, &under)),
            false => Some(step.inputs.key(None)),
        };
        let place = key.map(|key| find(&key, store)).transpose()?.flatten().map(Place::Store);
        let missing = if step.inputs.needs_rootfs() { Place::Sandbox } else { Place::Build };
        steps[at].key = key;
        steps[at].place = place.unwrap_or(missing);
    }
    Ok(())
}

/// The record under `key`, if the store has its blob, too.
fn find(key: &LayerKey, store: &Store) -> Result<Option<LayerRecord>, Error> {
    let here = |layer: &LayerRecord| store.size(Area::Blobs, &layer.descriptor.digest) == Some(layer.descriptor.size);
    Ok(store.record(key)?.filter(here))
}

/// The layer whose key became known when those under it were built: looked for as
/// [`Plan::new`] looks for the others.
///
/// # Errors
/// See [`Error`].
pub async fn look_up(
    key: &LayerKey,
    store: &Store,
    target: Option<&Repository>,
    caches: &Caches,
) -> Result<Option<Place>, Error> {
    if let Some(record) = find(key, store)? {
        return Ok(Some(Place::Store(record)));
    }
    if let Some(target) = target
        && let Some(record) = find_in_target(key, store, target).await?
    {
        return Ok(Some(Place::Target(record)));
    }
    Ok(caches.look_up(&[*key]).await?.remove(key).map(Place::Remote))
}

/// A layer whose record is here and whose blob is in the target need not be made
/// again to be pushed there.
async fn find_in_target(key: &LayerKey, store: &Store, target: &Repository) -> Result<Option<LayerRecord>, Error> {
    let Some(record) = store.record(key)? else { return Ok(None) };
    Ok(if target.has_blob(&record.descriptor).await? { Some(record) } else { None })
}

async fn look_up_in_target(steps: &mut [Step], store: &Store, target: &Repository) -> Result<(), Error> {
    let known = steps.iter_mut().filter(|step| matches!(step.place, Place::Build | Place::Sandbox));
    stream::iter(known)
        .map(async |step| {
            let Some(key) = step.key else { return Ok(()) };
            if let Some(record) = find_in_target(&key, store, target).await? {
                step.place = Place::Target(record);
            }
            Ok(())
        })
        .buffer_unordered(4)
        .try_collect()
        .await
}

async fn look_up_in_caches(steps: &mut [Step], caches: &Caches) -> Result<(), Error> {
    let unknown = |step: &&Step| matches!(step.place, Place::Build | Place::Sandbox);
    let keys: Vec<LayerKey> = steps.iter().filter(unknown).filter_map(|step| step.key).collect();
    let hits = caches.look_up(&keys).await?;
    for step in steps.iter_mut().filter(|step| unknown(&&**step)) {
        if let Some(hit) = step.key.and_then(|key| hits.get(&key)) {
            step.place = Place::Remote(hit.clone());
        }
    }
    Ok(())
}

/// Layers that were made before, and whose blobs nobody has.
fn look_up_made_before(steps: &mut [Step], store: &Store) -> Result<(), Error> {
    for step in steps.iter_mut().filter(|step| matches!(step.place, Place::Build)) {
        let record = step.key.map(|key| store.record(&key)).transpose()?.flatten();
        step.place = record.map_or(Place::Build, Place::Again);
    }
    Ok(())
}
