//! Uploads: in one request, or in a session of chunks whose bytes go to a file as
//! they come. A session whose request breaks off stands where its bytes end.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, LOCATION, RANGE};
use hyper::{Response, StatusCode};

use super::answer::{Body, Refusal, bare, full, set};
use super::route::query;
use super::{Registry, Remains, blocking};
use crate::locked::locked;
use crate::oci::Digest;
use crate::store::{self, Area, BlobWriter, Link};

/// Sessions that are open at once; the oldest is forgotten for a new one.
const MAX_SESSIONS: usize = 1000;

/// Uploads that were begun and not ended, by their id.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Session>>);

#[derive(Clone)]
struct Session {
    repository: String,
    opened: u64,
    /// Nothing once the upload was ended. One request at a time has it.
    writer: Arc<tokio::sync::Mutex<Option<BlobWriter>>>,
}

impl Sessions {
    fn open(&self, repository: &str, writer: BlobWriter) -> String {
        let mut sessions = locked(&self.0);
        let opened = sessions.values().map(|session| session.opened + 1).max().unwrap_or_default();
        if sessions.len() >= MAX_SESSIONS
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.opened).map(|(id, _)| id.clone())
        {
            sessions.remove(&oldest);
        }
        let id = format!("{:032x}", fastrand::u128(..));
        let writer = Arc::new(tokio::sync::Mutex::new(Some(writer)));
        sessions.insert(id.clone(), Session { repository: repository.to_owned(), opened, writer });
        id
    }

    fn find(&self, repository: &str, id: &str) -> Result<Session, Refusal> {
        let sessions = locked(&self.0);
        let found = sessions.get(id).filter(|session| session.repository == repository).cloned();
        found.ok_or_else(|| Refusal::blob_upload_unknown(format!("{repository} has no upload {id}")))
    }

    pub fn forget(&self, id: &str) {
        locked(&self.0).remove(id);
    }
}

impl Registry {
    /// end-4a, 4b, 11: begins an upload, is given a blob whole, or mounts one.
    pub(super) async fn begin_upload(
        self: Arc<Self>,
        name: &str,
        parameters: Option<&str>,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(mount) = query(parameters, "mount").filter(|_| self.features.mount)
            && let Some(from) = query(parameters, "from")
            && self.clone().mount(name, digest(&mount)?, from).await?
        {
            return Ok(created(name, &mount));
        }
        let repositories = self.clone();
        let writer = blocking(move || Ok(repositories.repositories.store.writer()?)).await?;
        let id = self.sessions.open(name, writer);
        match query(parameters, "digest").filter(|_| self.features.single_post) {
            Some(digest) => self.finish(name, &id, &HeaderMap::new(), &digest, body).await,
            None => {
                let mut response = accepted(StatusCode::ACCEPTED, name, &id, 0);
                if self.features.chunk_minimum > 0 {
                    set(&mut response, "oci-chunk-min-length", &self.features.chunk_minimum.to_string());
                }
                Ok(response)
            }
        }
    }

    async fn mount(self: Arc<Self>, name: &str, digest: Digest, from: String) -> Result<bool, Refusal> {
        let name = name.to_owned();
        blocking(move || {
            let mounted = self.repositories.blob(&from, &digest)?.is_some();
            if mounted {
                self.repositories.store.link(&name, Link::Blob, &digest, "")?;
            }
            Ok(mounted)
        })
        .await
    }

