//! From a source to the store: one blob, verified, written by a thread while more of
//! it comes.

use std::io::Write;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tokio::sync::mpsc;

use super::{Source, SourceError};
use crate::oci::Descriptor;
use crate::progress::Task;
use crate::store::{self, Area, Store};

/// How many chunks may wait for the disk.
const WAITING: usize = 16;

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
        let (chunks, coming) = mpsc::channel::<Bytes>(WAITING);
        let (kept_in, descriptor) = (store.clone(), blob.clone());
        let keeping = tokio::task::spawn_blocking(move || keep(coming, &descriptor, &kept_in));
        let mut stream = self.blob(blob);
        while let Some(chunk) = stream.try_next().await? {
            task.advance(chunk.len() as u64);
            if chunks.send(chunk).await.is_err() {
                // The thread has given up, and says why below.
                break;
            }
        }
        drop(chunks);
        let interrupted = |source| SourceError::Interrupted { digest: blob.digest, source };
        Ok(keeping.await.map_err(interrupted)??)
    }
}

fn keep(mut coming: mpsc::Receiver<Bytes>, blob: &Descriptor, store: &Store) -> Result<(), store::Error> {
    let mut writer = store.writer()?;
    while let Some(chunk) = coming.blocking_recv() {
        writer.write_all(&chunk).map_err(|source| store::Error::Io {
            doing: "write",
            path: store.path(Area::Blobs, &blob.digest),
            source,
        })?;
    }
    store.keep_as(Area::Blobs, writer, &blob.digest, blob.size)
}
