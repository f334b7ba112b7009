//! The driver's libraries as the machine's loader finds them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Root, Version, ld_cache};

/// Where libraries are looked for on a machine whose loader has no cache of them.
const DIRECTORIES: [&str; 5] = [
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
];

/// A library of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Library {
    /// The file itself, on the machine: `/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15`.
    pub path: PathBuf,
    /// The names of the links that lead to it, as `libcuda.so.1`.
    pub links: Vec<String>,
    /// Whether it is for 32-bit programs.
    pub compat32: bool,
}

impl Library {
    /// Its name without the version: `libcuda`.
    pub fn name(&self) -> &str {
        let file = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        file.split_once(".so").map_or(file, |(name, _)| name)
    }
}

/// The libraries of the driver's `version` that the loader finds, sorted by path.
pub(super) fn of(root: &Root, version: &Version) -> Vec<Library> {
    let cached = ld_cache::entries(&root.read("/etc/ld.so.cache").unwrap_or_default());
    let mut found = collect(root, version, cached);
    if !found.iter().any(|library| library.name() == "libcuda" || library.name() == "libnvidia-ml") {
        let there = DIRECTORIES.iter().flat_map(|directory| {
            let path = |name: String| (Path::new(directory).join(name), false);
            root.names(directory).into_iter().filter(|name| name.contains(".so")).map(path)
        });
        found = collect(root, version, there);
    }
    found
}

/// Those of `paths` that lead to a file of this version, each with whether it is for 32-bit
/// programs.
fn collect(root: &Root, version: &Version, paths: impl IntoIterator<Item = (PathBuf, bool)>) -> Vec<Library> {
    let mut found = BTreeMap::<PathBuf, Library>::new();
    let ending = format!(".so.{version}");
    for (path, compat32) in paths {
        let Ok(file) = root.resolve(&path) else { continue };
        let (Some(name), Some(link)) = (text(&file), text(&path)) else { continue };
        // libraries of another version are left from another driver
        if !name.ends_with(&ending) {
            continue;
        }
        let library =
            found.entry(file.clone()).or_insert_with(|| Library { path: file.clone(), links: Vec::new(), compat32 });
        if link != name && !library.links.contains(&link) {
            library.links.push(link);
        }
    }
    let mut found: Vec<Library> = found.into_values().collect();
    found.iter_mut().for_each(|library| library.links.sort());
    found
}

fn text(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}
