//! A blob as a stream that goes on where it broke off, at the next mirror if need
//! be, and whose last bytes are given out only once the whole has proved right.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use super::body::{Pace, missing};
use super::client::Call;
use super::http::redacted;
use super::origin::BlobStream;
use super::repository::{Repository, address, content_length};
use super::retry::{Attempts, Failure};
use super::token::Scope;
use super::{Error, RequestKind};
use crate::oci::{Descriptor, Hasher};

/// Bytes after which a connection counts as having worked, so that a long blob
/// over a bad line isn't given up for failures that lie far apart.
const PROGRESS: u64 = 1 << 20;

impl Repository {
    /// The blob's bytes. The stream ends well only if they were exactly
    /// `descriptor.size` and hash to `descriptor.digest`; before that, whoever takes
    /// them must not trust them.
    ///
    /// Yields, once, [`Error::Digest`], [`Error::Length`], [`Error::Range`],
    /// [`Error::NotFound`], or that of any request, and then ends.
    pub fn pull_blob(&self, descriptor: &Descriptor) -> BlobStream {
        self.pull(descriptor, 0, Some(Hasher::new()))
    }

    /// The blob's bytes from `offset` on. Their number is right if the stream ends well;
    /// whether they are the blob's, whoever has the rest must find out.
    pub(super) fn pull_rest(&self, descriptor: &Descriptor, offset: u64) -> BlobStream {
        self.pull(descriptor, offset, None)
    }

    fn pull(&self, descriptor: &Descriptor, offset: u64, hasher: Option<Hasher>) -> BlobStream {
        let pull = Pull {
            repository: self.clone(),
            descriptor: descriptor.clone(),
            place: 0,
            attempts: self.client.attempts(&self.places.pull[0]),
            open: None,
            received: offset,
            hasher,
            ranges: true,
            safe: offset,
            held: None,
        };
        stream::try_unfold(Some(pull), |pull| async move {
            let Some(mut pull) = pull else { return Ok(None) };
            match pull.next().await? {
                Next::More(bytes) => Ok(Some((bytes, Some(pull)))),
                Next::Last(bytes) => Ok(bytes.map(|bytes| (bytes, None))),
            }
        })
        .boxed()
    }
}

enum Next {
    More(Bytes),
    Last(Option<Bytes>),
}

struct Pull {
    repository: Repository,
    descriptor: Descriptor,
    /// Which of the repository's places is asked.
    place: usize,
    attempts: Attempts,
    /// The answer that is being read, how many of its bytes are known already, and how fast it comes.
    open: Option<(Response, u64, Pace)>,
    /// Where to go on.
    received: u64,
    /// All bytes so far; nothing where they don't begin with the first.
    hasher: Option<Hasher>,
    /// Whether the rest alone is asked for.
    ranges: bool,
    /// Where the last failure was.
    safe: u64,
    /// The newest bytes, not given out yet.
    held: Option<Bytes>,
}

impl Pull {
    async fn next(&mut self) -> Result<Next, Error> {
        loop {
            match self.step().await {
                Ok(Some(next)) => return Ok(next),
                Ok(None) => {}
                Err(failure) => self.recover(failure).await?,
            }
        }
    }

