//! Uploading one blob: in parts of bounded size, and after whatever happens on from
//! where the registry says that it stands.
//!
//! ```text
//! Upload                what goes next, and what a failure means
//! unnamed.rs            the same for a blob that is made meanwhile
//!   journal.rs            where the session is, for the next run
//!   chunks.rs             how long a part is
//!   lost.rs               a part that did not arrive
//!   line.rs    Line       the requests, watched while they go
//!     session.rs Session    where the registry takes the rest
//!     tape.rs    Tape       the blob's stream, part by part
//!     meter.rs   Meter      what went to the socket
//! ```
//!
//! All but [`Upload`] know nothing of the blob's length and digest: [`Unnamed`], whose
//! digest turns out at its end, is made of the same pieces.

pub(super) mod chunks;
pub(super) mod journal;
pub(super) mod line;
mod lost;
pub(super) mod meter;
pub(super) mod session;
pub(super) mod tape;
mod unnamed;

use oci_client::errors::OciErrorCode;
use reqwest::Response;

use self::chunks::Chunks;
use self::journal::Journal;
use self::line::{Line, Patch};
use self::lost::Lost;
use self::session::{Session, Standing};
use self::tape::Tape;
pub(super) use self::unnamed::Unnamed;
use super::Error;
use super::origin::BlobOrigin;
use super::push::{Pushed, Transfer, check_stored};
use super::repository::Repository;
use super::retry::{Attempts, Failure};
use crate::oci::Descriptor;

/// One blob on its way.
pub(super) struct Upload<'a> {
    line: Line<'a>,
    descriptor: &'a Descriptor,
    origin: &'a BlobOrigin,
    journal: Journal,
    chunks: Chunks,
    /// How parts before the last go; nothing where the registry takes none.
    patch: Option<Patch>,
    /// Whether the closing PUT may bring bytes.
    closing_takes_bytes: bool,
    /// The blob from where the session stands.
    tape: Option<Tape>,
    /// How many bytes the registry had from an earlier run.
    resumed: u64,
    /// Whether the session has bytes of more than one request, or of an earlier run.
    patched_up: bool,
    /// Whether it was begun anew since their sum was wrong: that is tried once.
    anew: bool,
}

/// How a part went.
enum Went {
    /// It arrived, and there is more to come.
    Part,
    /// It was the last, and the registry has the blob.
    Whole(Response),
    /// It did not arrive.
    Lost(Lost),
}

impl<'a> Upload<'a> {
    pub(super) async fn new(
        repository: &'a Repository,
        descriptor: &'a Descriptor,
        origin: &'a BlobOrigin,
        progress: &'a (dyn Fn(Transfer) + Sync),
    ) -> Result<Self, Error> {
        let line = Line::open(repository, progress).await?;
        let journal = Journal::open(repository, &descriptor.digest.to_string(), descriptor.size).await;
        Ok(Self {
            line,
            descriptor,
            origin,
            journal,
            chunks: Chunks::of(repository.client.chunk),
            patch: Some(Patch::Streamed),
            closing_takes_bytes: true,
            tape: None,
            resumed: 0,
            patched_up: false,
            anew: false,
        })
    }

