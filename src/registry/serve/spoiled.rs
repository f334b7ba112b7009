//! Bodies that go wrong on their way: broken off, too short or long, damaged, slow,
//! encoded by somebody in between.

use std::io::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Frame;

use super::answer::Body;

/// How long a byte of [`drip`] takes.
const DRIP: Duration = Duration::from_millis(100);

/// The connection ends here without a word.
#[derive(Debug, thiserror::Error)]
#[error("the connection was broken off on purpose")]
pub(super) struct Broken;

/// `length` zeros in pieces.
fn zeros(length: u64) -> impl Stream<Item = Bytes> {
    const PIECE: u64 = 64 * 1024;
    let pieces = (0..length.div_ceil(PIECE)).map(move |piece| PIECE.min(length - piece * PIECE) as usize);
    stream::iter(pieces.map(|size| Bytes::from(vec![0; size])))
}

/// The first `at` bytes of `body`, then an error.
pub(super) fn cut(body: Body, at: u64) -> Body {
    let before = stream::try_unfold((BodyStream::new(body), at), async |(mut body, left)| {
        let data = match body.next().await.transpose()?.map(Frame::into_data) {
            Some(Ok(data)) if left > 0 => data,
            _ => return Ok(None),
        };
        let data = data.slice(..data.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        let left = left - data.len() as u64;
        Ok(Some((Frame::data(data), (body, left))))
    });
    let end = stream::once(async {
        // A body that waits is flushed: what came before the error gets to the other side.
        tokio::task::yield_now().await;
        Err(broken())
    });
    BodyExt::boxed(StreamBody::new(before.chain(end)))
}

/// The first `at` bytes of `body`, and its end.
pub(super) fn shorten(body: Body, at: u64) -> Body {
    BodyExt::boxed(StreamBody::new(before(body, at)))
}

/// The first `at` bytes of `body`, and never its end.
pub(super) fn stall(body: Body, at: u64) -> Body {
    BodyExt::boxed(StreamBody::new(before(body, at).chain(stream::pending())))
}

fn before(body: Body, at: u64) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    BodyStream::new(cut(body, at)).take_while(|frame| std::future::ready(frame.is_ok()))
}

/// `body` and so many zeros.
pub(super) fn lengthen(body: Body, by: u64) -> Body {
    BodyExt::boxed(StreamBody::new(BodyStream::new(body).chain(zeros(by).map(|bytes| Ok(Frame::data(bytes))))))
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, Broken)
}

/// `body` with the lowest bit of the byte at `at` flipped.
pub(super) fn flip(body: Body, at: u64) -> Body {
    let mut offset = 0;
    let frames = BodyStream::new(body).map(move |frame| {
        let frame = frame?;
        let Some(data) = frame.data_ref() else { return Ok(frame) };
        let (start, end) = (offset, offset + data.len() as u64);
        offset = end;
        if !(start..end).contains(&at) {
            return Ok(frame);
        }
        let mut data = data.to_vec();
        data[(at - start) as usize] ^= 1;
        Ok(Frame::data(Bytes::from(data)))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

/// The first `at` bytes of `body`, then one after the other.
pub(super) fn drip(body: Body, at: u64) -> Body {
    let frames =
        stream::try_unfold((BodyStream::new(body), Bytes::new(), at), |(mut body, mut held, left)| async move {
            while held.is_empty() {
                let Some(frame) = body.next().await else { return Ok(None) };
                held = frame?.into_data().unwrap_or_default();
            }
            let slow = left == 0;
            if slow {
                tokio::time::sleep(DRIP).await;
            }
            let count = if slow { 1 } else { usize::try_from(left).unwrap_or(usize::MAX).min(held.len()) };
            let piece = held.split_to(count);
            let left = left.saturating_sub(count as u64);
            Ok(Some((Frame::data(piece), (body, held, left))))
        });
    BodyExt::boxed(StreamBody::new(frames))
}

/// `body` as a gzip stream.
pub(super) fn gzip(body: Body) -> Body {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let frames = stream::try_unfold((BodyStream::new(body), Some(encoder)), |(mut body, encoder)| async move {
        let Some(mut encoder) = encoder else { return Ok(None) };
        let Some(frame) = body.next().await else {
            return Ok(Some((Frame::data(encoder.finish()?.into()), (body, None))));
        };
        encoder.write_all(&frame?.into_data().unwrap_or_default())?;
        let written = std::mem::take(encoder.get_mut());
        Ok(Some((Frame::data(written.into()), (body, Some(encoder)))))
    });
    BodyExt::boxed(StreamBody::new(frames))
}
