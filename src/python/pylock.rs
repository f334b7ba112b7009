//! Reading the `pylock.toml` that uv writes (PyPA, "pylock.toml specification"), as
//! far as a set of wheels needs it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use thiserror::Error;

use super::tags::{InvalidFileName, Tags, WheelTags};
use super::wheel::{FileName, normalize};
use crate::oci::{Digest, InvalidDigest};

/// Why a resolution can't be used.
#[derive(Debug, Error)]
pub enum Error {
    /// It is not in the form that the specification gives.
    #[error("uv's answer is not a pylock.toml that dlpack can read")]
    Form {
        /// What is wrong with it.
        #[source]
        source: toml::de::Error,
    },
    /// A `lock-version` other than 1.x.
    #[error("uv's answer has lock-version {version}; dlpack reads 1.0")]
    Version {
        /// What it says.
        version: String,
    },
    /// A package with no wheel for the target.
    #[error("{name} {version} has no wheel for {target}")]
    NoWheel {
        /// The package.
        name: String,
        /// Its version.
        version: String,
        /// The platform and Python asked for.
        target: String,
    },
    /// A package with no sdist.
    #[error("{name} {version} has no sdist to build it from")]
    NoSdist {
        /// The package.
        name: String,
        /// Its version.
        version: String,
    },
    /// A package from a version control system or a directory.
    #[error("{name} comes from {what}, and a lock has wheels alone")]
    NotAWheel {
        /// The package.
        name: String,
        /// `a repository` or `a directory`.
        what: &'static str,
    },
    /// A wheel with no sha256.
    #[error("the index gives no sha256 for {file}")]
    NoHash {
        /// The wheel.
        file: String,
    },
    /// A sha256 that is none.
    #[error("the sha256 of {file} is not one")]
    Hash {
        /// The wheel.
        file: String,
        /// What it is.
        #[source]
        source: InvalidDigest,
    },
    /// A file name that is not a wheel's.
    #[error("{name} can't be used")]
    FileName {
        /// The package.
        name: String,
        /// The name.
        #[source]
        source: InvalidFileName,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWheel { .. } => Some("name it in `no-binary` to have it built from its sdist".into()),
            Self::NoSdist { .. } => Some("leave it out of `no-binary`, or pin a version that has an sdist".into()),
            Self::NotAWheel { .. } => Some("check it out beside the recipe and name it in `projects`".into()),
            Self::NoHash { .. } => Some("use an index that gives hashes, or name the wheel in `wheels`".into()),
            Self::Version { .. } | Self::Form { .. } => Some("dlpack is tested with uv 0.13; try that one".into()),
            Self::Hash { .. } | Self::FileName { .. } => {
                Some("the index is at fault: use another one, or name the wheel in `wheels`".into())
            }
        }
    }
}

/// A wheel or an sdist that a resolution chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Normalised name.
    pub name: String,
    /// Version, as uv writes it.
    pub version: String,
    /// The file's name.
    pub file: String,
    /// Its sha256.
    pub sha256: Digest,
    /// Its length in bytes, where the index says so.
    pub size: Option<u64>,
    /// Where it lies now.
    pub origin: Origin,
}

/// Where a file lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// In an index, at this URL, which is good for this run only.
    Index(String),
    /// At a URL that a requirement names.
    Direct(String),
    /// On disk, as uv wrote the path.
    Path(PathBuf),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pylock {
    lock_version: String,
    #[serde(default)]
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Option<String>,
    #[serde(default)]
    wheels: Vec<Archive>,
    sdist: Option<Archive>,
    archive: Option<Archive>,
    vcs: Option<toml::Table>,
    directory: Option<toml::Table>,
}

