//! From a built image to a registry: the base's blobs are mounted or stream from
//! their own registry, the layers come from the store, the manifest goes last.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::build::Built;
use super::{Error, PARALLEL};
use crate::oci::{Descriptor, media_type};
use crate::progress::{Activity, Progress};
use crate::registry::{self, BlobOrigin, Repository};
use crate::store::Store;

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
}

/// A blob of the image and where it is to be had.
struct Blob {
    descriptor: Descriptor,
    subject: String,
    origin: BlobOrigin,
    mount_from: Option<Repository>,
}

/// Pushes `built` to `target` under its tag. Doing it twice sends nothing but
/// questions and the manifest.
///
/// # Errors
/// The first one that occurs; blobs that have arrived stay, the tag still names
/// what it named before.
pub async fn push(built: &Built, target: &Repository, store: &Store, progress: &Progress) -> Result<Pushed, Error> {
    let blobs = blobs(built, store);
    let pushed = stream::iter(&blobs)
        .map(|blob| push_blob(blob, target, progress))
        .buffer_unordered(PARALLEL)
        .try_fold(Pushed::default(), async |sum, one| Ok(sum.with(one)))
        .await?;
    let reference = target.reference();
    let tag = reference.tag().unwrap_or("latest");
    target.push_manifest(tag, media_type::MANIFEST, &built.image.bytes).await?;
    Ok(pushed)
}

/// Every blob of the image once: a config and layers that don't repeat. Those that lie
/// elsewhere, at URLs of their own, stay there.
fn blobs(built: &Built, store: &Store) -> Vec<Blob> {
    let manifest = &built.image.manifest;
    let mut blobs: Vec<Blob> = Vec::with_capacity(manifest.layers.len() + 1);
    for (position, layer) in manifest.layers.iter().chain([&manifest.config]).enumerate() {
        let elsewhere = media_type::is_foreign(&layer.media_type) && !layer.urls.is_empty();
        if elsewhere || blobs.iter().any(|blob| blob.descriptor.digest == layer.digest) {
            continue;
        }
        let base = built.source.as_ref().filter(|_| position < built.image.base_layers);
        let (origin, mount_from) = match base {
            Some(source) => (source.origin(layer), source.repository().cloned()),
            None => (BlobOrigin::Store(store.clone()), None),
        };
        blobs.push(Blob { descriptor: layer.clone(), subject: subject(built, position), origin, mount_from });
    }
    blobs
}

fn subject(built: &Built, position: usize) -> String {
    let layers = &built.image.manifest.layers;
    match layers.get(position) {
        None => "config".to_owned(),
        Some(_) if position < built.image.base_layers => format!("base layer {}", position + 1),
        Some(_) => built.titles[position - built.image.base_layers].clone(),
    }
}

async fn push_blob(blob: &Blob, target: &Repository, progress: &Progress) -> Result<registry::Pushed, Error> {
    let task = progress.task(Activity::Push, &blob.subject, Some(blob.descriptor.size));
    let pushed = target
        .push_blob(&blob.descriptor, &blob.origin, blob.mount_from.as_ref(), &|moved| match moved {
            registry::Transfer::Sent(bytes) => task.advance(bytes),
            registry::Transfer::Kept(bytes) => task.skip(bytes),
        })
        .await?;
    task.end(match pushed {
        registry::Pushed::Existed => "already there",
        registry::Pushed::Mounted => "mounted",
        registry::Pushed::Uploaded { resumed: 0, .. } => "sent",
        registry::Pushed::Uploaded { .. } => "sent to its end",
    });
    Ok(pushed)
}

impl Pushed {
    fn with(mut self, one: registry::Pushed) -> Self {
        match one {
            registry::Pushed::Existed => self.present += 1,
            registry::Pushed::Mounted => self.mounted += 1,
            registry::Pushed::Uploaded { bytes, resumed } => {
                self.uploaded += 1;
                self.resumed += resumed;
                self.bytes += bytes;
            }
        }
        self
    }
}
