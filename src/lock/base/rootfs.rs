//! The base's root filesystem on this machine's disk: what nothing needs but a
//! sandbox, and no build whose sandboxed layers are known.

use std::collections::HashSet;
use std::path::PathBuf;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Error, LockedBase, load};
use crate::oci::ChainId;
use crate::progress::{Activity, Progress};
use crate::registry::Source;
use crate::sandbox::extract;
use crate::store::Store;

/// How many layers are fetched at once.
const AT_ONCE: usize = 4;

/// The directory with the root filesystem of the base that a lock names; nothing for
/// `scratch`. If it is not there its layers are brought into the store and extracted.
///
/// # Errors
/// Those of the source and of the store; [`Error::Extract`].
pub async fn extracted(
    locked: &LockedBase,
    source: Option<&Source>,
    store: &Store,
    progress: &Progress,
) -> Result<Option<PathBuf>, Error> {
    let Some(chain) = ChainId::of(&locked.diff_ids) else { return Ok(None) };
    let broken = |source| Error::Broken { layer: chain.0, source };
    let here = store.clone();
    let found = tokio::task::spawn_blocking(move || extract::find(&here, &chain));
    if let Some(directory) = found.await.map_err(broken)? {
        return Ok(Some(directory));
    }
    let Some(image) = load(locked, source, store).await? else { return Ok(None) };
    let Some(source) = source else { return Ok(None) };
    let mut seen = HashSet::new();
    let distinct = image.manifest.layers.iter().filter(|layer| seen.insert(layer.digest));
    // collected first: a lazy map borrows in a way that keeps the future from moving between threads
    let fetches: Vec<_> = distinct
        .map(async |layer| {
            let task = progress.task(Activity::Pull, format!("base layer {}", layer.digest.short()), Some(layer.size));
            source.fetch(layer, store, &task).await?;
            task.end("received");
            Ok::<_, Error>(())
        })
        .collect();
    stream::iter(fetches).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let layers: Vec<_> = image.manifest.layers.iter().cloned().zip(locked.diff_ids.iter().copied()).collect();
    let (store, task) = (store.clone(), progress.task(Activity::Extract, "base", None));
    let extracting = tokio::task::spawn_blocking(move || extract::base(&store, &layers));
    let directory = extracting.await.map_err(broken)??;
    task.end("extracted");
    Ok(Some(directory))
}
