//! From a source to the store: one blob, verified.

use futures_util::TryStreamExt as _;

use super::keeping::Keeping;
use super::{Source, SourceError};
use crate::oci::Descriptor;
use crate::progress::Task;
use crate::store::{Area, Store};

impl Source {
    /// Brings a blob into the store; `task` hears how far it got. One that is there is
    /// not fetched.
    ///
    /// # Errors
    /// Those of the source; [`SourceError::Keep`]. Nothing of a blob that is not as it
    /// should be is kept.
    pub async fn fetch(&self, blob: &Descriptor, store: &Store, task: &Task) -> Result<(), SourceError> {
        if store.size(Area::Blobs, &blob.digest) == Some(blob.size) {
            task.advance(blob.size);
            return Ok(());
        }
        let keeping = Keeping::begin(store, Area::Blobs, &blob.digest, blob.size);
        let mut stream = self.blob(blob);
        while let Some(chunk) = stream.try_next().await? {
            task.advance(chunk.len() as u64);
            if !keeping.take(chunk).await {
                // The thread has given up, and says why below.
                break;
            }
        }
        let interrupted = |source| SourceError::Interrupted { digest: blob.digest, source };
        Ok(keeping.end().await.map_err(interrupted)??)
    }
}
