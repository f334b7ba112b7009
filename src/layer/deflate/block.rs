//! A block of a deflate stream (RFC 1951, 3.2.3): stored, in the fixed codes, or in codes
//! of its own, whichever is shortest.

use super::code::{Code, Symbol, codes, lengths, runs};
use super::stream::Stream;

/// 3.2.5: literals, the end of the block, and lengths.
const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const END: usize = 256;
/// 3.2.7: the order in which the lengths of the code length codes stand.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// What a block is to hold.
pub(super) struct Block {
    items: Vec<Item>,
    /// How often each symbol occurs.
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// Of all items together.
    extra_bits: u64,
    /// The codes that need no description.
    fixed: Codes,
}

/// A literal, whose distance is 0, or a repetition.
#[derive(Clone, Copy)]
struct Item {
    literal_or_length: u16,
    distance: u16,
}

/// The codes of a block.
struct Codes {
    literals: [Code; LITERALS],
    distances: [Code; DISTANCES],
}

/// 3.2.7: how a block says what its codes are.
struct Description {
    of_literals: usize,
    of_distances: usize,
    runs: Vec<Symbol>,
    /// The code of the runs, and the lengths of how many of its codes are told.
    codes: [Code; 19],
    of_codes: usize,
}

impl Block {
    pub(super) fn new() -> Self {
        let fixed = Codes::fixed();
        Self { items: Vec::new(), literals: [0; LITERALS], distances: [0; DISTANCES], extra_bits: 0, fixed }
    }

    /// Adds a byte.
    pub(super) fn literal(&mut self, byte: u8) {
        self.literals[usize::from(byte)] += 1;
        self.items.push(Item { literal_or_length: byte.into(), distance: 0 });
    }

    /// Adds `length` bytes, 3 to 258, from `distance` back, 1 to 32768.
    pub(super) fn repeat(&mut self, length: usize, distance: usize) {
        let (of_length, of_distance) = (Symbol::of_length(length), Symbol::of_distance(distance));
        self.literals[of_length.number] += 1;
        self.distances[of_distance.number] += 1;
        self.extra_bits += u64::from(of_length.extra + of_distance.extra);
        self.items.push(Item { literal_or_length: length as u16, distance: distance as u16 });
    }

    /// Writes it, and empties it. `text` is what it stands for.
    pub(super) fn write(&mut self, text: &[u8], is_last: bool, out: &mut Stream) {
        self.literals[END] = 1;
        let (literals, distances) = (lengths(&self.literals, 15), lengths(&self.distances, 15));
        let description = Description::of(&literals, &distances);
        let own = Codes::new(&literals, &distances);
        let bits_of_own = description.bits() + self.bits(&own);
        let bits_of_fixed = self.bits(&self.fixed);
        // 3.2.4: what is left of a byte, "LEN" and "NLEN"
        let bits_if_stored = 7 + 32 + 8 * text.len() as u64;
        if bits_if_stored <= bits_of_own.min(bits_of_fixed) {
            out.stored(text, is_last);
        } else if bits_of_fixed <= bits_of_own {
            out.put(u32::from(is_last) | 1 << 1, 3);
            self.write_items(&self.fixed, out);
        } else {
            out.put(u32::from(is_last) | 2 << 1, 3);
            description.write(out);
            self.write_items(&own, out);
        }
        self.items.clear();
        self.literals.fill(0);
        self.distances.fill(0);
        self.extra_bits = 0;
    }

    /// How long the items are in `codes`.
    fn bits(&self, codes: &Codes) -> u64 {
        let literals = self.literals.iter().zip(&codes.literals);
        let distances = self.distances.iter().zip(&codes.distances);
        let bits = literals.chain(distances).map(|(count, code)| u64::from(*count) * u64::from(code.length));
        self.extra_bits + bits.sum::<u64>()
    }

    fn write_items(&self, codes: &Codes, out: &mut Stream) {
        for Item { literal_or_length, distance } in &self.items {
            let literal_or_length = usize::from(*literal_or_length);
            if *distance == 0 {
                out.symbol(&codes.literals, Symbol::plain(literal_or_length));
            } else {
                out.symbol(&codes.literals, Symbol::of_length(literal_or_length));
                out.symbol(&codes.distances, Symbol::of_distance(usize::from(*distance)));
            }
        }
        out.symbol(&codes.literals, Symbol::plain(END));
    }
}

impl Codes {
    fn new(literals: &[u8; LITERALS], distances: &[u8; DISTANCES]) -> Self {
        Self { literals: codes(literals), distances: codes(distances) }
    }

    /// 3.2.6: "The Huffman codes for the two alphabets are fixed".
    fn fixed() -> Self {
        // "Literal/length values 286-287 will never actually occur in the compressed data, but participate in the
        // code construction."
        let all: [Code; 288] = codes(&std::array::from_fn(|symbol| match symbol {
            0..=143 => 8,
            144..=255 => 9,
            256..=279 => 7,
            _ => 8,
        }));
        Self { literals: std::array::from_fn(|symbol| all[symbol]), distances: codes(&[5; DISTANCES]) }
    }
}

impl Description {
    fn of(literals: &[u8; LITERALS], distances: &[u8; DISTANCES]) -> Self {
        let used = |lengths: &[u8]| lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
        let (of_literals, of_distances) = (used(literals).max(257), used(distances).max(1));
        let runs = runs(&[&literals[..of_literals], &distances[..of_distances]].concat());
        let mut counts = [0; 19];
        for run in &runs {
            counts[run.number] += 1;
        }
        let codes = codes(&lengths(&counts, 7));
        let of_codes = used(&ORDER.map(|symbol| codes[symbol].length)).max(4);
        Self { of_literals, of_distances, runs, codes, of_codes }
    }

    fn bits(&self) -> u64 {
        let runs = self.runs.iter().map(|run| u64::from(self.codes[run.number].length) + u64::from(run.extra));
        5 + 5 + 4 + 3 * self.of_codes as u64 + runs.sum::<u64>()
    }

    /// "5 Bits: HLIT, # of Literal/Length codes - 257", "5 Bits: HDIST, # of Distance codes -
    /// 1", "4 Bits: HCLEN, # of Code Length codes - 4"
    fn write(&self, out: &mut Stream) {
        out.put(self.of_literals as u32 - 257, 5);
        out.put(self.of_distances as u32 - 1, 5);
        out.put(self.of_codes as u32 - 4, 4);
        for symbol in &ORDER[..self.of_codes] {
            out.put(self.codes[*symbol].length.into(), 3);
        }
        for run in &self.runs {
            out.symbol(&self.codes, *run);
        }
    }
}
