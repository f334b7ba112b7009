//! What lies under a sandboxed step, brought onto the disk when the first one turns
//! out to need it.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::appended::Appended;
use super::work::Work;
use super::{Error, receive};
use crate::lock::base;
use crate::oci::{ChainId, DiffId};
use crate::plan::Place;
use crate::registry::Source;
use crate::sandbox::{Rootfs, extract};
use crate::store::{LayerPart, Store};

/// Brings the base's root filesystem onto the disk, unless it is there, for the image of
/// `work` to be run on.
///
/// # Errors
/// Those of the base's source and of the store.
pub async fn lay_out_base(work: &Work<'_>) -> Result<(), Error> {
    let source = base::source(&work.lock.recipe.base, work.directory, work.registries, work.store)?;
    base::extracted(&work.lock.base, source.as_ref(), work.store, work.progress).await?;
    Ok(())
}

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
    pub(super) async fn of(&self, layers: &[&Appended]) -> Result<Rootfs, Error> {
        let mut lower: Vec<PathBuf> = self.base().await?.iter().cloned().collect();
        let mut under: Vec<DiffId> = self.work.lock.base.diff_ids.clone();
        for layer in layers {
            for part in layer.record.parts() {
                lower.push(self.layer(&layer.place, part, &under, &lower).await?);
                under.push(part.diff_id);
            }
        }
        Ok(Rootfs::new(lower, Arc::clone(&self.work.host)))
    }

    async fn base(&self) -> Result<&Option<PathBuf>, Error> {
        let Work { lock, store, progress, .. } = self.work;
        let extracted = || base::extracted(&lock.base, self.source, store, progress);
        Ok(self.base.get_or_try_init(extracted).await?)
    }

    /// A layer of ours over those of `under`. Its blob may be nowhere but in the target, or
    /// where a cache says.
    async fn layer(
        &self,
        place: &Place,
        part: &LayerPart,
        under: &[DiffId],
        lower: &[PathBuf],
    ) -> Result<PathBuf, Error> {
        let Work { store, target, .. } = self.work;
        let (descriptor, diff_id) = (part.descriptor.clone(), part.diff_id);
        match (place, target) {
            (Place::Target(_), Some(target)) => receive::blob(&descriptor, target, self.work).await?,
            (Place::Remote(hit), _) => receive::blob(&descriptor, &hit.repository, self.work).await?,
            _ => {}
        }
        let (store, under, lower) = (Store::clone(store), ChainId::of(under), lower.to_vec());
        let extracting =
            tokio::task::spawn_blocking(move || extract::layer(&store, &descriptor, diff_id, under, &lower));
        let interrupted = |_| Error::Thread { layer: part.descriptor.digest.to_string() };
        Ok(extracting.await.map_err(interrupted)??)
    }
}
