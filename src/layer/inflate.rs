//! Inflating (RFC 1951) with the bits in sight: where the last block's header
//! stands and where the stream ends is what splicing needs to know, and what the
//! safe interfaces of the inflating crates don't tell.

use std::io::{self, Read};

use super::bits::{Bits, LOOKAHEAD, Tail};
use super::huffman::{self, DROP, DistanceTable, END, LITERAL, LONGER, LengthsTable, LiteralTable, SPECIAL};

/// How far back a match may reach.
const WINDOW: usize = 32 * 1024;
/// How much is handed on at a time.
const CHUNK: usize = 128 * 1024;
/// The longest match, and what copying in steps of 16 bytes may write beyond it.
const SLACK: usize = 258 + 32;
/// How much of the input must be at hand for a turn of the decoding loop: two refills.
const TURN: usize = 16;

const BROKEN_OFF: &str = "the stream breaks off";

/// What is wrong with a stream.
#[derive(Debug)]
pub(super) enum Flaw {
    /// The bits mean nothing.
    Damaged(&'static str),
    /// It inflates to more than was announced.
    TooLong,
    /// Reading it failed.
    Read(io::Error),
    /// Handing it on failed.
    Pass(io::Error),
}

/// Takes what comes out.
pub(super) trait Taker {
    /// The next bytes of the stream itself, with the last block's BFINAL cleared.
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The next bytes of the content.
    fn inflated(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Inflates one stream after the other, in memory of its own.
pub(super) struct Inflater {
    input: Vec<u8>,
    output: Vec<u8>,
    tables: Tables,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self {
            input: Vec::new(),
            output: vec![0; WINDOW + CHUNK + SLACK],
            tables: Tables {
                literals: LiteralTable::new(),
                distances: DistanceTable::new(),
                lengths: LengthsTable::new(),
            },
        }
    }

    /// Inflates the stream that `source` holds, and nothing after it, into at most
    /// `limit` bytes. Returns how many it came to, and the bits of the stream that
    /// fill no whole byte; all before them went to `taker`.
    pub(super) fn inflate(
        &mut self,
        source: &mut dyn Read,
        limit: u64,
        taker: &mut dyn Taker,
    ) -> Result<(u64, Tail), Flaw> {
        let mut bits = Bits::new(source, &mut self.input);
        let mut window = Window { bytes: &mut self.output, at: 0, passed: 0, total: 0, limit };
        loop {
            bits.ensure(LOOKAHEAD, taker)?;
            // 3.2.3: "first bit BFINAL, next 2 bits BTYPE"
            let is_last = bits.take_flag();
            let block = self.tables.block(&mut bits, &mut window, taker);
            // After the end come zeros, so that whatever they seem to say is no matter.
            if bits.is_overrun() && !matches!(block, Err(Flaw::Pass(_) | Flaw::Read(_))) {
                return Err(Flaw::Damaged(BROKEN_OFF));
            }
            block?;
            if is_last {
                break;
            }
        }
        window.pass(taker)?;
        Ok((window.total, bits.finish(taker)?))
    }
}

/// What decodes the block at hand.
struct Tables {
    literals: LiteralTable,
    distances: DistanceTable,
    lengths: LengthsTable,
}

impl Tables {
    /// Inflates a block from its type on.
    fn block(&mut self, bits: &mut Bits<'_>, window: &mut Window<'_>, taker: &mut dyn Taker) -> Result<(), Flaw> {
        match bits.take(2) {
            0 => return copy_stored(bits, window, taker),
            1 => self.set_fixed()?,
            2 => self.read(bits)?,
            _ => return Err(Flaw::Damaged("a block of an unknown type")),
        }
        decode(bits, window, &self.literals, &self.distances, taker)
    }

    /// 3.2.6: the codes that need no description.
    fn set_fixed(&mut self) -> Result<(), Flaw> {
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        self.set(&lengths, &[5; 32])
    }

    fn set(&mut self, literals: &[u8], distances: &[u8]) -> Result<(), Flaw> {
        self.literals
            .build(literals, huffman::literal_or_length, true)
            .map_err(|_| Flaw::Damaged("an illegal code of literals"))?;
        self.distances
            .build(distances, huffman::distance, true)
            .map_err(|_| Flaw::Damaged("an illegal code of distances"))
    }

