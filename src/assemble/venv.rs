//! What a venv is made of, brought into the store for one that is laid out on this machine.

use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Error, PARALLEL};
use crate::changeset::Need;
use crate::lock;
use crate::progress::Progress;
use crate::python::index::{self, Indexes};
use crate::recipe::Venv;
use crate::registry::Registries;
use crate::store::Store;

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

/// The indexes of `venv`, the layer `layer`, as this machine is set up for them.
pub(super) async fn indexes(venv: &Venv, directory: &Path, layer: &str) -> Result<Arc<Indexes>, Error> {
    let (index_url, extra_index_url) = (venv.index_url.clone(), venv.extra_index_url.clone());
    let directory = directory.to_owned();
    let asking =
        tokio::task::spawn_blocking(move || Indexes::configured(&directory, index_url.as_deref(), &extra_index_url));
    let asked = asking.await.map_err(|_| Error::Thread { layer: layer.to_owned() })?;
    Ok(Arc::new(asked?))
}
