//! The requests that an upload is made of, with bodies that are watched while they go:
//! progress is told, and a registry that takes nothing for too long is given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, MissedTickBehavior};
use url::Url;

use super::meter::Meter;
use super::session::{Session, Standing};
use super::tape::Tape;
use crate::oci::Digest;
use crate::registry::client::{Call, Sent, Site};
use crate::registry::http::redacted;
use crate::registry::push::Transfer;
use crate::registry::repository::{Repository, address};
use crate::registry::token::Scope;
use crate::registry::{Error, RequestKind};

/// How many times longer than elsewhere nothing may move while an upload is under
/// way: after the last byte a registry may take minutes to hash and copy a blob.
const STALL: u32 = 5;
/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// How a part is sent by PATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Patch {
    /// As docker does it: the body ends where it ends, which may be early, and the
    /// registry says how much it has.
    Streamed,
    /// As the distribution-spec has it: `Content-Length` and `Content-Range` say before
    /// what comes.
    Ranged,
}

/// The way to one repository, for one blob.
pub(in crate::registry) struct Line<'a> {
    pub(super) repository: &'a Repository,
    pub(super) site: Arc<Site>,
    pub(super) meter: Arc<Meter>,
    /// The furthest position that was told to `progress`.
    told: AtomicU64,
    progress: &'a (dyn Fn(Transfer) + Sync),
}

impl<'a> Line<'a> {
    /// A line to `repository`, which is greeted if nobody has yet. `progress` hears of
    /// bytes that went further than any before.
    pub(in crate::registry) async fn open(
        repository: &'a Repository,
        progress: &'a (dyn Fn(Transfer) + Sync),
    ) -> Result<Self, Error> {
        let site = repository.client.site(&repository.places.push).await?;
        Ok(Self { repository, site, meter: Arc::new(Meter::of(&repository.client)), told: AtomicU64::new(0), progress })
    }

    /// distribution-spec "POST then PUT": obtains a session.
    pub(in crate::registry) async fn begin(&self) -> Result<Session, Error> {
        let place = &self.repository.places.push;
        let url = address(&self.site, place, "blobs/uploads/")?;
        let call = Call::new(RequestKind::BeginUpload, Method::POST, url, self.scope());
        Session::of(&self.site, &self.repository.client.send(place, &call).await?)
    }

    /// Where `session` stands (distribution-spec "Resuming an upload": `Range: 0-LAST`).
    /// More than `most` bytes can't be.
    pub(in crate::registry) async fn standing(&self, session: &Session, most: u64) -> Result<Standing, Error> {
        let mut call = Call::new(RequestKind::UploadStatus, Method::GET, session.location.clone(), self.scope());
        // what a registry that has no such end-point may answer, besides a 404
        call.expected = &[
            StatusCode::BAD_REQUEST,
            StatusCode::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED,
            StatusCode::GONE,
            StatusCode::RANGE_NOT_SATISFIABLE,
            StatusCode::NOT_IMPLEMENTED,
        ];
        let response = self.repository.client.send(&self.repository.places.push, &call).await?;
        Ok(match response.status() {
            // without a Range it has nothing
            status if status.is_success() => {
                session.moved(&self.site, &response, 0, most).map_or(Standing::Forgotten, Standing::At)
            }
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Standing::Untold,
            _ => Standing::Forgotten,
        })
    }

    /// distribution-spec "Pushing a blob in chunks": sends the next `length` bytes of
    /// `tape`, which stands where `session` does, or as many as there are.
    pub(in crate::registry) async fn patch(&self, session: &Session, tape: &Tape, length: u64, how: Patch) -> Sent {
        let mut call = self.call(RequestKind::PatchUpload, Method::PATCH, session.location.clone());
        // A session that may stand elsewhere gets a part that says where it belongs.
        let ranged = how == Patch::Ranged || session.in_doubt;
        if ranged {
            range(&mut call, session.offset, length);
        }
        self.send(call, tape, session.offset, length, !ranged).await
    }

    /// Closes `session` with the last `length` bytes of `tape`, the blob being `digest`.
    pub(in crate::registry) async fn close(
        &self,
        session: &Session,
        digest: &Digest,
        tape: &Tape,
        length: u64,
    ) -> Sent {
        let mut url = session.location.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut call = self.call(RequestKind::PutUpload, Method::PUT, url);
        call.headers.insert(CONTENT_LENGTH, length.into());
        if length > 0 {
            if session.offset > 0 {
                range(&mut call, session.offset, length);
            }
            return self.send(call, tape, session.offset, length, false).await;
        }
        match self.repository.client.attempt(&self.repository.places.push, &call).await {
            Ok(response) => Sent::Answered(response),
            Err(failure) => Sent::Failed(failure),
        }
    }

    /// Whether uploads are to end where they stand.
    pub(in crate::registry) fn is_told_to_end(&self) -> bool {
        self.repository.client.interrupt.is_told()
    }

    /// Says that the registry has the blob up to `position` from an earlier run.
    pub(in crate::registry) fn kept(&self, position: u64) {
        let before = self.told.fetch_max(position, Ordering::Relaxed);
        if position > before {
            (self.progress)(Transfer::Kept(position - before));
        }
    }

    /// Says that the blob went as far as `position`.
    pub(in crate::registry) fn tell(&self, position: u64) {
        let before = self.told.fetch_max(position, Ordering::Relaxed);
        if position > before {
            (self.progress)(Transfer::Sent(position - before));
        }
    }

    fn scope(&self) -> Scope {
        Scope::push(&self.repository.places.push.name)
    }

    fn call(&self, kind: RequestKind, method: Method, url: Url) -> Call {
        let mut call = Call::new(kind, method, url, self.scope());
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call
    }

    /// Sends `length` bytes of `tape` as the body of `call`, tells of progress, and gives
    /// up when nothing moves.
    async fn send(&self, call: Call, tape: &Tape, offset: u64, length: u64, may_end: bool) -> Sent {
        self.meter.begin(offset);
        let body = reqwest::Body::wrap_stream(tape.part(length, &self.meter, may_end));
        let client = &self.repository.client;
        let stall = client.retry.silence * STALL;
        let sending = client.upload(&self.site, &self.repository.places.push, &call, body);
        tokio::pin!(sending);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut position, mut moved) = (offset, Instant::now());
        loop {
            tokio::select! {
                sent = &mut sending => {
                    // An answer may come before all of the body was taken; the rest is not sent any more.
                    tape.stop();
                    return sent;
                }
                _ = ticks.tick() => {}
            }
            let now = self.meter.position();
            if now != position {
                (position, moved) = (now, Instant::now());
                self.tell(position);
            } else if moved.elapsed() > stall {
                return Sent::Failed(Error::Stalled { url: redacted(&call.url), idle: stall }.into());
            }
        }
    }
}

/// distribution-spec: "Content-Range … MUST be <start>-<end>", inclusive.
fn range(call: &mut Call, offset: u64, length: u64) {
    call.headers.insert(CONTENT_LENGTH, length.into());
    let range = format!("{offset}-{}", offset + length.saturating_sub(1));
    if let Ok(range) = HeaderValue::from_str(&range) {
        call.headers.insert(CONTENT_RANGE, range);
    }
}
