//! From a plan to an image in the store: what is missing is fetched and written,
//! what is known is left alone.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Semaphore, SetOnce};

use super::image::{self, Base, Image};
use super::rootfs::RootFilesystems;
use super::work::Work;
use super::{EPOCH, Error, fetch};
use crate::layer::{LayerWriter, Threads};
use crate::lock::base;
use crate::oci::{Descriptor, DiffId, ImageConfig, media_type};
use crate::plan::{self, Plan, Step};
use crate::progress::Activity;
use crate::registry::Source;
use crate::sandbox::Rootfs;
use crate::store::{Area, LayerKey, LayerRecord};

/// A finished build.
pub struct Built {
    /// The image.
    pub image: Image,
    /// Where the base's blobs come from; nothing for `scratch`.
    pub source: Option<Source>,
    /// What is in each layer over the base, in a few words.
    pub titles: Vec<String>,
    /// How many layers were written.
    pub written: usize,
}

/// Builds what `plan` says is missing and puts config and manifest into the store.
/// Layers that are done stay done, whatever happens afterwards.
///
/// # Errors
/// The first one that occurs; what was under way is given up and leaves nothing.
pub async fn build(work: &Work<'_>, plan: &Plan) -> Result<Built, Error> {
    base::make(work.lock, work.directory, work.registries, work.store, &work.host).await?;
    let source = base::source(&work.lock.recipe.base, work.directory, work.registries, work.store)?;
    // The base's config is asked for while layers are written.
    let (base, layers) = tokio::try_join!(base_of(work, source.as_ref()), layers(work, plan, source.as_ref()))?;
    let base_layers = base.layers.len();
    let (config, manifest) = image::compose(base, work.lock, plan, &layers.records, EPOCH).map_err(Error::Encode)?;
    work.store.put(Area::Blobs, &config)?;
    let bytes = manifest.encode().map_err(Error::Encode)?;
    work.store.put(Area::Blobs, &bytes)?;
    let descriptor = Descriptor::of(media_type::MANIFEST, &bytes).with_platform(&work.lock.platform);
    Ok(Built {
        image: Image { descriptor, manifest, bytes, base_layers },
        source,
        titles: plan.steps.iter().map(Step::title).collect(),
        written: layers.written,
    })
}

/// The layers over the base.
struct Layers {
    /// One a step of the plan.
    records: Vec<LayerRecord>,
    /// How many of them were not known before.
    written: usize,
}

/// The record of every layer, in the plan's order. Those that are missing are written,
/// `jobs` at a time, each as soon as what it is made of is here and what it sees under
/// it is done.
async fn layers(work: &Work<'_>, plan: &Plan, source: Option<&Source>) -> Result<Layers, Error> {
    let known = |step: &Step| SetOnce::new_with(step.place.record().cloned());
    let mut missing: Vec<usize> = (0..plan.steps.len()).filter(|at| plan.steps[*at].place.record().is_none()).collect();
    // Those that others wait for first; then biggest first, or the last to be begun is
    // the one that everybody waits for.
    missing.sort_by_key(|at| {
        let step = &plan.steps[*at];
        (!step.inputs.is_seen(), std::cmp::Reverse(step.needed_bytes()))
    });
    let building = Building {
        work,
        plan,
        downloads: fetch::Downloads::new(work),
        rootfs: RootFilesystems::new(work, source),
        records: plan.steps.iter().map(known).collect(),
        turn: Arc::new(Semaphore::new(work.jobs.max(1))),
        // Layers side by side keep the cores busy; a single one has to by itself.
        threads: if work.jobs > 1 && missing.len() > 1 { Threads::One } else { work.threads() },
    };
    // Every step is begun; semaphores bound what is under way.
    let steps = missing.iter().map(|at| building.step(*at));
    let written: Vec<bool> = stream::iter(steps).buffer_unordered(missing.len().max(1)).try_collect().await?;
    let records = building.records.into_iter().filter_map(SetOnce::into_inner).collect();
    Ok(Layers { records, written: written.into_iter().filter(|written| *written).count() })
}

/// One build's layers on their way.
struct Building<'a> {
    work: &'a Work<'a>,
    plan: &'a Plan,
    downloads: fetch::Downloads<'a>,
    rootfs: RootFilesystems<'a>,
    /// What is known of each step; waited for by those that see its layer.
    records: Vec<SetOnce<LayerRecord>>,
    turn: Arc<Semaphore>,
    threads: Threads,
}

