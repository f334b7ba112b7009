//! The layers that one image has and another has not.

use serde::Serialize;

use crate::assemble::{ANNOTATION_CONTENTS, Described};
use crate::changeset::{ANNOTATION_LAYER, Content};
use crate::oci::{Descriptor, DiffId, Digest};

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerOf {
    /// Which of the image's layers it is, from 1.
    pub position: usize,
    /// The name of the recipe's layer; none for one of the base.
    pub layer: Option<String>,
    /// What is in it, or how it was made, in a few words.
    pub what: String,
    /// Its blob.
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// Its descriptor, to read it by.
    #[serde(skip)]
    pub(super) descriptor: Descriptor,
    /// The digest of its tar.
    #[serde(skip)]
    pub(super) diff_id: Option<DiffId>,
}

/// The layers of `image` that are not in `other`, lowest first. The same tar compressed otherwise is
/// the same layer.
pub(super) fn alone_in(image: &Described, other: &Described) -> Vec<LayerOf> {
    let history: Vec<&str> = made_by(image);
    let diff_ids = &image.config.rootfs.diff_ids;
    let layers = image.manifest.layers.iter().enumerate();
    let alone = layers.filter(|(at, _)| !diff_ids.get(*at).is_some_and(|id| other.config.rootfs.diff_ids.contains(id)));
    let layer = |(at, descriptor): (usize, &Descriptor)| LayerOf {
        position: at + 1,
        layer: descriptor.annotations.get(ANNOTATION_LAYER).cloned(),
        what: what(descriptor).unwrap_or_else(|| history.get(at).copied().unwrap_or_default().to_owned()),
        digest: descriptor.digest,
        size: descriptor.size,
        descriptor: descriptor.clone(),
        diff_id: diff_ids.get(at).copied(),
    };
    alone.map(layer).collect()
}

/// What `image` has in common with `other`, in the order of `image`.
pub(super) fn common<'a>(image: &'a Described, other: &Described) -> Vec<&'a DiffId> {
    image.config.rootfs.diff_ids.iter().filter(|id| other.config.rootfs.diff_ids.contains(id)).collect()
}

/// How each layer was made, as the history says.
pub(super) fn made_by(image: &Described) -> Vec<&str> {
    let layers = image.config.history.iter().filter(|entry| !entry.empty_layer);
    layers.map(|entry| entry.created_by.as_deref().or(entry.comment.as_deref()).unwrap_or_default()).collect()
}

/// What is in a layer, as its annotation says.
pub(super) fn contents(descriptor: &Descriptor) -> Vec<Content> {
    let told = descriptor.annotations.get(ANNOTATION_CONTENTS);
    told.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

fn what(descriptor: &Descriptor) -> Option<String> {
    match contents(descriptor).as_slice() {
        [] => None,
        [only] => Some(only.name.clone()),
        [first, others @ ..] => Some(format!("{} and {} more", first.name, others.len())),
    }
}
