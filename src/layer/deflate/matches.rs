//! Repetitions in a text, found by chains of places with the same hash.

use super::block::Block;
use super::code::LONGEST;

/// How far back a match may reach.
pub(super) const WINDOW: usize = 32 * 1024;
/// The shortest that is looked for: as many bytes as are hashed.
const SHORTEST: usize = 4;

/// How many places are compared at most.
const TRIES: usize = 16;
/// How many where a match as long as `GOOD` is to be bettered.
const FEWER_TRIES: usize = 4;
const GOOD: usize = 8;
/// A match as long as this is taken at once; a shorter one only if none that begins a
/// byte later is longer.
const LAZY: usize = 16;
/// A match as long as this ends the search.
const NICE: usize = 128;

const HASH_BITS: u32 = 15;

/// Finds repetitions. Places are those of the whole text, modulo 2^32: one that is out
/// of date may look like one in reach, and then is compared like any other.
pub(super) struct Matcher {
    /// For a hash, where it stood last.
    latest: Box<[u32]>,
    /// For a place modulo the window, where its hash stood before that.
    before: Box<[u32]>,
}

/// A repetition.
#[derive(Clone, Copy)]
struct Match {
    length: usize,
    distance: usize,
}

impl Matcher {
    pub(super) fn new() -> Self {
        Self { latest: vec![0; 1 << HASH_BITS].into(), before: vec![0; WINDOW].into() }
    }

    /// Puts `text[from..]` into `block`; what lies before may be repeated. `origin` is the
    /// place of `text[0]`.
    pub(super) fn find(&mut self, text: &[u8], from: usize, origin: u64, block: &mut Block) {
        let mut at = from;
        while at < text.len() {
            let Some(mut found) = self.longest(text, at, origin, SHORTEST - 1) else {
                block.literal(text[at]);
                at += 1;
                continue;
            };
            while found.length < LAZY
                && let Some(longer) = self.longest(text, at + 1, origin, found.length)
            {
                block.literal(text[at]);
                at += 1;
                found = longer;
            }
            block.repeat(found.length, found.distance);
            let end = at + found.length;
            // The search has noted the match's first place, and the next one if it was lazy.
            at += if found.length < LAZY { 2 } else { 1 };
            while at < end {
                self.note(text, at, origin);
                at += 1;
            }
        }
    }

    /// Notes that `at` is a place of its hash. Returns the place before; none at the end
    /// of the text.
    fn note(&mut self, text: &[u8], at: usize, origin: u64) -> Option<u32> {
        let word = text[at..].first_chunk::<SHORTEST>()?;
        let here = (origin + at as u64) as u32;
        let latest = &mut self.latest[hash(*word)];
        let before = std::mem::replace(latest, here);
        self.before[here as usize % WINDOW] = before;
        Some(before)
    }

    /// Notes `at`, and finds the longest match there, if one is longer than `least`.
    fn longest(&mut self, text: &[u8], at: usize, origin: u64, least: usize) -> Option<Match> {
        let mut place = self.note(text, at, origin)?;
        let here = (origin + at as u64) as u32;
        let ahead = &text[at..text.len().min(at + LONGEST)];
        let tries = if least < GOOD { TRIES } else { FEWER_TRIES };
        let mut best = None;
        let mut length = least;
        let mut last = 0;
        for _ in 0..tries {
            let distance = here.wrapping_sub(place) as usize;
            // Further back each time; else it is a place that is out of date.
            if distance <= last || distance > WINDOW.min(at) || length >= ahead.len() {
                break;
            }
            last = distance;
            let behind = &text[at - distance..];
            if behind[length] == ahead[length] {
                let common = common(behind, ahead);
                if common > length {
                    length = common;
                    best = Some(Match { length, distance });
                    if length >= NICE {
                        break;
                    }
                }
            }
            place = self.before[place as usize % WINDOW];
        }
        best
    }
}

fn hash(word: [u8; SHORTEST]) -> usize {
    (u32::from_le_bytes(word).wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize
}

/// How many bytes are the same at the beginning of `a` and of `b`, which is shorter.
fn common(a: &[u8], b: &[u8]) -> usize {
    let (words_a, _) = a[..b.len()].as_chunks::<8>();
    let (words_b, rest) = b.as_chunks::<8>();
    for (n, (a, b)) in words_a.iter().zip(words_b).enumerate() {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return 8 * n + differing.trailing_zeros() as usize / 8;
        }
    }
    let done = b.len() - rest.len();
    done + a[done..].iter().zip(rest).take_while(|(a, b)| a == b).count()
}
