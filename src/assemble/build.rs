//! From a plan to an image in the store: what is missing is fetched and written,
//! what is known is left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::image::{self, Base, Image};
use super::work::Work;
use super::{EPOCH, Error, fetch};
use crate::layer::{LayerWriter, Threads};
use crate::lock::base;
use crate::oci::{Descriptor, ImageConfig, media_type};
use crate::plan::{Place, Plan, Step};
use crate::progress::Activity;
use crate::registry::Source;
use crate::sandbox::Rootfs;
use crate::store::{Area, LayerRecord};

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
    if let Some(step) = plan.steps.iter().find(|step| step.place == Place::Sandbox) {
        return Err(Error::Sandbox { layer: step.layer.clone(), kind: step.inputs.kind() });
    }
    let source = base::source(&work.lock.recipe.base, work.directory, work.registries)?;
    // The base's config is asked for while layers are written.
    let (base, records) = tokio::try_join!(base_of(work, source.as_ref()), layers(work, plan))?;
    let base_layers = base.layers.len();
    let (config, manifest) = image::compose(base, work.lock, plan, &records, EPOCH).map_err(Error::Encode)?;
    work.store.put(Area::Blobs, &config)?;
    let bytes = manifest.encode().map_err(Error::Encode)?;
    work.store.put(Area::Blobs, &bytes)?;
    let descriptor = Descriptor::of(media_type::MANIFEST, &bytes).with_platform(&work.lock.platform);
    Ok(Built {
        image: Image { descriptor, manifest, bytes, base_layers },
        source,
        titles: plan.steps.iter().map(Step::title).collect(),
        written: plan.steps.iter().filter(|step| step.place == Place::Build).count(),
    })
}

/// The record of every layer, in the plan's order; those that are missing are
/// written, `jobs` at a time, each as soon as what it is made of is here.
async fn layers(work: &Work<'_>, plan: &Plan) -> Result<Vec<LayerRecord>, Error> {
    let downloads = fetch::Downloads::new(work);
    let mut missing: Vec<usize> = (0..plan.steps.len()).filter(|at| plan.steps[*at].place == Place::Build).collect();
    // Biggest first, or the last to be begun is the one that everybody waits for.
    missing.sort_by_key(|at| std::cmp::Reverse(plan.steps[*at].needed_bytes()));
    let writing = Writing {
        turn: Arc::new(Semaphore::new(work.jobs.max(1))),
        // Layers side by side keep the cores busy; a single one has to by itself.
        threads: if work.jobs > 1 && missing.len() > 1 { Threads::One } else { work.threads() },
    };
    let written = missing.iter().map(|at| async {
        Ok::<_, Error>((*at, fetch_and_write(work, &plan.steps[*at], &downloads, &writing).await?))
    });
    // Every step is begun; semaphores bound what is under way.
    let written: BTreeMap<usize, LayerRecord> =
        stream::iter(written).buffer_unordered(missing.len().max(1)).try_collect().await?;
    let record = |(at, step): (usize, &Step)| step.place.record().or_else(|| written.get(&at)).cloned();
    Ok(plan.steps.iter().enumerate().filter_map(record).collect())
}

/// Writes one layer from what it needs. A wheel that turns out to be damaged is
/// fetched once more: each time one has gone, so this ends.
async fn fetch_and_write(
    work: &Work<'_>,
    step: &Step,
    downloads: &fetch::Downloads<'_>,
    writing: &Writing,
) -> Result<LayerRecord, Error> {
    let mut retries = step.needs.len();
    loop {
        downloads.fetch(step).await?;
        match write(work, step, writing).await {
            // The store has dropped it, and has it fetched anew.
            Err(error) if retries > 0 && error.is_of_damaged_download() => retries -= 1,
            outcome => return outcome,
        }
    }
}

/// How layers are written side by side.
struct Writing {
    turn: Arc<Semaphore>,
    threads: Threads,
}

/// Writes one layer on a plain thread and remembers it under its key.
async fn write(work: &Work<'_>, step: &Step, writing: &Writing) -> Result<LayerRecord, Error> {
    let turn = Arc::clone(&writing.turn).acquire_owned().await;
    let (threads, total) = (writing.threads, step.needed_bytes());
    let task = work.progress.task(Activity::Build, step.title(), Some(total));
    let (store, changeset) = (work.store.clone(), Arc::clone(&step.changeset));
    let (compression, layer) = (work.lock.recipe.compression, step.layer.clone());
    let written = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut writer = LayerWriter::on(&store, compression, EPOCH, threads)?;
        changeset.write(&Rootfs::default(), &mut writer).map_err(|source| Error::Layer { layer, source })?;
        Ok::<_, Error>(writer.complete()?)
    });
    let layer = written.await.map_err(|_| Error::Thread { layer: step.layer.clone() })??;
    let record = LayerRecord { descriptor: layer.descriptor, diff_id: layer.diff_id, unpacked: layer.unpacked };
    if let Some(key) = &step.key {
        work.store.put_record(key, &record)?;
    }
    task.advance(total);
    task.end("built");
    Ok(record)
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
