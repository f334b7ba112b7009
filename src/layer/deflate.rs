//! A small deflate encoder (RFC 1951) for what lies between the spliced streams:
//! tar headers, padding, generated files. It is ours, so that no library's next
//! version changes a digest; change it only together with [`super::FORMAT`].

use super::bits::Tail;

/// How far back a match may reach.
const WINDOW: usize = 32 * 1024;
/// How much is encoded at a time: what a stored block holds.
const BLOCK: usize = 65535;
/// How much of the past may lie before the pending bytes until it is cut to a window.
const PAST: usize = 4 * WINDOW;
/// Of four bytes: a match is at least that long.
const HASH_BITS: u32 = 13;
const SHORTEST: usize = 4;
const LONGEST: usize = 258;

/// Encodes text as it comes; other text, which is in the stream already, may come
/// between.
pub(super) struct Encoder {
    /// The past, then what is pending.
    text: Vec<u8>,
    /// Where in `text` the pending bytes begin.
    pending: usize,
    /// Where the tar's byte `text[0]` stands.
    origin: u64,
    /// For a hash of four bytes, where they stood last in the tar, plus one.
    seen: Vec<u64>,
    out: Bits,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { text: Vec::new(), pending: 0, origin: 0, seen: vec![0; 1 << HASH_BITS], out: Bits::default() }
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
        if self.out.count > 0 {
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
        self.out.put(0, (8 - self.out.count) % 8);
    }

    /// The whole bytes that were made since the last call.
    pub(super) fn take(&mut self, with: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        let result = if self.out.bytes.is_empty() { Ok(()) } else { with(&self.out.bytes) };
        self.out.bytes.clear();
        result
    }

    /// A block of fixed codes, or a stored one where that is shorter.
    fn encode(&mut self, is_last: bool) {
        let before = self.out.mark();
        self.out.put(u64::from(is_last) | 1 << 1, 3);
        self.encode_fixed();
        let plain = &self.text[self.pending..];
        if self.out.bits_since(&before) > 8 * plain.len() as u64 + 3 + 7 + 32 {
            self.out.rewind(before);
            self.out.stored(plain, is_last);
        }
        self.pending = self.text.len();
        self.forget();
    }

    /// Greedy: at each place the last one with the same four bytes, if it is in reach.
    fn encode_fixed(&mut self) {
        let text = self.text.as_slice();
        let mut at = self.pending;
        // Where matches are rare, not every place is tried.
        let mut misses = 0usize;
        while let Some(word) = text[at..].first_chunk() {
            let slot = &mut self.seen[hash(*word)];
            let here = self.origin + at as u64 + 1;
            let distance = (here - *slot) as usize;
            *slot = here;
            let length = if distance <= WINDOW.min(at) { common(text, at - distance, at) } else { 0 };
            if length < SHORTEST {
                let step = (1 + misses / 64).min(text.len() - at);
                for &byte in &text[at..at + step] {
                    self.out.literal(byte);
                }
                at += step;
                misses += 1;
            } else {
                self.out.matched(length, distance);
                at += length;
                misses = 0;
            }
        }
        for &byte in &text[at..] {
            self.out.literal(byte);
        }
        self.out.symbol(256);
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

fn hash(word: [u8; 4]) -> usize {
    (u32::from_le_bytes(word).wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize
}

/// How many bytes are the same from `a` and from `b` on.
fn common(text: &[u8], a: usize, b: usize) -> usize {
    let most = LONGEST.min(text.len() - b);
    text[a..a + most].iter().zip(&text[b..b + most]).take_while(|(a, b)| a == b).count()
}

/// The stream that is being written: whole bytes, and the bits after them.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

/// A place to which [`Bits::rewind`] goes back.
struct Mark {
    length: usize,
    held: u64,
    count: u32,
}

impl Bits {
    /// Adds `count` bits, 32 at most, the lowest first.
    fn put(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    fn mark(&self) -> Mark {
        Mark { length: self.bytes.len(), held: self.held, count: self.count }
    }

    fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.length);
        (self.held, self.count) = (mark.held, mark.count);
    }

    fn bits_since(&self, mark: &Mark) -> u64 {
        8 * (self.bytes.len() - mark.length) as u64 + u64::from(self.count) - u64::from(mark.count)
    }

    /// 3.2.4: a block that is not compressed. It ends at a byte's end.
    fn stored(&mut self, text: &[u8], is_last: bool) {
        self.put(is_last.into(), 3);
        self.put(0, (8 - self.count) % 8);
        let length = text.len() as u16;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&(!length).to_le_bytes());
        self.bytes.extend_from_slice(text);
    }

    fn literal(&mut self, byte: u8) {
        self.symbol(byte.into());
    }

    /// 3.2.6: "The Huffman codes for the two alphabets are fixed"; codes stand with
    /// their highest bit first.
    fn symbol(&mut self, symbol: u32) {
        let (code, length) = match symbol {
            0..=143 => (0x30 + symbol, 8),
            144..=255 => (0x190 + symbol - 144, 9),
            256..=279 => (symbol - 256, 7),
            _ => (0xC0 + symbol - 280, 8),
        };
        self.put((code.reverse_bits() >> (32 - length)).into(), length);
    }

    fn matched(&mut self, length: usize, distance: usize) {
        // 3.2.5: of lengths, four share an extra bit more; of distances, two.
        let (length, distance) = (length as u32 - 3, distance as u32 - 1);
        if length == LONGEST as u32 - 3 {
            self.symbol(285);
        } else {
            let extra = (length | 4).ilog2() - 2;
            self.symbol(257 + 4 * extra + (length >> extra));
            self.put((length & ((1 << extra) - 1)).into(), extra);
        }
        let extra = (distance | 2).ilog2() - 1;
        let code = 2 * extra + (distance >> extra);
        self.put((code.reverse_bits() >> 27).into(), 5);
        self.put((distance & ((1 << extra) - 1)).into(), extra);
    }
}
