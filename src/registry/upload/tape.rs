//! A blob's stream that is sent in several requests: each takes its part, the next
//! goes on behind it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::meter::Meter;
use crate::registry::Error;
use crate::registry::origin::BlobStream;

/// A blob's bytes from some offset on. Cheap to clone; one part is read at a time.
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
}

impl Tape {
    /// `stream`, which begins at the blob's byte `from`, without what lies before `offset`.
    pub(in crate::registry) fn new(stream: BlobStream, from: u64, offset: u64) -> Self {
        Self(Arc::new(Mutex::new(Reel { stream, skip: offset.saturating_sub(from), ahead: None, position: offset })))
    }

    /// How far it was read, in bytes of the blob.
    pub(in crate::registry) async fn position(&self) -> u64 {
        self.0.lock().await.position
    }

    /// Whether everything was read.
    ///
    /// # Errors
    /// What the stream yields in place of its next bytes.
    pub(in crate::registry) async fn is_at_end(&self) -> Result<bool, Error> {
        let mut reel = self.0.lock().await;
        let next = reel.next().await.transpose()?;
        let at_end = next.is_none();
        next.into_iter().for_each(|bytes| reel.put_back(bytes));
        Ok(at_end)
    }

    /// The next `length` bytes, or as many as there are, as the body of a request; one
    /// that `may_end` ends early where uploads are to end. `meter` hears of each piece
    /// that goes, and of the error that ends the body.
    pub(in crate::registry) fn part(
        &self,
        length: u64,
        meter: &Arc<Meter>,
        may_end: bool,
    ) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        let (tape, meter) = (self.clone(), Arc::clone(meter));
        let reel = async move { tape.0.lock_owned().await };
        let begin = stream::once(reel);
        begin.flat_map(move |reel| pieces(reel, length, Arc::clone(&meter), may_end))
    }
}

fn pieces(
    reel: OwnedMutexGuard<Reel>,
    length: u64,
    meter: Arc<Meter>,
    may_end: bool,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    stream::unfold((reel, length, meter), move |(mut reel, left, meter)| async move {
        if left == 0 {
            return None;
        }
        let next = async {
            meter.wait().await;
            reel.next().await
        };
        let next = tokio::select! {
            biased;
            () = meter.interrupted(), if may_end => None,
            next = next => next,
        };
        let mut piece = match next? {
            Ok(piece) => piece,
            Err(error) => {
                meter.fail(error);
                return Some((Err(std::io::Error::other("the blob's origin failed")), (reel, 0, meter)));
            }
        };
        let most = usize::try_from(left.min(meter.piece())).unwrap_or(usize::MAX);
        if piece.len() > most {
            let rest = piece.split_off(most);
            reel.put_back(rest);
        }
        meter.sent(piece.len() as u64);
        let left = left - piece.len() as u64;
        Some((Ok(piece), (reel, left, meter)))
    })
}

impl Reel {
    /// The next bytes, never none. What is passed over is read all the same: whoever
    /// verifies the blob sees all of it.
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if let Some(ahead) = self.ahead.take() {
            self.position += ahead.len() as u64;
            return Some(Ok(ahead));
        }
        loop {
            let mut bytes = match self.stream.next().await? {
                Ok(bytes) => bytes,
                Err(error) => return Some(Err(error)),
            };
            let passed = self.skip.min(bytes.len() as u64);
            self.skip -= passed;
            let rest = bytes.split_off(passed as usize);
            if !rest.is_empty() {
                self.position += rest.len() as u64;
                return Some(Ok(rest));
            }
        }
    }

    fn put_back(&mut self, bytes: Bytes) {
        self.position -= bytes.len() as u64;
        self.ahead = Some(bytes);
    }
}
