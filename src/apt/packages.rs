//! `Packages`, the index of a component's binary packages (Debian policy 5.3, and
//! the wiki's repository format).

use std::collections::BTreeMap;

use super::deb822::{self, Stanza};
use super::version;
use crate::oci::Digest;

const PRIORITIES: [&str; 4] = ["required", "important", "standard", "optional"];

/// A package as an archive has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Package<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// `amd64`, or `all`.
    pub architecture: &'a str,
    /// Whether every system has it (Debian policy 3.8).
    pub essential: bool,
    /// How much a system is in need of it: 0 for `required` (Debian policy 2.5).
    pub priority: usize,
    /// `Pre-Depends` and `Depends`.
    pub depends: [&'a str; 2],
    /// The names that it provides.
    pub provides: &'a str,
    /// Where it lies, relative to the archive's root.
    pub filename: &'a str,
    /// Its sha256.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Which of the archives it is from.
    pub source: usize,
}

impl<'a> Package<'a> {
    /// Nothing where a field is missing that a package can't be fetched without.
    fn of(stanza: &Stanza<'a>, source: usize) -> Option<Self> {
        let text = |name| stanza.get(name).unwrap_or_default();
        Some(Self {
            name: stanza.get("Package")?,
            version: stanza.get("Version")?,
            architecture: stanza.get("Architecture")?,
            essential: text("Essential") == "yes",
            priority: PRIORITIES.iter().position(|name| *name == text("Priority")).unwrap_or(PRIORITIES.len()),
            depends: [text("Pre-Depends"), text("Depends")],
            provides: text("Provides"),
            filename: stanza.get("Filename").filter(|path| is_inside(path))?,
            sha256: Digest::from_hex(stanza.get("SHA256")?).ok()?,
            size: stanza.get("Size")?.parse().ok()?,
            source,
        })
    }
}

/// Whether `path` stays in the archive when it is put behind its URL.
fn is_inside(path: &str) -> bool {
    !path.starts_with('/') && !path.split('/').any(|part| part == "..") && !path.contains([':', '?', '#', '%', '\\'])
}

/// The packages of several archives: of each name, the latest version, or the one that is wanted.
#[derive(Debug, Default)]
pub struct Packages<'a> {
    by_name: BTreeMap<&'a str, Package<'a>>,
    wanted: BTreeMap<&'a str, &'a str>,
}

impl<'a> Packages<'a> {
    /// None yet. Of names with a version among `wanted` there are to be no others.
    pub fn wanting(wanted: BTreeMap<&'a str, &'a str>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Adds the packages in `index` of the archive `source`. What is there already stays
    /// where the versions are equal.
    pub fn add(&mut self, index: &'a str, source: usize) {
        for package in deb822::stanzas(index).filter_map(|stanza| Package::of(&stanza, source)) {
            if self.wanted.get(package.name).is_some_and(|wanted| *wanted != package.version) {
                continue;
            }
            let known = self.by_name.get(package.name);
            if known.is_none_or(|known| version::compare(package.version, known.version).is_gt()) {
                self.by_name.insert(package.name, package);
            }
        }
    }

    /// The package of that name.
    pub fn get(&self, name: &str) -> Option<&Package<'a>> {
        self.by_name.get(name)
    }

    /// All packages, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Package<'a>> {
        self.by_name.values()
    }
}
