//! How much of a blob goes in one request.
//!
//! A request that breaks off may cost all that it carried, so it carries a bounded
//! part of a big blob; each costs a round trip, so the part is not small. It shrinks
//! where parts get lost or are refused as too large, and grows again where they arrive.

/// What goes in one request unless somebody says otherwise, in bytes.
pub(crate) const DEFAULT: u64 = 32 << 20;
/// The shortest part that is tried, in bytes: well below what any proxy refuses
/// (nginx, `client_max_body_size`: 1 MiB by default).
const SHORTEST: u64 = 128 << 10;

/// The length of the parts of one upload.
#[derive(Debug)]
pub(in crate::registry) struct Chunks {
    /// The length of the next one.
    length: u64,
    /// The longest that was not refused as too large.
    longest: u64,
}

impl Chunks {
    /// Parts of at most `longest` bytes.
    pub(in crate::registry) fn of(longest: u64) -> Self {
        let longest = longest.max(1);
        Self { length: longest, longest }
    }

    /// The length of the next part, for a registry that takes none shorter than
    /// `minimum` (distribution-spec, `OCI-Chunk-Min-Length`).
    pub(in crate::registry) fn length(&self, minimum: u64) -> u64 {
        self.length.max(minimum)
    }

    /// A part arrived whole.
    pub(in crate::registry) fn arrived(&mut self) {
        self.length = (self.length * 2).min(self.longest);
    }

    /// A part broke off and nothing of it was kept.
    pub(in crate::registry) fn lost(&mut self) {
        self.length = (self.length / 4).max(SHORTEST.min(self.longest));
    }

    /// A part of `length` bytes was refused as too large: whether there is a shorter one
    /// to try.
    pub(in crate::registry) fn refused(&mut self, length: u64, minimum: u64) -> bool {
        let shorter = (length / 2).max(SHORTEST);
        if shorter >= length || length <= minimum {
            return false;
        }
        self.longest = shorter;
        self.length = shorter;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_shrink_where_they_are_lost_and_grow_where_they_arrive() {
        let mut chunks = Chunks::of(DEFAULT);
        assert_eq!(chunks.length(0), DEFAULT);
        let lost: Vec<u64> = std::iter::repeat_with(|| (chunks.lost(), chunks.length(0)).1 >> 10).take(5).collect();
        assert_eq!(lost, [8192, 2048, 512, 128, 128]);
        let arrived: Vec<u64> =
            std::iter::repeat_with(|| (chunks.arrived(), chunks.length(0)).1 >> 20).take(10).collect();
        assert_eq!(arrived, [0, 0, 1, 2, 4, 8, 16, 32, 32, 32]);
    }

    #[test]
    fn a_length_that_was_refused_is_not_tried_again() {
        let mut chunks = Chunks::of(DEFAULT);
        assert!(chunks.refused(DEFAULT, 0) && chunks.refused(16 << 20, 0));
        chunks.arrived();
        assert_eq!(chunks.length(0), 8 << 20);
        assert!(!chunks.refused(SHORTEST, 0), "there is nothing shorter to try");
        assert!(!chunks.refused(8 << 20, 8 << 20), "the registry takes no shorter one");
    }

    #[test]
    fn the_registry_says_what_the_shortest_part_is() {
        let chunks = Chunks::of(1000);
        assert_eq!((chunks.length(0), chunks.length(5000)), (1000, 5000));
    }
}
