//! Which wheels a Python on Linux takes, and which of several it prefers: PyPA's
//! platform compatibility tags and the file names that carry them.

use std::cmp::Reverse;
use std::collections::HashMap;

use thiserror::Error;

/// A file name that is not a wheel's.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("`{file}` is not a wheel's file name: NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl")]
pub struct InvalidFileName {
    /// What was given.
    pub file: String,
}

/// What a wheel's file name says of where it runs (binary distribution format,
/// "File name convention").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelTags {
    /// The build number: "a tie-breaker if two wheel file names are the same in all
    /// other respects".
    pub build: Option<(u64, String)>,
    pythons: Vec<String>,
    abis: Vec<String>,
    platforms: Vec<String>,
}

impl WheelTags {
    /// Takes `file` apart.
    ///
    /// # Errors
    /// [`InvalidFileName`] if it has not five or six parts, or one that can't be.
    pub fn parse(file: &str) -> Result<Self, InvalidFileName> {
        let invalid = || InvalidFileName { file: file.to_owned() };
        let stem = file.strip_suffix(".whl").ok_or_else(invalid)?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (build, tags) = match parts[..] {
            [_, _, ref tags @ ..] if tags.len() == 3 => (None, tags),
            [_, _, build, ref tags @ ..] if tags.len() == 3 => (Some(build), tags),
            _ => return Err(invalid()),
        };
        // "Must start with a digit. […] Sort as a two-item tuple with the first item
        // being the initial digits as an int, and the second item being the remainder".
        let build = build.map(|build| {
            let digits = build.bytes().take_while(u8::is_ascii_digit).count();
            build[..digits].parse().map(|number| (number, build[digits..].to_owned()))
        });
        let build = build.transpose().map_err(|_| invalid())?;
        // "compressed tag sets": each part may hold several, joined by dots.
        let set = |part: &str| part.split('.').map(str::to_owned).collect();
        Ok(Self { build, pythons: set(tags[0]), abis: set(tags[1]), platforms: set(tags[2]) })
    }

    /// The minor version of the oldest glibc that the wheel runs on; 0 where it needs one and does
    /// not say which. Nothing for a wheel without machine code, or for musl alone.
    pub fn glibc(&self) -> Option<u32> {
        // PEP 600's aliases; `linux` says nothing of the C library, and is glibc's on indexes of their own.
        let aliases = [("manylinux1_", 5), ("manylinux2010_", 12), ("manylinux2014_", 17), ("linux_", 0)];
        let minor = |platform: &String| {
            let alias = aliases.iter().find(|(alias, _)| platform.starts_with(alias)).map(|(_, minor)| *minor);
            alias.or_else(|| platform.strip_prefix("manylinux_2_")?.split('_').next()?.parse().ok())
        };
        self.platforms.iter().filter_map(minor).min()
    }
}

/// The wheels' machine and C library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// CPython's minor version: 12 for 3.12.
    pub minor: u32,
    /// `x86_64` or `aarch64`.
    pub machine: &'static str,
    /// The minor version of the image's glibc: 35 for 2.35.
    pub glibc: u32,
}

/// The tags that a target takes, each with its rank, 0 the best.
pub struct Tags {
    ranks: HashMap<(String, String, String), u32>,
}

impl Tags {
    /// The tags of CPython 3 on `target`, in the order that pip tries them.
    pub fn of(target: &Target) -> Self {
        let mut tags = Self { ranks: HashMap::new() };
        let platforms = platforms(target);
        let cp = |minor: u32| format!("cp3{minor}");
        let own = cp(target.minor);
        for abi in [own.as_str(), "abi3", "none"] {
            tags.add(&own, abi, &platforms);
        }
        // "abi3 wheels … compatible with any later version", from 3.2 on.
        for minor in (2..target.minor).rev() {
            tags.add(&cp(minor), "abi3", &platforms);
        }
        let any = ["any".to_owned()];
        let generic: Vec<String> = std::iter::once(format!("py3{}", target.minor))
            .chain(std::iter::once("py3".to_owned()))
            .chain((0..target.minor).rev().map(|minor| format!("py3{minor}")))
            .collect();
        generic.iter().for_each(|python| tags.add(python, "none", &platforms));
        tags.add(&own, "none", &any);
        generic.iter().for_each(|python| tags.add(python, "none", &any));
        tags
    }

    fn add(&mut self, python: &str, abi: &str, platforms: &[String]) {
        for platform in platforms {
            let rank = self.ranks.len() as u32;
            self.ranks.entry((python.to_owned(), abi.to_owned(), platform.clone())).or_insert(rank);
        }
    }

    /// The rank of a wheel: the best of its tags; nothing if the target takes none.
    pub fn rank(&self, wheel: &WheelTags) -> Option<u32> {
        let mut best = None;
        for python in &wheel.pythons {
            for abi in &wheel.abis {
                for platform in &wheel.platforms {
                    let rank = self.ranks.get(&(python.clone(), abi.clone(), platform.clone())).copied();
                    best = best.into_iter().chain(rank).min();
                }
            }
        }
        best
    }

