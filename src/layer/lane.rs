//! Work that keeps pace with the writer on a thread of its own, or is done at once.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// How much goes to the thread at a time, in bytes.
const BUFFER: usize = 256 * 1024;
/// How many buffers there are besides the one that is being filled.
const BUFFERS: usize = 4;

/// Hands bytes to `W`.
pub(super) enum Lane<W> {
    /// In the caller's thread.
    Here(W),
    /// In its own.
    Thread(Worker<W>),
}

impl<W: Write + Send + 'static> Lane<W> {
    /// A lane to `sink`, on a thread named `name` if there is one to be.
    pub(super) fn new(sink: W, thread: Option<&str>) -> io::Result<Self> {
        match thread {
            None => Ok(Self::Here(sink)),
            Some(name) => Ok(Self::Thread(Worker::start(sink, name)?)),
        }
    }

    /// Takes bytes in. An error may be that of bytes before.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Here(sink) => sink.write_all(bytes),
            Self::Thread(worker) => worker.write(bytes),
        }
    }

    /// Gives the sink back after the last byte.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Here(sink) => Ok(sink),
            Self::Thread(worker) => worker.finish(),
        }
    }
}

/// A thread and the buffers that go round between it and the writer.
pub(super) struct Worker<W> {
    filling: Vec<u8>,
    full: Option<SyncSender<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> Worker<W> {
    fn start(mut sink: W, name: &str) -> io::Result<Self> {
        let (full, to_write) = sync_channel::<Vec<u8>>(BUFFERS);
        let (written, empty) = sync_channel(BUFFERS + 1);
        for _ in 0..BUFFERS {
            // The receiver is in this function, and the channel holds so many.
            let _ = written.send(Vec::with_capacity(BUFFER));
        }
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            for mut buffer in to_write {
                sink.write_all(&buffer)?;
                buffer.clear();
                // The writer may have gone; the sink is dropped all the same.
                let _ = written.send(buffer);
            }
            Ok(sink)
        })?;
        Ok(Self { filling: Vec::with_capacity(BUFFER), full: Some(full), empty, thread: Some(thread) })
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - self.filling.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
            if self.filling.len() == BUFFER {
                self.send()?;
                match self.empty.recv() {
                    Ok(buffer) => self.filling = buffer,
                    Err(_) => return Err(self.failure()),
                }
            }
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.filling);
        match self.full.as_ref().map(|full| full.send(buffer)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    fn finish(mut self) -> io::Result<W> {
        self.send()?;
        self.join()
    }

    /// Why the thread ended before its time.
    fn failure(&mut self) -> io::Error {
        match self.join() {
            Ok(_) => io::Error::other("the thread ended before the layer did"),
            Err(error) => error,
        }
    }
}

impl<W> Worker<W> {
    fn join(&mut self) -> io::Result<W> {
        self.full = None;
        let ended = self.thread.take().map(JoinHandle::join);
        ended.unwrap_or_else(|| Ok(Err(io::Error::other("the thread has ended")))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(io::Error::other(format!("a thread of the layer panicked: {text}")))
        })
    }
}

impl<W> Drop for Worker<W> {
    /// Waits for the thread, so that an unfinished blob is gone when its writer is.
    fn drop(&mut self) {
        if self.thread.is_some() {
            drop(self.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then fails or panics.
    struct Fragile(usize, bool);

    impl Write for Fragile {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.checked_sub(bytes.len()) {
                Some(left) => self.0 = left,
                None if self.1 => panic!("no more"),
                None => return Err(io::ErrorKind::StorageFull.into()),
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn fill(sink: Fragile) -> io::Error {
        let mut lane = Lane::new(sink, Some("fragile")).unwrap();
        loop {
            if let Err(error) = lane.write(&[0; 100_000]) {
                return error;
            }
        }
    }

    #[test]
    fn an_error_on_the_thread_comes_back() {
        assert_eq!(fill(Fragile(3_000_000, false)).kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_panic_on_the_thread_comes_back_as_an_error() {
        assert_eq!(fill(Fragile(3_000_000, true)).to_string(), "a thread of the layer panicked: no more");
    }

    #[test]
    fn an_error_at_the_last_bytes_comes_back_from_finish() {
        let mut lane = Lane::new(Fragile(10, false), Some("fragile")).unwrap();
        lane.write(&[0; 11]).unwrap();
        assert!(lane.finish().is_err());
    }
}
