//! Uploading one blob: sessions, the stream to the socket, and going on where the
//! registry says that it stands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::time::{Instant, MissedTickBehavior};
use url::Url;

use super::client::{Call, Sent, Site, locked};
use super::http::redacted;
use super::origin::{BlobOrigin, BlobStream};
use super::push::check_stored;
use super::repository::{Repository, address};
use super::retry::{Attempts, Failure};
use super::token::Scope;
use super::{Error, RequestKind};
use crate::oci::Descriptor;

/// How many times longer than elsewhere nothing may move while an upload is under
/// way: after the last byte a registry may take minutes to hash and copy a blob.
const STALL: u32 = 5;
/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// An upload that a registry has begun.
pub(super) struct Session {
    /// Where the next request goes.
    location: Url,
    /// How many bytes the registry has.
    offset: u64,
}

impl Session {
    /// The session that `response` begins or goes on with.
    pub(super) fn of(site: &Site, response: &Response) -> Result<Self, Error> {
        Ok(Self { location: location(site, response)?, offset: 0 })
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
    let ours = location.origin() == site.base.origin();
    if ours || location.scheme() == "https" { Ok(location) } else { Err(refused()) }
}

/// One blob on its way.
pub(super) struct Upload<'a> {
    repository: &'a Repository,
    descriptor: &'a Descriptor,
    origin: &'a BlobOrigin,
    progress: &'a (dyn Fn(u64) + Sync),
    meter: Arc<Meter>,
    /// Whether the registry takes a whole blob with the closing PUT.
    monolithic: bool,
}

/// What the stream to the socket tells the one who watches it.
#[derive(Default)]
struct Meter {
    /// How far into the blob the current request is.
    position: AtomicU64,
    /// The furthest position that was told to `progress`.
    told: AtomicU64,
    /// All bytes sent, over all requests.
    sent: AtomicU64,
    /// Why the origin ended early.
    failure: Mutex<Option<Error>>,
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        descriptor: &'a Descriptor,
        origin: &'a BlobOrigin,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Self {
        Self { repository, descriptor, origin, progress, meter: Arc::default(), monolithic: true }
    }

    /// Sends until the registry has the blob; returns how many bytes that took.
    pub(super) async fn run(mut self, mut session: Option<Session>) -> Result<u64, Error> {
        let place = &self.repository.places.push;
        let site = self.repository.client.site(place).await?;
        let mut attempts = self.repository.client.attempts(place);
        loop {
            let current = match session.take() {
                Some(session) => session,
                None => self.begin(&site).await?,
            };
            let offset = current.offset;
            let sent = match self.send_rest(&site, &current).await {
                Ok(sent) => sent,
                Err(error) => Sent::Failed(error.into()),
            };
            match sent {
                Sent::Answered(response) => {
                    check_stored(&response, &self.descriptor.digest)?;
                    self.tell(self.descriptor.size);
                    break;
                }
                Sent::Expired => {
                    let (registry, name) = (place.host.clone(), place.name.clone());
                    let error = Error::Unauthorized { registry, name, anonymous: false };
                    attempts.after_any(error.into()).await?;
                    // Registries look at the token before the body: the session stands where it stood.
                    session = Some(current);
                    continue;
                }
                Sent::Failed(failure) => self.recover(failure, &mut attempts).await?,
            }
            // The answer may have been lost after the registry had everything.
            if self.repository.has_blob(self.descriptor).await? {
                self.tell(self.descriptor.size);
                break;
            }
            session = self.state(&site, current).await;
            if session.as_ref().is_some_and(|session| session.offset > offset) {
                attempts.progressed();
            }
        }
        Ok(self.meter.sent.load(Ordering::Relaxed))
    }

    /// Waits after a failure, unless it is final.
    async fn recover(&mut self, failure: Failure, attempts: &mut Attempts) -> Result<(), Error> {
        // An origin that fails breaks the request off; the cause counts, not what the socket says.
        if let Some(error) = locked(&self.meter.failure).take() {
            return Err(error);
        }
        match &failure.error {
            // The session is gone, or stands elsewhere than we thought: ask, or begin anew.
            Error::Refused { status, .. } if matches!(status.as_u16(), 404 | 416) => attempts.after_any(failure).await,
            // distribution-spec: not every registry takes the whole blob in the closing PUT
            Error::Refused { status, .. } if self.monolithic && matches!(status.as_u16(), 405 | 411 | 415 | 501) => {
                self.monolithic = false;
                attempts.after_any(failure).await
            }
            _ => attempts.after(failure).await,
        }
    }

    /// distribution-spec "POST then PUT": obtain a session.
    async fn begin(&self, site: &Site) -> Result<Session, Error> {
        let place = &self.repository.places.push;
        let url = address(site, place, "blobs/uploads/")?;
        let call = Call::new(RequestKind::BeginUpload, Method::POST, url, Scope::push(&place.name));
        Session::of(site, &self.repository.client.send(place, &call).await?)
    }

    /// Where the session stands (distribution-spec "Resuming an upload": `Range:
    /// 0-LAST`); nothing if the registry has forgotten it.
    async fn state(&self, site: &Site, session: Session) -> Option<Session> {
        let place = &self.repository.places.push;
        let mut call =
            Call::new(RequestKind::UploadStatus, Method::GET, session.location.clone(), Scope::push(&place.name));
        call.expected = &[StatusCode::NOT_FOUND];
        let response = self.repository.client.attempt(place, &call).await.ok()?;
        if response.status() != StatusCode::NO_CONTENT {
            return None;
        }
        let location = location(site, &response).unwrap_or(session.location);
        Some(Session { location, offset: received(&response)? }).filter(|state| state.offset <= self.descriptor.size)
    }

    /// Sends what the registry doesn't have, and closes the session.
    async fn send_rest(&self, site: &Site, session: &Session) -> Result<Sent, Error> {
        if self.monolithic && session.offset == 0 {
            let mut call = self.call(RequestKind::PutUpload, Method::PUT, self.closing(&session.location));
            call.headers.insert(CONTENT_LENGTH, self.descriptor.size.into());
            return Ok(self.stream(site, call, 0).await);
        }
        let mut location = session.location.clone();
        if session.offset < self.descriptor.size {
            let rest = self.descriptor.size - session.offset;
            let mut call = self.call(RequestKind::PatchUpload, Method::PATCH, location);
            call.headers.insert(CONTENT_LENGTH, rest.into());
            // distribution-spec: "Content-Range … MUST be <start>-<end>", inclusive
            let range = format!("{}-{}", session.offset, self.descriptor.size - 1);
            let range = HeaderValue::from_str(&range)
                .map_err(|_| Error::Header { url: redacted(&call.url), header: "Content-Range" })?;
            call.headers.insert(CONTENT_RANGE, range);
            match self.stream(site, call, session.offset).await {
                Sent::Answered(response) => location = self::location(site, &response)?,
                other => return Ok(other),
            }
        }
        let mut call = self.call(RequestKind::PutUpload, Method::PUT, self.closing(&location));
        call.headers.insert(CONTENT_LENGTH, 0.into());
        let place = &self.repository.places.push;
        Ok(match self.repository.client.attempt(place, &call).await {
            Ok(response) => Sent::Answered(response),
            Err(failure) => Sent::Failed(failure),
        })
    }

    fn call(&self, kind: RequestKind, method: Method, url: Url) -> Call {
        let mut call = Call::new(kind, method, url, Scope::push(&self.repository.places.push.name));
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call
    }

    fn closing(&self, location: &Url) -> Url {
        let mut url = location.clone();
        url.query_pairs_mut().append_pair("digest", &self.descriptor.digest.to_string());
        url
    }

    /// Sends the blob from `offset` on, tells of progress, and gives up when
    /// nothing moves.
    async fn stream(&self, site: &Site, call: Call, offset: u64) -> Sent {
        self.meter.position.store(offset, Ordering::Relaxed);
        let body = reqwest::Body::wrap_stream(metered(skip(self.origin.open(self.descriptor), offset), &self.meter));
        let place = &self.repository.places.push;
        let stall = self.repository.client.retry.silence * STALL;
        let sending = self.repository.client.upload(site, place, &call, body);
        tokio::pin!(sending);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut position, mut moved) = (offset, Instant::now());
        loop {
            tokio::select! {
                sent = &mut sending => return sent,
                _ = ticks.tick() => {}
            }
            let now = self.meter.position.load(Ordering::Relaxed);
            if now != position {
                (position, moved) = (now, Instant::now());
                self.tell(position);
            } else if moved.elapsed() > stall {
                return Sent::Failed(Error::Stalled { url: redacted(&call.url), idle: stall }.into());
            }
        }
    }

    /// Tells of what lies beyond everything that was told before.
    fn tell(&self, position: u64) {
        let before = self.meter.told.fetch_max(position, Ordering::Relaxed);
        if position > before {
            (self.progress)(position - before);
        }
    }
}

