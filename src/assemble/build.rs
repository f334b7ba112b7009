//! From a plan to an image in the store: what is missing is fetched and written,
//! what is known is left alone.

use super::appended::Appended;
use super::delivery::Destination;
use super::image::{self, Appendix, Base, Image};
use super::layers::layers;
use super::work::Work;
use super::{EPOCH, Error};
use crate::lock::{Lock, LockedBase, Pin, base};
use crate::oci::{Descriptor, Digest, media_type};
use crate::plan::{self, Plan, Step};
use crate::registry::Source;
use crate::store::Area;

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

/// What the layers are appended to.
async fn base_of(work: &Work<'_>, source: Option<&Source>) -> Result<Base, Error> {
    let manifest = work.lock.base.manifest.as_ref().map(|pin| pin.digest);
    let image = base::load(&work.lock.base, source, work.store).await?;
    Ok(image.map_or_else(Base::scratch, |image| Base::new(image, manifest, source)))
}
