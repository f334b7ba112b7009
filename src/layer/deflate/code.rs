//! Prefix codes for what a block holds (RFC 1951, 3.2.2), and the symbols that stand in
//! them (3.2.5 to 3.2.7).

/// The longest match that deflate knows.
pub(super) const LONGEST: usize = 258;

/// A symbol of one of the alphabets, with its extra bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) number: usize,
    /// The extra bits, and how many they are.
    pub(super) value: u32,
    pub(super) extra: u32,
}

impl Symbol {
    /// One without extra bits.
    pub(super) fn plain(number: usize) -> Self {
        Self { number, value: 0, extra: 0 }
    }

    /// 3.2.5: of the lengths from 3 on, four symbols share an extra bit more; 258 has its own.
    pub(super) fn of_length(length: usize) -> Self {
        if length == LONGEST {
            return Self::plain(285);
        }
        let length = length as u32 - 3;
        let extra = (length | 4).ilog2() - 2;
        let number = 257 + 4 * extra + (length >> extra);
        Self { number: number as usize, value: length & ((1 << extra) - 1), extra }
    }

    /// 3.2.5: of the distances from 1 on, two symbols share an extra bit more.
    pub(super) fn of_distance(distance: usize) -> Self {
        let distance = distance as u32 - 1;
        let extra = (distance | 2).ilog2() - 1;
        let number = 2 * extra + (distance >> extra);
        Self { number: number as usize, value: distance & ((1 << extra) - 1), extra }
    }
}

/// The code of one symbol.
#[derive(Clone, Copy, Default)]
pub(super) struct Code {
    /// As it stands in the stream: its highest bit lowest.
    pub(super) bits: u32,
    /// How many bits; none for a symbol that does not occur.
    pub(super) length: u8,
}

/// The lengths, `longest` at most, of codes for symbols that occur so often. At least two
/// symbols have one: a code of a single one is incomplete, and not every reader takes it.
pub(super) fn lengths<const N: usize>(counts: &[u32; N], longest: u8) -> [u8; N] {
    let mut counts = *counts;
    for symbol in 0..2 {
        if counts.iter().filter(|count| **count > 0).count() < 2 {
            counts[symbol] = counts[symbol].max(1);
        }
    }
    loop {
        let lengths = huffman(&counts);
        if lengths.iter().all(|length| *length <= longest) {
            return lengths;
        }
        // Rare ones become more like the others, until none lies too deep.
        for count in counts.iter_mut().filter(|count| **count > 0) {
            *count = *count / 2 + 1;
        }
    }
}

