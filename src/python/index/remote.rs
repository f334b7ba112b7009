//! A wheel that is read where it lies, a part at a time, by ranges.

use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use reqwest::header::RANGE;
use reqwest::{Method, StatusCode};
use tokio::runtime::Handle;
use url::Url;

use super::Error;
use super::fetch::{Wheel, locate};
use super::settings::Indexes;
use crate::locked::locked;
use crate::registry::download::{self, range, send};
use crate::registry::http::{Http, redacted};

/// The end of a wheel that is fetched first: the directory of most lies in it.
const TAIL: u64 = 64 << 10;
/// The most that one request fetches.
const MAX_PART: u64 = 4 << 20;

/// A wheel in an index, read by HTTP ranges and without being downloaded.
///
/// [`rawzip::ReaderAt`] blocks: read on a thread that may.
pub struct Remote {
    http: Http,
    indexes: Indexes,
    url: Url,
    size: u64,
    runtime: Handle,
    /// What was fetched, by offset, and how much to fetch next.
    parts: Mutex<(Vec<(u64, Bytes)>, u64)>,
}

impl Remote {
    /// The wheel's end, if the server gives parts of files; nothing if it does not.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(http: &Http, indexes: &Indexes, wheel: &Wheel) -> Result<Option<Self>, Error> {
        let url = match &wheel.url {
            Some(url) => url.clone(),
            None => locate(http, indexes, wheel).await?,
        };
        let remote = Self {
            http: http.clone(),
            indexes: indexes.clone(),
            url,
            size: wheel.size,
            runtime: Handle::current(),
            parts: Mutex::new((Vec::new(), TAIL)),
        };
        let start = wheel.size.saturating_sub(TAIL);
        let Some(tail) = remote.part(start, wheel.size).await? else { return Ok(None) };
        locked(&remote.parts).0.push((start, tail));
        Ok(Some(remote))
    }

    /// The bytes from `start` to before `end`; nothing if the server sends all or none.
    async fn part(&self, start: u64, end: u64) -> Result<Option<Bytes>, Error> {
        if start >= end {
            return Ok(None);
        }
        let mut request = self.indexes.request(Method::GET, &self.url);
        request.headers_mut().insert(RANGE, range(&format!("{start}-{}", end - 1)));
        let mut response = send(&self.http, request).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_IMPLEMENTED => return Ok(None),
            status => return Err(Error::Status { url: redacted(&self.url), status }),
        }
        let mut bytes = Vec::new();
        let broken = |source: reqwest::Error, received| {
            let source = source.without_url();
            download::Error::Broken { url: redacted(&self.url), received, size: end - start, source }
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(error, bytes.len() as u64))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > end - start {
                break;
            }
        }
        let found = bytes.len() as u64;
        match found == end - start {
            true => Ok(Some(bytes.into())),
            false => Err(download::Error::Length { url: redacted(&self.url), expected: end - start, found }.into()),
        }
    }
}

impl rawzip::ReaderAt for Remote {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let mut parts = locked(&self.parts);
        let (known, next) = &mut *parts;
        let holds = |(start, bytes): &&(u64, Bytes)| (*start..start + bytes.len() as u64).contains(&offset);
        if !known.iter().any(|part| holds(&part)) {
            let after = known.iter().map(|(start, _)| *start).filter(|start| *start > offset).min();
            let wanted = (offset + (*next).max(buffer.len() as u64)).min(self.size);
            let end = after.map_or(wanted, |after| after.min(wanted));
            let part = self.runtime.block_on(self.part(offset, end)).map_err(io::Error::other)?;
            let part = part.ok_or_else(|| io::Error::other("the server gives no more parts"))?;
            known.push((offset, part));
            *next = (*next * 2).min(MAX_PART);
        }
        let Some((start, bytes)) = known.iter().find(holds) else { return Ok(0) };
        let part = &bytes[(offset - start) as usize..];
        let count = part.len().min(buffer.len());
        buffer[..count].copy_from_slice(&part[..count]);
        Ok(count)
    }
}
