//! Downloading wheels into the store: four at a time, gone on with where they broke
//! off, kept only if sha256 and size are those of the lock.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;
use url::Url;

use super::settings::Indexes;
use super::{Error, simple};
use crate::oci::Digest;
use crate::progress::{Activity, Progress, Task};
use crate::registry::http::{Http, redacted};
use crate::store::{self, Area, Store};

/// How many wheels are downloaded at once.
const AT_ONCE: usize = 4;
/// How many failures in a row end a download.
const ATTEMPTS: u32 = 5;
/// The longest `Retry-After` that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A wheel that is wanted.
#[derive(Clone, Debug)]
pub struct Wheel {
    /// The project's normalised name.
    pub name: String,
    /// The file name.
    pub file: String,
    /// Its sha256.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// `default`, `extra-0`, … or `local:PATH`.
    pub index: String,
    /// Where it was found in this run, if it was.
    pub url: Option<Url>,
}

/// Brings those of `wheels` that are not in the store into [`Area::Downloads`]. Paths
/// of local wheels are relative to `directory`; they need no index.
///
/// # Errors
/// See [`Error`]; what was complete before the error is kept.
pub async fn fetch(
    http: &Http,
    indexes: Option<&Indexes>,
    directory: &Path,
    store: &Store,
    wheels: &[Wheel],
    progress: &Progress,
) -> Result<(), Error> {
    let missing = wheels.iter().filter(|wheel| store.size(Area::Downloads, &wheel.sha256) != Some(wheel.size));
    let downloads = stream::iter(missing).map(|wheel| async move {
        let task = progress.task(Activity::Fetch, &wheel.file, Some(wheel.size));
        match wheel.index.strip_prefix("local:") {
            Some(path) => copy(&directory.join(path), store, wheel).await?,
            None => download(http, indexes.ok_or(Error::NoIndex)?, store, wheel, &task).await?,
        }
        task.end("downloaded");
        Ok::<_, Error>(())
    });
    downloads.buffer_unordered(AT_ONCE).try_collect().await
}

/// The file that is kept of a wheel, written by a thread of its own.
struct Keeping {
    chunks: mpsc::Sender<Bytes>,
    thread: tokio::task::JoinHandle<Result<(), store::Error>>,
}

impl Keeping {
    fn begin(store: &Store, wheel: &Wheel) -> Self {
        let (chunks, mut coming) = mpsc::channel::<Bytes>(16);
        let (store, sha256, size) = (store.clone(), wheel.sha256, wheel.size);
        let thread = tokio::task::spawn_blocking(move || {
            let mut writer = store.writer()?;
            while let Some(chunk) = coming.blocking_recv() {
                let path = store.path(Area::Downloads, &sha256);
                writer.write_all(&chunk).map_err(|source| store::Error::Io { doing: "write", path, source })?;
            }
            store.keep_as(Area::Downloads, writer, &sha256, size)
        });
        Self { chunks, thread }
    }

    /// Whether the thread still takes bytes; if not, [`Keeping::end`] says why.
    async fn take(&self, chunk: Bytes) -> bool {
        self.chunks.send(chunk).await.is_ok()
    }

    async fn end(self, file: &str) -> Result<(), Error> {
        drop(self.chunks);
        let kept = self.thread.await.map_err(|_| Error::Interrupted { file: file.to_owned() })?;
        kept.map_err(|source| Error::Keep { file: file.to_owned(), source })
    }
}

async fn download(http: &Http, indexes: &Indexes, store: &Store, wheel: &Wheel, task: &Task) -> Result<(), Error> {
    let url = match &wheel.url {
        Some(url) => url.clone(),
        None => locate(http, indexes, wheel).await?,
    };
    let keeping = Keeping::begin(store, wheel);
    // Where the writer gave up, it says why at the end.
    receive(http, indexes, &url, wheel.size, &keeping, task).await?;
    keeping.end(&wheel.file).await
}

