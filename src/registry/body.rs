//! Bodies that are read whole, within a limit, and the errors that registries put into them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use oci_client::errors::OciEnvelope;
use reqwest::{Response, StatusCode};

use super::Error;
use super::http::redacted;

/// The longest error answer that is looked at, in bytes.
const MAX_ENVELOPE: u64 = 1 << 16;

/// How many bytes come at least while a registry might be silent. One that sends less, byte
/// by byte, is as good as silent.
const LEAST: u64 = 16 << 10;

/// How fast a body comes: only the time that it is waited for counts.
pub(super) struct Pace {
    silence: Duration,
    waited: Duration,
    came: u64,
}

impl Pace {
    /// A body that begins now, from a registry that may be silent for `silence`.
    pub(super) fn new(silence: Duration) -> Self {
        Self { silence, waited: Duration::ZERO, came: 0 }
    }

    /// The next piece of `response`'s body; `received` bytes came before it.
    ///
    /// # Errors
    /// [`Error::Broken`]; [`Error::Stalled`] if too few bytes came for too long.
    pub(super) async fn next(
        &mut self,
        response: &mut Response,
        url: &str,
        received: u64,
    ) -> Result<Option<Bytes>, Error> {
        let begun = Instant::now();
        let chunk = response.chunk().await.map_err(|source| broken(url, received, source))?;
        self.waited += begun.elapsed();
        self.came += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.waited >= self.silence {
            if chunk.is_some() && self.came < LEAST {
                return Err(Error::Stalled { url: url.to_owned(), idle: self.silence });
            }
            *self = Self::new(self.silence);
        }
        Ok(chunk)
    }
}

/// The whole body, if it has at most `limit` bytes.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Broken`], [`Error::Stalled`].
pub(super) async fn read_limited(mut response: Response, limit: u64, silence: Duration) -> Result<Vec<u8>, Error> {
    let url = redacted(response.url());
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(Error::TooLarge { url, limit });
    }
    let (mut body, mut pace) = (Vec::new(), Pace::new(silence));
    loop {
        let received = body.len() as u64;
        let Some(chunk) = pace.next(&mut response, &url, received).await? else { return Ok(body) };
        if received + chunk.len() as u64 > limit {
            return Err(Error::TooLarge { url, limit });
        }
        body.extend_from_slice(&chunk);
    }
}

fn broken(url: &str, received: u64, source: reqwest::Error) -> Error {
    Error::Broken { url: url.to_owned(), received, source: source.without_url() }
}

/// The error that a refusal stands for, with what the registry says about it.
pub(super) async fn refusal(response: Response, silence: Duration) -> Error {
    let (url, status) = (redacted(response.url()), response.status());
    let body = read_limited(response, MAX_ENVELOPE, silence).await.unwrap_or_default();
    Error::Refused { url, status, envelope: Box::new(envelope(&body)) }
}

/// distribution-spec "Error Codes": `{"errors": [{"code", "message", "detail"}]}`.
fn envelope(body: &[u8]) -> Option<OciEnvelope> {
    serde_json::from_slice(body).ok()
}

/// The refusal as "it is not there", where that is what it says.
pub(super) fn missing(error: Error, what: &str, name: &str) -> Error {
    match error {
        Error::Refused { status: StatusCode::NOT_FOUND, envelope, .. } => {
            Error::NotFound { what: what.to_owned(), name: name.to_owned(), envelope }
        }
        other => other,
    }
}
