//! Which files of an image are of which distribution.

use std::collections::{BTreeSet, HashMap};

use super::error::Error;
use super::found::{Files, normalised, part, read};
use super::parts::Wanted;
use crate::python::record;
use crate::python::wheel::normalize;

/// A distribution as it lies in site-packages.
struct Distribution {
    /// Its normalised name.
    name: String,
    version: String,
    /// The name of its directory of metadata, or of the one file that it has of them.
    metadata: String,
    /// Its name and version as they stand there.
    stem: String,
}

/// The distributions among `files`, whose site-packages are `site`, relative to the venv, and what is of
/// none. Those that `is_wanted` by their normalised names does not take are in neither.
pub(super) fn split(
    mut files: Files,
    site: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<(Vec<Wanted>, Files), Error> {
    let record = |one: &Distribution| format!("{site}/{}/RECORD", one.metadata);
    let (listed, unlisted): (Vec<_>, Vec<_>) =
        found(&files, site).into_iter().partition(|one| files.contains_key(&record(one)));
    let mut parts = Vec::new();
    let mut take = |one: &Distribution, paths: Vec<String>, files: &mut Files, record: Option<String>| {
        let own: Files = paths.into_iter().filter_map(|path| files.remove_entry(&path)).collect();
        if is_wanted(&one.name) {
            parts.push(part(format!("{} {}", one.name, one.version), own, record));
        }
    };
    for one in &listed {
        let record = record(one);
        let Some(text) = files.get(&record).map(|file| read(&file.place)).transpose()? else { continue };
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut paths: Vec<String> = record::listed(&text).filter_map(|(path, _)| normalised(site, &path)).collect();
        paths.extend(below(&files, site, |top| top == one.metadata));
        take(one, paths, &mut files, Some(record));
    }
    // Debian's packages have none: their modules are told by their names
    let modules: Vec<Vec<String>> = unlisted.iter().map(|one| one.modules(&files, site)).collect::<Result<_, _>>()?;
    let mut claims: HashMap<&str, usize> = HashMap::new();
    modules.iter().flatten().for_each(|module| *claims.entry(module).or_default() += 1);
    for (one, modules) in unlisted.iter().zip(&modules) {
        // a namespace that several share is nobody's
        let is_own = |top: &str| modules.iter().any(|module| claims[module.as_str()] == 1 && is_of_module(top, module));
        let paths = below(&files, site, |top| top == one.metadata || is_own(top));
        take(one, paths, &mut files, None);
    }
    Ok((parts, files))
}

/// Those that have metadata in `site`.
fn found(files: &Files, site: &str) -> Vec<Distribution> {
    let metadata = files.keys().filter_map(|path| {
        let below = path.strip_prefix(site)?.strip_prefix('/')?;
        let (top, rest) = below.split_once('/').unwrap_or((below, ""));
        // PyPA, "Recording installed projects", and the forms of setuptools that came before
        let is_metadata = match rest {
            "METADATA" | "RECORD" => top.ends_with(".dist-info"),
            "" | "PKG-INFO" => top.ends_with(".egg-info"),
            _ => false,
        };
        is_metadata.then_some(top)
    });
    metadata.collect::<BTreeSet<&str>>().into_iter().map(Distribution::of).collect()
}

impl Distribution {
    /// The one whose metadata is called so: `NAME-VERSION.dist-info`, `NAME-VERSION[-pyX.Y].egg-info`.
    fn of(metadata: &str) -> Self {
        let stem = metadata.rsplit_once('.').map_or(metadata, |(stem, _)| stem);
        let stem = stem.rsplit_once("-py").filter(|_| metadata.ends_with(".egg-info")).map_or(stem, |(stem, _)| stem);
        let (name, version) = stem.rsplit_once('-').unwrap_or((stem, ""));
        let (metadata, stem) = (metadata.to_owned(), name.to_owned());
        Self { name: normalize(name), version: version.to_owned(), metadata, stem }
    }

    /// Its modules: setuptools, "top_level.txt … a list of the top-level module or package names provided by the
    /// project, one Python identifier per line", else what is called like it.
    fn modules(&self, files: &Files, site: &str) -> Result<Vec<String>, Error> {
        let top_level = files.get(&format!("{site}/{}/top_level.txt", self.metadata));
        Ok(match top_level.map(|file| read(&file.place)).transpose()? {
            Some(text) => String::from_utf8_lossy(&text).split_whitespace().map(str::to_owned).collect(),
            None => vec![self.stem.replace(['-', '.'], "_")],
        })
    }
}

/// Whether what is called `top` in site-packages is `module`: its directory, or its file.
fn is_of_module(top: &str, module: &str) -> bool {
    let rest = top.strip_prefix(module);
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.starts_with('.') && (rest.ends_with(".py") || rest.ends_with(".so"))
    })
}

/// The paths of `files` below, or at, those names in `site` that `is_meant`.
fn below(files: &Files, site: &str, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let top = |path: &str| Some(path.strip_prefix(site)?.strip_prefix('/')?.split('/').next()?.to_owned());
    files.keys().filter(|path| top(path).is_some_and(|top| is_meant(&top))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_called_as_its_metadata_are() {
        for (metadata, name, version) in [
            ("six-1.16.0.dist-info", "six", "1.16.0"),
            ("zope.interface-5.5.2.egg-info", "zope-interface", "5.5.2"),
            ("PyYAML-6.0-py3.11.egg-info", "pyyaml", "6.0"),
            ("foo-py-1.dist-info", "foo-py", "1"),
            ("nameless.egg-info", "nameless", ""),
        ] {
            let one = Distribution::of(metadata);
            assert_eq!((one.name.as_str(), one.version.as_str()), (name, version), "{metadata}");
        }
    }

    #[test]
    fn a_module_is_a_directory_or_a_file() {
        for (top, is) in [
            ("yaml", true),
            ("yaml.py", true),
            ("yaml.cpython-311-x86_64-linux-gnu.so", true),
            ("yaml.libs", false),
            ("yamllint", false),
            ("yaml.egg-info", false),
        ] {
            assert_eq!(is_of_module(top, "yaml"), is, "{top}");
        }
    }
}
