//! What a registry takes, as far as its refusals have told, and what is to be done after
//! one: the same for a blob that has a name and for one that is made meanwhile.

use oci_client::errors::OciErrorCode;

use super::chunks::Chunks;
use super::journal::Journal;
use super::line::Patch;
use super::lost::Lost;
use super::session::Session;
use crate::registry::Error;
use crate::registry::retry::{Attempts, Failure};

/// How the rest of a blob is sent.
pub(super) struct Terms {
    pub(super) chunks: Chunks,
    /// How parts before the last go; nothing where the registry takes none.
    pub(super) patch: Option<Patch>,
    /// Whether the closing PUT may bring bytes.
    pub(super) closing_takes_bytes: bool,
    /// Whether the session has bytes of more than one request, or of an earlier run.
    pub(super) patched_up: bool,
    /// Whether there is another way than that of the beginning: whose length and digest are
    /// known.
    is_named: bool,
    /// Whether it was begun anew since their sum was wrong: that is tried once.
    anew: bool,
}

impl Terms {
    /// Those of a blob whose digest is known, in parts of at most `chunk` bytes.
    pub(super) fn of_named(chunk: u64) -> Self {
        let (chunks, patch) = (Chunks::of(chunk), Some(Patch::Streamed));
        Self { chunks, patch, closing_takes_bytes: true, patched_up: false, is_named: true, anew: false }
    }

    /// Those of one whose digest turns out at its end.
    pub(super) fn of_unnamed(chunk: u64) -> Self {
        Self { closing_takes_bytes: false, is_named: false, ..Self::of_named(chunk) }
    }

    /// Takes note of where the registry stands after a failure: `session` if there is one,
    /// which stood at `stood`. What `broke` off is sent in shorter parts.
    pub(super) fn goes_on(&mut self, session: Option<&Session>, stood: u64, broke: bool, attempts: &mut Attempts) {
        // Also where it says that it has nothing: `0-0` may be a byte.
        self.patched_up |= session.is_some();
        match session {
            Some(session) if session.offset > stood => attempts.progressed(),
            _ if broke => self.chunks.lost(),
            _ => {}
        }
    }

    /// Waits after a failure, unless it is final. Whether the session may still be used.
    pub(super) async fn recover(
        &mut self,
        lost: Lost,
        session: &Session,
        journal: &Journal,
        attempts: &mut Attempts,
    ) -> Result<bool, Error> {
        let Lost { failure, expired, closing, length } = lost;
        if expired {
            return attempts.after_any(failure).await.map(|()| true);
        }
        let status = match &failure.error {
            Error::Refused { status, .. } => status.as_u16(),
            // The registry counts other bytes than ours: those of a request that failed.
            Error::Header { header: "Range", .. } if self.patched_up && !self.anew => {
                return self.begin_anew(failure, journal, attempts).await;
            }
            // It says that it has the blob, and has not.
            Error::Stored { .. } if !self.anew => return self.begin_anew(failure, journal, attempts).await,
            _ => return attempts.after(failure).await.map(|()| true),
        };
        match (status, closing) {
            // A proxy's or the registry's limit for one request: it is found out once.
            (413, _) if self.patch.is_some() && self.chunks.refused(length, session.minimum) => Ok(true),
            // It stands elsewhere than we thought, and the registry does not say where.
            (404 | 416, _) if session.in_doubt => {
                journal.forget();
                attempts.after_any(failure).await.map(|()| false)
            }
            // The session is gone, or stands elsewhere than we thought: ask, or begin anew.
            (404 | 416, true) => attempts.after_any(failure).await.map(|()| true),
            // distribution-spec: not every registry takes bytes with the closing PUT
            (405 | 411 | 415 | 501, true) if self.closing_takes_bytes && self.patch.is_some() => {
                self.closing_takes_bytes = false;
                attempts.after_any(failure).await.map(|()| true)
            }
            // Bytes of more than one run or request, and the registry's sum is wrong: from the
            // beginning. Nothing else can be wrong with a request that brings no bytes.
            (400, true) if self.patched_up && !self.anew && (length == 0 || is_about_the_digest(&failure.error)) => {
                self.begin_anew(failure, journal, attempts).await
            }
            // The request broke off on its way, and the registry was quick to say so.
            (400 | 499, true) if length > 0 && !is_about_the_digest(&failure.error) => {
                attempts.after_any(failure).await.map(|()| true)
            }
            (400 | 404 | 416 | 499, false) if !self.is_named => attempts.after_any(failure).await.map(|()| true),
            (400 | 404 | 405 | 411 | 415 | 416 | 499 | 501, false) if self.is_named => {
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
    async fn begin_anew(
        &mut self,
        failure: Failure,
        journal: &Journal,
        attempts: &mut Attempts,
    ) -> Result<bool, Error> {
        self.anew = true;
        self.patched_up = false;
        journal.forget();
        attempts.after_any(failure).await.map(|()| false)
    }
}

/// distribution-spec "Error Codes": `DIGEST_INVALID`.
fn is_about_the_digest(error: &Error) -> bool {
    let Error::Refused { envelope, .. } = error else { return false };
    let errors = envelope.iter().flat_map(|envelope| &envelope.errors);
    errors.into_iter().any(|error| error.code == OciErrorCode::DigestInvalid)
}
