//! Layers that are there already over another base: config and manifest are written, and nothing
//! of a layer is read.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::delivery::{Delivery, Pushed};
use super::image::{self, Appendix, AppendixLayer, Base, Image};
use super::{Error, PARALLEL};
use crate::cache::Caches;
use crate::lock::base::Resolved;
use crate::oci::{Descriptor, media_type};
use crate::plan;
use crate::progress::Progress;
use crate::registry::{BlobOrigin, Repository, Source};
use crate::store::{Area, Store};

/// An image put together of a base and of another image's layers, in no registry yet.
pub struct Rebased {
    /// The image.
    pub image: Image,
    config: Vec<u8>,
    base: Base,
    source: Source,
    layers: Vec<AppendixLayer>,
}

/// Puts `appendix` over `base`, which is read from `source`. Nothing is written yet.
///
/// # Errors
/// [`Error::Plan`] if these are too many layers, [`Error::Encode`].
pub fn rebase(appendix: Appendix, base: Resolved, source: Source) -> Result<Rebased, Error> {
    let manifest = base.locked.manifest.map(|pin| pin.digest);
    let base = base.image.map_or_else(Base::scratch, |image| Base::new(image, manifest, Some(&source)));
    let base_layers = base.layers.len();
    plan::check_count(base_layers, appendix.layers.len())?;
    let (config, manifest) = image::compose(base.clone(), &appendix).map_err(Error::Encode)?;
    let bytes = manifest.encode().map_err(Error::Encode)?;
    let descriptor = Descriptor::of(media_type::MANIFEST, &bytes).with_platform(&appendix.added.platform);
    let image = Image { descriptor, manifest, bytes, base_layers };
    Ok(Rebased { image, config, base, source, layers: appendix.layers })
}

impl Rebased {
    /// Writes config and manifest into `store` and pushes the image to `target` under its tag. The
    /// layers over the base are taken from `from`, whose image has them; the base's from where that is.
    ///
    /// # Errors
    /// Those of the store and the registries; the tag then still names what it named before.
    pub async fn push(
        &self,
        from: &Repository,
        target: &Repository,
        store: &Store,
        progress: &Progress,
    ) -> Result<Pushed, Error> {
        store.put(Area::Blobs, &self.config)?;
        store.put(Area::Blobs, &self.image.bytes)?;
        let caches = Caches::none();
        let delivery = Delivery::new(store, progress, &caches, target, false);
        delivery.base(&self.base, Some(&self.source)).await?;
        stream::iter(&self.layers)
            .map(async |AppendixLayer { descriptor, history, .. }| {
                let title = history.created_by.as_deref().unwrap_or("layer");
                if from.is(target) {
                    delivery.present_blob(descriptor, title);
                    return Ok(());
                }
                let origin = BlobOrigin::Repository(Box::new(from.clone()));
                delivery.blob(descriptor, title, &origin, Some(from)).await
            })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        delivery.image(&self.image).await?;
        Ok(delivery.pushed())
    }

    /// How many bytes of layers `target` has not got; `from` is as with [`Self::push`].
    ///
    /// # Errors
    /// Those of the registry.
    pub async fn missing(&self, from: &Repository, target: &Repository) -> Result<u64, Error> {
        let upper = self.layers.iter().map(|layer| &layer.descriptor).filter(|_| !from.is(target));
        let bytes = stream::iter(self.base.layers.iter().chain(upper))
            .map(async |layer| Ok::<_, Error>(if target.has_blob(layer).await? { 0 } else { layer.size }))
            .buffer_unordered(PARALLEL);
        bytes.try_fold(0, async |sum, bytes| Ok(sum + bytes)).await
    }
}
