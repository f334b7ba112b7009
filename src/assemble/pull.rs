//! From a registry to the store: one image for one platform, blob by blob.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::added::Added;
use super::annotations::BASE_NAME;
use super::{Error, PARALLEL};
use crate::oci::{
    Descriptor, ImageConfig, Index, Layout, Manifest, ManifestOrIndex, Platform, media_type, parse_manifest,
};
use crate::progress::{Activity, Progress};
use crate::registry::{ErrorKind, Reference, Registries, Repository, Source, SourceError};
use crate::store::{Area, Store};

/// What a pull came to.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The manifest, now in the store and tagged there.
    pub descriptor: Descriptor,
    /// How many blobs the store didn't have.
    pub fetched: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// An image's manifest and config.
#[derive(Clone, Debug)]
pub struct Described {
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The config.
    pub config: ImageConfig,
    /// The manifest's bytes.
    pub bytes: Vec<u8>,
    /// The config's bytes.
    pub config_bytes: Vec<u8>,
}

/// Brings `reference` for `platform` into the store, under its name. What the
/// store has is not fetched.
///
/// # Errors
/// The first one that occurs; blobs that have arrived stay.
pub async fn pull(
    reference: &Reference,
    platform: &Platform,
    store: &Store,
    registries: &Registries,
    progress: &Progress,
) -> Result<Pulled, Error> {
    let repository = registries.repository(reference)?;
    let image = describe_remote(&repository, platform, store).await?;
    let missing = missing(&image, store);
    let (fetched, bytes) = (missing.len(), missing.iter().map(|layer| layer.size).sum());
    let source = Source::Registry(Box::new(repository));
    stream::iter(missing)
        .map(|layer| pull_blob(&source, layer, store, progress))
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    store.put(Area::Blobs, &image.config_bytes)?;
    store.put(Area::Blobs, &image.bytes)?;
    store.tag(&reference.whole(), &image.descriptor)?;
    Ok(Pulled { descriptor: image.descriptor, fetched, bytes })
}

/// Looks at an image of the store, into which it is brought unless it is there under its name.
///
/// # Errors
/// Those of [`pull`] and [`describe_stored`].
pub async fn bring(
    reference: &Reference,
    platform: &Platform,
    store: &Store,
    registries: &Registries,
    progress: &Progress,
) -> Result<Described, Error> {
    let descriptor = match store.resolve(&reference.whole())? {
        Some(descriptor) => descriptor,
        None => pull(reference, platform, store, registries, progress).await?.descriptor,
    };
    describe_stored(store, &descriptor)
}

/// The layers of `image` that the store has not in their full length, each once.
fn missing<'a>(image: &'a Described, store: &Store) -> Vec<&'a Descriptor> {
    let mut missing: Vec<&Descriptor> = Vec::new();
    for layer in &image.manifest.layers {
        let here = store.size(Area::Blobs, &layer.digest) == Some(layer.size);
        if !here && !missing.iter().any(|other| other.digest == layer.digest) {
            missing.push(layer);
        }
    }
    missing
}

/// Brings the layers of `image`, which is called `reference`, into the store where it has not
/// got them: the base's were needed by nobody, and ours may have been pushed while they were made.
///
/// # Errors
/// The first one that occurs; blobs that have arrived stay.
pub async fn complete(
    image: &Described,
    reference: &Reference,
    store: &Store,
    registries: &Registries,
    progress: &Progress,
) -> Result<(), Error> {
    let base = image.manifest.annotations.get(BASE_NAME).and_then(|name| name.parse::<Reference>().ok());
    let (of_base, _) = image.manifest.layers.split_at(Added::base_layers(&image.manifest));
    let fetch = async |layer: &Descriptor| {
        let is_bases = of_base.iter().any(|base| base.digest == layer.digest);
        if let Some(base) = base.as_ref().filter(|_| is_bases) {
            let source = Source::Registry(Box::new(registries.repository(base)?));
            // another tool's image may name a base, too, and nobody says which layers are the base's
            match pull_blob(&source, layer, store, progress).await {
                Err(Error::Source(SourceError::Registry(error))) if error.kind() == ErrorKind::NotFound => {}
                pulled => return pulled,
            }
        }
        let source = Source::Registry(Box::new(registries.repository(reference)?));
        pull_blob(&source, layer, store, progress).await
    };
    stream::iter(missing(image, store)).map(fetch).buffer_unordered(PARALLEL).try_collect::<()>().await?;
    Ok(())
}

/// Looks at an image without its layers: in the store, else in its registry.
///
/// # Errors
/// Those of the store and of the registry.
pub async fn describe(
    reference: &Reference,
    platform: &Platform,
    store: &Store,
    registries: &Registries,
) -> Result<Described, Error> {
    match store.resolve(&reference.whole())? {
        Some(descriptor) => describe_stored(store, &descriptor),
        None => describe_remote(&registries.repository(reference)?, platform, store).await,
    }
}