/// `Range: 0-LAST`. `0-0` is how registries write that they have nothing; one that
/// has a single byte refuses the next part, and the upload begins anew.
fn received(response: &Response) -> Option<u64> {
    let Some(range) = response.headers().get(RANGE) else { return Some(0) };
    let (first, last) = range.to_str().ok()?.trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.parse().ok()?;
    (first == "0").then(|| if last == 0 { 0 } else { last + 1 })
}

/// The stream without its first `offset` bytes. They are read all the same: the
/// digest is over the whole.
fn skip(blob: BlobStream, offset: u64) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::unfold((blob, offset), |(mut blob, mut left)| async move {
        loop {
            let mut chunk = match blob.next().await? {
                Ok(chunk) => chunk,
                Err(error) => return Some((Err(error), (blob, left))),
            };
            let known = left.min(chunk.len() as u64);
            left -= known;
            let rest = chunk.split_off(known as usize);
            if !rest.is_empty() {
                return Some((Ok(rest), (blob, left)));
            }
        }
    })
}

/// The stream for the socket, which keeps `meter` up to date.
fn metered(
    blob: impl Stream<Item = Result<Bytes, Error>> + Send + 'static,
    meter: &Arc<Meter>,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let meter = meter.clone();
    blob.map(move |chunk| match chunk {
        Ok(chunk) => {
            let length = chunk.len() as u64;
            meter.position.fetch_add(length, Ordering::Relaxed);
            meter.sent.fetch_add(length, Ordering::Relaxed);
            Ok(chunk)
        }
        Err(error) => {
            *locked(&meter.failure) = Some(error);
            Err(std::io::Error::other("the blob's origin failed"))
        }
    })
}