impl Building<'_> {
    /// Sees to the layer of a step; whether it had to be written.
    async fn step(&self, at: usize) -> Result<bool, Error> {
        let step = &self.plan.steps[at];
        let (record, written) = match step.inputs.needs_rootfs() {
            true => self.sandboxed(step).await?,
            false => (self.fetch_and_write(step, step.key, &Rootfs::default()).await?, true),
        };
        // Nobody else sets it.
        let _ = self.records[at].set(record);
        Ok(written)
    }

    /// The key of a sandboxed layer is known once those under it are; and with the key
    /// it may turn out that nothing is to be done, and no root filesystem needed.
    async fn sandboxed(&self, step: &Step) -> Result<(LayerRecord, bool), Error> {
        let mut under = Vec::new();
        for below in &step.under {
            under.push(self.records[*below].wait().await.clone());
        }
        let diff_ids: Vec<DiffId> = under.iter().map(|layer| layer.diff_id).collect();
        let key = step.key_over(&self.plan.base, &diff_ids);
        if let Some(record) = plan::look_up(&key, self.work.store, self.work.target).await? {
            return Ok((record, false));
        }
        // Before the base is fetched: nobody wants to wait for it and be told then.
        if let Some(name) = step.inputs.secrets().iter().find(|name| !self.work.host.secrets.contains_key(*name)) {
            return Err(Error::NoSecret { layer: step.layer.clone(), name: name.clone() });
        }
        let rootfs = self.rootfs.of(&under).await?;
        Ok((self.fetch_and_write(step, Some(key), &rootfs).await?, true))
    }

    /// Writes one layer from what it needs. A wheel that turns out to be damaged is
    /// fetched once more: each time one has gone, so this ends.
    async fn fetch_and_write(&self, step: &Step, key: Option<LayerKey>, under: &Rootfs) -> Result<LayerRecord, Error> {
        for _ in &step.needs {
            self.downloads.fetch(step).await?;
            match self.write(step, key, under).await {
                // The store has dropped it, and has it fetched anew.
                Err(error) if error.is_of_damaged_download() => {}
                outcome => return outcome,
            }
        }
        self.downloads.fetch(step).await?;
        self.write(step, key, under).await
    }

    /// Writes one layer on a plain thread and remembers it under its key, unless the sandbox
    /// had to do without something that may have changed it.
    async fn write(&self, step: &Step, key: Option<LayerKey>, under: &Rootfs) -> Result<LayerRecord, Error> {
        let (work, threads) = (self.work, self.threads);
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        // How long a command takes nobody knows.
        let total = Some(step.needed_bytes()).filter(|_| !step.inputs.needs_rootfs());
        // What a command prints is the recipe layer's, whatever the layer turns out to hold.
        let subject = if step.inputs.needs_rootfs() { step.layer.clone() } else { step.title() };
        let task = work.progress.task(Activity::Build, subject, total);
        let label = key.map_or_else(|| step.layer.clone(), |key| format!("{}-{}", step.layer, key.0.short()));
        let rootfs = under.clone().labelled(label, task.output());
        let under = rootfs.clone();
        let (store, changeset) = (work.store.clone(), Arc::clone(&step.changeset));
        let (compression, layer) = (work.lock.recipe.compression, step.layer.clone());
        let written = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut writer = LayerWriter::on(&store, compression, EPOCH, threads)?;
            changeset.write(&under, &mut writer).map_err(|source| Error::Layer { layer, source })?;
            Ok::<_, Error>(writer.complete()?)
        });
        let layer = written.await.map_err(|_| Error::Thread { layer: step.layer.clone() })??;
        let record = LayerRecord { descriptor: layer.descriptor, diff_id: layer.diff_id, unpacked: layer.unpacked };
        // The key stands for what a sandbox gives that lacks nothing: whoever finds the
        // record relies on it, here and on other machines.
        if let Some(key) = key.filter(|_| rootfs.is_whole()) {
            work.store.put_record(&key, &record)?;
        }
        if step.needed_bytes() > 0 {
            task.advance(step.needed_bytes());
        }
        task.end("built");
        Ok(record)
    }
}

/// What the layers are appended to.
async fn base_of(work: &Work<'_>, source: Option<&Source>) -> Result<Base, Error> {
    let Some(image) = base::load(&work.lock.base, source, work.store).await? else {
        return Ok(Base { config: ImageConfig::default(), layers: Vec::new(), manifest: None, name: None });
    };
    // Docker's media types and OCI's mean the same; a manifest has one kind only.
    let normalised = |mut layer: Descriptor| {
        layer.media_type = media_type::normalised(&layer.media_type).to_owned();
        layer
    };
    Ok(Base {
        config: image.config,
        layers: image.manifest.layers.into_iter().map(normalised).collect(),
        manifest: work.lock.base.manifest.as_ref().map(|pin| pin.digest),
        name: source.and_then(Source::repository).map(|repository| repository.reference().whole()),
    })
}