/// Huffman's algorithm: the two rarest of all leaves and inner nodes get a parent, until
/// one is left. Inner nodes come into being in the order of their weights.
fn huffman<const N: usize>(counts: &[u32; N]) -> [u8; N] {
    let mut leaves: Vec<usize> = (0..N).filter(|symbol| counts[*symbol] > 0).collect();
    leaves.sort_by_key(|symbol| counts[*symbol]);
    let mut weights: Vec<u32> = leaves.iter().map(|symbol| counts[*symbol]).collect();
    let root = 2 * leaves.len() - 2;
    let mut parents = vec![root; root];
    let (mut leaf, mut inner) = (0, leaves.len());
    for node in leaves.len()..=root {
        let mut weight = 0;
        for _ in 0..2 {
            let is_leaf = leaf < leaves.len() && (inner == node || weights[leaf] <= weights[inner]);
            let next = if is_leaf { &mut leaf } else { &mut inner };
            weight += weights[*next];
            parents[*next] = node;
            *next += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0; root + 1];
    for node in (0..root).rev() {
        depths[node] = depths[parents[node]] + 1;
    }
    let mut lengths = [0; N];
    for (symbol, depth) in leaves.into_iter().zip(depths) {
        lengths[symbol] = depth;
    }
    lengths
}

/// 3.2.2: "All codes of a given bit length have lexicographically consecutive values, in
/// the same order as the symbols they represent; Shorter codes lexicographically precede
/// longer codes."
pub(super) fn codes<const N: usize>(lengths: &[u8; N]) -> [Code; N] {
    // "Count the number of codes for each code length."
    let mut counts = [0; 16];
    for length in lengths.iter().filter(|length| **length > 0) {
        counts[usize::from(*length)] += 1;
    }
    // "Find the numerical value of the smallest code for each code length"
    let mut next = [0_u32; 16];
    for length in 1..16 {
        next[length] = (next[length - 1] + counts[length - 1]) << 1;
    }
    // "Assign numerical values to all codes, using consecutive values for all codes of the
    // same length"
    let mut codes = [Code::default(); N];
    for (code, length) in codes.iter_mut().zip(lengths).filter(|(_, length)| **length > 0) {
        let next = &mut next[usize::from(*length)];
        *code = Code { bits: next.reverse_bits() >> (32 - u32::from(*length)), length: *length };
        *next += 1;
    }
    codes
}

/// 3.2.7: code lengths in the code length alphabet. "16: Copy the previous code length 3 -
/// 6 times", "17: Repeat a code length of 0 for 3 - 10 times", "18: … for 11 - 138 times".
pub(super) fn runs(lengths: &[u8]) -> Vec<Symbol> {
    let mut runs = Vec::new();
    for same in lengths.chunk_by(|a, b| a == b) {
        let length = Symbol::plain(same[0].into());
        let mut left = same.len();
        if length.number > 0 {
            runs.push(length);
            left -= 1;
        }
        while left >= 3 {
            let (number, least, most, extra) = match (length.number, left) {
                (0, 11..) => (18, 11, 138, 7),
                (0, _) => (17, 3, 10, 3),
                _ => (16, 3, 6, 2),
            };
            let taken = left.min(most);
            runs.push(Symbol { number, value: (taken - least) as u32, extra });
            left -= taken;
        }
        runs.extend(std::iter::repeat_n(length, left));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kraft's sum: 1 for a code in which no bits are without meaning.
    fn is_complete(lengths: &[u8]) -> bool {
        lengths.iter().filter(|length| **length > 0).map(|length| 1 << (15 - length)).sum::<u32>() == 1 << 15
    }

    #[test]
    fn codes_are_short_for_what_is_frequent_and_never_too_long() {
        assert_eq!(lengths(&[8, 1, 1, 2, 0], 15), [1, 3, 3, 2, 0]);
        // Fibonacci's numbers make the deepest tree.
        let mut counts = [1; 24];
        for n in 2..24 {
            counts[n] = counts[n - 1] + counts[n - 2];
        }
        assert_eq!(lengths(&counts, 23).iter().max(), Some(&23));
        for longest in [7, 15] {
            let lengths = lengths(&counts, longest);
            assert!(is_complete(&lengths) && lengths.iter().all(|length| *length <= longest), "{lengths:?}");
        }
        assert_eq!(lengths(&[0, 0, 0], 15), [1, 1, 0]);
        assert_eq!(lengths(&[0, 0, 5], 15), [1, 0, 1]);
        assert_eq!(lengths(&[5, 0, 0], 15), [1, 1, 0]);
    }

    #[test]
    fn lengths_and_distances_have_the_symbols_of_the_rfcs_tables() {
        let of = |symbol: Symbol| (symbol.number, symbol.value, symbol.extra);
        let lengths = [(3, (257, 0, 0)), (10, (264, 0, 0)), (12, (265, 1, 1)), (257, (284, 30, 5)), (258, (285, 0, 0))];
        for (length, symbol) in lengths {
            assert_eq!(of(Symbol::of_length(length)), symbol);
        }
        let distances = [(1, (0, 0, 0)), (4, (3, 0, 0)), (6, (4, 1, 1)), (24577, (29, 0, 13)), (32768, (29, 8191, 13))];
        for (distance, symbol) in distances {
            assert_eq!(of(Symbol::of_distance(distance)), symbol);
        }
    }

    #[test]
    fn equal_lengths_are_runs() {
        let lengths = [vec![0; 150], vec![8; 8], vec![0; 2], vec![7; 3]].concat();
        let runs: Vec<_> = runs(&lengths).into_iter().map(|run| (run.number, run.value)).collect();
        let expected = [(18, 127), (18, 1), (8, 0), (16, 3), (8, 0), (0, 0), (0, 0), (7, 0), (7, 0), (7, 0)];
        assert_eq!(runs, expected);
    }
}
