//! A wheel that was just built from source, held against the other wheels of its venv: what it
//! brings nobody knew when the recipe was locked.

use super::Error;
use super::fetch::Downloads;
use super::work::Work;
use crate::layer::read::{self, ReadError};
use crate::lock::{self, LockedLayer, Wheels, collisions};
use crate::oci::Digest;
use crate::plan::Step;
use crate::python::install::Listed;
use crate::recipe::LayerKind;
use crate::store::{Area, LayerPart, LayerRecord, Store};

/// Checks the layer of a `step` that built a wheel, of which `record` tells; any other's is fine.
/// Trivial files that another wheel has otherwise are told of.
///
/// # Errors
/// [`Error::Wheels`] if they can't lie in one venv; those of indexes and of the store.
pub(super) async fn check(
    step: &Step,
    record: &LayerRecord,
    work: &Work<'_>,
    downloads: &Downloads<'_>,
) -> Result<(), Error> {
    let Work { lock, directory, store, registries, progress, .. } = work;
    let of_venv = lock.recipe.layers.get(step.index).map(|layer| &layer.kind).zip(lock.layers.get(step.index));
    let (Some((LayerKind::Venv(venv), LockedLayer::Venv(locked))), "source") = (of_venv, step.inputs.kind()) else {
        return Ok(());
    };
    let Ok(scheme) = locked.scheme(&venv.path) else { return Ok(()) };
    let indexes = downloads.indexes(step).await?;
    let from = Wheels { layer: &step.layer, directory, store, http: registries.http(), indexes: &indexes, progress };
    let listings = lock::listings(&from, &locked.wheels, &[], &scheme).await?;
    let mut files = Vec::new();
    for part in record.parts() {
        files.extend(files_of(part, scheme.prefix(), store).await?);
    }
    let built = step.title();
    for (path, other) in collisions::of_built(&step.layer, &built, &files, &locked.wheels, &listings)? {
        progress
            .warn(format!("layer `{}`: {built} and {other} both bring {path}; the upper layer's is taken", step.layer));
    }
    Ok(())
}

/// The files of a layer's part below `prefix`, relative to that.
async fn files_of(part: &LayerPart, prefix: &str, store: &Store) -> Result<Vec<Listed>, Error> {
    let (descriptor, diff_id, store) = (part.descriptor.clone(), part.diff_id, store.clone());
    let inside = format!("{}/", prefix.trim_matches('/'));
    let reading = tokio::task::spawn_blocking(move || {
        let digest: Digest = descriptor.digest;
        let gone = || Error::Gone { path: store.path(Area::Blobs, &digest) };
        let blob = store.open_blob(Area::Blobs, &digest)?.ok_or_else(gone)?;
        let broken = |source| ReadError::Tar { layer: digest, source };
        read::walk(&descriptor, diff_id, blob, |archive| {
            let mut files = Vec::new();
            while let Some(entry) = archive.next_entry().map_err(broken)? {
                let path = String::from_utf8_lossy(&entry.path);
                if let Some(path) = path.strip_prefix(&inside).filter(|_| entry.kind.is_file()) {
                    let content = archive.content(entry.size).map_err(broken)?;
                    files.push(Listed { path: path.to_owned(), size: entry.size, crc32: crc32fast::hash(&content) });
                }
            }
            Ok::<_, Error>(files)
        })
    });
    reading.await.map_err(|_| Error::Thread { layer: part.descriptor.digest.to_string() })?
}
