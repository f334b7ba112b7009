//! A word to uploads that the process is about to end: each comes to a point that the
//! next run can go on from.

use tokio::sync::watch;

/// Tells uploads to end where they stand. Cheap to clone; clones are the same.
///
/// Some registries forget a session whose request breaks off (Debian's
/// docker-registry is one), and keep what a request brought that was ended in order.
#[derive(Clone, Debug)]
pub struct Interrupt {
    told: watch::Sender<bool>,
    under_way: watch::Sender<usize>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self { told: watch::Sender::new(false), under_way: watch::Sender::new(0) }
    }
}

impl Interrupt {
    /// Tells them. No upload begins or goes on afterwards.
    pub fn tell(&self) {
        self.told.send_replace(true);
    }

    /// Waits until no upload is under way: what the registries have is in the journal.
    pub async fn settled(&self) {
        // an error means that the sender is gone, and that is here
        let _ = self.under_way.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Whether uploads are to end.
    pub(super) fn is_told(&self) -> bool {
        *self.told.borrow()
    }

    /// Waits until uploads are to end.
    pub(super) async fn told(&self) {
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }

    /// An upload begins.
    pub(super) fn enter(&self) -> UnderWay {
        self.under_way.send_modify(|count| *count += 1);
        UnderWay(self.clone())
    }
}

/// An upload that is under way, until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Interrupt);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}
