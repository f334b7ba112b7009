//! What the stream to the socket tells the one who watches it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::registry::Error;
use crate::registry::client::locked;

/// Counts what goes to the socket, over all requests of one upload.
#[derive(Default)]
pub(in crate::registry) struct Meter {
    /// How far into the blob the current request is.
    position: AtomicU64,
    /// All bytes sent, those sent twice counted twice.
    sent: AtomicU64,
    /// Why the blob's origin ended early.
    failure: Mutex<Option<Error>>,
}

impl Meter {
    /// A request begins at the blob's byte `offset`.
    pub(in crate::registry) fn begin(&self, offset: u64) {
        self.position.store(offset, Ordering::Relaxed);
    }

    /// So many bytes more go to the socket.
    pub(in crate::registry) fn sent(&self, bytes: u64) {
        self.position.fetch_add(bytes, Ordering::Relaxed);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The origin failed: the cause counts, not what the socket says of it.
    pub(in crate::registry) fn fail(&self, error: Error) {
        *locked(&self.failure) = Some(error);
    }

    /// Why the origin ended early, if it did.
    pub(in crate::registry) fn failure(&self) -> Option<Error> {
        locked(&self.failure).take()
    }

    /// How far into the blob the current request is.
    pub(in crate::registry) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// All bytes sent.
    pub(in crate::registry) fn total(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}
