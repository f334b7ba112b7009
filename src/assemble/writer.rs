//! One layer of a build at a time, from what it needs: fetched, written on a plain thread, and
//! remembered under its key.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::appended::Appended;
use super::fetch::Downloads;
use super::making::Making;
use super::work::Work;
use super::{Error, collisions};
use crate::layer::{Sink, Threads};
use crate::oci::Digest;
use crate::plan::{Place, Step};
use crate::progress::Activity;
use crate::sandbox::{Lacks, Rootfs};
use crate::store::{LayerKey, LayerRecord};

/// Writes the layers of one build.
pub(super) struct Writer<'a> {
    work: &'a Work<'a>,
    /// How long a blob may be, in bytes.
    ceiling: u64,
    downloads: Downloads<'a>,
    /// Whoever makes a layer holds one of these, whether it goes to the store or to a registry.
    turn: Arc<Semaphore>,
    threads: Threads,
}

impl<'a> Writer<'a> {
    /// For a build of which `missing` layers are to be made, none of whose blobs may be longer than
    /// `ceiling`.
    pub(super) fn new(work: &'a Work<'a>, ceiling: u64, missing: usize) -> Self {
        // Layers side by side keep the cores busy; a single one has to by itself.
        let threads = if work.jobs > 1 && missing > 1 { Threads::One } else { work.threads() };
        let turn = Arc::new(Semaphore::new(work.jobs.max(1)));
        Self { work, ceiling, downloads: Downloads::new(work), turn, threads }
    }

    /// What it takes to write the layer of `step`.
    pub(super) fn making(&self, step: &Step) -> Making {
        Making::new(step, &self.work.lock.recipe, self.threads)
    }

    /// Makes something of what `step` needs, once that is here and a layer may be made.
    pub(super) async fn in_turn<T>(&self, step: &Step, make: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        let in_turn = async || {
            // Nobody closes it.
            let _turn = self.turn.acquire().await;
            make().await
        };
        self.downloads.with(step, in_turn).await
    }

    /// Writes one layer from what it needs, and remembers it.
    pub(super) async fn store(&self, step: &Step, key: Option<LayerKey>, under: &Rootfs) -> Result<Appended, Error> {
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
    pub(super) async fn discard(&self, step: &Step) -> Result<Appended, Error> {
        let nowhere = || Sink::Stream(Box::new(std::io::sink()));
        let written = async || self.written(step, step.key, &Rootfs::default(), nowhere()).await;
        let (record, _) = self.downloads.with(step, written).await?;
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
        let making = self.making(step).on(under.clone());
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
        for part in record.parts().filter(|part| part.descriptor.size > self.ceiling) {
            let (title, size, most) = (step.title(), part.descriptor.size, self.ceiling);
            self.work.progress.warn(format!(
                "a single file makes a layer of {title} {size} bytes long, more than the {most} of `max-layer-size`: \
                 registries may refuse it, so leave the file out and fetch it where it is used, or cut it up"
            ));
        }
    }

    /// Remembers under `key` what was made for `step`.
    pub(super) fn remember(
        &self,
        step: &Step,
        key: Option<LayerKey>,
        record: LayerRecord,
    ) -> Result<LayerRecord, Error> {
        if let Some(key) = &key {
            // What a step has to run for is not made again from its downloads alone.
            let needs = step.needs.iter().filter(|_| !step.inputs.needs_rootfs());
            let made_from: Vec<Digest> = needs.map(|need| *need.digest()).collect();
            self.work.store.put_record_of(key, &record, &made_from)?;
        }
        Ok(record)
    }
}
