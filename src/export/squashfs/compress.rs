//! Blocks are compressed side by side on a few threads, and come back in order.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::layer::{Compression, deflate};

/// zstd's level: what lies between its own default and mksquashfs's, which takes ten times as long.
const ZSTD_LEVEL: i32 = 9;

/// How many blocks a thread may have before it.
const AHEAD: usize = 4;

/// A block as it is stored.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Whether it is smaller so; one that is not is stored as it is.
    pub(super) is_compressed: bool,
}

/// Compresses one block.
pub(super) fn pack(block: Vec<u8>, compression: Compression) -> Packed {
    let packed = match compression {
        Compression::Gzip => Some(zlib(&block)),
        Compression::Zstd => zstd::bulk::compress(&block, ZSTD_LEVEL).ok(),
    };
    match packed.filter(|packed| packed.len() < block.len()) {
        Some(bytes) => Packed { bytes, is_compressed: true },
        None => Packed { bytes: block, is_compressed: false },
    }
}

/// RFC 1950: CMF says deflate and a window of 32 KiB, FLG that both together are a multiple of 31;
/// then the stream, and the Adler-32 of the text, its highest byte first.
fn zlib(text: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x9c];
    stream.append(&mut deflate(text));
    stream.extend(adler32(text).to_be_bytes());
    stream
}

/// RFC 1950, 2.2: two sums modulo 65521.
fn adler32(text: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    /// So many bytes don't overflow 32 bits (RFC 1950, 9: NMAX).
    const MOST: usize = 5552;
    let (mut a, mut b) = (1u32, 0u32);
    for part in text.chunks(MOST) {
        for byte in part {
            a += u32::from(*byte);
            b += a;
        }
        a %= MODULUS;
        b %= MODULUS;
    }
    b << 16 | a
}

type Job = (Vec<u8>, SyncSender<Packed>);

/// Threads that compress, and what they are at, in order.
pub(super) struct Pipeline<T> {
    jobs: Sender<Job>,
    pending: VecDeque<(T, Receiver<Packed>)>,
    most: usize,
}

impl<T> Pipeline<T> {
    /// Starts as many threads as the process has CPUs; they end when this is dropped.
    pub(super) fn start(compression: Compression) -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let (jobs, to_do) = channel::<Job>();
        let to_do = Arc::new(Mutex::new(to_do));
        for _ in 0..threads {
            let to_do = Arc::clone(&to_do);
            thread::Builder::new().name("squashfs".to_owned()).spawn(move || {
                loop {
                    let next = to_do.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((block, done)) = next else { break };
                    // nobody waits for it any more if the export has failed
                    let _ = done.send(pack(block, compression));
                }
            })?;
        }
        Ok(Self { jobs, pending: VecDeque::new(), most: AHEAD * threads })
    }

    /// Takes a block, which is `what`.
    pub(super) fn push(&mut self, what: T, block: Vec<u8>) {
        let (done, waiting) = sync_channel(1);
        // the threads are there as long as this is
        let _ = self.jobs.send((block, done));
        self.pending.push_back((what, waiting));
    }

    /// The next block in order: if so many are pending that it is time, or `all` are to come.
    pub(super) fn pop(&mut self, all: bool) -> io::Result<Option<(T, Packed)>> {
        if !all && self.pending.len() < self.most {
            return Ok(None);
        }
        let Some((what, waiting)) = self.pending.pop_front() else { return Ok(None) };
        // a thread ends without a word only where dlpack has a fault
        let packed = waiting.recv().map_err(|_| io::Error::other("a thread that compresses has ended"))?;
        Ok(Some((what, packed)))
    }
}

#[cfg(test)]
mod tests {
    use super::adler32;

    #[test]
    fn the_checksum_is_that_of_rfc_1950() {
        assert_eq!(adler32(b""), 1);
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
        assert_eq!(adler32(&[0xff; 100_000]), 0x149A_302C, "as zlib has it");
    }
}
