//! What lies under a sandboxed step, brought onto the disk when the first one turns
//! out to need it.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::Error;
use super::work::Work;
use crate::lock::base;
use crate::oci::{ChainId, DiffId};
use crate::progress::Activity;
use crate::registry::Source;
use crate::sandbox::{Rootfs, extract};
use crate::store::{Area, LayerRecord, Store};

/// The root filesystems of one build.
pub(super) struct RootFilesystems<'a> {
    work: &'a Work<'a>,
    /// Where the base is read from.
    source: Option<&'a Source>,
    base: OnceCell<Option<PathBuf>>,
}

impl<'a> RootFilesystems<'a> {
    pub(super) fn new(work: &'a Work<'a>, source: Option<&'a Source>) -> Self {
        Self { work, source, base: OnceCell::new() }
    }

    /// The root filesystem of the base and of `layers` on it, lowest first.
    pub(super) async fn of(&self, layers: &[LayerRecord]) -> Result<Rootfs, Error> {
        let mut lower: Vec<PathBuf> = self.base().await?.iter().cloned().collect();
        let mut under: Vec<DiffId> = self.work.lock.base.diff_ids.clone();
        for layer in layers {
            lower.push(self.layer(layer, &under, &lower).await?);
            under.push(layer.diff_id);
        }
        Ok(Rootfs::new(lower, Arc::clone(&self.work.host)))
    }

    async fn base(&self) -> Result<&Option<PathBuf>, Error> {
        let Work { lock, store, progress, .. } = self.work;
        let extracted = || base::extracted(&lock.base, self.source, store, progress);
        Ok(self.base.get_or_try_init(extracted).await?)
    }

    /// A layer of ours over those of `under`. Its blob may be nowhere but in the target.
    async fn layer(&self, layer: &LayerRecord, under: &[DiffId], lower: &[PathBuf]) -> Result<PathBuf, Error> {
        let Work { store, progress, target, .. } = self.work;
        let (descriptor, diff_id) = (layer.descriptor.clone(), layer.diff_id);
        if store.size(Area::Blobs, &descriptor.digest).is_none()
            && let Some(target) = target
        {
            let name = format!("layer {}", descriptor.digest.short());
            let task = progress.task(Activity::Pull, name, Some(descriptor.size));
            Source::Registry(Box::new((*target).clone())).fetch(&descriptor, store, &task).await?;
            task.end("received");
        }
        let (store, under, lower) = (Store::clone(store), ChainId::of(under), lower.to_vec());
        let extracting =
            tokio::task::spawn_blocking(move || extract::layer(&store, &descriptor, diff_id, under, &lower));
        let interrupted = |_| Error::Thread { layer: layer.descriptor.digest.to_string() };
        Ok(extracting.await.map_err(interrupted)??)
    }
}