/// Looks at an image of the store, whose manifest is `descriptor`.
///
/// # Errors
/// [`Error::Gone`], and those of the store.
pub fn describe_stored(store: &Store, descriptor: &Descriptor) -> Result<Described, Error> {
    let read = |blob: &Descriptor| {
        let gone = || Error::Gone { path: store.path(Area::Blobs, &blob.digest) };
        store.read(Area::Blobs, &blob.digest)?.ok_or_else(gone)
    };
    let bytes = read(descriptor)?;
    let ManifestOrIndex::Manifest(manifest) = parse_manifest(&bytes, &descriptor.media_type)? else {
        return Err(Error::NestedIndex { digest: descriptor.digest });
    };
    let config_bytes = read(&manifest.config)?;
    described(descriptor.clone(), manifest, bytes, config_bytes)
}

/// Looks at the image that `repository` itself holds now, whatever the store has under its name.
///
/// # Errors
/// Those of the store and of the registry; see [`Error::is_no_such_image`].
pub async fn describe_remote(repository: &Repository, platform: &Platform, store: &Store) -> Result<Described, Error> {
    let reference = repository.reference();
    let wanted = reference.digest().or(reference.tag()).unwrap_or("latest");
    let (mut descriptor, mut bytes) = repository.manifest_or_stored(wanted, store).await?;
    let mut parsed = parse_manifest(&bytes, &descriptor.media_type)?;
    if let ManifestOrIndex::Index(index) = &parsed {
        let entry = entry_for(platform, index, || reference.whole())?;
        (descriptor, bytes) = repository.manifest_or_stored(&entry.digest.to_string(), store).await?;
        parsed = parse_manifest(&bytes, &descriptor.media_type)?;
    }
    let ManifestOrIndex::Manifest(manifest) = parsed else {
        return Err(Error::NestedIndex { digest: descriptor.digest });
    };
    let config_bytes = match store.read(Area::Blobs, &manifest.config.digest) {
        Ok(Some(bytes)) => bytes,
        // One that can't be read is fetched as one that isn't there.
        Ok(None) | Err(_) => repository.read_blob(&manifest.config).await?,
    };
    described(descriptor.with_platform(platform), manifest, bytes, config_bytes)
}

/// The entry of an index, which is `name`, for `platform`.
fn entry_for<'a>(platform: &Platform, index: &'a Index, name: impl Fn() -> String) -> Result<&'a Descriptor, Error> {
    let fits = |entry: &&Descriptor| entry.platform().is_some_and(|offered| platform.accepts(&offered));
    index.manifests.iter().find(fits).ok_or_else(|| {
        let offered: Vec<String> =
            index.manifests.iter().filter_map(|entry| Some(entry.platform()?.to_string())).collect();
        Error::Platform { reference: name(), platform: platform.clone(), offered: offered.join(", ") }
    })
}

/// Brings an image from a layout on disk into the store, without a name. Without `tag`
/// it is the only one that the layout has.
///
/// # Errors
/// Those of the layout and of the store.
pub async fn import(
    layout: &Layout,
    tag: Option<&str>,
    platform: &Platform,
    store: &Store,
    progress: &Progress,
) -> Result<Described, Error> {
    let read = |blob: &Descriptor| layout.read(blob).map_err(SourceError::from);
    let mut descriptor = layout.find(tag).map_err(SourceError::from)?;
    let mut bytes = read(&descriptor)?;
    let mut parsed = parse_manifest(&bytes, &descriptor.media_type)?;
    if let ManifestOrIndex::Index(index) = &parsed {
        descriptor = entry_for(platform, index, || layout.path().display().to_string())?.clone();
        bytes = read(&descriptor)?;
        parsed = parse_manifest(&bytes, &descriptor.media_type)?;
    }
    let ManifestOrIndex::Manifest(manifest) = parsed else {
        return Err(Error::NestedIndex { digest: descriptor.digest });
    };
    let config_bytes = read(&manifest.config)?;
    let image = described(descriptor, manifest, bytes, config_bytes)?;
    let source = Source::Layout(layout.clone(), tag.map(str::to_owned));
    for layer in missing(&image, store) {
        pull_blob(&source, layer, store, progress).await?;
    }
    store.put(Area::Blobs, &image.config_bytes)?;
    store.put(Area::Blobs, &image.bytes)?;
    Ok(image)
}

fn described(
    descriptor: Descriptor,
    manifest: Manifest,
    bytes: Vec<u8>,
    config_bytes: Vec<u8>,
) -> Result<Described, Error> {
    if media_type::normalised(&manifest.config.media_type) != media_type::CONFIG {
        return Err(Error::NotAnImage { digest: descriptor.digest, media_type: manifest.config.media_type });
    }
    let config = serde_json::from_slice(&config_bytes)
        .map_err(|source| Error::Config { digest: manifest.config.digest, source })?;
    Ok(Described { descriptor, manifest, config, bytes, config_bytes })
}

/// Receives one blob.
async fn pull_blob(source: &Source, layer: &Descriptor, store: &Store, progress: &Progress) -> Result<(), Error> {
    let task = progress.task(Activity::Pull, format!("layer {}", layer.digest.short()), Some(layer.size));
    source.fetch(layer, store, &task).await?;
    task.end("received");
    Ok(())
}
