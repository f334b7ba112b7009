//! Downloading wheels into the store, four at a time, from the index that has them.

use std::fs::File;
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::settings::Indexes;
use super::{Error, simple};
use crate::oci::Digest;
use crate::progress::{Activity, Progress, Task};
use crate::registry::download::{self, Wanted, range, send};
use crate::registry::http::{Http, redacted};
use crate::store::{Area, Store};

/// How many wheels are downloaded at once.
const AT_ONCE: usize = 4;

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

async fn download(http: &Http, indexes: &Indexes, store: &Store, wheel: &Wheel, task: &Task) -> Result<(), Error> {
    let url = match &wheel.url {
        Some(url) => url.clone(),
        None => locate(http, indexes, wheel).await?,
    };
    let wanted = Wanted { file: &wheel.file, sha256: &wheel.sha256, size: wheel.size };
    Ok(download::download(http, &|| indexes.request(Method::GET, &url), store, wanted, task).await?)
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

async fn copy(path: &Path, store: &Store, wheel: &Wheel) -> Result<(), Error> {
    let (path, store, wheel) = (path.to_owned(), store.clone(), wheel.clone());
    let file = wheel.file.clone();
    let copied = tokio::task::spawn_blocking(move || {
        let unreadable = |source| Error::Local { path: path.display().to_string(), source };
        let cannot = |source| Error::from(download::Error::Keep { file: wheel.file.clone(), source });
        let mut from = File::open(&path).map_err(unreadable)?;
        let mut writer = store.writer().map_err(cannot)?;
        std::io::copy(&mut from, &mut writer).map_err(unreadable)?;
        store.keep_as(Area::Downloads, writer, &wheel.sha256, wheel.size).map_err(cannot)
    });
    copied.await.map_err(|source| download::Error::Interrupted { file, source })?
}
