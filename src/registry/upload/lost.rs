//! A part of a blob, or the end of its upload, that did not arrive, and why.

use reqwest::Response;

use super::line::Line;
use crate::registry::Error;
use crate::registry::client::Sent;
use crate::registry::retry::Failure;

/// What did not arrive.
pub(super) struct Lost {
    pub(super) failure: Failure,
    /// Whether the token had run out, and there is a way to a new one.
    pub(super) expired: bool,
    /// Whether it was to be the last, and close the session.
    pub(super) closing: bool,
    /// How long it was to be, in bytes.
    pub(super) length: u64,
}

impl Lost {
    /// What `failure` kept off.
    pub(super) fn to(failure: impl Into<Failure>, closing: bool, length: u64) -> Self {
        Self { failure: failure.into(), expired: false, closing, length }
    }

    /// Whether the line broke, or nothing went over it any more.
    pub(super) fn broke(&self) -> bool {
        matches!(self.failure.error, Error::Http(_) | Error::Stalled { .. })
    }

    /// Whether the registry says that it takes no PATCH, or wants to know beforehand how
    /// long a part is.
    pub(super) fn declines(&self) -> bool {
        let Error::Refused { status, .. } = &self.failure.error else { return false };
        matches!(status.as_u16(), 400 | 405 | 411 | 415 | 501)
    }

    /// The answer to what was sent over `line`, or what was lost.
    pub(super) fn unless_answered(sent: Sent, line: &Line<'_>, closing: bool, length: u64) -> Result<Response, Self> {
        match sent {
            Sent::Answered(response) => Ok(response),
            Sent::Failed(failure) => Err(Self::to(failure, closing, length)),
            Sent::Expired => {
                let place = &line.repository.places.push;
                let (registry, name) = (place.host.clone(), place.name.clone());
                let failure = Error::Unauthorized { registry, name, anonymous: false };
                Err(Self { expired: true, ..Self::to(failure, closing, length) })
            }
        }
    }
}