    /// end-5: takes a chunk in, or a stream of unknown length.
    pub(super) async fn continue_upload(
        &self,
        name: &str,
        id: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        if !self.features.chunked {
            return Err(Refusal::unsupported("this registry takes a blob in one request"));
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if self.features.chunk_minimum > length.unwrap_or_default() {
            drain(body).await;
            let minimum = self.features.chunk_minimum;
            return Err(Refusal::range_invalid(format!("a chunk that is not the last has at least {minimum} bytes")));
        }
        let stands = self.append(name, id, headers, body).await?;
        Ok(accepted(StatusCode::ACCEPTED, name, id, stands))
    }

    /// end-6: takes the rest in, and gives the blob its name.
    pub(super) async fn end_upload(
        self: Arc<Self>,
        name: &str,
        id: &str,
        headers: &HeaderMap,
        parameters: Option<&str>,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let digest = query(parameters, "digest").ok_or_else(|| Refusal::digest_invalid("`digest` is missing"))?;
        self.finish(name, id, headers, &digest, body).await
    }

    async fn finish(
        self: Arc<Self>,
        name: &str,
        id: &str,
        headers: &HeaderMap,
        expected: &str,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let digest = digest(expected)?;
        self.append(name, id, headers, body).await?;
        let session = self.sessions.find(name, id)?;
        let writer = session.writer.lock().await.take();
        self.sessions.forget(id);
        let writer = writer.ok_or_else(|| Refusal::blob_upload_unknown("the upload has ended"))?;
        let repository = name.to_owned();
        blocking(move || {
            let store = &self.repositories.store;
            let size = writer.written();
            store.keep_as(Area::Blobs, writer, &digest, size).map_err(|error| match error {
                store::Error::Mismatch { .. } => Refusal::digest_invalid(error.to_string()),
                other => other.into(),
            })?;
            Ok(store.link(&repository, Link::Blob, &digest, "")?)
        })
        .await?;
        Ok(created(name, expected))
    }

    /// end-13: says where an upload stands.
    pub(super) async fn upload_status(&self, name: &str, id: &str) -> Result<Response<Body>, Refusal> {
        if !self.features.upload_status {
            return Err(Refusal::unsupported("this registry does not say where an upload stands"));
        }
        let session = self.sessions.find(name, id)?;
        let stands = session.writer.lock().await.as_ref().map(BlobWriter::written);
        let stands = stands.ok_or_else(|| Refusal::blob_upload_unknown("the upload has ended"))?;
        Ok(accepted(StatusCode::NO_CONTENT, name, id, stands))
    }

    /// Gives an upload up.
    pub(super) fn cancel_upload(&self, name: &str, id: &str) -> Result<Response<Body>, Refusal> {
        self.sessions.find(name, id)?;
        self.sessions.forget(id);
        Ok(bare(StatusCode::NO_CONTENT))
    }

    /// Appends `body` and returns the upload's length. What came before `body`
    /// broke off counts.
    async fn append(&self, name: &str, id: &str, headers: &HeaderMap, body: Body) -> Result<u64, Refusal> {
        let session = self.sessions.find(name, id)?;
        let mut slot = session.writer.lock().await;
        let writer = slot.as_mut().ok_or_else(|| Refusal::blob_upload_unknown("the upload has ended"))?;
        let stands = writer.written();
        let announced = content_range(headers)?;
        // "the registry MUST respond with 416 … if the chunk is uploaded out of order"
        if announced.is_some_and(|(start, _)| start != stands) {
            let refusal = Refusal::out_of_order(format!("the upload stands at {stands}"));
            let headers = accepted(StatusCode::ACCEPTED, name, id, stands);
            let text = |header| headers.headers().get(header).and_then(|value| value.to_str().ok()).unwrap_or_default();
            return Err(refusal.with("location", text(LOCATION)).with("range", text(RANGE)));
        }
        let body = self.admit(body).await?;
        let Some(writer) = slot.take() else { return Ok(stands) };
        let (writer, outcome) = write(writer, body).await?;
        let now = writer.written();
        *slot = Some(writer);
        if let Err(interrupted) = outcome {
            if self.features.remains == Remains::Nothing {
                self.sessions.forget(id);
            }
            return Err(interrupted.refusal());
        }
        match announced {
            Some((start, end)) if now != end + 1 => {
                Err(Refusal::size_invalid(format!("Content-Range is {start}-{end}, and {} bytes came", now - stands)))
            }
            _ => Ok(now),
        }
    }
}

impl Registry {
    /// The body, if it is not too long, and whole where parts of one don't count.
    async fn admit(&self, body: Body) -> Result<Body, Refusal> {
        let limit = self.features.body_maximum;
        if limit == u64::MAX && self.features.remains != Remains::Parts {
            return Ok(body);
        }
        let body = body.collect().await.map_err(|error| Refusal::blob_upload_invalid(error.to_string()))?.to_bytes();
        if body.len() as u64 > limit {
            return Err(Refusal::body_too_large(format!("a request has at most {limit} bytes")));
        }
        Ok(full(body))
    }
}

/// Reads a body that is not wanted, so that the answer arrives.
async fn drain(body: Body) {
    let _ = body.collect().await;
}

enum Interrupted {
    /// The client's connection.
    Body(io::Error),
    /// The disk.
    Disk(io::Error),
}

impl Interrupted {
    fn refusal(self) -> Refusal {
        match self {
            Self::Body(error) => Refusal::blob_upload_invalid(error.to_string()),
            Self::Disk(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge) => {
                Refusal::storage_full(error.to_string())
            }
            Self::Disk(error) => Refusal::failed(error.to_string()),
        }
    }
}

/// Lets a thread hash and write what comes, at most eight pieces behind.
async fn write(writer: BlobWriter, mut body: Body) -> Result<(BlobWriter, Result<(), Interrupted>), Refusal> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(8);
    let disk = tokio::task::spawn_blocking(move || {
        let mut writer = writer;
        while let Some(bytes) = receiver.blocking_recv() {
            if let Err(error) = writer.write_all(&bytes) {
                return (writer, Err(Interrupted::Disk(error)));
            }
        }
        (writer, Ok(()))
    });
    let mut received = Ok(());
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(bytes)) => {
                if sender.send(bytes).await.is_err() {
                    break;
                }
            }
            Ok(Err(_trailers)) => {}
            Err(error) => {
                received = Err(Interrupted::Body(error));
                break;
            }
        }
    }
    drop(sender);
    let (writer, written) = disk.await.map_err(|error| Refusal::failed(error.to_string()))?;
    Ok((writer, written.and(received)))
}

// "Content-Range: <start of range>-<end of range, inclusive>", without a unit
fn content_range(headers: &HeaderMap) -> Result<Option<(u64, u64)>, Refusal> {
    let Some(value) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let numbers = value.to_str().ok().and_then(|text| {
        let (start, end) = text.split_once('-')?;
        Some((start.parse::<u64>().ok()?, end.parse::<u64>().ok()?))
    });
    match numbers {
        Some((start, end)) if start <= end && end < u64::MAX => Ok(Some((start, end))),
        _ => Err(Refusal::range_invalid("Content-Range is not `start-end`")),
    }
}

fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|error: crate::oci::InvalidDigest| Refusal::digest_invalid(error.to_string()))
}

fn created(name: &str, digest: &str) -> Response<Body> {
    let mut response = bare(StatusCode::CREATED);
    set(&mut response, "location", &format!("/v2/{name}/blobs/{digest}"));
    set(&mut response, "docker-content-digest", digest);
    response
}

fn accepted(status: StatusCode, name: &str, id: &str, stands: u64) -> Response<Body> {
    let mut response = bare(status);
    set(&mut response, "location", &format!("/v2/{name}/blobs/uploads/{id}"));
    set(&mut response, "docker-upload-uuid", id);
    // The end is inclusive, so that nothing and one byte look the same, here as elsewhere.
    set(&mut response, "range", &format!("0-{}", stands.saturating_sub(1)));
    response
}
