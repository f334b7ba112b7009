//! Files whose sha256 and size are known, brought from a URL into the store: gone on
//! with where an answer broke off, and kept only if they are what was announced.

use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Request, Response, StatusCode};
use thiserror::Error;

use super::http::{self, Http, redacted};
use super::keeping::Keeping;
use crate::oci::Digest;
use crate::progress::Task;
use crate::store::{self, Area, Store};

/// How many failures in a row end a download.
const ATTEMPTS: u32 = 5;
/// The longest `Retry-After` that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a file can't be had.
#[derive(Debug, Error)]
pub enum Error {
    /// No answer.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// An answer other than the file.
    #[error("{url} answers {status}")]
    Status {
        /// Without credentials.
        url: String,
        /// What it answers.
        status: StatusCode,
    },
    /// The download broke off, again and again.
    #[error("{url} broke off after {received} of {size} bytes")]
    Broken {
        /// Without credentials.
        url: String,
        /// How far it got.
        received: u64,
        /// How long it is.
        size: u64,
        /// What happened last.
        #[source]
        source: reqwest::Error,
    },
    /// Shorter or longer than announced.
    #[error("{url} is {found} bytes long instead of {expected}")]
    Length {
        /// Without credentials.
        url: String,
        /// What was announced.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Other bytes came, or the store does not take them.
    #[error("can't keep {file}")]
    Keep {
        /// The file's name.
        file: String,
        /// Why.
        #[source]
        source: store::Error,
    },
    /// The thread that writes ended without a word.
    #[error("writing {file} was interrupted")]
    Interrupted {
        /// The file's name.
        file: String,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Http(error) => error.hint(),
            Self::Broken { .. } | Self::Status { .. } => Some("try again, or name a mirror".into()),
            Self::Keep { source: store::Error::Mismatch { .. }, .. } => {
                Some("the server or something before it gave other bytes than the lock has; try a mirror".into())
            }
            Self::Keep { source, .. } => source.hint(),
            Self::Length { .. } => Some("another mirror may have the file as it was locked".into()),
            Self::Interrupted { .. } => None,
        }
    }
}

/// A file that is wanted in [`Area::Downloads`].
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its name, for a person.
    pub file: &'a str,
    /// Its sha256.
    pub sha256: &'a Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Brings `wanted` into the store. `ask` makes the request for it, once for each
/// attempt; `task` hears how far it got.
///
/// # Errors
/// See [`Error`]; nothing of a file that is not as it should be is kept.
pub async fn download(
    http: &Http,
    ask: &(dyn Fn() -> Request + Sync),
    store: &Store,
    wanted: Wanted<'_>,
    task: &Task,
) -> Result<(), Error> {
    let keeping = Keeping::begin(store, Area::Downloads, wanted.sha256, wanted.size);
    // Where the writer gave up, it says why at the end.
    receive(http, ask, wanted.size, &keeping, task).await?;
    let file = || wanted.file.to_owned();
    let kept = keeping.end().await.map_err(|source| Error::Interrupted { file: file(), source })?;
    kept.map_err(|source| Error::Keep { file: file(), source })
}

/// Passes the bytes on, asking for the rest where an answer breaks off.
async fn receive(
    http: &Http,
    ask: &(dyn Fn() -> Request + Sync),
    size: u64,
    keeping: &Keeping,
    task: &Task,
) -> Result<(), Error> {
    let (mut received, mut failures) = (0, 0);
    loop {
        let mut request = ask();
        let url = redacted(request.url());
        if received > 0 {
            request.headers_mut().insert(RANGE, range(&format!("{received}-")));
        }
        let mut response = send(http, request).await?;
        let mut skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if begins_at(&response, received) => 0,
            // RFC 9110 14.2: a server may ignore Range and send everything.
            StatusCode::OK => received,
            status => return Err(Error::Status { url, status }),
        };
        let broken = loop {
            let mut chunk = match response.chunk().await {
                Ok(Some(chunk)) => {
                    http.received(chunk.len()).await;
                    chunk
                }
                Ok(None) => break None,
                Err(error) => break Some(error.without_url()),
            };
            let known = skip.min(chunk.len() as u64);
            skip -= known;
            let fresh = chunk.split_off(known as usize);
            received += fresh.len() as u64;
            if received > size {
                return Err(Error::Length { url, expected: size, found: received });
            }
            if !fresh.is_empty() {
                failures = 0;
                task.advance(fresh.len() as u64);
                if !keeping.take(fresh).await {
                    return Ok(());
                }
            }
        };
        match broken {
            None if received == size => return Ok(()),
            None => return Err(Error::Length { url, expected: size, found: received }),
            Some(source) => {
                failures += 1;
                if failures >= ATTEMPTS {
                    return Err(Error::Broken { url, received, size, source });
                }
                pause(failures, None).await;
            }
        }
    }
}

/// "first-pos" of `Content-Range: bytes 5-9/10` (RFC 9110 14.4).
fn begins_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    first == Some(offset)
}

/// The value of `Range` for `bytes`, `0-99` (RFC 9110 14.1.2).
pub fn range(bytes: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("bytes={bytes}")).unwrap_or_else(|_| HeaderValue::from_static("bytes=0-"))
}

/// Sends `request`, and again where the failure may pass.
///
/// # Errors
/// Those of [`Http::send`].
pub async fn send(http: &Http, request: Request) -> Result<Response, http::Error> {
    let mut failures = 0;
    loop {
        let Some(attempt) = request.try_clone() else { return http.send(request).await };
        let wait = match http.send(attempt).await {
            Ok(response) if !is_passing(response.status()) || failures + 1 >= ATTEMPTS => return Ok(response),
            Ok(response) => {
                let header = response.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
                header.map(Duration::from_secs)
            }
            Err(error) if error.is_transient() && failures + 1 < ATTEMPTS => None,
            Err(error) => return Err(error),
        };
        failures += 1;
        pause(failures, wait).await;
    }
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// Waits as long as the server asks, else twice as long after each failure, with
/// jitter so that many clients don't come back at once.
async fn pause(failures: u32, asked: Option<Duration>) {
    let own = Duration::from_millis(200 * (1 << failures.min(6))).mul_f64(0.5 + fastrand::f64() / 2.0);
    tokio::time::sleep(asked.unwrap_or(own).min(PATIENCE)).await;
}
