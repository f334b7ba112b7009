//! What a venv is made of, brought into the store for one that is laid out on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::work::Work;
use super::{Error, PARALLEL, receive};
use crate::changeset::Need;
use crate::lock::{self, Lock, base};
use crate::oci::{ChainId, DiffId};
use crate::plan::{Place, Plan};
use crate::progress::Progress;
use crate::python::index::{self, Indexes};
use crate::recipe::Venv;
use crate::registry::Registries;
use crate::sandbox::extract;
use crate::store::Store;

/// What the inputs of a wheel that is built from source are called.
const SOURCE: &str = "source";

/// Brings those of `needs` into the store that are not there: wheels and interpreters of `venv`,
/// whose local files are relative to `directory`.
///
/// # Errors
/// [`Error::Index`].
pub async fn fetch_for_venv(
    venv: &Venv,
    needs: &[Need],
    directory: &Path,
    store: &Store,
    registries: &Registries,
    progress: &Progress,
) -> Result<(), Error> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.at_hand(store)).collect();
    let of_index = |need: &&&Need| matches!(need, Need::Wheel(wheel) if !wheel.index.starts_with("local:"));
    let indexes = match missing.iter().any(|need| of_index(&need)) {
        true => Some(indexes(venv, directory, &venv.path).await?),
        false => None,
    };
    let (http, indexes) = (registries.http(), indexes.as_deref());
    let fetch = async |need: &Need| -> Result<(), Error> {
        match need {
            Need::Archive(archive) => Ok(lock::fetch_archive(archive, directory, store, http, progress).await?),
            Need::Wheel(wheel) => Ok(index::fetch(http, indexes, directory, store, &[wheel.into()], progress).await?),
            Need::Sdist(_) | Need::Deb { .. } => Ok(()),
        }
    };
    stream::iter(missing).map(fetch).buffer_unordered(PARALLEL).try_collect().await
}

/// The directory of the base's files, brought here unless it is; nothing if there are none. A base that
/// is made of packages is made by a build alone.
///
/// # Errors
/// Those of the base's source and of the store.
pub async fn base_for_venv(
    lock: &Lock,
    directory: &Path,
    store: &Store,
    registries: &Registries,
    progress: &Progress,
) -> Result<Option<PathBuf>, Error> {
    if lock.base.archive.is_some() {
        return Ok(ChainId::of(&lock.base.diff_ids).and_then(|chain| extract::find(store, &chain)));
    }
    let source = base::source(&lock.recipe.base, directory, registries, store)?;
    Ok(base::extracted(&lock.base, source.as_ref(), store, progress).await?)
}

/// What was built from source for the `index`th layer of the recipe: of each wheel the directories of
/// its layer, lowest first; none of one that is not known to be built.
///
/// # Errors
/// Those of whoever has the layer, and of the store.
pub async fn built_for_venv(
    work: &Work<'_>,
    plan: &Plan,
    index: usize,
) -> Result<Vec<(String, Option<Vec<PathBuf>>)>, Error> {
    let mut all = Vec::new();
    for step in plan.steps.iter().filter(|step| step.index == index && step.inputs.kind() == SOURCE) {
        let title = step.title();
        let name = title.strip_suffix(" (from source)").unwrap_or(&title).to_owned();
        let Some(record) = step.place.record() else {
            all.push((name, None));
            continue;
        };
        // by itself: nothing of what lies under it is in the venv
        let (mut under, mut lower): (Vec<DiffId>, Vec<PathBuf>) = (Vec::new(), Vec::new());
        for part in record.parts() {
            let (descriptor, diff_id) = (part.descriptor.clone(), part.diff_id);
            match (&step.place, work.target) {
                (Place::Target(_), Some(target)) => receive::blob(&descriptor, target, work).await?,
                (Place::Remote(hit), _) => receive::blob(&descriptor, &hit.repository, work).await?,
                _ => {}
            }
            let (store, chain, below) = (work.store.clone(), ChainId::of(&under), lower.clone());
            let extracting =
                tokio::task::spawn_blocking(move || extract::layer(&store, &descriptor, diff_id, chain, &below));
            let interrupted = |_| Error::Thread { layer: part.descriptor.digest.to_string() };
            lower.push(extracting.await.map_err(interrupted)??);
            under.push(diff_id);
        }
        all.push((name, Some(lower)));
    }
    Ok(all)
}

/// The indexes of `venv`, the layer `layer`, as this machine is set up for them.
pub(super) async fn indexes(venv: &Venv, directory: &Path, layer: &str) -> Result<Arc<Indexes>, Error> {
    let (index_url, extra_index_url) = (venv.index_url.clone(), venv.extra_index_url.clone());
    let directory = directory.to_owned();
    let asking =
        tokio::task::spawn_blocking(move || Indexes::configured(&directory, index_url.as_deref(), &extra_index_url));
    let asked = asking.await.map_err(|_| Error::Thread { layer: layer.to_owned() })?;
    Ok(Arc::new(asked?))
}