    /// One chunk, or the opening of an answer.
    async fn step(&mut self) -> Result<Option<Next>, Failure> {
        let Some((response, skip, pace)) = &mut self.open else {
            let (response, skip) = self.begin().await?;
            self.open = Some((response, skip, Pace::new(self.repository.client.retry.silence)));
            return Ok(None);
        };
        let (url, received) = (redacted(response.url()), self.received);
        let mut chunk = match pace.next(response, &url, received).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) if received == self.descriptor.size => return self.finish(&url).map(Some),
            Ok(None) => return Err(self.length(&url, received).into()),
            // Everything is here: how the connection ends is nobody's concern.
            Err(_) if received == self.descriptor.size && received > 0 => return self.finish(&url).map(Some),
            Err(error) => return Err(error.into()),
        };
        let known = (*skip).min(chunk.len() as u64);
        *skip -= known;
        let new = chunk.split_off(known as usize);
        if new.is_empty() {
            return Ok(None);
        }
        let found = received + new.len() as u64;
        if found > self.descriptor.size {
            return Err(self.length(&url, found).into());
        }
        self.received = found;
        self.hasher.iter_mut().for_each(|hasher| hasher.update(&new));
        self.repository.client.http.received(new.len()).await;
        Ok(self.held.replace(new).map(Next::More))
    }

    fn finish(&mut self, url: &str) -> Result<Next, Failure> {
        let found = self.hasher.as_ref().map(|hasher| hasher.clone().finish().0);
        if let Some(found) = found.filter(|found| *found != self.descriptor.digest) {
            let (url, expected) = (url.to_owned(), self.descriptor.digest);
            return Err(Error::Digest { url, expected, found }.into());
        }
        Ok(Next::Last(self.held.take()))
    }

    /// Asks for the rest. Blobs never change, so no `If-Match` is needed: the
    /// digest over all parts decides.
    async fn begin(&self) -> Result<(Response, u64), Failure> {
        let (place, offset) = (&self.repository.places.pull[self.place], self.received);
        let site = self.repository.client.site(place).await?;
        let url = address(&site, place, &format!("blobs/{}", self.descriptor.digest))?;
        let mut call = Call::new(RequestKind::GetBlob, Method::GET, url, Scope::pull(&place.name));
        if offset > 0 && self.ranges {
            let range = HeaderValue::from_str(&format!("bytes={offset}-"));
            call.headers.insert(RANGE, range.map_err(|_| Error::Address { name: place.to_string() })?);
        }
        let response = self.repository.client.attempt(place, &call).await?;
        let url = redacted(response.url());
        let rest = self.descriptor.size - offset;
        let length = content_length(response.headers());
        // RFC 9110 14.2: a server may ignore Range and answer 200 with the whole
        let (expected, skip) = match response.status() {
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                self.check_range(&url, &response)?;
                (rest, 0)
            }
            StatusCode::OK => (self.descriptor.size, offset),
            status => return Err(Error::Refused { url, status, envelope: Box::new(None) }.into()),
        };
        match length {
            Some(found) if found != expected => Err(Error::Length { url, expected, found }.into()),
            _ => Ok((response, skip)),
        }
    }

    /// RFC 9110 14.4: `Content-Range: bytes FIRST-LAST/COMPLETE`
    fn check_range(&self, url: &str, response: &Response) -> Result<(), Error> {
        let (offset, size) = (self.received, self.descriptor.size);
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let part = format!("bytes {offset}-{}/", size - 1);
        let complete = range.strip_prefix(&part);
        if complete.is_some_and(|complete| complete == "*" || complete.parse() == Ok(size)) {
            return Ok(());
        }
        let range = range.chars().take(100).collect();
        Err(Error::Range { url: url.to_owned(), offset, range })
    }

    /// Waits, or goes on to the next place; where there is none, that was it.
    async fn recover(&mut self, failure: Failure) -> Result<(), Error> {
        self.open = None;
        let received = self.received;
        if received - self.safe >= PROGRESS {
            self.attempts.progressed();
        }
        self.safe = received;
        let whole = received == self.descriptor.size;
        let wrong = matches!(failure.error, Error::Digest { .. } | Error::Length { .. }) && whole;
        // RFC 9110 15.5.17: a server that has no such part may still have the whole
        let no_part =
            self.ranges && matches!(&failure.error, Error::Refused { status: StatusCode::RANGE_NOT_SATISFIABLE, .. });
        self.ranges &= !no_part;
        let waited = match (wrong, no_part) {
            (true, _) => Err(failure.error),
            (false, true) => self.attempts.after_any(failure).await,
            (false, false) => self.attempts.after(failure).await,
        };
        let Err(error) = waited else { return Ok(()) };
        let place = &self.repository.places.pull[self.place];
        let error = missing(error, &self.descriptor.digest.to_string(), &place.to_string());
        // Wrong bytes have been given out already: no other place can mend that.
        if wrong || self.place + 1 == self.repository.places.pull.len() {
            return Err(error);
        }
        self.place += 1;
        self.attempts = self.repository.client.attempts(&self.repository.places.pull[self.place]);
        Ok(())
    }

    fn length(&self, url: &str, found: u64) -> Error {
        Error::Length { url: url.to_owned(), expected: self.descriptor.size, found }
    }
}
