//! A deflate encoder (RFC 1951) for what lies between the spliced streams: tar headers,
//! generated files, all that a sandbox wrote. It is ours, so that no library's next
//! version changes a digest; change it only together with [`super::FORMAT`].
//!
//! ```text
//! text ──matches──▶ block: literals and repetitions ──code──▶ stream: bits
//! ```

mod block;
mod code;
mod matches;
mod stream;

use super::bits::Tail;
use block::Block;
use matches::{Matcher, WINDOW};
use stream::Stream;

/// How much is encoded at a time: what a stored block holds.
const BLOCK: usize = 65535;
/// How much of the past may lie before the pending bytes until it is cut to a window.
const PAST: usize = 4 * WINDOW;

/// Encodes text as it comes; other text, which is in the stream already, may come
/// between.
pub(super) struct Encoder {
    /// The past, then what is pending.
    text: Vec<u8>,
    /// Where in `text` the pending bytes begin.
    pending: usize,
    /// Where the tar's byte `text[0]` stands.
    origin: u64,
    matcher: Matcher,
    /// Empty between two calls; kept for its memory.
    block: Block,
    out: Stream,
}

impl Encoder {
    pub(super) fn new() -> Self {
        let (matcher, block, out) = (Matcher::new(), Block::new(), Stream::default());
        Self { text: Vec::new(), pending: 0, origin: 0, matcher, block, out }
    }

    /// Takes text in to be encoded.
    pub(super) fn write(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            // Cut where it does not depend on how the text came.
            let (now, later) = text.split_at(text.len().min(BLOCK - (self.text.len() - self.pending)));
            self.text.extend_from_slice(now);
            text = later;
            if self.text.len() - self.pending == BLOCK {
                self.encode(false);
            }
        }
    }

    /// Encodes what is pending and fills the last byte, so that a stream may follow.
    pub(super) fn align(&mut self) {
        if self.text.len() > self.pending {
            self.encode(false);
        }
        if !self.out.is_aligned() {
            self.out.stored(&[], false);
        }
    }

    /// Takes note of text that has come into the stream otherwise.
    pub(super) fn pass(&mut self, text: &[u8]) {
        let skipped = text.len().saturating_sub(WINDOW);
        if skipped > 0 {
            self.origin += (self.text.len() + skipped) as u64;
            self.text.clear();
        }
        self.text.extend_from_slice(&text[skipped..]);
        self.pending = self.text.len();
        self.forget();
    }

    /// Goes on behind a stream that ended within a byte.
    pub(super) fn resume(&mut self, tail: Tail) {
        self.out.put(tail.bits.into(), tail.count);
    }

    /// Ends the stream: encodes what is pending as its last block.
    pub(super) fn finish(&mut self) {
        self.encode(true);
        self.out.align();
    }

    /// How many bytes wait to be encoded.
    pub(super) fn pending(&self) -> u64 {
        (self.text.len() - self.pending) as u64
    }

    /// How many bytes a stream of `length` bytes has at most: each block that can't be
    /// compressed is stored, and some are short.
    pub(super) fn at_most(length: u64) -> u64 {
        // RFC 1951, 3.2.4: a stored block has a header of 3 bits, and four bytes of length
        const HEADER: u64 = 5;
        length + HEADER * (length / BLOCK as u64 + 4)
    }

    /// The whole bytes that were made since the last call.
    pub(super) fn take(&mut self, with: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        self.out.take(with)
    }

    fn encode(&mut self, is_last: bool) {
        self.matcher.find(&self.text, self.pending, self.origin, &mut self.block);
        self.block.write(&self.text[self.pending..], is_last, &mut self.out);
        self.pending = self.text.len();
        self.forget();
    }

    fn forget(&mut self) {
        if self.pending > PAST {
            let surplus = self.pending - WINDOW;
            self.text.drain(..surplus);
            self.pending -= surplus;
            self.origin += surplus as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// `text` as a stream, written in pieces of `piece` bytes.
    fn encoded(text: &[u8], piece: usize) -> Vec<u8> {
        let (mut encoder, mut stream) = (Encoder::new(), Vec::new());
        let mut take = |encoder: &mut Encoder| {
            let mut keep = |bytes: &[u8]| {
                stream.extend_from_slice(bytes);
                Ok(())
            };
            encoder.take(&mut keep).unwrap();
        };
        for piece in text.chunks(piece) {
            encoder.write(piece);
            take(&mut encoder);
        }
        encoder.finish();
        take(&mut encoder);
        stream
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        (0..length).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn zlib_reads_what_is_written_and_the_pieces_do_not_matter() {
        let lines: String = (0..40_000_u64).map(|line| format!("{line} squared is {}\n", line * line)).collect();
        let noise = noise(70_000);
        let texts: [&[u8]; 10] = [
            // In the fixed codes, with literals of each of their lengths.
            "Grüße, Grüße: ÿ".as_bytes(),
            b"",
            b"a",
            b"abcabcabcabc",
            &[0; 300_000],
            lines.as_bytes(),
            &noise,
            &lines.as_bytes()[..BLOCK],
            &lines.as_bytes()[..BLOCK + 1],
            // The farthest match is as far back as one may reach.
            &[&noise[..WINDOW], &noise[..WINDOW + 300]].concat(),
        ];
        for text in texts {
            let stream = encoded(text, 64 << 10);
            let mut read = Vec::new();
            flate2::read::DeflateDecoder::new(&stream[..]).read_to_end(&mut read).unwrap();
            assert!(read == text, "{} bytes", text.len());
            assert!(encoded(text, 999) == stream, "{} bytes", text.len());
        }
    }

    #[test]
    fn noise_is_stored_and_text_is_as_short_as_zlib_makes_it() {
        let noise = noise(1_000_000);
        assert!(encoded(&noise, BLOCK).len() < noise.len() + noise.len() / 1000);
        let text = include_bytes!("mod.rs").as_slice();
        let mut zlib = flate2::read::DeflateEncoder::new(text, flate2::Compression::new(6));
        let mut reference = Vec::new();
        zlib.read_to_end(&mut reference).unwrap();
        let (ours, theirs) = (encoded(text, BLOCK).len(), reference.len());
        assert!(ours <= theirs + theirs / 20, "{ours} bytes, by zlib {theirs}");
    }
}
