//! Uploading one blob: in parts of bounded size, and after whatever happens on from
//! where the registry says that it stands.
//!
//! ```text
//! Upload                what goes next, and what a failure means
//! unnamed.rs            the same for a blob that is made meanwhile
//!   journal.rs            where the session is, for the next run
//!   chunks.rs             how long a part is
//!   lost.rs               a part that did not arrive
//!   terms.rs   Terms      what the registry takes, as far as failures have told
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
mod terms;
mod unnamed;

use reqwest::Response;

use self::journal::Journal;
use self::line::{Line, Patch};
use self::lost::Lost;
use self::session::{Session, Standing};
use self::tape::Tape;
use self::terms::Terms;
pub(super) use self::unnamed::Unnamed;
use super::Error;
use super::origin::BlobOrigin;
use super::push::{Pushed, Transfer, check_stored};
use super::repository::Repository;
use super::retry::Attempts;
use crate::oci::Descriptor;

/// One blob on its way.
pub(super) struct Upload<'a> {
    line: Line<'a>,
    descriptor: &'a Descriptor,
    origin: &'a BlobOrigin,
    journal: Journal,
    terms: Terms,
    /// The blob from where the session stands.
    tape: Option<Tape>,
    /// How many bytes the registry had from an earlier run.
    resumed: u64,
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
            terms: Terms::of_named(repository.client.chunk),
            tape: None,
            resumed: 0,
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
                self.terms.patched_up = true;
                session = Some(current);
                continue;
            }
            // An origin that fails breaks the request off; the cause counts, not what the socket says.
            if let Some(error) = self.line.meter.failure() {
                return Err(error);
            }
            let broke = lost.broke();
            let again = self.terms.recover(lost, &current, &self.journal, &mut attempts).await?;
            // The answer may have been lost after the registry had everything.
            if self.line.repository.has_blob(self.descriptor).await? {
                break;
            }
            session = if again { self.standing(current).await? } else { None };
            self.terms.goes_on(session.as_ref(), stood, broke, &mut attempts);
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
        self.terms.patched_up = session.is_some();
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
            Standing::Untold if session.offset > 0 && self.terms.patch.is_some() => {
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
        let part = self.terms.chunks.length(session.minimum);
        let tape = self.tape_at(session.offset);
        let all = self.terms.closing_takes_bytes && (rest <= part || self.terms.patch.is_none());
        let how = self.terms.patch.filter(|_| rest > 0 && !all);
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
        let moved = session.moved(&self.line.site, &response, tape.position(), self.descriptor.size);
        let Some(moved) = moved.filter(|moved| moved.offset > session.offset || self.line.is_told_to_end()) else {
            let url = super::http::redacted(response.url());
            return Went::Lost(Lost::to(Error::Header { url, header: "Range" }, false, length));
        };
        *session = moved;
        self.terms.patched_up = true;
        self.journal.note(session).await;
        self.terms.chunks.arrived();
        attempts.progressed();
        Went::Part
    }

    /// The blob from `offset` on: the tape that is there, if it stands so.
    fn tape_at(&mut self, offset: u64) -> Tape {
        if let Some(tape) = &self.tape
            && tape.position() == offset
        {
            return tape.clone();
        }
        let (stream, from) = self.origin.open_at(self.descriptor, offset);
        let tape = Tape::new(stream, from, offset);
        self.tape.insert(tape).clone()
    }
}
