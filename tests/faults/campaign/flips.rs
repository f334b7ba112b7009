//! Bits that flip in files of the store: what is damaged is found or made again, and never
//! part of what is pushed. What steps stand on and leave is `stepped`'s.

use std::fs;
use std::path::Path;

use super::home::{Home, State};
use super::{Expected, Tally};

/// The kinds of files that the store has, by where they are; what its state is before.
const KINDS: [(&str, &str, State); 6] = [
    ("manifests, configs and layers", "blobs/sha256", State::Built),
    ("records", "keys", State::Built),
    ("downloads", "downloads/sha256", State::Fetched),
    ("listings", "listings", State::Fetched),
    ("the index", "index.json", State::Built),
    ("the layout's marker", "oci-layout", State::Built),
];

/// Flips `flips` bits, one at a time, as many in files of each kind; `seed` says which. `count`
/// is told of each kind when it is through.
pub fn run(home: &Home, flips: usize, seed: u64, count: &mut dyn FnMut(Tally)) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let present: Vec<_> =
        KINDS.into_iter().filter(|(_, place, state)| !home.saved_files(*state, place).is_empty()).collect();
    let each = flips.div_ceil(present.len());
    for (kind, place, state) in present {
        let mut tally = Tally::new(format!("a bit flips in {kind}, seed {seed}"));
        let files = home.saved_files(state, place);
        for _ in 0..each {
            home.restore(state);
            let file = &files[chance.usize(..files.len())];
            let (at, bit) = flip(&home.dlpack.store().join(file), &mut chance);
            tally.count(&format!("{} at byte {at}, bit {bit}", file.display()), || pushed(home, place == "index.json"));
        }
        count(tally);
    }
}

pub fn flip(path: &Path, chance: &mut fastrand::Rng) -> (usize, u8) {
    let mut bytes = fs::read(path).unwrap();
    let (at, bit) = (chance.usize(..bytes.len()), chance.u8(..8));
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
    (at, bit)
}

/// A push sends the right image or none, and says why. After one that sent none the next
/// sends it, but where only a person knows what was there.
fn pushed(home: &Home, only_a_person_knows: bool) -> Expected {
    let target = home.target();
    let ran = home.dlpack.run(["push", &target]);
    if ran.status == 0 {
        assert_eq!(ran.stdout.trim_end(), home.image, "{}", ran.stderr);
        home.assert_arrived(&target);
        return Expected::Survived;
    }
    assert!(ran.status > 0 && ran.status < 100 && ran.stderr.contains("error: "), "{}", ran.stderr);
    if !only_a_person_knows {
        assert_eq!(home.dlpack.ok(["push", &target]), home.image, "after {}", ran.stderr);
        home.assert_arrived(&target);
    }
    Expected::Refused("Damaged")
}
