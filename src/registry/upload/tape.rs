//! A blob's stream that is sent in several requests: each takes its part, the next
//! goes on behind it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use super::meter::Meter;
use crate::locked::locked;
use crate::registry::Error;
use crate::registry::origin::BlobStream;

/// A blob's bytes from some offset on. Cheap to clone; clones are the same tape.
#[derive(Clone)]
pub(in crate::registry) struct Tape(Arc<Mutex<Reel>>);

struct Reel {
    stream: BlobStream,
    /// How many bytes of the stream are still to be passed over.
    skip: u64,
    /// What was read and belongs to the next part.
    ahead: Option<Bytes>,
    /// Where in the blob the next byte lies.
    position: u64,
    /// Which part may read.
    part: u64,
}

/// Why a part ends early.
enum Broken {
    /// The blob can't be read.
    Origin(Error),
    /// The answer came before, or another part has begun.
    Stopped,
}

impl Tape {
    /// `stream`, which begins at the blob's byte `from`, without what lies before `offset`.
    pub(in crate::registry) fn new(stream: BlobStream, from: u64, offset: u64) -> Self {
        let skip = offset.saturating_sub(from);
        Self(Arc::new(Mutex::new(Reel { stream, skip, ahead: None, position: offset, part: 0 })))
    }

    /// How far it was read, in bytes of the blob.
    pub(in crate::registry) fn position(&self) -> u64 {
        locked(&self.0).position
    }

    /// Whether everything was read.
    ///
    /// # Errors
    /// What the stream yields in place of its next bytes.
    pub(in crate::registry) async fn is_at_end(&self) -> Result<bool, Error> {
        let at_end = |context: &mut Context<'_>| {
            let mut reel = locked(&self.0);
            let next = ready!(reel.poll_next(context)).transpose()?;
            let at_end = next.is_none();
            next.into_iter().for_each(|bytes| reel.put_back(bytes));
            Poll::Ready(Ok(at_end))
        };
        poll_fn(at_end).await
    }

    /// The next `length` bytes, or as many as there are, as the body of a request; one
    /// that `may_end` ends early where uploads are to end. `meter` hears of each piece
    /// that goes, and of the error that ends the body. A part before it ends where it is.
    pub(in crate::registry) fn part(
        &self,
        length: u64,
        meter: &Arc<Meter>,
        may_end: bool,
    ) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        let part = self.stop();
        let begin = (self.clone(), length, Arc::clone(meter));
        stream::unfold(begin, move |(tape, left, meter)| async move {
            if left == 0 {
                return None;
            }
            let next = async {
                meter.wait().await;
                poll_fn(|context| tape.poll_piece(part, left.min(meter.piece()), context)).await
            };
            let next = tokio::select! {
                biased;
                () = meter.interrupted(), if may_end => None,
                next = next => next,
            };
            match next? {
                Ok(piece) => {
                    meter.sent(piece.len() as u64);
                    let left = left - piece.len() as u64;
                    Some((Ok(piece), (tape, left, meter)))
                }
                Err(Broken::Origin(error)) => {
                    meter.fail(error);
                    Some((Err(std::io::Error::other("the blob's origin failed")), (tape, 0, meter)))
                }
                // An error, or the connection would be used again, behind what nobody reads.
                Err(Broken::Stopped) => Some((Err(std::io::ErrorKind::Interrupted.into()), (tape, 0, meter))),
            }
        })
    }

    /// Ends the part that is on its way, and gives the next one its number. A client may
    /// hold a body for as long as its connection, long after the answer to it.
    pub(in crate::registry) fn stop(&self) -> u64 {
        let mut reel = locked(&self.0);
        reel.part += 1;
        reel.part
    }

    /// The next bytes for `part`, `most` at most.
    fn poll_piece(&self, part: u64, most: u64, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let mut reel = locked(&self.0);
        if reel.part != part {
            return Poll::Ready(Some(Err(Broken::Stopped)));
        }
        let Some(next) = ready!(reel.poll_next(context)) else { return Poll::Ready(None) };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let cut = |mut piece: Bytes| {
            if piece.len() > most {
                let rest = piece.split_off(most);
                reel.put_back(rest);
            }
            piece
        };
        Poll::Ready(Some(next.map(cut).map_err(Broken::Origin)))
    }
}

impl Reel {
    /// The next bytes, never none. What is passed over is read all the same: whoever
    /// verifies the blob sees all of it.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(ahead) = self.ahead.take() {
            self.position += ahead.len() as u64;
            return Poll::Ready(Some(Ok(ahead)));
        }
        loop {
            let mut bytes = match ready!(self.stream.poll_next_unpin(context)) {
                Some(Ok(bytes)) => bytes,
                end => return Poll::Ready(end),
            };
            let passed = self.skip.min(bytes.len() as u64);
            self.skip -= passed;
            let rest = bytes.split_off(passed as usize);
            if !rest.is_empty() {
                self.position += rest.len() as u64;
                return Poll::Ready(Some(Ok(rest)));
            }
        }
    }

    fn put_back(&mut self, bytes: Bytes) {
        self.position -= bytes.len() as u64;
        self.ahead = Some(bytes);
    }
}