    /// 3.2.7: the codes that stand before the block, themselves in a code.
    fn read(&mut self, bits: &mut Bits<'_>) -> Result<(), Flaw> {
        const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let (of_literals, of_distances) = (bits.take(5) as usize + 257, bits.take(5) as usize + 1);
        let of_lengths = bits.take(4) as usize + 4;
        if of_literals > 286 || of_distances > 30 {
            return Err(Flaw::Damaged("too many codes"));
        }
        let mut short = [0; 19];
        for &symbol in &ORDER[..of_lengths] {
            short[symbol] = bits.take(3) as u8;
        }
        self.lengths
            .build(&short, huffman::code_length, false)
            .map_err(|_| Flaw::Damaged("an illegal code of code lengths"))?;

        let mut lengths = [0u8; 286 + 30];
        let lengths = &mut lengths[..of_literals + of_distances];
        let mut at = 0;
        while at < lengths.len() {
            bits.refill();
            let entry = self.lengths.get(bits.peek());
            bits.drop(entry & DROP);
            let (value, times) = match entry >> 16 {
                // "16: Copy the previous code length 3 - 6 times"
                16 if at == 0 => return Err(Flaw::Damaged("a repeated code length with none before it")),
                16 => (lengths[at - 1], 3 + bits.take(2)),
                17 => (0, 3 + bits.take(3)),
                18 => (0, 11 + bits.take(7)),
                length => (length as u8, 1),
            };
            let Some(run) = lengths.get_mut(at..at + times as usize) else {
                return Err(Flaw::Damaged("more code lengths than codes"));
            };
            run.fill(value);
            at += run.len();
        }
        let (for_literals, for_distances) = lengths.split_at(of_literals);
        if for_literals[256] == 0 {
            return Err(Flaw::Damaged("no code for the end of the block"));
        }
        self.set(for_literals, for_distances)
    }
}

/// 3.2.4: a block that is not compressed.
fn copy_stored(bits: &mut Bits<'_>, window: &mut Window<'_>, taker: &mut dyn Taker) -> Result<(), Flaw> {
    bits.align();
    let (length, complement) = (bits.take(16), bits.take(16));
    if length != !complement & 0xFFFF {
        return Err(Flaw::Damaged("a stored block whose length contradicts itself"));
    }
    let mut left = length as usize;
    while left > 0 {
        bits.ensure(1, taker)?;
        let bytes = bits.bytes(left.min(window.room(taker)?));
        if bytes.is_empty() {
            return Err(Flaw::Damaged(BROKEN_OFF));
        }
        window.bytes[window.at..window.at + bytes.len()].copy_from_slice(bytes);
        window.at += bytes.len();
        left -= bytes.len();
        let count = bytes.len();
        bits.skip_bytes(count);
    }
    Ok(())
}

/// Decodes a block to its end.
fn decode(
    bits: &mut Bits<'_>,
    window: &mut Window<'_>,
    literals: &LiteralTable,
    distances: &DistanceTable,
    taker: &mut dyn Taker,
) -> Result<(), Flaw> {
    loop {
        bits.ensure(TURN, taker)?;
        if bits.is_overrun() {
            return Err(Flaw::Damaged(BROKEN_OFF));
        }
        window.room(taker)?;
        if decode_at_hand(bits, window, literals, distances)? {
            return Ok(());
        }
    }
}

/// Decodes until the block ends (true), or input or room runs out.
#[inline(never)]
fn decode_at_hand(
    bits: &mut Bits<'_>,
    window: &mut Window<'_>,
    literals: &LiteralTable,
    distances: &DistanceTable,
) -> Result<bool, Flaw> {
    let output = window.bytes.as_mut_slice();
    let mut at = window.at;
    let mut reader = bits.reader();
    let ended = loop {
        if !reader.has_more() || at >= WINDOW + CHUNK {
            break false;
        }
        reader.refill();
        let mut entry = literals.get(reader.peek());
        if entry & LITERAL != 0 {
            // Three codes of the first table are 33 bits at most, of the 56 that a refill leaves.
            reader.drop(entry & DROP);
            output[at] = (entry >> 16) as u8;
            at += 1;
            entry = literals.get(reader.peek());
            if entry & LITERAL != 0 {
                reader.drop(entry & DROP);
                output[at] = (entry >> 16) as u8;
                at += 1;
                entry = literals.get(reader.peek());
                if entry & LITERAL != 0 {
                    reader.drop(entry & DROP);
                    output[at] = (entry >> 16) as u8;
                    at += 1;
                    continue;
                }
            }
            reader.refill();
        }
        if entry & SPECIAL != 0 {
            if entry & LONGER != 0 {
                let longer = literals.get_longer(entry, reader.peek());
                reader.drop(entry & DROP);
                entry = longer;
                if entry & LITERAL != 0 {
                    reader.drop(entry & DROP);
                    output[at] = (entry >> 16) as u8;
                    at += 1;
                    continue;
                }
            }
            if entry & END != 0 {
                reader.drop(entry & DROP);
                break true;
            }
            if entry & SPECIAL != 0 {
                return Err(Flaw::Damaged("a code that means nothing"));
            }
        }
        // A length and a distance with their extra bits are 20 and 28 bits at most.
        let length = reader.value(entry);
        let mut entry = distances.get(reader.peek());
        if entry & LONGER != 0 {
            let longer = distances.get_longer(entry, reader.peek());
            reader.drop(entry & DROP);
            entry = longer;
        }
        if entry & SPECIAL != 0 {
            return Err(Flaw::Damaged("a distance that means nothing"));
        }
        let distance = reader.value(entry);
        if distance > at {
            return Err(Flaw::Damaged("a match that reaches before the beginning"));
        }
        copy_match(output, at, distance, length);
        at += length;
    };
    let cursor = reader.cursor();
    bits.go_on(cursor);
    window.at = at;
    Ok(ended)
}

/// Repeats `length` bytes from `distance` back. May write up to 31 bytes beyond.
#[inline(always)]
fn copy_match(output: &mut [u8], at: usize, distance: usize, length: usize) {
    let from = at - distance;
    if distance >= 16 {
        let mut done = 0;
        while done < length {
            let mut piece = [0; 16];
            piece.copy_from_slice(&output[from + done..from + done + 16]);
            output[at + done..at + done + 16].copy_from_slice(&piece);
            done += 16;
        }
    } else if distance == 1 {
        let byte = output[from];
        output[at..at + length].fill(byte);
    } else {
        let mut done = 0;
        if distance >= 8 {
            while done < length {
                let mut piece = [0; 8];
                piece.copy_from_slice(&output[from + done..from + done + 8]);
                output[at + done..at + done + 8].copy_from_slice(&piece);
                done += 8;
            }
        } else {
            while done < length {
                output[at + done] = output[from + done];
                done += 1;
            }
        }
    }
}

/// The content that was inflated last.
struct Window<'a> {
    bytes: &'a mut Vec<u8>,
    /// Where the next byte goes.
    at: usize,
    /// What lies before was handed on.
    passed: usize,
    total: u64,
    limit: u64,
}

impl Window<'_> {
    /// How many bytes can be written; there is always room for one. Where there was
    /// none, all but the last 32 KiB make way.
    fn room(&mut self, taker: &mut dyn Taker) -> Result<usize, Flaw> {
        if self.at >= WINDOW + CHUNK {
            self.pass(taker)?;
            self.bytes.copy_within(self.at - WINDOW..self.at, 0);
            self.at = WINDOW;
            self.passed = WINDOW;
        }
        Ok(WINDOW + CHUNK - self.at)
    }

    fn pass(&mut self, taker: &mut dyn Taker) -> Result<(), Flaw> {
        let fresh = &self.bytes[self.passed..self.at];
        self.total += fresh.len() as u64;
        if self.total > self.limit {
            return Err(Flaw::TooLong);
        }
        taker.inflated(fresh).map_err(Flaw::Pass)?;
        self.passed = self.at;
        Ok(())
    }
}