#[derive(Deserialize)]
struct Archive {
    name: Option<String>,
    url: Option<String>,
    path: Option<PathBuf>,
    size: Option<u64>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

impl Archive {
    /// "packages.wheels.name: … If not provided then it MUST be inferred from
    /// packages.wheels.path or packages.wheels.url."
    fn file(&self) -> String {
        let last = |text: &str| text.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let from_url = |url: &String| last(url.split(['#', '?']).next().unwrap_or_default());
        let from_path = || self.path.as_ref().map(|path| last(&path.to_string_lossy()));
        let encoded = self.name.clone().or_else(|| self.url.as_ref().map(from_url)).or_else(from_path);
        // A `+` of a local version is the one character of a file name that URLs escape.
        encoded.unwrap_or_default().replace("%2B", "+").replace("%2b", "+")
    }
}

/// Reads `text` and takes, for each package, the wheel that `tags` prefers. Returns
/// also those of `sources` that are packages of it: directories, and no wheels.
///
/// # Errors
/// See [`Error`]; `target` is how they name the target.
pub fn read(text: &str, tags: &Tags, sources: &[String], target: &str) -> Result<(Vec<Resolved>, Vec<String>), Error> {
    let (mut wheels, mut found) = (Vec::new(), Vec::new());
    for package in packages(text)? {
        let name = normalize(&package.name);
        match package.directory.is_some() && sources.contains(&name) {
            true => found.push(name),
            false => wheels.push(choose(package, tags, target)?),
        }
    }
    wheels.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((wheels, found))
}

/// Reads `text` and takes the sdists of `names`.
///
/// # Errors
/// See [`Error`].
pub fn sdists(text: &str, names: &[String]) -> Result<Vec<Resolved>, Error> {
    let named = packages(text)?.into_iter().filter(|package| names.contains(&normalize(&package.name)));
    named
        .map(|package| {
            let name = normalize(&package.name);
            let version = package.version.unwrap_or_default();
            let none = || Error::NoSdist { name: name.clone(), version: version.clone() };
            let sdist = package.sdist.ok_or_else(none)?;
            resolved(name, Some(version), &sdist, sdist.file(), false)
        })
        .collect()
}

fn packages(text: &str) -> Result<Vec<Package>, Error> {
    let lock: Pylock = toml::from_str(text).map_err(|source| Error::Form { source })?;
    // "If a tool doesn't support lock-version's major version, it MUST error."
    match lock.lock_version.starts_with("1.") {
        true => Ok(lock.packages),
        false => Err(Error::Version { version: lock.lock_version }),
    }
}

fn choose(package: Package, tags: &Tags, target: &str) -> Result<Resolved, Error> {
    let name = normalize(&package.name);
    for (table, what) in [(&package.vcs, "a repository"), (&package.directory, "a directory")] {
        if table.is_some() {
            return Err(Error::NotAWheel { name, what });
        }
    }
    let mut candidates = Vec::new();
    let direct = package.archive.is_some();
    for archive in package.wheels.into_iter().chain(package.archive) {
        let file = archive.file();
        if file.ends_with(".whl") {
            let parsed = WheelTags::parse(&file).map_err(|source| Error::FileName { name: name.clone(), source })?;
            candidates.push((file, parsed, archive));
        }
    }
    let Some((file, _, archive)) = tags.best(&candidates, |(_, parsed, _)| parsed) else {
        let version = package.version.unwrap_or_else(|| "of unknown version".into());
        return Err(Error::NoWheel { name, version, target: target.to_owned() });
    };
    resolved(name, package.version, archive, file.clone(), direct)
}

fn resolved(
    name: String,
    version: Option<String>,
    archive: &Archive,
    file: String,
    direct: bool,
) -> Result<Resolved, Error> {
    let hex = archive.hashes.get("sha256").ok_or_else(|| Error::NoHash { file: file.clone() })?;
    let sha256 = Digest::from_hex(hex).map_err(|source| Error::Hash { file: file.clone(), source })?;
    let origin = match (&archive.url, &archive.path) {
        (Some(url), _) if direct => Origin::Direct(url.clone()),
        (Some(url), _) => Origin::Index(url.clone()),
        (None, path) => Origin::Path(path.clone().unwrap_or_default()),
    };
    let in_name = || FileName::parse(&file).map_or_else(|_| String::new(), |name| name.version);
    let version = version.unwrap_or_else(in_name);
    Ok(Resolved { name, version, file, sha256, size: archive.size, origin })
}

#[cfg(test)]
mod tests {
    use super::super::tags::Target;
    use super::*;

    fn read_amd64(text: &str) -> Result<Vec<Resolved>, Error> {
        let tags = Tags::of(&Target { minor: 10, machine: "x86_64", glibc: 35 });
        read(text, &tags, &["own".into()], "linux/amd64, Python 3.10").map(|(wheels, _)| wheels)
    }

    #[test]
    fn the_best_of_several_wheels_is_taken_and_its_name_inferred_from_the_url() {
        let hash = "ab".repeat(32);
        let text = format!(
            r#"lock-version = "1.0"
            [[packages]]
            name = "Torch"
            version = "2.6.0+cu124"
            wheels = [
              {{ url = "http://h/torch-2.6.0%2Bcu124-cp310-cp310-win_amd64.whl", hashes = {{ sha256 = "{hash}" }} }},
              {{ url = "http://h/torch-2.6.0%2Bcu124-cp310-cp310-linux_x86_64.whl#x", hashes = {{ sha256 = "{hash}" }} }},
            ]"#
        );
        let wheels = read_amd64(&text).unwrap();
        assert_eq!(wheels[0].name, "torch");
        assert_eq!(wheels[0].file, "torch-2.6.0+cu124-cp310-cp310-linux_x86_64.whl");
    }

    #[test]
    fn a_package_of_source_alone_has_an_sdist_and_no_wheel() {
        let hash = "ab".repeat(32);
        let text = format!(
            r#"lock-version = "1.0"
            [[packages]]
            name = "old"
            version = "1.0"
            sdist = {{ url = "http://h/old-1.0.tar.gz", hashes = {{ sha256 = "{hash}" }} }}"#
        );
        let error = read_amd64(&text).unwrap_err();
        assert_eq!(error.to_string(), "old 1.0 has no wheel for linux/amd64, Python 3.10");
        assert!(error.hint().unwrap().contains("`no-binary`"));
        assert_eq!(sdists(&text, &["old".into()]).unwrap()[0].file, "old-1.0.tar.gz");
    }

    #[test]
    fn a_directory_is_a_source_that_was_asked_for_or_an_error() {
        let text = |name: &str| {
            format!("lock-version = '1.0'\n[[packages]]\nname = '{name}'\ndirectory = {{ path = '/x' }}\n")
        };
        assert_eq!(read_amd64(&text("own")).unwrap(), []);
        assert!(matches!(read_amd64(&text("other")), Err(Error::NotAWheel { .. })));
    }

    #[test]
    fn another_major_version_is_refused() {
        let error = read_amd64("lock-version = \"2.0\"").unwrap_err();
        assert!(matches!(error, Error::Version { .. }));
    }
}
