//! Which layers an image has, each with its key, and where each of them is: in
//! the store, in the target repository, in a cache, or still to be built. Nothing is written
//! here and nothing is fetched but answers to "have you got it?".

pub mod limits;
mod look_up;
pub mod sending;
mod steps;
pub mod why;

use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use thiserror::Error;

use crate::cache::{self, Hit};
use crate::changeset::{Changeset, Inputs, Need};
use crate::lock::Lock;
use crate::oci::{ChainId, DiffId};
use crate::registry::Repository;
use crate::sandbox::{Host, Lacks};
use crate::store::{LayerKey, LayerRecord, Store};
pub use look_up::{Machine, Places};

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
#[derive(Clone, Debug)]
pub enum Place {
    /// Its blob is in the store.
    Store(LayerRecord),
    /// It was built before and its blob is in the target repository; the store
    /// has only the record.
    Target(LayerRecord),
    /// It was built elsewhere: a cache has its record, and the repository its blob.
    Remote(Hit),
    /// It was built before and its blob is neither here nor in the target. Another
    /// repository of its registry may have it, where this store pushed it to; else it is
    /// made again while it is sent: nothing has to run for that.
    Again(LayerRecord, Option<Repository>),
    /// It has to be built.
    Build,
    /// It has to be built in the sandbox.
    Sandbox,
}

impl Place {
    /// What is known of the layer, if anything.
    pub fn record(&self) -> Option<&LayerRecord> {
        match self {
            Self::Store(record) | Self::Target(record) | Self::Again(record, _) => Some(record),
            Self::Remote(hit) => Some(&hit.record),
            Self::Build | Self::Sandbox => None,
        }
    }

    /// Whether `target` can take its blob from another repository of its registry.
    pub fn can_be_mounted_in(&self, target: &Repository) -> bool {
        match self {
            Self::Remote(hit) => hit.repository.is_beside(target),
            Self::Again(_, other) => other.is_some(),
            _ => false,
        }
    }

    /// Whether its blob is nowhere.
    pub fn is_unmade(&self) -> bool {
        matches!(self, Self::Again(..) | Self::Build | Self::Sandbox)
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
    /// What the sandbox did without in which it was made, if it is known and is one.
    pub lacks: Lacks,
    /// What must be fetched to write it.
    pub needs: Vec<Need>,
    /// Which steps before it lie under it when it is written, besides the base; lowest
    /// first. Empty for one that sees no root filesystem.
    pub under: Vec<usize>,
    /// Where it is.
    pub place: Place,
}

impl Step {
    /// The key under which it is known where it is known.
    pub fn known_key(&self) -> Option<LayerKey> {
        self.key.map(|key| self.lacks.key(key))
    }

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

/// The layers of `lock`, lowest first, looked up nowhere; `directory` is the recipe's.
///
/// # Errors
/// [`Error::Changeset`], [`Error::Kind`].
pub fn unasked(lock: &Lock, directory: &Path, store: &Store) -> Result<Vec<Step>, Error> {
    steps::of(lock, directory, store)
}

/// The layers over the base, lowest first.
pub struct Plan {
    /// The base's layers, lowest first.
    pub base: Vec<DiffId>,
    /// The layers that the recipe adds.
    pub steps: Vec<Step>,
    /// How long a layer's blob may be, in bytes: what is longer is in parts.
    pub ceiling: u64,
    /// What makes them.
    pub machine: Machine,
}

impl Plan {
    /// Plans the layers of `lock`; `directory` is the recipe's, where local files
    /// lie. Every layer is looked for in `places`. Where one that runs in a sandbox is in none of
    /// them, it is tried what `host` gives to sandboxes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn new(lock: &Lock, directory: &Path, places: Places<'_>, host: Arc<Host>) -> Result<Self, Error> {
        let mut steps = steps::of(lock, directory, places.store)?;
        let base = lock.base.diff_ids.clone();
        check_count(base.len(), steps.len())?;
        let machine = Machine::new(host);
        places.find_all(&base, &mut steps, &machine).await?;
        let parts = steps.iter().map(|step| step.place.record().map_or(1, LayerRecord::count)).sum();
        check_count(base.len(), parts)?;
        Ok(Self { base, steps, ceiling: lock.recipe.ceiling(), machine })
    }

    /// Plans those layers of `lock` alone that are the same for everybody: what a
    /// wheelhouse has of it. They lie on no base.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn for_everybody(
        lock: &Lock,
        directory: &Path,
        places: Places<'_>,
        host: Arc<Host>,
    ) -> Result<Self, Error> {
        let mut steps = steps::of(lock, directory, places.store)?;
        steps.retain(|step| step.inputs.is_for_everybody());
        let machine = Machine::new(host);
        places.find_all(&[], &mut steps, &machine).await?;
        Ok(Self { base: Vec::new(), steps, ceiling: lock.recipe.ceiling(), machine })
    }

    /// Which layers `target` has, in the order of the steps: they are not sent.
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn present(&self, target: &Repository) -> Result<Vec<bool>, Error> {
        stream::iter(&self.steps)
            .map(async |step| match &step.place {
                Place::Store(record) => has(target, record).await,
                Place::Target(_) => Ok(true),
                Place::Remote(hit) if hit.repository.is(target) => Ok(true),
                Place::Remote(hit) => has(target, &hit.record).await,
                Place::Again(..) | Place::Build | Place::Sandbox => Ok(false),
            })
            .buffered(4)
            .try_collect()
            .await
    }

    /// What must be fetched to build what is missing, each thing once.
    pub fn missing(&self, store: &Store) -> Vec<&Need> {
        let mut missing: Vec<&Need> = Vec::new();
        let unbuilt =
            self.steps.iter().filter(|step| step.place.is_unmade() && !matches!(step.place, Place::Again(_, Some(_))));
        for need in unbuilt.flat_map(|step| &step.needs) {
            if !need.at_hand(store) && !missing.contains(&need) {
                missing.push(need);
            }
        }
        missing
    }
}

/// Whether the blobs of a layer are in `target`.
async fn has(target: &Repository, record: &LayerRecord) -> Result<bool, Error> {
    for part in record.parts() {
        if !target.has_blob(&part.descriptor).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Checks that a runtime mounts so many layers over a base of so many.
///
/// # Errors
/// [`Error::TooManyLayers`].
pub fn check_count(base: usize, layers: usize) -> Result<(), Error> {
    match base + layers {
        count if count > MAX_LAYERS => Err(Error::TooManyLayers { count, base }),
        _ => Ok(()),
    }
}
