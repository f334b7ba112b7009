//! Pushing a blob while it is made: a plain thread writes it, at most a few chunks
//! ahead of the network, and ends as soon as nobody wants the rest.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::origin::BlobOrigin;
use super::upload::Unnamed;
use super::{Error, Pushed, Repository, Transfer};
use crate::locked::locked;
use crate::oci::Descriptor;

/// How much goes to the network at a time, in bytes.
const CHUNK: usize = 256 << 10;
/// How many chunks may wait for the network.
const WAITING: usize = 4;
/// A blob of at most so many bytes is made before it is sent: then it may turn out to
/// be there, and every registry takes it.
const SMALL: usize = 1 << 20;

/// What writes a blob, as often as it has to: the same bytes each time.
pub trait Maker: Send + Sync + 'static {
    /// What is known of the blob once it is written.
    type Made: AsRef<Descriptor> + Send;
    /// Why it can't be written or sent.
    type Error: From<Error> + Send;

    /// Writes the blob into `out` and flushes it. Runs on a plain thread.
    ///
    /// # Errors
    /// Its own; and whatever it makes of [`io::ErrorKind::BrokenPipe`], with which `out`
    /// says that nobody wants the rest.
    fn make(&self, out: Outlet) -> Result<Self::Made, Self::Error>;
}

impl Repository {
    /// Makes sure that what `maker` makes is in this repository. It is sent while it is
    /// made, so that it touches no disk, and memory does not grow with it. `name` stands
    /// for its bytes in the journal, since its digest is not known before its end.
    /// `progress` hears of bytes that went further than any before. Nothing if the
    /// registry takes no part of a blob whose length it isn't told; then the blob is not
    /// there.
    ///
    /// # Errors
    /// The maker's own; those of [`Repository::push_blob`].
    pub async fn push_made<M: Maker>(
        &self,
        maker: &Arc<M>,
        name: &str,
        progress: &(dyn Fn(Transfer) + Sync),
    ) -> Result<Option<(M::Made, Pushed)>, M::Error> {
        let mut making = Making::begin(maker, 0);
        let mut begun: Vec<Bytes> = Vec::new();
        while let Some(chunk) = making.chunks.next().await {
            begun.push(chunk);
            if begun.iter().map(Bytes::len).sum::<usize>() > SMALL {
                return Unnamed::new(self, maker, name, progress).await?.run(making, begun).await;
            }
        }
        let made = making.finish().await?;
        let origin = BlobOrigin::Bytes(begun.concat().into());
        let pushed = self.push_blob(made.as_ref(), &origin, None, progress).await?;
        Ok(Some((made, pushed)))
    }
}

/// Takes the bytes of a blob that is being made.
pub struct Outlet {
    /// How many bytes of the blob are not wanted any more.
    skip: u64,
    filling: BytesMut,
    chunks: mpsc::Sender<Bytes>,
    refused: Arc<AtomicBool>,
}

impl Outlet {
    fn send(&mut self) -> io::Result<()> {
        let chunk = self.filling.split().freeze();
        self.chunks.blocking_send(chunk).map_err(|_| {
            self.refused.store(true, Ordering::Relaxed);
            io::ErrorKind::BrokenPipe.into()
        })
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let known = self.skip.min(bytes.len() as u64) as usize;
        self.skip -= known as u64;
        if self.filling.is_empty() {
            self.filling.reserve(CHUNK);
        }
        let taken = (CHUNK - self.filling.len()).min(bytes.len() - known);
        self.filling.extend_from_slice(&bytes[known..known + taken]);
        if self.filling.len() == CHUNK {
            self.send()?;
        }
        Ok(known + taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.filling.is_empty() { Ok(()) } else { self.send() }
    }
}

/// A blob on its way from its maker.
pub(super) struct Making<M: Maker> {
    pub(super) chunks: Chunks,
    outcome: JoinHandle<Result<M::Made, M::Error>>,
    /// Whether the maker was told that nobody wants the rest.
    refused: Arc<AtomicBool>,
}

impl<M: Maker> Making<M> {
    /// Lets `maker` write; the first `skip` bytes go nowhere.
    pub(super) fn begin(maker: &Arc<M>, skip: u64) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let refused = Arc::<AtomicBool>::default();
        let out = Outlet { skip, filling: BytesMut::new(), chunks: sender, refused: Arc::clone(&refused) };
        let maker = Arc::clone(maker);
        let outcome = tokio::task::spawn_blocking(move || maker.make(out));
        Self { chunks: Chunks(Arc::new(Mutex::new(Some(receiver)))), outcome, refused }
    }

    /// What was made, once all of it was taken.
    ///
    /// # Errors
    /// The maker's own.
    pub(super) async fn finish(self) -> Result<M::Made, M::Error> {
        self.outcome.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    /// Ends it where it stands. What was made, if that was all; nothing if the maker was
    /// told to stop.
    ///
    /// # Errors
    /// The maker's own.
    pub(super) async fn stop(self) -> Result<Option<M::Made>, M::Error> {
        self.chunks.close();
        let refused = Arc::clone(&self.refused);
        match self.finish().await {
            Ok(made) => Ok(Some(made)),
            Err(_) if refused.load(Ordering::Relaxed) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The bytes of a blob that is being made. They end where the maker is done, or has
/// failed. A clone takes from the same blob.
#[derive(Clone)]
pub(super) struct Chunks(Arc<Mutex<Option<mpsc::Receiver<Bytes>>>>);

impl Chunks {
    /// Takes nothing any more: a client may hold a request's body for as long as its
    /// connection.
    fn close(&self) {
        *locked(&self.0) = None;
    }
}

impl Stream for Chunks {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        locked(&self.0).as_mut().map_or(Poll::Ready(None), |chunks| chunks.poll_recv(context))
    }
}
