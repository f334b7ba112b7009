//! What comes over the network, written into the store by a thread of its own while
//! more of it comes.

use std::io::Write;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::oci::Digest;
use crate::store::{self, Area, Store};

/// How many chunks may wait for the disk.
const WAITING: usize = 16;

/// One file on its way into an area of the store.
pub(super) struct Keeping {
    chunks: mpsc::Sender<Bytes>,
    thread: JoinHandle<Result<(), store::Error>>,
}

impl Keeping {
    /// Begins the file that is to have `digest` and `size` bytes.
    pub(super) fn begin(store: &Store, area: Area, digest: &Digest, size: u64) -> Self {
        let (chunks, coming) = mpsc::channel(WAITING);
        let (store, digest) = (store.clone(), *digest);
        let thread = tokio::task::spawn_blocking(move || keep(coming, &store, area, &digest, size));
        Self { chunks, thread }
    }

    /// Whether the thread still takes bytes; if not, [`Keeping::end`] says why.
    pub(super) async fn take(&self, chunk: Bytes) -> bool {
        self.chunks.send(chunk).await.is_ok()
    }

    /// Verifies the file and names it; what is not as announced is not kept.
    ///
    /// # Errors
    /// The outer one if the thread ended without a word, else what the store says.
    pub(super) async fn end(self) -> Result<Result<(), store::Error>, JoinError> {
        drop(self.chunks);
        self.thread.await
    }
}

fn keep(
    mut coming: mpsc::Receiver<Bytes>,
    store: &Store,
    area: Area,
    digest: &Digest,
    size: u64,
) -> Result<(), store::Error> {
    let mut writer = store.writer()?;
    while let Some(chunk) = coming.blocking_recv() {
        let io = |source| store::Error::Io { doing: "write", path: store.path(area, digest), source };
        writer.write_all(&chunk).map_err(io)?;
    }
    store.keep_as(area, writer, digest, size)
}
