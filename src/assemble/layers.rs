//! Every layer of a plan, made, sent or taken from where it is, each as soon as it can be.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::SetOnce;

use super::appended::Appended;
use super::delivery::{Delivery, Destination};
use super::rootfs::RootFilesystems;
use super::work::Work;
use super::writer::Writer;
use super::{Error, receive};
use crate::cache::Hit;
use crate::layer::Layer;
use crate::oci::DiffId;
use crate::plan::{self, Place, Places, Plan, Step};
use crate::registry::Source;
use crate::sandbox::{Lacks, Rootfs};
use crate::store::{LayerKey, LayerPart, LayerRecord};

/// The layers over the base.
pub(super) struct Layers {
    /// One a step of the plan.
    pub(super) appended: Vec<Appended>,
    /// How many of them were not known before.
    pub(super) written: usize,
}

/// Every layer, in the plan's order. Those that are missing are written,
/// `jobs` at a time, each as soon as what it is made of is here and what it sees under
/// it is done; all of them are delivered, if they are to be, or else brought here.
pub(super) async fn layers(
    work: &Work<'_>,
    plan: &Plan,
    source: Option<&Source>,
    destination: Destination<'_>,
) -> Result<Layers, Error> {
    let delivery = match destination {
        Destination::Registry(delivery) => Some(delivery),
        Destination::Store | Destination::Nowhere => None,
    };
    let is_missing = |at: &usize| match &plan.steps[*at].place {
        Place::Remote(_) => delivery.is_none(),
        place => place.is_unmade(),
    };
    let known = |at: usize| {
        let step = &plan.steps[at];
        // What has to cross to the target may turn out not to be what its record says.
        let crosses =
            matches!(&step.place, Place::Remote(hit) if !work.target.is_some_and(|it| it.is(&hit.repository)));
        let record = step.place.record().filter(|_| !is_missing(&at) && !crosses);
        SetOnce::new_with(record.map(|record| Appended::found(step, record.clone())))
    };
    let missing = (0..plan.steps.len()).filter(is_missing).count();
    let mut order: Vec<usize> = (0..plan.steps.len()).filter(|at| delivery.is_some() || is_missing(at)).collect();
    // Questions first; then those that others wait for; then biggest first, or the last
    // to be begun is the one that everybody waits for.
    order.sort_by_key(|at| {
        let step = &plan.steps[*at];
        (is_missing(at), !step.inputs.is_seen(), std::cmp::Reverse(step.needed_bytes()))
    });
    let building = Building {
        work,
        plan,
        delivery,
        discards: matches!(destination, Destination::Nowhere),
        writer: Writer::new(work, plan.ceiling, missing),
        rootfs: RootFilesystems::new(work, source),
        layers: (0..plan.steps.len()).map(known).collect(),
    };
    // Every step is begun; semaphores bound what is under way.
    let steps = order.iter().map(|at| building.step(*at));
    let written: Vec<bool> = stream::iter(steps).buffer_unordered(order.len().max(1)).try_collect().await?;
    let appended = building.layers.into_iter().filter_map(SetOnce::into_inner).collect();
    Ok(Layers { appended, written: written.into_iter().filter(|written| *written).count() })
}

/// One build's layers on their way.
struct Building<'a> {
    work: &'a Work<'a>,
    plan: &'a Plan,
    /// Where layers go besides the store, if anywhere.
    delivery: Option<&'a Delivery<'a>>,
    /// Whether nobody wants the blobs that no step sees.
    discards: bool,
    writer: Writer<'a>,
    rootfs: RootFilesystems<'a>,
    /// The layer of each step; waited for by those that see it.
    layers: Vec<SetOnce<Appended>>,
}

