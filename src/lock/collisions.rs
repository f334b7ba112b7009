//! Wheels that bring the same path into a venv. pip lets the last one win without a
//! word; here equal files are fine, trivial ones have a winner that is always the
//! same, and others are an error before anything is built.

use std::collections::BTreeMap;

use super::error::Error;
use super::model::LockedWheel;
use crate::python::install::Listed;

/// An `__init__.py` of at most this many bytes is taken for a namespace's: a licence
/// in comments, a line of pkgutil.
const SMALL: u64 = 4 << 10;

/// Two wheels that bring different bytes of a trivial file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trivial {
    /// Relative to the venv.
    pub path: String,
    /// The wheel whose file it will be.
    pub winner: String,
    /// The one whose file it won't be.
    pub loser: String,
}

/// Finds what more than one of `wheels` brings; `listings` are theirs, in the same
/// order. Where two share a bin, the loser's file is noted in its `without`: one
/// layer names no path twice. Where they are in layers of their own, the order of
/// the layers decides, and no wheel's layer depends on what else is in the venv.
///
/// # Errors
/// [`Error::Collision`] if the bytes differ and the file is not trivial;
/// [`Error::FileAndDirectory`].
pub fn settle(layer: &str, wheels: &mut [LockedWheel], listings: &[Vec<Listed>]) -> Result<Vec<Trivial>, Error> {
    let mut owners: BTreeMap<&str, Vec<(usize, &Listed)>> = BTreeMap::new();
    for (position, listing) in listings.iter().enumerate() {
        for file in listing {
            owners.entry(&file.path).or_default().push((position, file));
        }
    }
    if let Some((file, below)) = below_a_file(&owners) {
        let named = |path: &str| owners[path].first().map_or("", |(position, _)| &wheels[*position].name);
        let (first, second) = (named(file).to_owned(), named(below).to_owned());
        return Err(Error::FileAndDirectory { layer: layer.to_owned(), first, second, path: file.to_owned() });
    }
    wheels.iter_mut().for_each(|wheel| wheel.without.clear());
    let mut trivial = Vec::new();
    for (path, mut brought) in owners.into_iter().filter(|(_, brought)| brought.len() > 1) {
        // The last one is on top: `place` is the order of the layers.
        brought.sort_by_key(|(position, _)| place(&wheels[*position], *position));
        let Some((top, kept)) = brought.pop() else { continue };
        for (position, file) in brought.iter().filter(|(_, file)| (file.size, file.crc32) != (kept.size, kept.crc32)) {
            if !is_trivial(path, file.size.max(kept.size)) {
                let named = |position: usize| format!("{} {}", wheels[position].name, wheels[position].version);
                let (first, second) = (named(*position), named(top));
                return Err(Error::Collision { layer: layer.to_owned(), first, second, path: path.to_owned() });
            }
            let (winner, loser) = (wheels[top].name.clone(), wheels[*position].name.clone());
            trivial.push(Trivial { path: path.to_owned(), winner, loser });
        }
        leave_out(path, wheels, brought.iter().map(|(position, _)| *position), top);
    }
    Ok(trivial)
}

/// Finds what the wheel `built` of `files`, which was built from source and is a layer by itself,
/// has in common with `wheels`; `listings` are theirs, in the same order. Returns the trivial
/// files that differ, and who else brings each.
///
/// # Errors
/// As [`settle`].
pub fn of_built(
    layer: &str,
    built: &str,
    files: &[Listed],
    wheels: &[LockedWheel],
    listings: &[Vec<Listed>],
) -> Result<Vec<(String, String)>, Error> {
    let mut owners: BTreeMap<&str, Vec<(&str, &Listed)>> = BTreeMap::new();
    let labels: Vec<String> = wheels.iter().map(|wheel| format!("{} {}", wheel.name, wheel.version)).collect();
    let others = labels.iter().zip(listings).flat_map(|(label, files)| files.iter().map(move |file| (&**label, file)));
    for (label, file) in files.iter().map(|file| (built, file)).chain(others) {
        owners.entry(&file.path).or_default().push((label, file));
    }
    if let Some((file, below)) = below_a_file(&owners) {
        let named = |path: &str| owners[path].first().map_or("", |(label, _)| label).to_owned();
        return Err(Error::FileAndDirectory {
            layer: layer.to_owned(),
            first: named(file),
            second: named(below),
            path: file.to_owned(),
        });
    }
    let mut trivial = Vec::new();
    for (path, brought) in owners {
        let [(first, ours), others @ ..] = &brought[..] else { continue };
        // Those of wheels alone are settled in the lock.
        if *first != built {
            continue;
        }
        for (second, theirs) in others.iter().filter(|(_, file)| (file.size, file.crc32) != (ours.size, ours.crc32)) {
            if !is_trivial(path, ours.size.max(theirs.size)) {
                let (first, second) = ((*first).to_owned(), (*second).to_owned());
                return Err(Error::Collision { layer: layer.to_owned(), first, second, path: path.to_owned() });
            }
            trivial.push((path.to_owned(), (*second).to_owned()));
        }
    }
    Ok(trivial)
}

/// A path that is a file of one wheel and a directory of another, and what lies in it.
fn below_a_file<'a, T>(owners: &BTreeMap<&'a str, T>) -> Option<(&'a str, &'a str)> {
    owners.keys().find_map(|below| {
        let mut above = below.match_indices('/').map(|(end, _)| &below[..end]);
        above.find(|path| owners.contains_key(path)).map(|path| (path, *below))
    })
}

