//! Packing wheels into layers: big wheels alone, the small ones in bins that are
//! stable. A wheel's bin is a function of its name alone, so that adding, removing
//! or upgrading one package changes one layer and leaves the others' bytes as they are.

use super::model::LockedWheel;
use crate::oci::Digest;

/// How many bins the small wheels share.
///
/// The hundred small wheels of the torch recipe are 8 MB together: with 32 bins, one
/// that changes costs a layer of less than a megabyte.
pub const BINS: u32 = 32;

/// The fewest layers that wheels can be packed into.
pub const LEAST: usize = 8;

/// How many bins there are where wheels may take `layers` layers: a base of many
/// layers, or several venvs, leave room for fewer. At least half is for big wheels.
fn bins(layers: usize) -> u32 {
    match layers {
        0..16 => 4,
        16..32 => 8,
        32..64 => 16,
        _ => BINS,
    }
}

/// How many layers there are for the bytecode of wheels in `bins` bins and in layers
/// of their own. The wheels of a bin have theirs in one: what changes one of them
/// changes one layer of bytecode.
pub fn bytecode_bins(bins: u32) -> u32 {
    (bins / 2).max(1)
}

/// The bytecode layer of a wheel, whether it lies in a bin or alone.
pub fn bytecode_bin(name: &str, bins: u32) -> u32 {
    bin(name, bytecode_bins(bins))
}

/// How many of `layers` are left for wheels if `sources` are built from source, and
/// there is `bytecode`.
pub fn left(layers: usize, sources: usize, bytecode: bool) -> usize {
    let layers = layers.saturating_sub(sources);
    if bytecode { layers.saturating_sub(bytecode_bins(bins(layers)) as usize) } else { layers }
}

/// From this size in bytes on, a wheel is a layer of its own.
pub const ALONE: u64 = 384 << 10;

/// A wheel that is alone in the previous lock stays so down to this size, and one in
/// a bin stays there up to [`ALONE`] and as much again: a wheel whose size wavers
/// about the threshold does not move with each release.
const SLACK: u64 = ALONE / 2;

/// Sets the bin of each of `wheels`. At most `layers` layers are used, bins
/// included: if there are more big wheels than that, the smallest of them go into
/// bins, those first that are in one in `previous`.
/// Returns how many bins there are.
pub fn pack(wheels: &mut [LockedWheel], layers: usize, previous: &[LockedWheel]) -> u32 {
    let bins = bins(layers);
    let room = layers.saturating_sub(bins as usize);
    let mut big: Vec<(bool, u64, usize)> = Vec::new();
    for (position, wheel) in wheels.iter_mut().enumerate() {
        wheel.bin = Some(bin(&wheel.name, bins));
        let before = previous.iter().find(|old| old.name == wheel.name).map(|old| old.bin.is_none());
        let threshold = match before {
            Some(true) => ALONE - SLACK,
            Some(false) => ALONE + SLACK,
            None => ALONE,
        };
        if wheel.size >= threshold {
            big.push((before == Some(true), wheel.size, position));
        }
    }
    // What was alone stays alone as far as there is room; then the larger goes first.
    let by_rank =
        |a: &(bool, u64, usize), b: &(bool, u64, usize)| b.0.cmp(&a.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2));
    big.sort_by(by_rank);
    for (_, _, position) in big.into_iter().take(room) {
        wheels[position].bin = None;
    }
    bins
}

