//! The way of an image's blobs to a repository: each is asked for, mounted or sent once, whoever wants it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Mutex as Turnstile, Semaphore, SemaphorePermit};

use super::appended::Appended;
use super::image::{Base, Image};
use super::making::Making;
use super::{Error, PARALLEL};
use crate::cache::Caches;
use crate::layer::Layer;
use crate::locked::locked;
use crate::oci::{Descriptor, Digest, media_type};
use crate::plan::{Place, Step};
use crate::progress::{Activity, Progress, Task};
use crate::registry::{self, BlobOrigin, Repository, Source};
use crate::store::{LayerKey, LayerPart, Store};

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

/// What a push came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Blobs that the repository had.
    pub present: usize,
    /// Blobs that the registry took from another of its repositories.
    pub mounted: usize,
    /// Blobs that were sent.
    pub uploaded: usize,
    /// How many bytes of blobs went over the wire.
    pub bytes: u64,
    /// How many bytes of blobs the registry had from uploads of an earlier run.
    pub resumed: u64,
    /// For how long any blob was on its way.
    pub took: Duration,
}

/// The way of one image's blobs to a repository.
pub(super) struct Delivery<'a> {
    store: &'a Store,
    progress: &'a Progress,
    caches: &'a Caches,
    target: &'a Repository,
    /// Whether the store keeps layers that could be made again at any time.
    pub(super) keep_blobs: bool,
    turn: Semaphore,
    /// Blobs that were asked for, and whether they are there: an image may have a layer twice.
    /// Whoever sends one holds it.
    blobs: Mutex<BTreeMap<Digest, Arc<Turnstile<bool>>>>,
    pushed: Mutex<Pushed>,
    /// Since when blobs are on their way, and how many.
    under_way: Mutex<(Instant, usize)>,
    /// Whether the registry has refused a blob whose length it wasn't told.
    wants_length: AtomicBool,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(
        store: &'a Store,
        progress: &'a Progress,
        caches: &'a Caches,
        target: &'a Repository,
        keep_blobs: bool,
    ) -> Self {
        Self {
            store,
            progress,
            caches,
            target,
            keep_blobs,
            turn: Semaphore::new(PARALLEL),
            blobs: Mutex::default(),
            pushed: Mutex::default(),
            under_way: Mutex::new((Instant::now(), 0)),
            wants_length: AtomicBool::new(false),
        }
    }

    /// Sees to the base's layers. Those that lie elsewhere, at URLs of their own, stay there.
    pub(super) async fn base(&self, base: &Base, source: Option<&Source>) -> Result<(), Error> {
        let Some(source) = source else { return Ok(()) };
        let foreign = |layer: &Descriptor| media_type::is_foreign(&layer.media_type) && !layer.urls.is_empty();
        let layers = base.layers.iter().enumerate().filter(|(_, layer)| !foreign(layer));
        stream::iter(layers)
            .map(async |(n, layer)| {
                let subject = format!("base layer {}", n + 1);
                self.blob(layer, &subject, &source.origin(layer), source.repository()).await
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }

    /// Whether blobs of `repository` come over the wire: it is of another registry.
    pub(super) fn is_far(&self, repository: &Repository) -> bool {
        !repository.is(self.target) && !repository.is_beside(self.target)
    }

    /// Sees that the repository has a layer that is somewhere. What the plan saw there is
    /// not asked for again.
    pub(super) async fn layer(&self, layer: &Appended) -> Result<(), Error> {
        let remote = match &layer.place {
            Place::Target(_) => {
                self.present(layer);
                return Ok(());
            }
            Place::Remote(hit) if hit.repository.is(self.target) => {
                self.present(layer);
                return Ok(());
            }
            Place::Remote(hit) => Some(&hit.repository),
            _ => None,
        };
        let origin = match remote {
            Some(repository) => BlobOrigin::Repository(Box::new(repository.clone())),
            None => BlobOrigin::Store(self.store.clone()),
        };
        for LayerPart { descriptor, .. } in layer.record.parts() {
            let mount_from = remote.or_else(|| self.caches.pushed_to(&descriptor.digest));
            self.blob(descriptor, &layer.title, &origin, mount_from).await?;
        }
        Ok(())
    }

    /// Counts a layer that is there.
    fn present(&self, layer: &Appended) {
        for LayerPart { descriptor, .. } in layer.record.parts() {
            self.present_blob(descriptor, &layer.title);
        }
    }

    /// Counts a blob that is there.
    pub(super) fn present_blob(&self, descriptor: &Descriptor, title: &str) {
        self.arrived(descriptor, title, registry::Pushed::Existed);
    }

    /// Counts a blob that has arrived, unless it is counted, or about to be by whoever sends it.
    fn arrived(&self, descriptor: &Descriptor, title: &str, how: registry::Pushed) {
        if let Ok(mut is_there) = self.entry(&descriptor.digest).try_lock()
            && !std::mem::replace(&mut *is_there, true)
        {
            let task = self.progress.task(Activity::Push, title, Some(descriptor.size));
            self.count(how, task);
        }
    }

    fn entry(&self, blob: &Digest) -> Arc<Turnstile<bool>> {
        Arc::clone(locked(&self.blobs).entry(*blob).or_default())
    }

    /// Lets the registry take a blob from another of its repositories; whether it did.
    pub(super) async fn mounted(&self, blob: &Descriptor, subject: &str, from: &Repository) -> Result<bool, Error> {
        let _turn = self.turn().await;
        let mounted = self.target.mount_blob(blob, from).await?;
        if mounted {
            self.arrived(blob, subject, registry::Pushed::Mounted);
        }
        Ok(mounted)
    }

    /// Sends the config of `image`, and then the manifest, which all its layers come before.
    pub(super) async fn image(&self, image: &Image) -> Result<(), Error> {
        let config = &image.manifest.config;
        let elsewhere = self.caches.pushed_to(&config.digest);
        self.blob(config, "config", &BlobOrigin::Store(self.store.clone()), elsewhere).await?;
        let tag = self.target.reference().tag().unwrap_or("latest");
        self.target.push_manifest(tag, media_type::MANIFEST, &image.bytes).await?;
        Ok(())
    }

    /// Sees that the repository has a blob. Whoever wants one that another task sends waits for
    /// that, and sends it if the other could not.
    pub(super) async fn blob(
        &self,
        descriptor: &Descriptor,
        subject: &str,
        origin: &BlobOrigin,
        mount_from: Option<&Repository>,
    ) -> Result<(), Error> {
        let entry = self.entry(&descriptor.digest);
        let mut is_there = entry.lock().await;
        if *is_there {
            return Ok(());
        }
        let _turn = self.turn().await;
        let task = self.progress.task(Activity::Push, subject, Some(descriptor.size));
        let pushed = self.target.push_blob(descriptor, origin, mount_from, &|moved| moved.tell(&task)).await?;
        *is_there = true;
        self.count(pushed, task);
        Ok(())
    }

    /// Sends the layer of `step` while it is made. Nothing if the registry takes no blob
    /// whose length it isn't told.
    pub(super) async fn made(&self, making: &Arc<Making>, step: &Step, key: &LayerKey) -> Result<Option<Layer>, Error> {
        let _turn = self.turn().await;
        if self.wants_length.load(Ordering::Relaxed) {
            return Ok(None);
        }
        // About so many: a layer of wheels has their bytes.
        let total = Some(step.needed_bytes()).filter(|bytes| *bytes > 0);
        let task = self.progress.task(Activity::Push, step.title(), total);
        let sent = self.target.push_made(making, &format!("layer {key}"), &|moved| moved.tell(&task)).await?;
        let Some((layer, pushed)) = sent else {
            self.wants_length.store(true, Ordering::Relaxed);
            task.end("wanted whole");
            return Ok(None);
        };
        if let Ok(mut is_there) = self.entry(&layer.descriptor.digest).try_lock() {
            *is_there = true;
        }
        self.count(pushed, task);
        Ok(Some(layer))
    }

    /// Waits until one more blob may go its way.
    async fn turn(&self) -> Turn<'_> {
        // Nobody closes it.
        let permit = self.turn.acquire().await.ok();
        let mut under_way = locked(&self.under_way);
        if under_way.1 == 0 {
            under_way.0 = Instant::now();
        }
        under_way.1 += 1;
        Turn { delivery: self, _permit: permit }
    }

    fn count(&self, pushed: registry::Pushed, task: Task) {
        let mut sum = locked(&self.pushed);
        match pushed {
            registry::Pushed::Existed => sum.present += 1,
            registry::Pushed::Mounted => sum.mounted += 1,
            registry::Pushed::Uploaded { bytes, resumed } => {
                sum.uploaded += 1;
                sum.bytes += bytes;
                sum.resumed += resumed;
            }
        }
        drop(sum);
        task.end(pushed.outcome());
    }

    pub(super) fn pushed(&self) -> Pushed {
        *locked(&self.pushed)
    }
}

/// A blob on its way.
struct Turn<'a> {
    delivery: &'a Delivery<'a>,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = locked(&self.delivery.under_way);
        under_way.1 -= 1;
        if under_way.1 == 0 {
            locked(&self.delivery.pushed).took += under_way.0.elapsed();
        }
    }
}
