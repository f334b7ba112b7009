//! Uploading a blob while it is made: what its digest is, is known with its last byte.
//!
//! The parts go as docker sends them, without a word about what is to come, and the
//! closing PUT names the digest. After a failure the blob is made again, and what the
//! registry has of it is passed over.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::journal::Journal;
use super::line::{Line, Patch};
use super::lost::Lost;
use super::session::{Session, Standing};
use super::tape::Tape;
use super::terms::Terms;
use crate::oci::Descriptor;
use crate::registry::Error;
use crate::registry::http::redacted;
use crate::registry::interrupt::UnderWay;
use crate::registry::making::{Maker, Making};
use crate::registry::push::{Pushed, Transfer, check_stored};
use crate::registry::repository::Repository;
use crate::registry::retry::Attempts;

/// What is said of a blob whose length nobody knows yet, in bytes: only that it is big.
const BIG: u64 = u64::MAX;

/// One blob on its way while it is made.
pub(in crate::registry) struct Unnamed<'a, M> {
    line: Line<'a>,
    maker: &'a Arc<M>,
    journal: Journal,
    terms: Terms,
    /// How many bytes the registry had from an earlier run.
    resumed: u64,
    under_way: Option<UnderWay>,
}

impl<'a, M: Maker> Unnamed<'a, M> {
    pub(in crate::registry) async fn new(
        repository: &'a Repository,
        maker: &'a Arc<M>,
        name: &str,
        progress: &'a (dyn Fn(Transfer) + Sync),
    ) -> Result<Self, Error> {
        let line = Line::open(repository, progress).await?;
        let journal = Journal::open(repository, name, BIG).await;
        let terms = Terms::of_unnamed(repository.client.chunk);
        let under_way = Some(repository.client.interrupt.enter());
        Ok(Self { line, maker, journal, terms, resumed: 0, under_way })
    }

    /// Sends until the registry has the blob; `making` has begun, and `begun` came of it.
    /// Nothing if the registry does not take it so.
    pub(in crate::registry) async fn run(
        mut self,
        making: Making<M>,
        begun: Vec<Bytes>,
    ) -> Result<Option<(M::Made, Pushed)>, M::Error> {
        let mut begun = Some((making, begun));
        let mut session = self.resume().await;
        let mut attempts = self.line.repository.client.attempts(&self.line.repository.places.push);
        // Whether the registry has kept any of it, and so takes it as it is sent.
        let mut kept = false;
        let made = loop {
            let mut current = match session.take() {
                Some(session) => session,
                None => self.begin().await?,
            };
            // Such a registry wants to know beforehand how long each part is.
            if current.minimum > 0 {
                return Ok(self.decline());
            }
            let stood = current.offset;
            // What has begun begins with the blob's first byte.
            let (making, first, from) = match begun.take() {
                Some((making, first)) => (making, first, 0),
                None => (Making::begin(self.maker, stood), Vec::new(), stood),
            };
            let tape = Tape::new(stream::iter(first).chain(making.chunks.clone()).map(Ok).boxed(), from, stood);
            let (made, lost) = match self.send(&mut current, &tape, &mut attempts).await {
                Ok(()) => {
                    let made = making.finish().await?;
                    match self.close(&current, &tape, made.as_ref()).await? {
                        Ok(()) => break made,
                        Err(lost) => (Some(made), lost),
                    }
                }
                Err(lost) => (making.stop().await?, lost),
            };
            let broke = lost.broke();
            kept |= current.offset > 0 || lost.closing;
            if !kept && lost.declines() {
                return Ok(self.decline());
            }
            let again = match self.terms.recover(lost, &current, &self.journal, &mut attempts).await {
                // Whoever refuses a stream may hang up before that can be read.
                Err(_) if !kept && broke => return Ok(self.decline()),
                recovered => recovered?,
            };
            // The answer may have been lost after the registry had everything.
            if let Some(made) = made
                && self.line.repository.has_blob(made.as_ref()).await?
            {
                break made;
            }
            session = if again { self.standing(&current).await? } else { None };
            self.terms.goes_on(session.as_ref(), stood, broke, &mut attempts);
        };
        self.line.tell(made.as_ref().size);
        self.journal.end();
        Ok(Some((made, Pushed::Uploaded { bytes: self.line.meter.total(), resumed: self.resumed })))
    }

    fn decline(&self) -> Option<(M::Made, Pushed)> {
        self.journal.forget();
        None
    }

    /// The session of an earlier run, if the registry still knows it. Where that can't be
    /// asked the layer begins anew: the journal is an aid.
    async fn resume(&mut self) -> Option<Session> {
        let earlier = self.journal.session(&self.line.site)?;
        let session = self.standing(&earlier).await.ok().flatten();
        if let Some(session) = session.as_ref().filter(|session| session.offset > 0) {
            self.resumed = session.offset;
            self.terms.patched_up = true;
            self.line.kept(session.offset);
        }
        session
    }

    async fn begin(&mut self) -> Result<Session, Error> {
        let session = self.line.begin().await?;
        self.journal.note(&session).await;
        Ok(session)
    }

    /// The session where the registry says that it stands; nothing if it does not say.
    async fn standing(&mut self, session: &Session) -> Result<Option<Session>, Error> {
        match self.line.standing(session, BIG).await? {
            Standing::At(session) => {
                self.journal.note(&session).await;
                Ok(Some(session))
            }
            Standing::Untold | Standing::Forgotten => {
                self.journal.forget();
                Ok(None)
            }
        }
    }

    /// Sends what is on the tape, part by part, to its end.
    async fn send(&mut self, session: &mut Session, tape: &Tape, attempts: &mut Attempts) -> Result<(), Lost> {
        loop {
            if self.line.is_told_to_end() {
                // The journal has what the registry has. What comes is the process's end.
                self.under_way = None;
                return std::future::pending().await;
            }
            let length = self.terms.chunks.length(session.minimum);
            let lost = |error: Error| Lost::to(error, false, length);
            if tape.is_at_end().await.map_err(lost)? {
                return Ok(());
            }
            let sent = self.line.patch(session, tape, length, Patch::Streamed).await;
            let response = Lost::unless_answered(sent, &self.line, false, length)?;
            let (url, position) = (redacted(response.url()), tape.position());
            let moved = session.moved(&self.line.site, &response, position, position);
            let Some(moved) = moved.filter(|moved| moved.offset > session.offset || self.line.is_told_to_end()) else {
                return Err(lost(Error::Header { url, header: "Range" }));
            };
            *session = moved;
            self.journal.note(session).await;
            attempts.progressed();
            if session.offset < position {
                return Err(lost(Error::Length { url, expected: position, found: session.offset }));
            }
            self.terms.chunks.arrived();
        }
    }

    /// Gives the blob its digest, and asks whether it is there.
    async fn close(&self, session: &Session, tape: &Tape, blob: &Descriptor) -> Result<Result<(), Lost>, Error> {
        let sent = self.line.close(session, &blob.digest, tape, 0).await;
        let response = match Lost::unless_answered(sent, &self.line, true, 0) {
            Ok(response) => response,
            Err(lost) => return Ok(Err(lost)),
        };
        check_stored(&response, &blob.digest)?;
        if self.line.repository.has_blob(blob).await? {
            return Ok(Ok(()));
        }
        let (url, expected) = (redacted(response.url()), blob.digest);
        Ok(Err(Lost::to(Error::Stored { url, expected, found: "nothing".into() }, true, 0)))
    }
}
