//! The bits of a deflate stream as it is read, and the bytes they came from as
//! they are handed on.

use std::io::{self, Read};

use super::inflate::{Flaw, Taker};

/// More than the longest block header: 17 + 19·3 + 316·14 bits.
pub(super) const LOOKAHEAD: usize = 1024;
/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

/// The bits after the last whole byte of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The bits, the first one lowest; zero above them.
    pub(super) bits: u8,
    /// How many: 0 to 7.
    pub(super) count: u32,
}

/// Reads bits, lowest first (RFC 1951, 3.1.1).
///
/// After the end of the source come zeros; [`Bits::is_overrun`] says whether any
/// of them were taken.
pub(super) struct Bits<'a> {
    source: &'a mut dyn Read,
    /// `..end` is what was read; at the end of the source, zeros follow it.
    buffer: &'a mut Vec<u8>,
    end: usize,
    /// What lies before has been handed on.
    passed: usize,
    at_end: bool,
    cursor: Cursor,
}

/// Where reading stands: the next bits are the lower `count` of `held`, then the
/// bytes from `next` on. Above `count`, `held` has either zeros or what comes next.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    held: u64,
    count: u32,
    next: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(source: &'a mut dyn Read, buffer: &'a mut Vec<u8>) -> Self {
        buffer.resize(CHUNK + 2 * LOOKAHEAD, 0);
        Self { source, buffer, end: 0, passed: 0, at_end: false, cursor: Cursor::default() }
    }

    /// Sees that `count` bytes are at hand after the held bits, or all there are.
    /// Hands on what is behind.
    pub(super) fn ensure(&mut self, count: usize, taker: &mut dyn Taker) -> Result<(), Flaw> {
        if self.at_end || self.end >= self.cursor.next + count {
            return Ok(());
        }
        self.put_back();
        let done = self.cursor.next - usize::from(self.cursor.count > 0);
        taker.raw(&self.buffer[self.passed..done]).map_err(Flaw::Pass)?;
        self.buffer.copy_within(done..self.end, 0);
        self.end -= done;
        self.cursor.next -= done;
        self.passed = 0;
        while self.end < LOOKAHEAD && !self.at_end {
            match self.source.read(&mut self.buffer[self.end..CHUNK + LOOKAHEAD]) {
                Ok(0) => {
                    self.at_end = true;
                    self.buffer[self.end..self.end + LOOKAHEAD].fill(0);
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Flaw::Read(error)),
            }
        }
        Ok(())
    }

    /// Whether more was taken than there is.
    pub(super) fn is_overrun(&self) -> bool {
        self.cursor.next > self.end + self.cursor.count as usize / 8
    }

    /// Returns the whole bytes among the held bits.
    fn put_back(&mut self) {
        self.cursor.next -= self.cursor.count as usize / 8;
        self.cursor.count %= 8;
        self.cursor.held &= (1 << self.cursor.count) - 1;
    }

    /// Takes the next bit, which is BFINAL, and clears it in what is handed on.
    pub(super) fn take_flag(&mut self) -> bool {
        self.put_back();
        let (byte, bit) = match self.cursor.count {
            0 => (self.cursor.next, 0),
            count => (self.cursor.next - 1, 8 - count),
        };
        let flag = self.take(1) == 1;
        self.buffer[byte] &= !(1 << bit);
        flag
    }

    /// Takes `count` bits, 32 at most.
    pub(super) fn take(&mut self, count: u32) -> u32 {
        self.refill();
        let bits = self.cursor.held & ((1 << count) - 1);
        self.drop(count);
        bits as u32
    }

    /// Holds at least 56 bits.
    pub(super) fn refill(&mut self) {
        let mut reader = self.reader();
        reader.refill();
        self.cursor = reader.cursor;
    }

    /// The next bits, 56 at least after [`Bits::refill`].
    pub(super) fn peek(&self) -> u64 {
        self.cursor.held
    }

    /// Drops `count` bits.
    pub(super) fn drop(&mut self, count: u32) {
        self.cursor.drop(count);
    }

    /// Drops the bits up to the next byte's first.
    pub(super) fn align(&mut self) {
        self.drop(self.cursor.count % 8);
    }

    /// The next bytes that are at hand, `most` at most; at a byte's first bit only.
    pub(super) fn bytes(&mut self, most: usize) -> &[u8] {
        self.put_back();
        let to = self.end.min(self.cursor.next + most);
        self.buffer.get(self.cursor.next..to).unwrap_or_default()
    }

    /// Goes on behind `count` bytes that [`Bits::bytes`] returned.
    pub(super) fn skip_bytes(&mut self, count: usize) {
        self.cursor = Cursor { held: 0, count: 0, next: self.cursor.next + count };
    }

    /// A reader of the bytes at hand; [`Bits::go_on`] takes up where it ended.
    pub(super) fn reader(&self) -> Reader<'_> {
        // At the end, zeros may be read; see `is_overrun`.
        let limit = if self.at_end { self.end + 8 } else { self.end.saturating_sub(2 * 8) };
        Reader { input: self.buffer, limit, cursor: self.cursor }
    }

    /// Goes on where a reader stopped.
    pub(super) fn go_on(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    /// Hands on the rest; the source must end where the stream does.
    pub(super) fn finish(mut self, taker: &mut dyn Taker) -> Result<Tail, Flaw> {
        self.put_back();
        self.ensure(1, taker)?;
        let Cursor { count, next, .. } = self.cursor;
        if next < self.end {
            return Err(Flaw::Damaged("bytes follow the end of the stream"));
        }
        let whole = next - usize::from(count > 0);
        taker.raw(&self.buffer[self.passed..whole]).map_err(Flaw::Pass)?;
        let taken = (8 - count) % 8;
        let bits = if count > 0 { self.buffer[whole] & ((1 << taken) - 1) } else { 0 };
        Ok(Tail { bits, count: taken })
    }
}

/// Reads bits from the bytes at hand.
pub(super) struct Reader<'a> {
    input: &'a [u8],
    limit: usize,
    cursor: Cursor,
}

impl Reader<'_> {
    /// Whether there is enough for two refills.
    #[inline(always)]
    pub(super) fn has_more(&self) -> bool {
        self.cursor.next <= self.limit
    }

    /// Holds at least 56 bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let cursor = &mut self.cursor;
        if let Some(word) = self.input.get(cursor.next..).and_then(|rest| rest.first_chunk()) {
            // The bytes that don't fit whole are taken again by the next refill.
            cursor.held |= u64::from_le_bytes(*word) << cursor.count;
            cursor.next += (63 - cursor.count as usize) / 8;
            cursor.count |= 56;
        }
    }

    /// The next bits.
    #[inline(always)]
    pub(super) fn peek(&self) -> u64 {
        self.cursor.held
    }

    /// Drops `count` bits.
    #[inline(always)]
    pub(super) fn drop(&mut self, count: u32) {
        self.cursor.drop(count);
    }

    /// Takes the length or distance that `entry` stands for, with its extra bits.
    #[inline(always)]
    pub(super) fn value(&mut self, entry: u32) -> usize {
        let (base, code, all) = (entry >> 16, (entry >> 8) & 0xF, entry & 0x3F);
        let extra = (self.cursor.held & ((1 << all) - 1)) >> code;
        self.cursor.drop(all);
        base as usize + extra as usize
    }

    /// Where it stands.
    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }
}

impl Cursor {
    #[inline(always)]
    fn drop(&mut self, count: u32) {
        self.held >>= count & 63;
        self.count -= count;
    }
}