    /// Sends until the registry has the blob. An earlier run's session is gone on with;
    /// else `fresh` is taken, if there is one.
    pub(super) async fn run(mut self, fresh: Option<Session>) -> Result<Pushed, Error> {
        let under_way = self.line.repository.client.interrupt.enter();
        let mut session = self.resume().await.or(fresh);
        let mut attempts = self.line.repository.client.attempts(&self.line.repository.places.push);
        loop {
            if self.line.is_told_to_end() {
                // The journal has what the registry has. What comes is the process's end.
                drop(under_way);
                return std::future::pending().await;
            }
            let mut current = match session.take() {
                Some(session) => session,
                None => self.begin().await?,
            };
            let stood = current.offset;
            let lost = match self.go_on(&mut current, &mut attempts).await {
                Went::Whole(response) => {
                    check_stored(&response, &self.descriptor.digest)?;
                    break;
                }
                Went::Part => {
                    session = Some(current);
                    continue;
                }
                Went::Lost(lost) => lost,
            };
            self.tape = None;
            if lost.expired {
                attempts.after_any(lost.failure).await?;
                // Registries look at the token before the body: the session stands where it stood.
                // One that took bytes first says so by a wrong digest.
                self.patched_up = true;
                session = Some(current);
                continue;
            }
            let broke = matches!(lost.failure.error, Error::Http(_) | Error::Stalled { .. });
            let again = self.recover(lost, &current, &mut attempts).await?;
            // The answer may have been lost after the registry had everything.
            if self.line.repository.has_blob(self.descriptor).await? {
                break;
            }
            session = if again { self.standing(current).await? } else { None };
            // Also where it says that it has nothing: `0-0` may be a byte.
            self.patched_up |= session.is_some();
            match &session {
                Some(session) if session.offset > stood => attempts.progressed(),
                _ if broke => self.chunks.lost(),
                _ => {}
            }
        }
        self.line.tell(self.descriptor.size);
        self.journal.end();
        Ok(Pushed::Uploaded { bytes: self.line.meter.total(), resumed: self.resumed })
    }

    /// The session of an earlier run, if the registry still knows it. Where that can't be
    /// asked the blob begins anew: the journal is an aid.
    async fn resume(&mut self) -> Option<Session> {
        let earlier = self.journal.session(&self.line.site)?;
        let session = self.standing(earlier).await.ok().flatten();
        let session = session.filter(|session| session.offset <= self.descriptor.size);
        self.patched_up = session.is_some();
        if let Some(session) = session.as_ref().filter(|session| session.offset > 0) {
            self.resumed = session.offset;
            self.line.kept(session.offset);
        }
        session
    }

    async fn begin(&mut self) -> Result<Session, Error> {
        let session = self.line.begin().await?;
        self.journal.note(&session).await;
        Ok(session)
    }

    /// The session where the registry says that it stands; nothing if it is forgotten.
    async fn standing(&mut self, session: Session) -> Result<Option<Session>, Error> {
        Ok(match self.line.standing(&session, self.descriptor.size).await? {
            Standing::At(session) => {
                self.journal.note(&session).await;
                Some(session)
            }
            // Nothing is lost by trying: a part that belongs elsewhere is refused.
            Standing::Untold if session.offset > 0 && self.patch.is_some() => {
                Some(Session { in_doubt: true, ..session })
            }
            Standing::Untold | Standing::Forgotten => {
                self.journal.forget();
                None
            }
        })
    }

    /// Sends the next part of what the registry doesn't have; the last closes the session.
    async fn go_on(&mut self, session: &mut Session, attempts: &mut Attempts) -> Went {
        let rest = self.descriptor.size - session.offset;
        let part = self.chunks.length(session.minimum);
        let tape = self.tape_at(session.offset).await;
        let all = self.closing_takes_bytes && (rest <= part || self.patch.is_none());
        let how = self.patch.filter(|_| rest > 0 && !all);
        let length = if how.is_some() { part.min(rest) } else { rest };
        let sent = match how {
            // chunks of a registry that has a shortest one are those of the spec
            Some(_) if session.minimum > 0 => self.line.patch(session, &tape, length, Patch::Ranged).await,
            Some(how) => self.line.patch(session, &tape, length, how).await,
            None => self.line.close(session, &self.descriptor.digest, &tape, length).await,
        };
        let response = match Lost::unless_answered(sent, &self.line, how.is_none(), length) {
            Ok(response) => response,
            Err(lost) => return Went::Lost(lost),
        };
        if how.is_none() {
            return Went::Whole(response);
        }
        let moved = session.moved(&self.line.site, &response, tape.position().await, self.descriptor.size);
        let Some(moved) = moved.filter(|moved| moved.offset > session.offset || self.line.is_told_to_end()) else {
            let url = super::http::redacted(response.url());
            return Went::Lost(Lost::to(Error::Header { url, header: "Range" }, false, length));
        };
        *session = moved;
        self.patched_up = true;
        self.journal.note(session).await;
        self.chunks.arrived();
        attempts.progressed();
        Went::Part
    }

