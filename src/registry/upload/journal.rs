//! The journal's entry of one upload. It is an aid: where it can't be written, an
//! upload that dies begins anew, and nothing else is the worse for it.

use super::session::Session;
use crate::registry::client::Site;
use crate::registry::repository::Repository;
use crate::store::{UploadEntry, UploadName};

/// The shortest blob that is worth an entry, in bytes: shorter ones are sooner sent
/// again than asked about.
const WORTH_IT: u64 = 1 << 20;

/// An entry, if there is one.
pub(in crate::registry) struct Journal(Option<UploadEntry>);

impl Journal {
    /// The entry for the upload of `blob`, which has `size` bytes, to `repository`.
    pub(in crate::registry) async fn open(repository: &Repository, blob: &str, size: u64) -> Self {
        let Some(store) = repository.client.journal.clone().filter(|_| size >= WORTH_IT) else { return Self(None) };
        let place = &repository.places.push;
        let (registry, repository, blob) = (place.host.clone(), place.name.clone(), blob.to_owned());
        let name = UploadName { registry, repository, blob };
        let opened = tokio::task::spawn_blocking(move || store.upload(&name)).await;
        Self(opened.ok().and_then(Result::ok).flatten())
    }

    /// The session of an earlier run.
    pub(super) fn session(&self, site: &Site) -> Option<Session> {
        Session::of_journal(site, self.0.as_ref()?.state()?)
    }

    /// Remembers where the session stands.
    pub(in crate::registry) async fn note(&mut self, session: &Session) {
        let (Some(entry), state) = (self.0.take(), session.state()) else { return };
        let noted = tokio::task::spawn_blocking(move || {
            // one that is out of date is found out when the registry is asked
            let _ = entry.put(&state);
            entry
        });
        self.0 = noted.await.ok();
    }

    /// Forgets the session: the registry has.
    pub(in crate::registry) fn forget(&self) {
        self.0.iter().for_each(UploadEntry::forget);
    }

    /// Ends the entry: the registry has the blob.
    pub(in crate::registry) fn end(self) {
        self.0.into_iter().for_each(UploadEntry::end);
    }
}