impl Building<'_> {
    /// Sees to the layer of a step; whether one was written that was not known before.
    async fn step(&self, at: usize) -> Result<bool, Error> {
        let step = &self.plan.steps[at];
        let delivery = self.delivery.filter(|_| !self.is_seen(at));
        let (layer, written) = match (&step.place, delivery) {
            (Place::Again(record, other), Some(delivery)) if !delivery.keep_blobs && record.rest.is_empty() => {
                let mounted = match other {
                    Some(other) => delivery.mounted(&record.first.descriptor, &step.title(), other).await?,
                    None => false,
                };
                if !mounted {
                    self.send_again(step, record, delivery).await?;
                }
                // Here and below: nobody else sets it.
                let _ = self.layers[at].set(Appended::sent(step, record.clone()));
                return Ok(false);
            }
            (Place::Build, Some(delivery)) if let Some(record) = self.send(step, delivery).await? => {
                let _ = self.layers[at].set(Appended::sent(step, record));
                return Ok(true);
            }
            (Place::Sandbox, _) => self.sandboxed(step).await?,
            (Place::Build, _) if self.discards && !self.is_seen(at) => match self.writer.discard(step).await {
                Err(error) if error.is_of_parts() => {
                    (self.writer.store(step, step.key, &Rootfs::default()).await?, true)
                }
                discarded => (discarded?, true),
            },
            (Place::Build, _) => (self.writer.store(step, step.key, &Rootfs::default()).await?, true),
            (Place::Again(..), _) => (self.writer.store(step, step.key, &Rootfs::default()).await?, false),
            (Place::Remote(hit), _) if self.is_kept(hit) => self.received_or_made(step, hit).await?,
            (Place::Store(record) | Place::Target(record) | Place::Remote(Hit { record, .. }), _) => {
                (Appended::found(step, record.clone()), false)
            }
        };
        self.check_count(at, layer.record.count())?;
        let (layer, written) = match self.delivery {
            Some(delivery) => self.delivered(step, layer, written, delivery).await?,
            None => (layer, written),
        };
        let _ = self.layers[at].set(layer);
        Ok(written)
    }

    /// Checks that a runtime mounts the layers, of which the one that is `at` has so many `parts`,
    /// as far as others' are known: before it is sent.
    fn check_count(&self, at: usize, parts: usize) -> Result<(), Error> {
        let others = self.layers.iter().enumerate().filter(|(other, _)| *other != at);
        let others = others.map(|(_, layer)| layer.get().map_or(1, |layer| layer.record.count()));
        Ok(plan::check_count(self.plan.base.len(), others.sum::<usize>() + parts)?)
    }

    /// Sees that the target has `layer`. One that can't be had from where a cache found it is
    /// said to be so, and made.
    async fn delivered(
        &self,
        step: &Step,
        layer: Appended,
        written: bool,
        delivery: &Delivery<'_>,
    ) -> Result<(Appended, bool), Error> {
        match (delivery.layer(&layer).await, &layer.place) {
            (Ok(()), _) => return Ok((layer, written)),
            (Err(error), Place::Remote(hit)) if error.is_of_origin() => self.doubt(hit, &error),
            (Err(error), _) => return Err(error),
        }
        let made = self.made(step).await?;
        delivery.layer(&made).await?;
        Ok((made, true))
    }

    /// Whether the layer of `hit` is to be in the store.
    fn is_kept(&self, hit: &Hit) -> bool {
        self.delivery.is_none_or(|delivery| delivery.keep_blobs && delivery.is_far(&hit.repository))
    }

    /// Whether a step that may still have to run sees the layer on this disk.
    fn is_seen(&self, at: usize) -> bool {
        let runs = |step: &&Step| matches!(step.place, Place::Sandbox);
        self.plan.steps.iter().filter(runs).any(|step| step.under.contains(&at))
    }

    /// Sends a layer while it is made; nothing if the registry won't have it so.
    async fn send(&self, step: &Step, delivery: &Delivery<'_>) -> Result<Option<LayerRecord>, Error> {
        let Some(key) = step.key.as_ref().filter(|_| !self.may_be_in_parts(step)) else { return Ok(None) };
        let mut making = self.writer.making(step);
        if delivery.keep_blobs {
            making = making.kept_in(self.work.store);
        }
        let making = Arc::new(making);
        let made = match self.writer.in_turn(step, async || delivery.made(&making, step, key).await).await {
            Err(error) if error.is_of_parts() => None,
            made => made?,
        };
        let record = |layer: Layer| self.writer.remember(step, step.key, LayerPart::from(layer).into());
        made.map(record).transpose()
    }

    /// Whether a layer may turn out to be longer than one may be. A stream takes one part;
    /// what has several goes through the store.
    fn may_be_in_parts(&self, step: &Step) -> bool {
        let bytes = step.size().bytes;
        bytes + bytes / 64 > self.plan.ceiling
    }

    /// Sends a layer that was made before, which is made anew for it.
    async fn send_again(&self, step: &Step, record: &LayerRecord, delivery: &Delivery<'_>) -> Result<(), Error> {
        let making = self.writer.making(step);
        let again = async || {
            let (origin, failure) = making.origin();
            let sent = delivery.blob(&record.first.descriptor, &step.title(), &origin, None).await;
            // What the registry's client saw of it is an end before its time.
            sent.map_err(|error| failure.take().unwrap_or(error))
        };
        self.writer.in_turn(step, again).await
    }

    /// The key of a sandboxed layer is known once those under it are; and with the key
    /// it may turn out that nothing is to be done, and no root filesystem needed.
    async fn sandboxed(&self, step: &Step) -> Result<(Appended, bool), Error> {
        let Work { store, target, caches, .. } = self.work;
        let key = self.key_of(step).await;
        let places = Places { store, target: *target, caches };
        let found = match places.find(&key, &self.plan.machine).await? {
            Some((lacks, Place::Remote(hit))) if self.delivery.is_none() => {
                self.received(step, key, lacks, &hit).await?
            }
            Some((lacks, place)) => {
                place.record().cloned().map(|record| Appended::new(step, Some(key), lacks, place, record))
            }
            None => None,
        };
        match found {
            Some(layer) => Ok((layer, false)),
            None => Ok((self.on_rootfs(step, key).await?, true)),
        }
    }

    /// The key of a sandboxed step, once those under it are done.
    async fn key_of(&self, step: &Step) -> LayerKey {
        let under = self.under(step).await;
        let diff_ids: Vec<DiffId> = under.iter().flat_map(|layer| layer.record.diff_ids()).collect();
        step.key_over(&self.plan.base, &diff_ids)
    }

    /// The layers under a step, once they are done.
    async fn under(&self, step: &Step) -> Vec<&Appended> {
        let mut under = Vec::with_capacity(step.under.len());
        for below in &step.under {
            under.push(self.layers[*below].wait().await);
        }
        under
    }

    /// Writes the layer of a step on what lies under it.
    async fn on_rootfs(&self, step: &Step, key: LayerKey) -> Result<Appended, Error> {
        // Before the base is fetched: nobody wants to wait for it and be told then.
        if let Some(name) = step.inputs.secrets().iter().find(|name| !self.work.host.secrets.contains_key(*name)) {
            return Err(Error::NoSecret { layer: step.layer.clone(), name: name.clone() });
        }
        let rootfs = self.rootfs.of(&self.under(step).await).await?;
        self.writer.store(step, Some(key), &rootfs).await
    }

    /// Brings a layer here that a cache knows, or makes it.
    async fn received_or_made(&self, step: &Step, hit: &Hit) -> Result<(Appended, bool), Error> {
        let received = match step.key {
            Some(key) => self.received(step, key, step.lacks.clone(), hit).await?,
            None => None,
        };
        match received {
            Some(layer) => Ok((layer, false)),
            None => Ok((self.made(step).await?, true)),
        }
    }

    /// Makes a layer that could not be had from elsewhere.
    async fn made(&self, step: &Step) -> Result<Appended, Error> {
        if step.inputs.needs_rootfs() {
            return self.on_rootfs(step, self.key_of(step).await).await;
        }
        self.writer.store(step, step.key, &Rootfs::default()).await
    }

    /// Says that a layer is not taken from where a cache found it.
    fn doubt(&self, hit: &Hit, error: &Error) {
        let (digest, place) = (hit.record.first.descriptor.digest, hit.repository.place());
        let why = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source()).last();
        let why = why.map(ToString::to_string).unwrap_or_default();
        self.work.progress.warn(format!("layer {} of {place} is not used: {why}", digest.short()));
    }

    /// Brings the blob of a layer that was made elsewhere into the store. One that is not
    /// what its record says is said to be so, and none.
    async fn received(&self, step: &Step, key: LayerKey, lacks: Lacks, hit: &Hit) -> Result<Option<Appended>, Error> {
        let record = hit.record.clone();
        match receive::layer(hit, &lacks.key(key), self.work).await {
            Ok(()) => Ok(Some(Appended::new(step, Some(key), lacks, Place::Store(record.clone()), record))),
            Err(Error::Store(error)) => Err(error.into()),
            Err(error) => {
                self.doubt(hit, &error);
                Ok(None)
            }
        }
    }
}
