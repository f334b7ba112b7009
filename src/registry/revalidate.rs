//! A manifest that is at hand is not fetched again: a `HEAD`, which no registry counts as a pull,
//! says whether a tag still names it.

use reqwest::{Method, StatusCode};

use super::config::Place;
use super::repository::{Repository, described};
use super::{Error, RequestKind};
use crate::oci::{Descriptor, parse_manifest};
use crate::store::{Area, Store};

impl Repository {
    /// As [`Repository::manifest`], but that what `store` has is not fetched: what a digest names at
    /// all, what a tag names if a `HEAD` says that it still does.
    ///
    /// # Errors
    /// Those of [`Repository::manifest`].
    pub async fn manifest_or_stored(&self, wanted: &str, store: &Store) -> Result<(Descriptor, Vec<u8>), Error> {
        for place in &self.places.pull {
            // Whatever is wrong with the answer, the GET will say it.
            let Some(named) = self.head_at(place, wanted).await else { continue };
            match stored(&named, store) {
                Some(bytes) => return Ok((named, bytes)),
                None => break,
            }
        }
        self.manifest(wanted).await
    }

    /// What `place` says that `wanted` names, asked once.
    async fn head_at(&self, place: &Place, wanted: &str) -> Option<Descriptor> {
        let mut call = self.manifest_call(RequestKind::HeadManifest, Method::HEAD, place, wanted).await.ok()?;
        call.expected = &[StatusCode::NOT_FOUND];
        let response = self.client.attempt(place, &call).await.ok()?;
        self.note_pull_limit(place, &response);
        if response.status() == StatusCode::OK { described(&response, wanted).ok() } else { None }
    }

    /// Notes how many pulls the registry still allows, if it says so.
    pub(super) fn note_pull_limit(&self, place: &Place, response: &reqwest::Response) {
        let registry = if place.mirror { &place.host } else { self.reference.registry() };
        self.client.pull_limits.note(registry, response.headers());
    }
}

/// The manifest that `named` describes, if the store has it and it is what it should be.
fn stored(named: &Descriptor, store: &Store) -> Option<Vec<u8>> {
    // One that was damaged is removed by being read, and fetched.
    let bytes = store.read(Area::Blobs, &named.digest).ok()??;
    let is_it = bytes.len() as u64 == named.size && parse_manifest(&bytes, &named.media_type).is_ok();
    is_it.then_some(bytes)
}