/// The bin of a project.
fn bin(name: &str, bins: u32) -> u32 {
    let hash = Digest::of(name.as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_be_bytes([a, b, c, d]) % bins
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set of wheels like that of a large environment, from a seed.
    fn wheels(seed: u64, count: usize) -> Vec<LockedWheel> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..count)
            .map(|number| {
                let size = 1 << random.u32(10..31);
                let name = format!("package-{number}-{}", random.u16(..));
                LockedWheel::named(&name, size + random.u64(..size))
            })
            .collect()
    }

    fn layers(wheels: &[LockedWheel]) -> usize {
        let bins: std::collections::BTreeSet<_> = wheels.iter().filter_map(|wheel| wheel.bin).collect();
        bins.len() + wheels.iter().filter(|wheel| wheel.bin.is_none()).count()
    }

    fn packed(mut wheels: Vec<LockedWheel>, budget: usize, previous: &[LockedWheel]) -> Vec<LockedWheel> {
        pack(&mut wheels, budget, previous);
        wheels
    }

    /// The layers of a packing, each the set of what is in it.
    fn contents(wheels: &[LockedWheel]) -> std::collections::BTreeSet<Vec<(String, u64)>> {
        let mut layers = std::collections::BTreeMap::<_, Vec<_>>::new();
        for wheel in wheels {
            let layer = wheel.bin.map_or_else(|| wheel.name.clone(), |bin| bin.to_string());
            layers.entry(layer).or_default().push((wheel.name.clone(), wheel.size));
        }
        layers.into_values().collect()
    }

    #[test]
    fn the_budget_holds_however_many_big_wheels_there_are() {
        for seed in 0..200 {
            let count = fastrand::Rng::with_seed(seed).usize(0..400);
            for budget in [LEAST, 20, 60, 90] {
                assert!(layers(&packed(wheels(seed, count), budget, &[])) <= budget, "seed {seed}");
            }
        }
    }

    #[test]
    fn bytecode_fits_into_the_budget_and_follows_the_bins() {
        for budget in LEAST..100 {
            let mut wheels = wheels(7, 300);
            let bins = pack(&mut wheels, left(budget, 2, true), &[]);
            assert!(2 + layers(&wheels) + bytecode_bins(bins) as usize <= budget.max(LEAST + 2), "{budget}");
            for wheel in wheels.iter().filter(|wheel| wheel.bin.is_some()) {
                assert_eq!(wheel.bin.map(|bin| bin % bytecode_bins(bins)), Some(bytecode_bin(&wheel.name, bins)));
            }
        }
    }

    #[test]
    fn a_packing_is_kept_when_it_is_made_again_with_or_without_the_previous_one() {
        for seed in 0..100 {
            let first = packed(wheels(seed, 150), 70, &[]);
            assert_eq!(packed(wheels(seed, 150), 70, &first), first, "seed {seed}");
            assert_eq!(packed(wheels(seed, 150), 70, &[]), first, "seed {seed}");
        }
    }

    #[test]
    fn adding_removing_or_upgrading_one_package_changes_one_layer() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let before = packed(wheels(seed, 70), 90, &[]);
            let position = random.usize(..before.len());
            let mut removed = before.clone();
            removed.remove(position);
            let mut upgraded = before.clone();
            upgraded[position].size = upgraded[position].size * 11 / 10;
            for after in [removed, upgraded] {
                let after = packed(after, 90, &before);
                let (before, after) = (contents(&before), contents(&after));
                assert!(before.difference(&after).count() <= 1, "seed {seed}");
                assert!(after.difference(&before).count() <= 1, "seed {seed}");
            }
        }
    }

    #[test]
    fn a_full_budget_changes_at_most_the_layer_that_makes_room() {
        for seed in 0..200 {
            let mut all = wheels(seed, 200);
            let new = all.pop().unwrap();
            let before = packed(all.clone(), 50, &[]);
            all.push(new);
            let after = packed(all, 50, &before);
            assert!(layers(&after) <= 50);
            assert!(contents(&before).difference(&contents(&after)).count() <= 1, "seed {seed}");
        }
    }

    #[test]
    fn a_wheel_whose_size_wavers_about_the_threshold_stays_where_it_is() {
        let mut before = packed(wheels(7, 40), 90, &[]);
        let position = 3;
        for (alone, size) in [(true, ALONE - 1), (true, ALONE + 1), (false, ALONE - 1), (false, ALONE + 1)] {
            before[position].bin = (!alone).then(|| bin(&before[position].name, BINS));
            let mut after = before.clone();
            after[position].size = size;
            assert_eq!(packed(after, 90, &before)[position].bin.is_none(), alone);
        }
    }
}
