//! A layer that was made elsewhere, brought into the store: once its blob and its tar have
//! proved to be what the record says.

use super::Error;
use super::work::Work;
use crate::cache::Hit;
use crate::layer::read::{self, ReadError};
use crate::oci::Descriptor;
use crate::progress::Activity;
use crate::registry::{Repository, Source};
use crate::store::{Area, LayerKey, Store};

/// Brings the layer of `hit` into the store and remembers it under `key`.
///
/// # Errors
/// Those of the repository and of the store; [`Error::Read`] if the blob unpacks to
/// another tar than the record says.
pub(super) async fn layer(hit: &Hit, key: &LayerKey, work: &Work<'_>) -> Result<(), Error> {
    for part in hit.record.parts() {
        let digest = part.descriptor.digest;
        blob(&part.descriptor, &hit.repository, work).await?;
        let (store, part) = (work.store.clone(), part.clone());
        let unpacking = tokio::task::spawn_blocking(move || {
            let gone = || Error::Gone { path: store.path(Area::Blobs, &digest) };
            let blob = store.open_blob(Area::Blobs, &digest)?.ok_or_else(gone)?;
            read::walk(&part.descriptor, part.diff_id, blob, |_| Ok::<_, ReadError>(()))?;
            Ok::<_, Error>(())
        });
        unpacking.await.map_err(|_| Error::Thread { layer: digest.to_string() })??;
    }
    Ok(work.store.put_record(key, &hit.record)?)
}

/// Brings the blob of a layer into the store, if it isn't there.
pub(super) async fn blob(descriptor: &Descriptor, from: &Repository, work: &Work<'_>) -> Result<(), Error> {
    let store: &Store = work.store;
    if store.size(Area::Blobs, &descriptor.digest) == Some(descriptor.size) {
        return Ok(());
    }
    let name = format!("layer {}", descriptor.digest.short());
    let task = work.progress.task(Activity::Pull, name, Some(descriptor.size));
    Source::Registry(Box::new(from.clone())).fetch(descriptor, store, &task).await?;
    task.end("received");
    Ok(())
}
