//! An upload session: where the registry takes the rest of a blob, and how much of it
//! there is.

use reqwest::Response;
use reqwest::header::{LOCATION, RANGE};
use url::Url;

use crate::registry::Error;
use crate::registry::client::Site;
use crate::registry::http::redacted;
use crate::store::UploadState;

/// distribution-spec "Pushing a blob in chunks": the shortest chunk but the last, in bytes.
const CHUNK_MIN_LENGTH: &str = "oci-chunk-min-length";

/// An upload that a registry has begun.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Session {
    /// Where the next request goes.
    pub(super) location: Url,
    /// How many bytes the registry has.
    pub(in crate::registry) offset: u64,
    /// The shortest chunk that it takes, in bytes.
    pub(in crate::registry) minimum: u64,
    /// Whether it may stand elsewhere than at `offset`: the registry does not say.
    pub(super) in_doubt: bool,
}

/// What a registry knows of a session.
pub(in crate::registry) enum Standing {
    /// It goes on here.
    At(Session),
    /// It is gone.
    Forgotten,
    /// The registry does not tell.
    Untold,
}

impl Session {
    /// The session that `response` begins.
    pub(in crate::registry) fn of(site: &Site, response: &Response) -> Result<Self, Error> {
        let minimum = response.headers().get(CHUNK_MIN_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Self {
            location: location(site, response)?,
            offset: 0,
            minimum: minimum.unwrap_or_default(),
            in_doubt: false,
        })
    }

    /// The session of an earlier run; nothing if its address is not one of `site`'s.
    pub(super) fn of_journal(site: &Site, state: UploadState) -> Option<Self> {
        let UploadState { location, offset, minimum } = state;
        let location = allowed(site, location.parse().ok()?)?;
        Some(Self { location, offset, minimum, in_doubt: true })
    }

    /// For the journal.
    pub(super) fn state(&self) -> UploadState {
        UploadState { location: self.location.to_string(), offset: self.offset, minimum: self.minimum }
    }

    /// The same session as `response` has it; where it says no offset, it stands at
    /// `otherwise`. Nothing if it can't be so: more than `most` bytes.
    pub(super) fn moved(&self, site: &Site, response: &Response, otherwise: u64, most: u64) -> Option<Self> {
        // the spec wants a Location with each answer, and some leave it out where it stays the same
        let location = location(site, response).unwrap_or_else(|_| self.location.clone());
        let offset = if response.headers().contains_key(RANGE) { received(response)? } else { otherwise };
        (offset <= most).then_some(Self { location, offset, minimum: self.minimum, in_doubt: false })
    }
}

/// The address where an upload goes on: absolute or relative, with or without a
/// query. On another host than the registry's it gets no credentials (the client
/// sees to that), and must be https.
fn location(site: &Site, response: &Response) -> Result<Url, Error> {
    let url = || redacted(response.url());
    let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| Error::Header { url: url(), header: "Location" })?;
    let refused = || Error::Location { url: url(), location: text.chars().take(200).collect() };
    let mut location = response.url().join(text).map_err(|_| refused())?;
    // Registries behind a proxy that ends TLS believe that they are http.
    if site.base.scheme() == "https" && location.scheme() == "http" && location.host() == site.base.host() {
        location.set_scheme("https").map_err(|()| refused())?;
    }
    allowed(site, location).ok_or_else(refused)
}

fn allowed(site: &Site, location: Url) -> Option<Url> {
    let ours = location.origin() == site.base.origin();
    (ours || location.scheme() == "https").then_some(location)
}

/// `Range: 0-LAST`. `0-0` is how registries write that they have nothing; one that
/// has a single byte refuses the next part, and the upload begins anew.
fn received(response: &Response) -> Option<u64> {
    let range = response.headers().get(RANGE)?.to_str().ok()?;
    let (first, last) = range.trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.parse().ok()?;
    (first == "0").then(|| if last == 0 { 0 } else { last + 1 })
}
