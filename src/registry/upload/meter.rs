//! What the stream to the socket tells the one who watches it, and what it waits for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::locked::locked;
use crate::registry::client::Client;
use crate::registry::rate::Limit;
use crate::registry::{Error, Interrupt};

/// Counts what goes to the socket, over all requests of one upload.
pub(in crate::registry) struct Meter {
    /// How far into the blob the current request is.
    position: AtomicU64,
    /// All bytes sent, those sent twice counted twice.
    sent: AtomicU64,
    /// Why the blob's origin ended early.
    failure: Mutex<Option<Error>>,
    /// What all uploads share of the line.
    limit: Option<Arc<Limit>>,
    interrupt: Interrupt,
}

impl Meter {
    /// A meter for one upload of `client`'s.
    pub(in crate::registry) fn of(client: &Client) -> Self {
        Self {
            position: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            failure: Mutex::default(),
            limit: client.http.limit(),
            interrupt: client.interrupt.clone(),
        }
    }

    /// Waits until more may go.
    pub(super) async fn wait(&self) {
        if let Some(limit) = &self.limit {
            limit.sent.wait().await;
        }
    }

    /// How much may go at once, in bytes.
    pub(super) fn piece(&self) -> u64 {
        self.limit.as_ref().map_or(u64::MAX, |limit| limit.sent.piece())
    }

    /// Waits until uploads are to end.
    pub(super) async fn interrupted(&self) {
        self.interrupt.told().await;
    }

    /// A request begins at the blob's byte `offset`.
    pub(in crate::registry) fn begin(&self, offset: u64) {
        self.position.store(offset, Ordering::Relaxed);
    }

    /// So many bytes more go to the socket.
    pub(in crate::registry) fn sent(&self, bytes: u64) {
        if let Some(limit) = &self.limit {
            limit.sent.take(bytes);
        }
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
