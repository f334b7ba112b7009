//! From a name to one image: index, manifest, config, each checked against the
//! other.

use super::{Error, LockedBase};
use crate::lock::Pin;
use crate::oci::{
    Descriptor, Digest, ImageConfig, Index, Manifest, ManifestOrIndex, Platform, media_type, parse_manifest,
};
use crate::progress::{Activity, Progress};
use crate::registry::{Source, SourceError};
use crate::store::{Area, Store};

/// Manifest and config of a base.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseImage {
    /// The manifest. Its media types are as the registry has them.
    pub manifest: Manifest,
    /// The config.
    pub config: ImageConfig,
}

/// Manifest and config of the base that a lock names: from the store if they are
/// there, else from `source`. Nothing for `scratch`.
///
/// # Errors
/// [`Error`].
pub async fn load(locked: &LockedBase, source: Option<&Source>, store: &Store) -> Result<Option<BaseImage>, Error> {
    let (Some(manifest), Some(config)) = (&locked.manifest, &locked.config) else { return Ok(None) };
    let descriptor = Descriptor::new(&manifest.media_type, manifest.digest, manifest.size);
    let fetch = Fetch { source, store, manifest: manifest.digest };
    let bytes = fetch.manifest(&descriptor).await?;
    let ManifestOrIndex::Manifest(parsed) = parse_manifest(&bytes, &manifest.media_type)? else {
        return Err(Error::Nested { index: manifest.digest, nested: manifest.digest });
    };
    if parsed.config.digest != config.digest {
        return Err(Error::OtherConfig { manifest: manifest.digest, config: config.digest });
    }
    let bytes = fetch.config(&parsed.config).await?;
    Ok(Some(BaseImage { config: read_config(&manifest.digest, &parsed, &bytes)?, manifest: parsed }))
}

/// Small blobs, from the store if they are there, else from the source and then
/// kept.
struct Fetch<'a> {
    source: Option<&'a Source>,
    store: &'a Store,
    manifest: Digest,
}

impl Fetch<'_> {
    async fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let bytes = match self.stored(descriptor)? {
            Some(bytes) => bytes,
            None => kept(self.store, self.source()?.manifest(descriptor).await?)?,
        };
        self.sized(descriptor, bytes)
    }

    async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let bytes = match self.stored(descriptor)? {
            Some(bytes) => bytes,
            None => kept(self.store, self.source()?.config(descriptor).await?)?,
        };
        self.sized(descriptor, bytes)
    }

    fn source(&self) -> Result<&Source, Error> {
        self.source.ok_or(Error::NoSource { manifest: self.manifest })
    }

    /// A blob that was damaged in the store is fetched again.
    fn stored(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>, Error> {
        match self.store.read(Area::Blobs, &descriptor.digest) {
            Err(crate::store::Error::Damaged { .. }) => Ok(None),
            read => Ok(read?),
        }
    }

    /// The right bytes with a wrong length beside their digest would make a wrong pin.
    fn sized(&self, expected: &Descriptor, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
        if bytes.len() as u64 == expected.size {
            return Ok(bytes);
        }
        let found = Box::new(Descriptor::of(&expected.media_type, &bytes));
        Err(SourceError::Manifest { expected: Box::new(expected.clone()), found }.into())
    }
}

/// Chooses the image for `platform` and reads manifest and config.
pub(super) async fn choose(
    source: &Source,
    platform: &Platform,
    store: &Store,
    progress: &Progress,
) -> Result<(LockedBase, BaseImage), Error> {
    let task = progress.task(Activity::Resolve, "base", None);
    let (named, bytes) = source.named(store).await?;
    let bytes = kept(store, bytes)?;
    let fetch = Fetch { source: Some(source), store, manifest: named.digest };
    let (index, descriptor, manifest) = match parse_manifest(&bytes, &named.media_type)? {
        ManifestOrIndex::Manifest(manifest) => (None, named, manifest),
        ManifestOrIndex::Index(index) => {
            let chosen = select(&index, platform)?;
            let bytes = fetch.manifest(&chosen).await?;
            match parse_manifest(&bytes, &chosen.media_type)? {
                ManifestOrIndex::Manifest(manifest) => (Some(pin(&named)), chosen, manifest),
                ManifestOrIndex::Index(_) => {
                    return Err(Error::Nested { index: named.digest, nested: chosen.digest });
                }
            }
        }
    };
    // manifest.md: for an image, the config's media type is the image config's
    if media_type::normalised(&manifest.config.media_type) != media_type::CONFIG {
        return Err(Error::NotAnImage { manifest: descriptor.digest, media_type: manifest.config.media_type });
    }
    let bytes = fetch.config(&manifest.config).await?;
    let config = read_config(&descriptor.digest, &manifest, &bytes)?;
    check_platform(&config, platform, progress)?;
    task.end(descriptor.digest.to_string());
    let locked = LockedBase {
        index,
        manifest: Some(pin(&descriptor)),
        config: Some(pin(&manifest.config)),
        diff_ids: config.rootfs.diff_ids.clone(),
        archive: None,
        files: Vec::new(),
    };
    Ok((locked, BaseImage { manifest, config }))
}

fn kept(store: &Store, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    store.put(Area::Blobs, &bytes)?;
    Ok(bytes)
}

fn pin(descriptor: &Descriptor) -> Pin {
    Pin { media_type: descriptor.media_type.clone(), digest: descriptor.digest, size: descriptor.size }
}

/// The entry of `index` for `platform`: one that says exactly so, else the first
/// that runs there, else the only one if it doesn't say where it runs.
fn select(index: &Index, platform: &Platform) -> Result<Descriptor, Error> {
    let exact = |entry: &&Descriptor| entry.platform().as_ref() == Some(platform);
    let accepted = |entry: &&Descriptor| entry.platform().is_some_and(|offered| platform.accepts(&offered));
    let found = index.manifests.iter().find(exact).or_else(|| index.manifests.iter().find(accepted));
    match (found, &index.manifests[..]) {
        (Some(entry), _) => Ok(entry.clone()),
        (None, [entry]) if entry.platform.is_none() => Ok(entry.clone()),
        _ => {
            // BuildKit's attestations are entries for the platform `unknown/unknown`
            let offered = index.manifests.iter().filter_map(Descriptor::platform).filter(|p| p.os != "unknown");
            Err(Error::Platform { wanted: platform.clone(), offered: offered.collect() })
        }
    }
}

fn read_config(digest: &Digest, manifest: &Manifest, bytes: &[u8]) -> Result<ImageConfig, Error> {
    let config: ImageConfig =
        serde_json::from_slice(bytes).map_err(|source| Error::Config { config: manifest.config.digest, source })?;
    // config.md: "rootfs.diff_ids: An array of layer content hashes (DiffIDs), in order from first to last"
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(Error::Layers { manifest: *digest, layers, diff_ids });
    }
    Ok(config)
}

/// An image for another platform is an error; one that doesn't say is only told.
fn check_platform(config: &ImageConfig, wanted: &Platform, progress: &Progress) -> Result<(), Error> {
    if config.os.is_empty() || config.architecture.is_empty() {
        progress.warn(format!("the base does not say which platform it is for; taking it for {wanted}"));
        return Ok(());
    }
    let found = Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        // many an arm64 image names its variant in the index alone
        variant: config.variant.clone().or_else(|| wanted.variant.clone()),
    };
    if wanted.accepts(&found) {
        Ok(())
    } else {
        Err(Error::OtherPlatform { wanted: Box::new(wanted.clone()), found: Box::new(found) })
    }
}