/// Leaves `path` out of all wheels but the last of each bin.
fn leave_out(path: &str, wheels: &mut [LockedWheel], below: impl Iterator<Item = usize>, top: usize) {
    let positions: Vec<usize> = below.chain([top]).collect();
    for (at, position) in positions.iter().enumerate() {
        let bin = wheels[*position].bin;
        let later = positions[at + 1..].iter().any(|later| bin.is_some() && wheels[*later].bin == bin);
        if later {
            wheels[*position].without.push(path.to_owned());
        }
    }
}

/// The order of the wheels' layers: bins first, then wheels of their own by name; in
/// a bin, by name.
fn place(wheel: &LockedWheel, position: usize) -> (bool, u32, usize) {
    (wheel.bin.is_none(), wheel.bin.unwrap_or(0), position)
}

/// Whether it matters little whose file it is: what packages of one namespace, or
/// careless ones, ship at the same place, and no program's behaviour hangs on.
fn is_trivial(path: &str, size: u64) -> bool {
    let inside = path.split_once("/site-packages/").map_or("", |(_, inside)| inside);
    let (top, name) = (inside.split('/').next().unwrap_or_default(), path.rsplit('/').next().unwrap_or_default());
    let upper = name.to_ascii_uppercase();
    let documents = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "README", "CHANGELOG", "CHANGES", "AUTHORS"];
    (name == "__init__.py" && size <= SMALL)
        || matches!(top, "tests" | "test" | "testing" | "docs" | "doc" | "examples" | "benchmarks")
        || documents.iter().any(|known| upper.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(name: &str, bin: Option<u32>) -> LockedWheel {
        LockedWheel { bin, ..LockedWheel::named(name, 1) }
    }

    fn file(path: &str, size: u64, crc32: u32) -> Vec<Listed> {
        vec![Listed { path: path.into(), size, crc32 }]
    }

    const INIT: &str = "lib/python3.12/site-packages/nvidia/__init__.py";

    #[test]
    fn the_same_bytes_in_two_layers_are_fine_and_in_one_bin_are_written_once() {
        let mut wheels = [wheel("a", Some(1)), wheel("b", Some(1)), wheel("c", None)];
        let listings = [file(INIT, 5, 7), file(INIT, 5, 7), file(INIT, 5, 7)];
        assert_eq!(settle("python", &mut wheels, &listings).unwrap(), []);
        assert_eq!(wheels[0].without, [INIT]);
        assert!(wheels[1].without.is_empty() && wheels[2].without.is_empty());
    }

    #[test]
    fn a_trivial_file_is_that_of_the_topmost_layer_and_the_loser_is_named() {
        let mut wheels = [wheel("a", None), wheel("b", Some(3))];
        let found = settle("python", &mut wheels, &[file(INIT, 5, 7), file(INIT, 0, 0)]).unwrap();
        assert_eq!(found, [Trivial { path: INIT.into(), winner: "a".into(), loser: "b".into() }]);
        // In layers of their own the order decides; neither layer's bytes change.
        assert!(wheels.iter().all(|wheel| wheel.without.is_empty()));
    }

    #[test]
    fn different_libraries_at_one_path_are_an_error_that_names_both_wheels() {
        let path = "lib/python3.12/site-packages/nvidia/nccl/lib/libnccl.so.2";
        let mut wheels = [wheel("nvidia-nccl-cu12", None), wheel("nvidia-nccl-cu13", None)];
        let error = settle("python", &mut wheels, &[file(path, 9, 1), file(path, 9, 2)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "layer `python`: nvidia-nccl-cu12 1 and nvidia-nccl-cu13 1 both bring \
             lib/python3.12/site-packages/nvidia/nccl/lib/libnccl.so.2, with different content"
        );
        assert!(error.hint().unwrap().contains("constraints"));
    }

    #[test]
    fn a_file_of_one_wheel_is_no_directory_of_another() {
        let mut wheels = [wheel("a", Some(1)), wheel("b", None)];
        let error = settle("python", &mut wheels, &[file("share/x", 1, 1), file("share/x/y", 1, 1)]).unwrap_err();
        assert_eq!(error.to_string(), "layer `python`: share/x is a file of a and a directory of b");
    }

    #[test]
    fn a_wheel_built_from_source_is_held_against_those_of_the_lock() {
        let wheels = [wheel("a", None), wheel("b", Some(1))];
        let listings = [file("lib/a.py", 1, 1), file(INIT, 0, 0)];
        let against = |path: &str, crc32| of_built("python", "mine 1.2", &file(path, 1, crc32), &wheels, &listings);
        assert_eq!(against("lib/a.py", 1).unwrap(), []);
        assert_eq!(against(INIT, 1).unwrap(), [(INIT.to_owned(), "b 1".to_owned())]);
        let error = against("lib/a.py", 2).unwrap_err().to_string();
        assert_eq!(error, "layer `python`: mine 1.2 and a 1 both bring lib/a.py, with different content");
        let error = against("lib/a.py/b", 2).unwrap_err().to_string();
        assert_eq!(error, "layer `python`: lib/a.py is a file of a 1 and a directory of mine 1.2");
    }

    #[test]
    fn a_large_init_is_not_trivial() {
        let mut wheels = [wheel("a", None), wheel("b", None)];
        assert!(settle("python", &mut wheels, &[file(INIT, 1 << 20, 1), file(INIT, 3, 2)]).is_err());
    }
}