    /// The wheel of `candidates` that the target prefers: by tag, then by the higher
    /// build number.
    pub fn best<'a, T>(&self, candidates: &'a [T], name: impl Fn(&T) -> &WheelTags) -> Option<&'a T> {
        candidates
            .iter()
            .filter_map(|candidate| {
                let wheel = name(candidate);
                self.rank(wheel).map(|rank| ((rank, Reverse(wheel.build.clone())), candidate))
            })
            .min_by(|a, b| a.0.cmp(&b.0))
            .map(|(_, candidate)| candidate)
    }
}

/// The platform tags of a glibc and those before it (PEP 600: "manylinux_2_Y wheels
/// run on any glibc 2.Z with Z ≥ Y"), newest first.
fn platforms(target: &Target) -> Vec<String> {
    let machine = target.machine;
    // PEP 600's aliases: manylinux1 is 2.5, manylinux2010 is 2.12, manylinux2014 is
    // 2.17; the first two were made for x86 alone.
    let (oldest, legacy): (u32, &[(u32, &str)]) = match machine {
        "x86_64" => (5, &[(17, "manylinux2014"), (12, "manylinux2010"), (5, "manylinux1")]),
        _ => (17, &[(17, "manylinux2014")]),
    };
    let mut platforms = Vec::new();
    for glibc in (oldest..=target.glibc).rev() {
        platforms.push(format!("manylinux_2_{glibc}_{machine}"));
        let alias = legacy.iter().find(|(version, _)| *version == glibc);
        platforms.extend(alias.map(|(_, alias)| format!("{alias}_{machine}")));
    }
    platforms.push(format!("linux_{machine}"));
    platforms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(minor: u32, machine: &'static str) -> Tags {
        Tags::of(&Target { minor, machine, glibc: 35 })
    }

    fn best<'a>(tags: &Tags, files: &[&'a str]) -> Option<&'a str> {
        let parsed: Vec<_> = files.iter().map(|file| (*file, WheelTags::parse(file).unwrap())).collect();
        tags.best(&parsed, |(_, name)| name).map(|(file, _)| *file)
    }

    #[test]
    fn a_file_name_is_taken_apart() {
        let name = WheelTags::parse("zope_interface-5.1-1a-cp310-cp310-manylinux1_x86_64.whl").unwrap();
        assert_eq!(name.build, Some((1, "a".into())));
        for wrong in ["six-1.17.0.tar.gz", "six-1.17.0-py3-none.whl", "a-1-x-py3-none-any.whl"] {
            assert!(WheelTags::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_target_decides_which_wheels_fit() {
        let amd64 = tags(10, "x86_64");
        for (file, fits) in [
            ("a-1-py3-none-any.whl", true),
            ("a-1-py2.py3-none-any.whl", true),
            ("a-1-py2-none-any.whl", false),
            ("a-1-cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", true),
            ("a-1-cp310-cp310-manylinux_2_36_x86_64.whl", false),
            ("a-1-cp310-cp310-manylinux2014_aarch64.whl", false),
            ("a-1-cp310-cp310-musllinux_1_2_x86_64.whl", false),
            ("a-1-cp311-cp311-manylinux1_x86_64.whl", false),
            ("a-1-cp37-abi3-manylinux2010_x86_64.whl", true),
            ("a-1-cp311-abi3-manylinux2010_x86_64.whl", false),
            ("a-1-py3-none-manylinux1_x86_64.whl", true),
            ("a-1-cp310-cp310-linux_x86_64.whl", true),
        ] {
            assert_eq!(best(&amd64, &[file]).is_some(), fits, "{file}");
        }
        assert_eq!(best(&tags(12, "aarch64"), &["a-1-cp312-cp312-manylinux1_aarch64.whl"]), None);
    }

    #[test]
    fn a_wheel_says_which_glibc_it_needs() {
        let glibc = |platform: &str| WheelTags::parse(&format!("a-1-cp310-cp310-{platform}.whl")).unwrap().glibc();
        assert_eq!(glibc("manylinux_2_28_x86_64"), Some(28));
        assert_eq!(glibc("manylinux_2_17_x86_64.manylinux2014_x86_64"), Some(17));
        assert_eq!(glibc("manylinux_2_12_x86_64.manylinux2010_x86_64.manylinux_2_17_x86_64"), Some(12));
        assert_eq!(glibc("linux_x86_64"), Some(0));
        assert_eq!((glibc("any"), glibc("musllinux_1_2_x86_64")), (None, None));
    }

    #[test]
    fn the_most_specific_wheel_is_preferred_and_then_the_higher_build() {
        let files = [
            "a-1-py3-none-any.whl",
            "a-1-cp38-abi3-manylinux_2_28_x86_64.whl",
            "a-1-cp310-cp310-manylinux2014_x86_64.whl",
            "a-1-cp310-cp310-manylinux_2_28_x86_64.whl",
            "a-1-2-cp310-cp310-manylinux_2_28_x86_64.whl",
        ];
        let amd64 = tags(10, "x86_64");
        assert_eq!(best(&amd64, &files), Some(files[4]));
        assert_eq!(best(&amd64, &files[..4]), Some(files[3]));
        assert_eq!(best(&amd64, &files[..3]), Some(files[2]));
        assert_eq!(best(&amd64, &files[..2]), Some(files[1]));
    }
}
