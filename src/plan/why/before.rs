//! What is known of the image that a tag holds now, from its manifest and config alone.

use crate::changeset::{ANNOTATION_INPUTS, ANNOTATION_KEY, ANNOTATION_LAYER, ANNOTATION_PART, Told};
use crate::oci::{Descriptor, DiffId, Digest, ImageConfig, Manifest};
use crate::store::LayerKey;

/// The image that a tag holds now.
#[derive(Clone, Debug)]
pub struct Before {
    /// Its manifest.
    pub digest: Digest,
    /// How much it tells of itself.
    pub tells: Tells,
    /// What it is based on, by name and digest as far as it says.
    pub(super) base: String,
    /// The DiffIDs of its base's layers.
    pub(super) base_layers: Vec<DiffId>,
    /// The layers over the base, lowest first.
    pub(super) layers: Vec<LayerBefore>,
    /// The blobs of all its layers.
    blobs: Vec<Digest>,
}

/// How much an image tells of how it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells {
    /// Of each layer what it was made of.
    Inputs,
    /// Which layers dlpack made, but not what of: it is an older one's.
    Layers,
    /// Nothing: dlpack did not make it.
    Nothing,
}

/// A layer of the image.
#[derive(Clone, Debug)]
pub(super) struct LayerBefore {
    /// The name of the recipe's layer.
    pub layer: String,
    /// Its key.
    pub key: Option<LayerKey>,
    /// What it was made of.
    pub told: Option<Told>,
    /// The digests of its parts' tars, lowest first.
    pub diff_ids: Vec<DiffId>,
}

impl Before {
    /// What manifest and config of the image with the manifest `digest` say, of whose layers the
    /// uppermost `own` are not its base's, if it tells. What an annotation says that can't be read, it
    /// does not say.
    pub fn of(digest: Digest, manifest: &Manifest, config: &ImageConfig, own: Option<usize>) -> Self {
        let (mut base_layers, mut layers) = (Vec::new(), Vec::<LayerBefore>::new());
        // The base may be an image of dlpack's, too: which layers are whose the image's count says.
        let of_base = own.map_or(0, |own| manifest.layers.len().saturating_sub(own));
        for (at, (descriptor, diff_id)) in manifest.layers.iter().zip(&config.rootfs.diff_ids).enumerate() {
            match descriptor.annotations.get(ANNOTATION_LAYER).filter(|_| at >= of_base) {
                // A part but the first, which alone says what it was made of.
                Some(_) if descriptor.annotations.contains_key(ANNOTATION_PART) && !layers.is_empty() => {
                    layers.iter_mut().next_back().into_iter().for_each(|layer| layer.diff_ids.push(*diff_id));
                }
                Some(layer) => layers.push(LayerBefore::of(layer, descriptor, *diff_id)),
                None => base_layers.push(*diff_id),
            }
        }
        let tells = match layers.iter().find(|layer| layer.told.is_none()) {
            _ if layers.is_empty() && own.is_none() => Tells::Nothing,
            Some(_) => Tells::Layers,
            None => Tells::Inputs,
        };
        let annotation = |name: &str| manifest.annotations.get(name).map(String::as_str);
        let base = base_name(
            annotation("org.opencontainers.image.base.name"),
            annotation("org.opencontainers.image.base.digest").and_then(|digest| digest.parse().ok()),
        );
        let blobs = manifest.layers.iter().map(|layer| layer.digest).collect();
        Self { digest, tells, base, base_layers, layers, blobs }
    }

    /// Whether the blob is one of its layers: it need not be sent to where the image is.
    pub fn has(&self, blob: &Digest) -> bool {
        self.blobs.contains(blob)
    }
}

impl LayerBefore {
    fn of(layer: &str, descriptor: &Descriptor, diff_id: DiffId) -> Self {
        let annotation = |name: &str| descriptor.annotations.get(name);
        Self {
            layer: layer.to_owned(),
            key: annotation(ANNOTATION_KEY).and_then(|key| key.parse().ok()).map(LayerKey),
            told: annotation(ANNOTATION_INPUTS).and_then(|inputs| serde_json::from_str(inputs).ok()),
            diff_ids: vec![diff_id],
        }
    }
}

/// A base as a person is told of it: `debian:12 (4f2a…)`.
pub(super) fn base_name(name: Option<&str>, digest: Option<Digest>) -> String {
    match (name, digest) {
        (Some(name), Some(digest)) => format!("{name} ({})", digest.short()),
        (Some(name), None) => name.to_owned(),
        (None, Some(digest)) => digest.short(),
        (None, None) => "scratch".to_owned(),
    }
}
