//! Faults put into an honest registry, for tests of clients: which request, which
//! time, and what goes wrong.

use std::sync::Mutex;

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Response, StatusCode};

use super::answer::{Body, full};
use super::spoiled::{Broken, cut, drip, flip, gzip, lengthen, shorten, stall};
use crate::locked::locked;

/// What goes wrong with a request or its answer. Offsets are in bytes of the body.
#[derive(Clone, Debug)]
pub enum What {
    /// This status with these headers and this body, and nothing is done: 429, 5xx,
    /// a redirect, a challenge.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The same when so much of the request's body has come and been taken.
    AnswerAt(u64, u16, Vec<(&'static str, String)>),
    /// The connection ends when so much of the request's body has come and been taken.
    BreakRequest(u64),
    /// The same, and it ends by a reset (RFC 9293 3.5.2): what was on its way is lost.
    ResetRequest(u64),
    /// The request is taken, nothing is done, and the connection stays open.
    NoAnswer,
    /// The request is carried out, and the connection breaks instead of the answer.
    LoseAnswer,
    /// The request is carried out, and the answer says that it was not.
    LieAnswer(u16),
    /// The connection ends when so much of the answer's body has gone.
    BreakAnswer(u64),
    /// The same by a reset.
    ResetAnswer(u64),
    /// The answer's body ends so many bytes early, and Content-Length agrees.
    Shorten(u64),
    /// So many zeros after the answer's body, and Content-Length agrees.
    Lengthen(u64),
    /// The lowest bit of the answer's byte at this offset is flipped.
    Flip(u64),
    /// The answer's body stops at this offset, and the connection stays open.
    Stall(u64),
    /// From this offset on the answer's body comes byte by byte, ten a second.
    Drip(u64),
    /// The answer's body comes compressed by gzip, as its Content-Encoding says.
    Gzip,
    /// The answer has this header, in place of its own.
    Header(&'static str, String),
    /// The answer has these headers, in place of its own.
    Headers(Vec<(&'static str, String)>),
    /// The answer has this header, too, after its own.
    MoreHeader(&'static str, String),
    /// The answer's Location, which is a path, has this before and this after it: a
    /// host, a query.
    Location(String, String),
    /// The answer lacks this header.
    NoHeader(&'static str),
    /// The request's Range header is not seen.
    IgnoreRange,
    /// A mount is not seen: a session is begun instead.
    DeclineMount,
    /// The upload session has been forgotten.
    ForgetSession,
}

/// One fault: on which requests it falls, and how often.
#[derive(Clone, Debug)]
pub struct Fault {
    method: Method,
    target: String,
    skip: u32,
    times: u32,
    fell: bool,
    what: What,
}

impl Fault {
    /// On the first request of `method` whose path and query have `target` in them.
    pub fn on(method: &str, target: &str, what: What) -> Self {
        // A method that can't be one matches no request.
        let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::TRACE);
        Self { method, target: target.to_owned(), skip: 0, times: 1, fell: false, what }
    }

    /// Lets so many of these requests pass first.
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Falls on so many of these requests.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Falls on all of these requests.
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }
}

/// The faults that are still to come.
#[derive(Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// Puts `faults` in the place of those that are still to come.
    pub fn replace(&self, faults: Vec<Fault>) {
        *locked(&self.0) = faults;
    }

    /// The fault that falls on this request; it counts as having fallen.
    pub fn take(&self, method: &Method, target: &str) -> Option<What> {
        let mut faults = locked(&self.0);
        for fault in faults.iter_mut().filter(|it| it.method == *method && target.contains(&it.target)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                fault.fell = true;
                return Some(fault.what.clone());
            }
        }
        None
    }

    /// Whether each of them has fallen on a request.
    pub fn all_fell(&self) -> bool {
        locked(&self.0).iter().all(|fault| fault.fell)
    }
}

impl What {
    /// The answer of a fault that does nothing else.
    pub(super) fn instead(&self) -> Option<Response<Body>> {
        let Self::Answer(status, headers, body) = self else { return None };
        Some(answer(*status, headers, body))
    }

    /// Whether the connection ends by a reset.
    pub(super) fn resets(&self) -> bool {
        matches!(self, Self::ResetRequest(_) | Self::ResetAnswer(_))
    }

    /// The request's body as the registry sees it.
    pub(super) fn spoil_request(&self, body: Body) -> Body {
        match self {
            Self::BreakRequest(at) | Self::ResetRequest(at) | Self::AnswerAt(at, ..) => cut(body, *at),
            _ => body,
        }
    }

    /// The answer as the client sees it.
    pub(super) fn spoil(&self, response: Response<Body>) -> Result<Response<Body>, Broken> {
        let length = response.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
        let (mut parts, body) = response.into_parts();
        let mut announce = |length: u64| {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        };
        let body = match (self, length) {
            (Self::BreakRequest(_) | Self::ResetRequest(_) | Self::LoseAnswer, _) => return Err(Broken),
            (Self::AnswerAt(_, status, headers), _) => return Ok(answer(*status, headers, &[])),
            (Self::BreakAnswer(at) | Self::ResetAnswer(at), _) => cut(body, *at),
            (Self::Stall(at), _) => stall(body, *at),
            (Self::Shorten(by), Some(length)) => {
                let rest = length.saturating_sub(*by);
                announce(rest);
                shorten(body, rest)
            }
            (Self::Lengthen(by), Some(length)) => {
                announce(length + by);
                lengthen(body, *by)
            }
            (Self::Flip(at), _) => flip(body, *at),
            (Self::Drip(at), _) => drip(body, *at),
            (Self::Gzip, _) => {
                parts.headers.remove(CONTENT_LENGTH);
                parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                gzip(body)
            }
            _ => body,
        };
        let mut response = Response::from_parts(parts, body);
        match self {
            Self::Header(name, value) => put(&mut response, name, value),
            Self::Headers(headers) => headers.iter().for_each(|(name, value)| put(&mut response, name, value)),
            Self::MoreHeader(name, value) => {
                if let Ok(value) = HeaderValue::from_str(value) {
                    response.headers_mut().append(*name, value);
                }
            }
            Self::Location(before, after) => {
                let path = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
                if let Some(path) = path {
                    put(&mut response, LOCATION.as_str(), &format!("{before}{path}{after}"));
                }
            }
            Self::NoHeader(name) => _ = response.headers_mut().remove(*name),
            Self::LieAnswer(status) => {
                response = Response::new(full(Bytes::new()));
                *response.status_mut() = status_code(*status);
            }
            _ => {}
        }
        Ok(response)
    }
}

fn answer(status: u16, headers: &[(&'static str, String)], body: &[u8]) -> Response<Body> {
    let mut response = Response::new(full(body.to_vec()));
    *response.status_mut() = status_code(status);
    for (name, value) in headers {
        put(&mut response, name, value);
    }
    response
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn put(response: &mut Response<Body>, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
        response.headers_mut().insert(name, value);
    }
}