    /// The blob from `offset` on: the tape that is there, if it stands so.
    async fn tape_at(&mut self, offset: u64) -> Tape {
        if let Some(tape) = &self.tape
            && tape.position().await == offset
        {
            return tape.clone();
        }
        let (stream, from) = self.origin.open_at(self.descriptor, offset);
        let tape = Tape::new(stream, from, offset);
        self.tape.insert(tape).clone()
    }

    /// Waits after a failure, unless it is final. Whether the session may still be used.
    async fn recover(&mut self, lost: Lost, session: &Session, attempts: &mut Attempts) -> Result<bool, Error> {
        // An origin that fails breaks the request off; the cause counts, not what the socket says.
        if let Some(error) = self.line.meter.failure() {
            return Err(error);
        }
        let Lost { failure, closing, length, .. } = lost;
        // The registry counts other bytes than ours: those of a request that failed.
        if matches!(failure.error, Error::Header { header: "Range", .. }) && self.patched_up && !self.anew {
            return self.begin_anew(failure, attempts).await;
        }
        let Error::Refused { status, .. } = &failure.error else {
            return attempts.after(failure).await.map(|()| true);
        };
        let status = status.as_u16();
        match (status, closing) {
            // A proxy's or the registry's limit for one request: it is found out once.
            (413, _) if self.patch.is_some() && self.chunks.refused(length, session.minimum) => Ok(true),
            // It stands elsewhere than we thought, and the registry does not say where.
            (404 | 416, _) if session.in_doubt => {
                self.journal.forget();
                attempts.after_any(failure).await.map(|()| false)
            }
            // The session is gone, or stands elsewhere than we thought: ask, or begin anew.
            (404 | 416, true) => attempts.after_any(failure).await.map(|()| true),
            // distribution-spec: not every registry takes bytes with the closing PUT
            (405 | 411 | 415 | 501, true) if self.closing_takes_bytes && self.patch.is_some() => {
                self.closing_takes_bytes = false;
                attempts.after_any(failure).await.map(|()| true)
            }
            // Bytes of more than one run or request, and the registry's sum is wrong: from the beginning.
            (400, true) if self.patched_up && !self.anew && is_about_the_digest(&failure.error) => {
                self.begin_anew(failure, attempts).await
            }
            // The request broke off on its way, and the registry was quick to say so.
            (400 | 499, true) if length > 0 && !is_about_the_digest(&failure.error) => {
                attempts.after_any(failure).await.map(|()| true)
            }
            (400 | 404 | 405 | 411 | 415 | 416 | 499 | 501, false) => {
                self.patch = match (self.patch, status) {
                    (_, 405 | 501) | (Some(Patch::Ranged), 411 | 415) => None,
                    (Some(Patch::Streamed), 400 | 411 | 415 | 416) => Some(Patch::Ranged),
                    // the others are about this session, or this one request
                    (patch, _) => patch,
                };
                attempts.after_any(failure).await.map(|()| true)
            }
            _ => attempts.after(failure).await.map(|()| true),
        }
    }

    /// Waits, and gives the session up. It may not be used.
    async fn begin_anew(&mut self, failure: Failure, attempts: &mut Attempts) -> Result<bool, Error> {
        self.anew = true;
        self.journal.forget();
        attempts.after_any(failure).await.map(|()| false)
    }
}

/// distribution-spec "Error Codes": `DIGEST_INVALID`.
fn is_about_the_digest(error: &Error) -> bool {
    let Error::Refused { envelope, .. } = error else { return false };
    let errors = envelope.iter().flat_map(|envelope| &envelope.errors);
    errors.into_iter().any(|error| error.code == OciErrorCode::DigestInvalid)
}
