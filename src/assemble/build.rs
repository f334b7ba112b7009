//! From a plan to an image in the store: what is missing is fetched and written,
//! what is known is left alone.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Semaphore, SetOnce};

use super::image::{self, Appendix, Base, Image};
use super::making::Making;
use super::push::Delivery;
use super::rootfs::RootFilesystems;
use super::work::Work;
use super::{EPOCH, Error, collisions, fetch, receive};
use crate::cache::Hit;
use crate::layer::{Layer, Sink, Threads};
use crate::lock::{Lock, LockedBase, Pin, base};
use crate::oci::{Descriptor, DiffId, Digest, media_type};
use crate::plan::{self, Place, Places, Plan, Step};
use crate::progress::Activity;
use crate::registry::Source;
use crate::sandbox::{Lacks, Rootfs};
use crate::store::{Area, LayerKey, LayerPart, LayerRecord};

/// A layer of a finished build, over the base.
pub struct Appended {
    /// What is in it, in a few words.
    pub title: String,
    /// What the image's history says of it.
    pub history: String,
    /// The key that it is known under.
    pub key: Option<LayerKey>,
    /// What the sandbox did without in which it was made.
    pub lacks: Lacks,
    /// Where its blob is.
    pub place: Place,
    /// What is known of it.
    pub record: LayerRecord,
}

/// A finished build.
pub struct Built {
    /// The image.
    pub image: Image,
    /// The layers over the base, lowest first.
    pub layers: Vec<Appended>,
    /// How many layers were written.
    pub written: usize,
}

/// Builds what `plan` says is missing and puts config and manifest into the store.
/// Layers that are done stay done, whatever happens afterwards.
///
/// # Errors
/// The first one that occurs; what was under way is given up and leaves nothing.
pub async fn build(work: &Work<'_>, plan: &Plan) -> Result<Built, Error> {
    image(work, plan, Destination::Store).await
}

/// The manifest's digest of the image that `plan` comes to, if every layer of it is known; nothing
/// is written.
///
/// # Errors
/// Those of the base's source and of the store.
pub async fn known(work: &Work<'_>, plan: &Plan) -> Result<Option<Digest>, Error> {
    let found = |step: &Step| step.place.record().map(|record| Appended::found(step, record.clone()));
    let Some(layers) = plan.steps.iter().map(found).collect::<Option<Vec<_>>>() else { return Ok(None) };
    // A base of packages may have to be made, and may come to another digest: a build tells.
    let LockedBase { archive, manifest, .. } = &work.lock.base;
    let is_here = |pin: &Pin| work.store.size(Area::Blobs, &pin.digest).is_some();
    if archive.is_some() && !manifest.as_ref().is_some_and(is_here) {
        return Ok(None);
    }
    let source = base::source(&work.lock.recipe.base, work.directory, work.registries, work.store)?;
    let base = base_of(work, source.as_ref()).await?;
    let (_, manifest) = image::compose(base, &Appendix::of(work.lock, plan, &layers, EPOCH)).map_err(Error::Encode)?;
    Ok(Some(Digest::of(&manifest.encode().map_err(Error::Encode)?)))
}

/// Where the layers of a build go.
#[derive(Clone, Copy)]
pub(super) enum Destination<'a> {
    /// Into the store.
    Store,
    /// To a registry; they need not be in the store.
    Registry(&'a Delivery<'a>),
    /// Nowhere, but for those that a sandbox sees: their digests are all that is wanted.
    Nowhere,
}

