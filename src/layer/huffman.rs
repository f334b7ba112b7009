//! Tables that decode the prefix codes of deflate (RFC 1951, 3.2.2 and 3.2.5),
//! as strict as zlib: what it refuses, a runtime would refuse to unpack.

/// A code that no decoder accepts: over-subscribed, or incomplete where that is
/// not allowed.
#[derive(Debug)]
pub(super) struct InvalidCode;

/// A literal; the byte stands at bit 16.
pub(super) const LITERAL: u32 = 1 << 31;
/// Neither a literal nor a length or distance: one of the three below.
pub(super) const SPECIAL: u32 = 1 << 15;
/// The code is longer than the table is wide; the second table begins at the
/// index at bit 16, and bits 8 to 11 say how many bits wide it is.
pub(super) const LONGER: u32 = 1 << 14;
/// The end of the block.
pub(super) const END: u32 = 1 << 13;
// SPECIAL alone: no symbol has this code, or one that may not occur.

/// An entry's low 8 bits: how many bits to drop, extra bits included.
pub(super) const DROP: u32 = 0xFF;

/// What a symbol means, before its code's length is known: `base << 16 | extra`,
/// or one of the flags.
type Meaning = u32;

/// A decoding table: `1 << BITS` entries, then the second tables.
pub(super) struct Table<const BITS: u32, const SIZE: usize> {
    entries: Box<[u32; SIZE]>,
}

/// Literals and lengths. 2342 is the most that 288 codes of up to 15 bits need
/// with 11 bits at first (zlib's `enough 288 11 15`).
pub(super) type LiteralTable = Table<11, 2342>;
/// Distances (`enough 32 8 15`).
pub(super) type DistanceTable = Table<8, 402>;
/// Code lengths, none longer than 7 bits.
pub(super) type LengthsTable = Table<7, 128>;

impl<const BITS: u32, const SIZE: usize> Table<BITS, SIZE> {
    pub(super) fn new() -> Self {
        Self { entries: Box::new([SPECIAL; SIZE]) }
    }

    /// The entry for the next bits of the stream.
    #[inline(always)]
    pub(super) fn get(&self, bits: u64) -> u32 {
        self.entries[(bits & ((1 << BITS) - 1)) as usize]
    }

    /// The entry of a code that begins with `first`, an entry with [`LONGER`].
    #[inline(always)]
    pub(super) fn get_longer(&self, first: u32, bits: u64) -> u32 {
        let wide = (first >> 8) & 0xF;
        let index = (first >> 16) as usize + ((bits >> BITS) & ((1 << wide) - 1)) as usize;
        self.entries.get(index).copied().unwrap_or(SPECIAL)
    }

    /// Builds the table of the canonical code with these lengths (RFC 1951, 3.2.2).
    /// A single code of one bit, or none at all, is allowed where `incomplete` says so.
    pub(super) fn build(
        &mut self,
        lengths: &[u8],
        meaning: impl Fn(usize) -> Meaning,
        incomplete: bool,
    ) -> Result<(), InvalidCode> {
        let mut count = [0u16; 16];
        for &length in lengths {
            count[usize::from(length & 15)] += 1;
        }
        count[0] = 0;
        let longest = (1..16).rev().find(|&length| count[length] > 0).unwrap_or(0);
        let mut left = 1i32;
        for &of_length in &count[1..] {
            left = (left << 1) - i32::from(of_length);
            if left < 0 {
                return Err(InvalidCode);
            }
        }
        if left > 0 {
            if !incomplete || longest > 1 {
                return Err(InvalidCode);
            }
            self.entries[..1 << BITS].fill(SPECIAL | 1);
        }

        // Symbols in the order of their codes: by length, then by value.
        let mut offsets = [0u16; 17];
        for length in 1..16 {
            offsets[length + 1] = offsets[length] + count[length];
        }
        let mut sorted = [0u16; 320];
        for (symbol, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let offset = &mut offsets[usize::from(length & 15)];
            sorted[usize::from(*offset)] = symbol as u16;
            *offset += 1;
        }

        let mut symbols = sorted.iter();
        let mut code = 0u32;
        let mut next_free = 1usize << BITS;
        let mut open: Option<(u32, usize, u32)> = None;
        for length in 1..=longest as u32 {
            let mut remaining = count[length as usize];
            while remaining > 0 {
                let Some(&symbol) = symbols.next() else { return Err(InvalidCode) };
                let reversed = code.reverse_bits() >> (32 - length);
                let meaning = meaning(usize::from(symbol));
                if length <= BITS {
                    self.fill(reversed as usize, 1 << length, 1 << BITS, entry(meaning, length));
                } else {
                    let first = reversed & ((1 << BITS) - 1);
                    let (at, wide) = match open {
                        Some((prefix, at, wide)) if prefix == first => (at, wide),
                        _ => {
                            let wide = width(&count, length, remaining, BITS);
                            let at = next_free;
                            next_free += 1 << wide;
                            if next_free > SIZE {
                                return Err(InvalidCode);
                            }
                            self.entries[first as usize] = (at as u32) << 16 | SPECIAL | LONGER | wide << 8 | BITS;
                            open = Some((first, at, wide));
                            (at, wide)
                        }
                    };
                    let rest = (reversed >> BITS) as usize;
                    self.fill(at + rest, 1 << (length - BITS), at + (1 << wide), entry(meaning, length - BITS));
                }
                code += 1;
                remaining -= 1;
            }
            code <<= 1;
        }
        Ok(())
    }

    fn fill(&mut self, from: usize, step: usize, to: usize, entry: u32) {
        for slot in self.entries[..to].iter_mut().skip(from).step_by(step) {
            *slot = entry;
        }
    }
}

/// How many bits wide the second table must be that the code of `length` opens, of
/// which `remaining` are to come: just so many that the codes in it fill it.
fn width(count: &[u16; 16], length: u32, remaining: u16, first: u32) -> u32 {
    let mut wide = length - first;
    let mut left = (1i32 << wide) - i32::from(remaining);
    while left > 0 && wide + first < 15 {
        wide += 1;
        left = (left << 1) - i32::from(count[(wide + first) as usize]);
    }
    wide
}

/// With the code's own length at bit 8, and with the extra bits to drop at bit 0.
fn entry(meaning: Meaning, length: u32) -> u32 {
    let extra = meaning & DROP;
    (meaning & !DROP) | length << 8 | (length + extra)
}

// RFC 1951, 3.2.5: "Extra bits" and the first length and distance of each code.
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// What a symbol of the literal/length alphabet means.
pub(super) fn literal_or_length(symbol: usize) -> Meaning {
    match symbol {
        0..=255 => LITERAL | (symbol as u32) << 16,
        256 => SPECIAL | END,
        _ => LENGTHS.get(symbol - 257).map_or(SPECIAL, |&(base, extra)| u32::from(base) << 16 | u32::from(extra)),
    }
}

/// What a symbol of the distance alphabet means.
pub(super) fn distance(symbol: usize) -> Meaning {
    match symbol as u32 {
        symbol @ 0..=3 => (symbol + 1) << 16,
        symbol @ 4..=29 => {
            let extra = symbol / 2 - 1;
            (((2 + symbol % 2) << extra) + 1) << 16 | extra
        }
        _ => SPECIAL,
    }
}

/// What a symbol of the code length alphabet means: itself.
pub(super) fn code_length(symbol: usize) -> Meaning {
    (symbol as u32) << 16
}
