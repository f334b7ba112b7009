//! Blobs out: whole and verified while they are read, or a range of bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{HeaderMap, RANGE};
use hyper::{Response, StatusCode};

use super::answer::{Body, Refusal, bare, set};
use super::{Registry, blocking};
use crate::oci::Digest;
use crate::store::Area;

/// How much of a blob is read at once.
const PIECE: usize = 256 * 1024;

impl Registry {
    /// end-2: a blob, or a range of it, or only its length.
    pub(super) async fn blob(
        self: Arc<Self>,
        name: &str,
        digest: &str,
        headers: &HeaderMap,
        head: bool,
    ) -> Result<Response<Body>, Refusal> {
        let digest = parse(digest)?;
        let (registry, repository) = (self.clone(), name.to_owned());
        let found = blocking(move || Ok(registry.repositories.blob(&repository, &digest)?)).await?;
        let size = found.ok_or_else(|| Refusal::blob_unknown(format!("{name} has no blob {digest}")))?;
        let wanted = if self.features.range { headers.get(RANGE).and_then(|it| it.to_str().ok()) } else { None };
        let part = match wanted.and_then(|wanted| range(wanted, size)) {
            Some(Err(())) => {
                let refusal = Refusal::range_invalid(format!("the blob has {size} bytes"));
                return Err(refusal.with("content-range", format!("bytes */{size}")));
            }
            Some(Ok(part)) => Some(part),
            None => None,
        };
        let (start, end) = part.unwrap_or((0, size));
        let mut response = bare(if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
        if part.is_some() {
            set(&mut response, "content-range", &format!("bytes {start}-{}/{size}", end.saturating_sub(1)));
        }
        if !head {
            *response.body_mut() = blocking({
                let registry = self.clone();
                move || registry.open(&digest, part)
            })
            .await?;
        }
        set(&mut response, "content-length", &(end - start).to_string());
        set(&mut response, "content-type", "application/octet-stream");
        set(&mut response, "docker-content-digest", &digest.to_string());
        if self.features.range {
            set(&mut response, "accept-ranges", "bytes");
        }
        Ok(response)
    }

    fn open(&self, digest: &Digest, part: Option<(u64, u64)>) -> Result<Body, Refusal> {
        let store = &self.repositories.store;
        let gone = || Refusal::blob_unknown(format!("{digest} is gone"));
        let Some((start, end)) = part else {
            return Ok(stream_of(store.open_blob(Area::Blobs, digest)?.ok_or_else(gone)?));
        };
        let mut file = File::open(store.path(Area::Blobs, digest)).map_err(|_| gone())?;
        file.seek(SeekFrom::Start(start)).map_err(|_| gone())?;
        Ok(stream_of(file.take(end - start)))
    }

    /// end-10: takes a blob away from a repository.
    pub(super) async fn delete_blob(self: Arc<Self>, name: &str, digest: &str) -> Result<Response<Body>, Refusal> {
        let (digest, name) = (parse(digest)?, name.to_owned());
        blocking(move || self.repositories.delete_blob(&name, &digest)).await?;
        Ok(bare(StatusCode::ACCEPTED))
    }
}

fn parse(digest: &str) -> Result<Digest, Refusal> {
    digest.parse().map_err(|error: crate::oci::InvalidDigest| Refusal::digest_invalid(error.to_string()))
}

/// The first byte and the one after the last of a Range header (RFC 9110 14.1.2).
/// Nothing for one that may be ignored: another unit, several ranges, bad form.
/// An error for one that lies outside of the blob.
fn range(wanted: &str, size: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = wanted.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>();
    let (start, end) = match (first.trim(), last.trim()) {
        ("", suffix) => (size.saturating_sub(number(suffix).ok()?), size),
        (first, "") => (number(first).ok()?, size),
        (first, last) => {
            let (first, last) = (number(first).ok()?, number(last).ok()?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(size))
        }
    };
    Some(if start < end { Ok((start, end)) } else { Err(()) })
}

/// Reads in pieces, each on a thread that may block. A piece goes out when the
/// next one was read, so that a blob whose end shows that it is damaged breaks
/// off before its end.
fn stream_of(reader: impl Read + Send + Sync + 'static) -> Body {
    let pieces = stream::try_unfold((reader, None), |(mut reader, before)| async {
        let read = tokio::task::spawn_blocking(move || {
            let first = match before {
                Some(piece) => piece,
                None => piece(&mut reader)?,
            };
            let next = if first.is_empty() { Bytes::new() } else { piece(&mut reader)? };
            io::Result::Ok((first, next, reader))
        });
        let (first, next, reader) = read.await.map_err(io::Error::other)??;
        Ok((!first.is_empty()).then(|| (Frame::data(first), (reader, Some(next)))))
    });
    BodyExt::boxed(StreamBody::new(pieces))
}

fn piece(reader: &mut impl Read) -> io::Result<Bytes> {
    let mut piece = vec![0; PIECE];
    let count = reader.read(&mut piece)?;
    piece.truncate(count);
    Ok(piece.into())
}
