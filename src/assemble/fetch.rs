//! What layers are made of, brought into the store: wheels from their index,
//! interpreters from where the recipe says.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{OnceCell, Semaphore};

use super::work::Work;
use super::{Error, PARALLEL, venv};
use crate::apt::{self, mirrors::Mirrors, proxy::Proxies};
use crate::changeset::Need;
use crate::lock::{self, LockedSdist, LockedWheel};
use crate::plan::Step;
use crate::python::index::{self, Indexes};
use crate::recipe::LayerKind;
use crate::registry::download;
use crate::registry::http::Http;

/// Fetches for the steps of one build, a bounded number at a time.
pub(super) struct Downloads<'a> {
    work: &'a Work<'a>,
    turn: Semaphore,
    /// For each layer of the recipe, once something must be fetched for it: asking uv
    /// for the caller's settings takes longer than a build that has nothing to do.
    indexes: Vec<OnceCell<Arc<Indexes>>>,
    /// What asks archives, once something must be fetched from one.
    archives: OnceCell<Http>,
}

impl<'a> Downloads<'a> {
    pub(super) fn new(work: &'a Work<'a>) -> Self {
        let indexes = work.lock.recipe.layers.iter().map(|_| OnceCell::new()).collect();
        Self { work, turn: Semaphore::new(PARALLEL), indexes, archives: OnceCell::new() }
    }

    /// Brings what `step` needs into the store, as far as it isn't there.
    async fn fetch(&self, step: &Step) -> Result<(), Error> {
        let missing = step.needs.iter().filter(|need| !need.at_hand(self.work.store));
        stream::iter(missing).map(|need| self.fetch_one(step, need)).buffer_unordered(PARALLEL).try_collect().await
    }

    /// Makes something of what `step` needs. A download that turns out to be damaged is
    /// fetched once more: each time one has gone, so this ends.
    pub(super) async fn with<T>(&self, step: &Step, make: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        for _ in &step.needs {
            self.fetch(step).await?;
            match make().await {
                // The store has dropped it, and has it fetched anew.
                Err(error) if error.is_of_damaged_download() => {}
                outcome => return outcome,
            }
        }
        self.fetch(step).await?;
        make().await
    }

    async fn fetch_one(&self, step: &Step, need: &Need) -> Result<(), Error> {
        let Work { directory, store, registries, progress, .. } = self.work;
        let http = registries.http();
        let indexes = match need {
            Need::Wheel(LockedWheel { index, .. }) | Need::Sdist(LockedSdist { index, .. })
                if !index.starts_with("local:") =>
            {
                Some(self.indexes(step).await?)
            }
            Need::Wheel(_) | Need::Sdist(_) | Need::Archive(_) | Need::Deb { .. } => None,
        };
        let _turn = self.turn.acquire().await;
        let wanted = match need {
            Need::Archive(archive) => {
                return Ok(lock::fetch_archive(archive, directory, store, http, progress).await?);
            }
            Need::Deb { archive, deb } => {
                let url = Mirrors::of_this_machine()?.package(archive, &deb.path)?;
                let deb = apt::fetch::Deb { url, sha256: deb.sha256, size: deb.size };
                let client = async || Proxies::of_this_machine().client(http).map_err(download::Error::from);
                let http = self.archives.get_or_try_init(client).await?;
                return Ok(apt::fetch::deb(http, &deb, store, progress).await?);
            }
            Need::Wheel(wheel) => [wheel.into()],
            Need::Sdist(sdist) => [sdist.into()],
        };
        Ok(index::fetch(http, indexes.as_deref(), directory, store, &wanted, progress).await?)
    }

    /// The indexes of the venv that `step` is part of.
    pub(super) async fn indexes(&self, step: &Step) -> Result<Arc<Indexes>, Error> {
        let of_venv = self.work.lock.recipe.layers.get(step.index).zip(self.indexes.get(step.index));
        let Some((LayerKind::Venv(venv), cell)) = of_venv.map(|(layer, cell)| (&layer.kind, cell)) else {
            return Err(Error::NoIndexes { layer: step.layer.clone() });
        };
        cell.get_or_try_init(|| venv::indexes(venv, self.work.directory, &step.layer)).await.cloned()
    }
}
