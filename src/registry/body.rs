//! Bodies that are read whole, within a limit, and the errors that registries put into them.

use oci_client::errors::OciEnvelope;
use reqwest::{Response, StatusCode};

use super::Error;
use super::http::redacted;

/// The longest error answer that is looked at, in bytes.
const MAX_ENVELOPE: u64 = 1 << 16;

/// The whole body, if it has at most `limit` bytes.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Broken`].
pub(super) async fn read_limited(mut response: Response, limit: u64) -> Result<Vec<u8>, Error> {
    let url = redacted(response.url());
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(Error::TooLarge { url, limit });
    }
    let mut body = Vec::new();
    loop {
        let received = body.len() as u64;
        let chunk = response.chunk().await.map_err(|source| broken(&url, received, source))?;
        let Some(chunk) = chunk else { return Ok(body) };
        if received + chunk.len() as u64 > limit {
            return Err(Error::TooLarge { url, limit });
        }
        body.extend_from_slice(&chunk);
    }
}

pub(super) fn broken(url: &str, received: u64, source: reqwest::Error) -> Error {
    Error::Broken { url: url.to_owned(), received, source: source.without_url() }
}

/// The error that a refusal stands for, with what the registry says about it.
pub(super) async fn refusal(response: Response) -> Error {
    let (url, status) = (redacted(response.url()), response.status());
    let body = read_limited(response, MAX_ENVELOPE).await.unwrap_or_default();
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