/// Passes the bytes at `url` on, asking for the rest where an answer breaks off.
async fn receive(
    http: &Http,
    indexes: &Indexes,
    url: &Url,
    size: u64,
    keeping: &Keeping,
    task: &Task,
) -> Result<(), Error> {
    let (mut received, mut failures) = (0, 0);
    loop {
        let mut request = indexes.request(Method::GET, url);
        if received > 0 {
            request.headers_mut().insert(RANGE, range(&format!("{received}-")));
        }
        let mut response = send(http, request).await?;
        let mut skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if begins_at(&response, received) => 0,
            // RFC 9110 14.2: a server may ignore Range and send everything.
            StatusCode::OK => received,
            status => return Err(Error::Status { url: redacted(url), status }),
        };
        let broken = loop {
            let mut chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break None,
                Err(error) => break Some(error.without_url()),
            };
            let known = skip.min(chunk.len() as u64);
            skip -= known;
            let fresh = chunk.split_off(known as usize);
            received += fresh.len() as u64;
            if received > size {
                return Err(Error::Length { url: redacted(url), expected: size, found: received });
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
            None => return Err(Error::Length { url: redacted(url), expected: size, found: received }),
            Some(source) => {
                failures += 1;
                if failures >= ATTEMPTS {
                    return Err(Error::Broken { url: redacted(url), received, size, source });
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

pub(super) fn range(bytes: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("bytes={bytes}")).unwrap_or_else(|_| HeaderValue::from_static("bytes=0-"))
}

/// Where `wheel` lies: in the index of its alias, else in another.
pub(super) async fn locate(http: &Http, indexes: &Indexes, wheel: &Wheel) -> Result<Url, Error> {
    let (mut asked, mut refused) = (Vec::new(), None);
    for index in indexes.in_order(&wheel.index) {
        let Some(page) = simple::page(index, &wheel.name) else { continue };
        asked.push(redacted(&page));
        let files = match simple::files(http, indexes, &page).await {
            Ok(files) => files,
            Err(error) => {
                refused.get_or_insert(error);
                continue;
            }
        };
        let Some(file) = files.into_iter().find(|file| file.name == wheel.file) else { continue };
        match file.sha256 {
            Some(found) if found != wheel.sha256 => {
                let (url, file) = (redacted(&page), wheel.file.clone());
                refused.get_or_insert(Error::OtherHash { url, file, expected: wheel.sha256, found });
            }
            _ => return Ok(file.url),
        }
    }
    Err(refused.unwrap_or_else(|| Error::NotFound { file: wheel.file.clone(), asked }))
}

/// How long the file at `url` is.
///
/// # Errors
/// [`Error::NoLength`] if the server doesn't say; [`Error::Status`]; [`Error::Http`].
pub async fn length(http: &Http, indexes: &Indexes, url: &Url) -> Result<u64, Error> {
    let head = send(http, indexes.request(Method::HEAD, url)).await?;
    let text = |response: &Response, name| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    if head.status().is_success()
        && let Some(length) = text(&head, CONTENT_LENGTH).and_then(|length| length.parse().ok())
    {
        return Ok(length);
    }
    // Where HEAD is refused or says nothing, a part of one byte tells: "bytes 0-0/LENGTH".
    let mut request = indexes.request(Method::GET, url);
    request.headers_mut().insert(RANGE, range("0-0"));
    let part = send(http, request).await?;
    let length = match part.status() {
        StatusCode::PARTIAL_CONTENT => {
            text(&part, CONTENT_RANGE).and_then(|range| range.rsplit('/').next()?.parse().ok())
        }
        StatusCode::OK => text(&part, CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        status => return Err(Error::Status { url: redacted(url), status }),
    };
    length.ok_or_else(|| Error::NoLength { url: redacted(url) })
}

/// Sends `request`, and again where the failure may pass.
pub(super) async fn send(http: &Http, request: Request) -> Result<Response, Error> {
    let mut failures = 0;
    loop {
        let Some(attempt) = request.try_clone() else { return Ok(http.send(request).await?) };
        let wait = match http.send(attempt).await {
            Ok(response) if !is_passing(response.status()) || failures + 1 >= ATTEMPTS => return Ok(response),
            Ok(response) => {
                let header = response.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
                header.map(Duration::from_secs)
            }
            Err(error) if error.is_transient() && failures + 1 < ATTEMPTS => None,
            Err(error) => return Err(error.into()),
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

async fn copy(path: &Path, store: &Store, wheel: &Wheel) -> Result<(), Error> {
    let (path, store, wheel) = (path.to_owned(), store.clone(), wheel.clone());
    let file = wheel.file.clone();
    let copied = tokio::task::spawn_blocking(move || {
        let unreadable = |source| Error::Local { path: path.display().to_string(), source };
        let cannot = |source| Error::Keep { file: wheel.file.clone(), source };
        let mut from = File::open(&path).map_err(unreadable)?;
        let mut writer = store.writer().map_err(cannot)?;
        std::io::copy(&mut from, &mut writer).map_err(unreadable)?;
        store.keep_as(Area::Downloads, writer, &wheel.sha256, wheel.size).map_err(cannot)
    });
    copied.await.map_err(|_| Error::Interrupted { file })?
}