/// The same, with layers that go to `destination`.
pub(super) async fn image(work: &Work<'_>, plan: &Plan, destination: Destination<'_>) -> Result<Built, Error> {
    let made = base::make(work.lock, work.directory, work.registries, work.store, &work.host).await?;
    let lock = made.map(|base| Lock { base, ..work.lock.clone() });
    let work = &Work { lock: lock.as_ref().unwrap_or(work.lock), ..work.clone() };
    let source = base::source(&work.lock.recipe.base, work.directory, work.registries, work.store)?;
    // The base's config is asked for while layers are written.
    let base = async {
        let base = base_of(work, source.as_ref()).await?;
        if let Destination::Registry(delivery) = destination {
            delivery.base(&base, source.as_ref()).await?;
        }
        Ok(base)
    };
    let (base, layers) = tokio::try_join!(base, layers(work, plan, source.as_ref(), destination))?;
    let base_layers = base.layers.len();
    plan::check_count(base_layers, layers.appended.iter().map(|layer| layer.record.count()).sum())?;
    for lacking in layers.appended.iter().flat_map(|layer| layer.lacks.iter()) {
        work.host.announce(lacking);
    }
    let appendix = Appendix::of(work.lock, plan, &layers.appended, EPOCH);
    let (config, manifest) = image::compose(base, &appendix).map_err(Error::Encode)?;
    work.store.put(Area::Blobs, &config)?;
    let bytes = manifest.encode().map_err(Error::Encode)?;
    work.store.put(Area::Blobs, &bytes)?;
    let descriptor = Descriptor::of(media_type::MANIFEST, &bytes).with_platform(&work.lock.platform);
    let image = Image { descriptor, manifest, bytes, base_layers };
    Ok(Built { image, layers: layers.appended, written: layers.written })
}

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
        downloads: fetch::Downloads::new(work),
        rootfs: RootFilesystems::new(work, source),
        layers: (0..plan.steps.len()).map(known).collect(),
        turn: Arc::new(Semaphore::new(work.jobs.max(1))),
        // Layers side by side keep the cores busy; a single one has to by itself.
        threads: if work.jobs > 1 && missing > 1 { Threads::One } else { work.threads() },
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
    downloads: fetch::Downloads<'a>,
    rootfs: RootFilesystems<'a>,
    /// The layer of each step; waited for by those that see it.
    layers: Vec<SetOnce<Appended>>,
    /// Whoever makes a layer holds one of these, whether it goes to the store or to a registry.
    turn: Arc<Semaphore>,
    threads: Threads,
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
            (Place::Build, _) if self.discards && !self.is_seen(at) => {
                let discarded = self.downloads.with(step, async || self.discard(step).await).await;
                match discarded {
                    Err(error) if error.is_of_parts() => {
                        (self.fetch_and_write(step, step.key, &Rootfs::default()).await?, true)
                    }
                    discarded => (discarded?, true),
                }
            }
            (Place::Build, _) => (self.fetch_and_write(step, step.key, &Rootfs::default()).await?, true),
            (Place::Again(..), _) => (self.fetch_and_write(step, step.key, &Rootfs::default()).await?, false),
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
        let mut making = Making::new(step, &self.work.lock.recipe, self.threads);
        if delivery.keep_blobs {
            making = making.kept_in(self.work.store);
        }
        let making = Arc::new(making);
        let send = async || {
            let _turn = self.turn.acquire().await;
            delivery.made(&making, step, key).await
        };
        let made = match self.downloads.with(step, send).await {
            Err(error) if error.is_of_parts() => None,
            made => made?,
        };
        let record = |layer: Layer| self.remember(step, step.key, LayerPart::from(layer).into());
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
        let making = Making::new(step, &self.work.lock.recipe, self.threads);
        let again = || async {
            let _turn = self.turn.acquire().await;
            let (origin, failure) = making.origin();
            let sent = delivery.blob(&record.first.descriptor, &step.title(), &origin, None).await;
            // What the registry's client saw of it is an end before its time.
            sent.map_err(|error| failure.take().unwrap_or(error))
        };
        self.downloads.with(step, again).await
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
        self.fetch_and_write(step, Some(key), &rootfs).await
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
        self.fetch_and_write(step, step.key, &Rootfs::default()).await
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

    /// Writes one layer from what it needs.
    async fn fetch_and_write(&self, step: &Step, key: Option<LayerKey>, under: &Rootfs) -> Result<Appended, Error> {
        self.downloads.with(step, async || self.write(step, key, under).await).await
    }

    /// Writes one layer on a plain thread and remembers it under its key.
    async fn write(&self, step: &Step, key: Option<LayerKey>, under: &Rootfs) -> Result<Appended, Error> {
        let (record, under) = self.written(step, key, under, Sink::Store(self.work.store.clone())).await?;
        // Before it is remembered: what is known is not looked at again.
        collisions::check(step, &record, self.work, &self.downloads).await?;
        let lacks = under.lacks();
        let record = self.remember(step, key.map(|key| lacks.key(key)), record)?;
        Ok(Appended::new(step, key, lacks, Place::Store(record.clone()), record))
    }

    /// Writes one layer that needs no root filesystem for its digests alone.
    async fn discard(&self, step: &Step) -> Result<Appended, Error> {
        let nowhere = Sink::Stream(Box::new(std::io::sink()));
        let (record, _) = self.written(step, step.key, &Rootfs::default(), nowhere).await?;
        Ok(Appended::new(step, step.key, Lacks::default(), Place::Again(record.clone(), None), record))
    }

    /// Writes one layer on a plain thread, and returns what it was written on as well, which
    /// knows what the sandbox lacked.
    async fn written(
        &self,
        step: &Step,
        key: Option<LayerKey>,
        under: &Rootfs,
        sink: Sink,
    ) -> Result<(LayerRecord, Rootfs), Error> {
        let work = self.work;
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        // How long a command takes nobody knows.
        let total = Some(step.needed_bytes()).filter(|_| !step.inputs.needs_rootfs());
        // What a command prints is the recipe layer's, whatever the layer turns out to hold.
        let subject = if step.inputs.needs_rootfs() { step.layer.clone() } else { step.title() };
        let task = work.progress.task(Activity::Build, subject, total);
        let label = key.map_or_else(|| step.layer.clone(), |key| format!("{}-{}", step.layer, key.0.short()));
        let under = under.clone().labelled(label, task.output());
        let making = Making::new(step, &work.lock.recipe, self.threads).on(under.clone());
        let written = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            making.record(sink)
        });
        let record = written.await.map_err(|_| Error::Thread { layer: step.layer.clone() })??;
        self.tell_of_long(step, &record);
        if step.needed_bytes() > 0 {
            task.advance(step.needed_bytes());
        }
        task.end("built");
        Ok((record, under))
    }

    /// Says that a single file has made a layer longer than one may be.
    fn tell_of_long(&self, step: &Step, record: &LayerRecord) {
        for part in record.parts().filter(|part| part.descriptor.size > self.plan.ceiling) {
            let (title, size, most) = (step.title(), part.descriptor.size, self.plan.ceiling);
            self.work.progress.warn(format!(
                "a single file makes a layer of {title} {size} bytes long, more than the {most} of `max-layer-size`: \
                 registries may refuse it, so leave the file out and fetch it where it is used, or cut it up"
            ));
        }
    }

    fn remember(&self, step: &Step, key: Option<LayerKey>, record: LayerRecord) -> Result<LayerRecord, Error> {
        if let Some(key) = &key {
            // What a step has to run for is not made again from its downloads alone.
            let needs = step.needs.iter().filter(|_| !step.inputs.needs_rootfs());
            let made_from: Vec<Digest> = needs.map(|need| *need.digest()).collect();
            self.work.store.put_record_of(key, &record, &made_from)?;
        }
        Ok(record)
    }
}

impl Appended {
    /// The layer of `step`, whose key would be `key` if it lacked nothing.
    fn new(step: &Step, key: Option<LayerKey>, lacks: Lacks, place: Place, record: LayerRecord) -> Self {
        let key = key.map(|key| lacks.key(key));
        Self { title: step.title(), history: step.inputs.summary().to_owned(), key, lacks, place, record }
    }

    /// A layer that the plan knows.
    fn found(step: &Step, record: LayerRecord) -> Self {
        Self::new(step, step.key, step.lacks.clone(), step.place.clone(), record)
    }

    /// A layer that went to the target while it was made.
    fn sent(step: &Step, record: LayerRecord) -> Self {
        Self::new(step, step.key, Lacks::default(), Place::Target(record.clone()), record)
    }
}

/// What the layers are appended to.
async fn base_of(work: &Work<'_>, source: Option<&Source>) -> Result<Base, Error> {
    let manifest = work.lock.base.manifest.as_ref().map(|pin| pin.digest);
    let image = base::load(&work.lock.base, source, work.store).await?;
    Ok(image.map_or_else(Base::scratch, |image| Base::new(image, manifest, source)))
}
