//! Where each layer is: in the store, in the target, in a cache, or nowhere.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::OnceCell;

use super::{Error, Place, Step, has};
use crate::cache::Caches;
use crate::lock::base;
use crate::oci::DiffId;
use crate::registry::Repository;
use crate::sandbox::{Host, Lacks};
use crate::store::{Area, LayerKey, LayerPart, LayerRecord, Store};

/// Where layers are looked for.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// The store.
    pub store: &'a Store,
    /// Where the image is to be pushed.
    pub target: Option<&'a Repository>,
    /// Who knows of layers that were made elsewhere.
    pub caches: &'a Caches,
}

/// The machine that makes what nobody has.
pub struct Machine {
    host: Arc<Host>,
    lacks: OnceCell<Lacks>,
}

impl Machine {
    /// That which `host` tells of.
    pub fn new(host: Arc<Host>) -> Self {
        Self { host, lacks: OnceCell::new() }
    }

    /// What its sandboxes do without. It is found out once, when somebody asks; one that can't make
    /// any says so when it is to.
    async fn lacks(&self) -> &Lacks {
        self.lacks.get_or_init(|| base::lacks(&self.host)).await
    }
}

impl Places<'_> {
    /// Looks for the layers of all `steps` over `base`. Each that is found may be what was missing
    /// for the key of one over it.
    pub(super) async fn find_all(self, base: &[DiffId], steps: &mut [Step], machine: &Machine) -> Result<(), Error> {
        let known = |steps: &[Step]| steps.iter().filter(|step| step.place.record().is_some()).count();
        loop {
            let before = known(steps);
            look_up_in_store(base, steps, self.store)?;
            if let Some(target) = self.target {
                look_up_in_target(steps, self.store, target).await?;
            }
            look_up_in_caches(steps, self.caches).await?;
            if self.target.is_some() {
                look_up_made_before(steps, self.store, self.caches)?;
            }
            // Only for what is found nowhere as a whole machine makes it.
            if known(steps) == before {
                self.find_lacking(steps, machine).await?;
            }
            if known(steps) == before {
                return Ok(());
            }
        }
    }

    /// The layer of `key`, which became known when those under it were built: as a whole machine
    /// makes it, or else as this one does.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn find(self, key: &LayerKey, machine: &Machine) -> Result<Option<(Lacks, Place)>, Error> {
        match self.find_exactly(key).await? {
            Some(place) => Ok(Some((Lacks::default(), place))),
            None => self.find_as_made_on(machine, key).await,
        }
    }

    async fn find_exactly(self, key: &LayerKey) -> Result<Option<Place>, Error> {
        if let Some(record) = find(key, self.store)? {
            return Ok(Some(Place::Store(record)));
        }
        if let Some(target) = self.target
            && let Some(record) = find_in_target(key, self.store, target).await?
        {
            return Ok(Some(Place::Target(record)));
        }
        Ok(self.caches.look_up(&[*key]).await?.remove(key).map(Place::Remote))
    }

    /// The layer of `key` as a sandbox made it that lacked no more than those of `machine` do.
    async fn find_as_made_on(self, machine: &Machine, key: &LayerKey) -> Result<Option<(Lacks, Place)>, Error> {
        for lacks in machine.lacks().await.parts() {
            if let Some(place) = self.find_exactly(&lacks.key(*key)).await? {
                return Ok(Some((lacks, place)));
            }
        }
        Ok(None)
    }

    async fn find_lacking(self, steps: &mut [Step], machine: &Machine) -> Result<(), Error> {
        for step in steps.iter_mut().filter(|step| matches!(step.place, Place::Sandbox)) {
            if let Some(key) = step.key
                && let Some((lacks, place)) = self.find_as_made_on(machine, &key).await?
            {
                (step.lacks, step.place) = (lacks, place);
            }
        }
        Ok(())
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
        let known = |under: &usize| steps[*under].place.record().map(|record| record.diff_ids().collect());
        let under: Option<Vec<Vec<DiffId>>> = step.under.iter().map(known).collect();
        let key = match step.inputs.needs_rootfs() {
            true => under.map(|under| step.key_over(base, &under.concat())),
            false => Some(step.inputs.key(None)),
        };
        let place = key.map(|key| find(&key, store)).transpose()?.flatten().map(Place::Store);
        let missing = if step.inputs.needs_rootfs() { Place::Sandbox } else { Place::Build };
        steps[at].key = key;
        steps[at].place = place.unwrap_or(missing);
    }
    Ok(())
}

/// The record under `key`, if the store has its blobs, too.
fn find(key: &LayerKey, store: &Store) -> Result<Option<LayerRecord>, Error> {
    let here = |part: &LayerPart| store.size(Area::Blobs, &part.descriptor.digest) == Some(part.descriptor.size);
    Ok(store.record(key)?.filter(|record| record.parts().all(here)))
}

/// A layer whose record is here and whose blob is in the target need not be made
/// again to be pushed there.
async fn find_in_target(key: &LayerKey, store: &Store, target: &Repository) -> Result<Option<LayerRecord>, Error> {
    let Some(record) = store.record(key)? else { return Ok(None) };
    Ok(if has(target, &record).await? { Some(record) } else { None })
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
    let mut hits = caches.look_up(&keys).await?;
    let everybodys = |step: &&Step| step.inputs.is_for_everybody();
    let keys = steps.iter().filter(unknown).filter(everybodys).filter_map(|step| step.key);
    let missed: Vec<LayerKey> = keys.filter(|key| !hits.contains_key(key)).collect();
    hits.extend(caches.look_up_in_wheelhouses(&missed).await?);
    for step in steps.iter_mut().filter(|step| unknown(&&**step)) {
        if let Some(hit) = step.key.and_then(|key| hits.get(&key)) {
            step.place = Place::Remote(hit.clone());
        }
    }
    Ok(())
}

/// Layers that were made before, and whose blobs neither the store nor the target has.
fn look_up_made_before(steps: &mut [Step], store: &Store, caches: &Caches) -> Result<(), Error> {
    let again = |record: LayerRecord| {
        let other = caches.pushed_to(&record.first.descriptor.digest).cloned();
        Place::Again(record, other)
    };
    for step in steps.iter_mut().filter(|step| matches!(step.place, Place::Build)) {
        let record = step.key.map(|key| store.record(&key)).transpose()?.flatten();
        step.place = record.map_or(Place::Build, again);
    }
    Ok(())
}
