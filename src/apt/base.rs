//! What a base made from an archive consists of: the archive's suites, and the
//! packages that are taken from them.

use std::path::Path;
use std::time::SystemTime;

use thiserror::Error;
use url::Url;

use super::closure::{self, closure};
use super::openpgp::Keyring;
use super::packages::Packages;
use super::release::{self, Release};
use super::{index, sources};
use crate::oci::Digest;
use crate::progress::Progress;
use crate::registry::http::Http;
use crate::store::Store;

/// The suites that go with a suite: its corrections, between releases and for holes.
const POCKETS: [&str; 3] = ["", "-updates", "-security"];

/// What every base has besides the essential packages: what installs more of them.
const ALWAYS: [&str; 2] = ["apt", "ca-certificates"];

/// What says that `/bin` and the like are links into `/usr`, as they are in every base
/// made here: in place of `usrmerge`, which would make them so.
const MERGED: &str = "usr-is-merged";

/// Why there is no such base.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing says where the archive is.
    #[error("nothing says where the archive `{archive}` is")]
    NoMirror {
        /// The archive.
        archive: String,
    },
    /// None of the archives that apt knows is the one, or has the suite.
    #[error("none of the archives in {apt} is `{archive}` with a suite `{suite}`")]
    NotFound {
        /// The archive.
        archive: String,
        /// The suite.
        suite: String,
        /// apt's directory.
        apt: String,
    },
    /// An archive of somebody else.
    #[error("{url} is the archive `{found}`, not `{archive}`")]
    OtherArchive {
        /// Its address, without credentials.
        url: String,
        /// What was asked for.
        archive: String,
        /// What it says of itself.
        found: String,
    },
    /// The archive can't be relied on.
    #[error(transparent)]
    Release(#[from] release::Error),
    /// An index can't be had.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// There are no keys.
    #[error(transparent)]
    Keys(#[from] sources::Error),
    /// A package is not there.
    #[error(transparent)]
    Closure(#[from] closure::Error),
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoMirror { .. } | Self::NotFound { .. } => {
                Some("set `mirror` in the recipe's base to the address of an archive that has it".into())
            }
            Self::OtherArchive { found, .. } => Some(format!("write `archive = \"{}\"`", found.to_lowercase())),
            Self::Release(error) => error.hint(),
            Self::Index(error) => error.hint(),
            Self::Keys(error) => error.hint(),
            Self::Closure(error) => error.hint(),
        }
    }
}

/// A base as a recipe has it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `debian`.
    pub archive: &'a str,
    /// `bookworm`.
    pub suite: &'a str,
    /// Where the archive is; where apt says, if not given.
    pub mirror: Option<&'a Url>,
    /// `main` …
    pub components: &'a [String],
    /// What it has besides the essential packages and apt: `NAME`, `NAME=VERSION`.
    pub packages: &'a [String],
    /// The keyring; that which apt has for the archive, if not given.
    pub key: Option<&'a Path>,
    /// `amd64`.
    pub architecture: &'a str,
}

/// A suite that packages are taken from.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its name, `bookworm-security`.
    pub name: String,
    /// Where its archive is.
    pub url: Url,
    /// What it consists of.
    pub release: Release,
}

/// A package that was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// The suite that it is from.
    pub suite: String,
    /// Where it lies in the suite's archive.
    pub path: String,
    /// Its sha256.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Where the archive may be, the likeliest first, with apt's entry for it: what the
/// recipe says, else what apt in `apt` (`/etc/apt`) has.
///
/// # Errors
/// [`Error::NoMirror`].
fn places(wanted: &Wanted<'_>, suite: &str, apt: &Path) -> Result<Vec<(Url, Option<sources::Entry>)>, Error> {
    if let Some(mirror) = wanted.mirror {
        return Ok(vec![(mirror.clone(), None)]);
    }
    let mut entries = sources::entries(apt);
    // Stable: apt's order among those that have the suite, and among those that don't.
    entries.sort_by_key(|entry| !entry.suites.iter().any(|name| name == suite));
    let mut places: Vec<(Url, Option<sources::Entry>)> = Vec::new();
    for entry in entries {
        if !places.iter().any(|(url, _)| *url == entry.url) {
            places.push((entry.url.clone(), Some(entry)));
        }
    }
    match places.is_empty() {
        true => Err(Error::NoMirror { archive: wanted.archive.to_owned() }),
        false => Ok(places),
    }
}

/// Where the file at `path` of `suite`'s archive may lie, the likeliest place first.
///
/// # Errors
/// [`Error::NoMirror`].
pub fn urls(wanted: &Wanted<'_>, suite: &str, path: &str, apt: &Path) -> Result<Vec<Url>, Error> {
    let at = |(mut url, _): (Url, _)| {
        url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
        url
    };
    Ok(places(wanted, suite, apt)?.into_iter().map(at).collect())
}

/// The suites of `wanted`, each verified: the suite itself, and its updates and
/// security fixes as far as the archives at hand have them.
///
/// # Errors
/// See [`Error`].
pub async fn suites(http: &Http, wanted: &Wanted<'_>, apt: &Path, now: SystemTime) -> Result<Vec<Suite>, Error> {
    let mut suites = Vec::new();
    for pocket in POCKETS {
        let name = format!("{}{pocket}", wanted.suite);
        match suite(http, wanted, &name, apt, now).await? {
            Some(suite) => suites.push(suite),
            None if pocket.is_empty() => {
                let (archive, apt) = (wanted.archive.to_owned(), apt.display().to_string());
                return Err(Error::NotFound { archive, suite: name, apt });
            }
            None => {}
        }
    }
    Ok(suites)
}

/// The suite `name`, from the first place that has it; nothing if none does.
async fn suite(
    http: &Http,
    wanted: &Wanted<'_>,
    name: &str,
    apt: &Path,
    now: SystemTime,
) -> Result<Option<Suite>, Error> {
    for (url, entry) in places(wanted, name, apt)? {
        let listed = entry.as_ref().is_none_or(|entry| entry.suites.iter().any(|suite| suite == name));
        let keyring = match keyring(wanted, entry.as_ref()) {
            Err(_) if !listed => continue,
            keyring => keyring?,
        };
        let release = match Release::fetch(http, &url, name, &keyring, now).await {
            // The recipe's mirror has to have the suite itself; it may lack the others.
            Err(release::Error::NoRelease { .. }) if entry.is_some() || name != wanted.suite => continue,
            // An archive that doesn't say that it has the suite, and doesn't.
            Err(_) if !listed => continue,
            release => release?,
        };
        if release.origin.eq_ignore_ascii_case(wanted.archive) {
            return Ok(Some(Suite { name: name.to_owned(), url, release }));
        }
        if entry.is_none() {
            let (url, archive) = (crate::registry::http::redacted(&url), wanted.archive.to_owned());
            return Err(Error::OtherArchive { url, archive, found: release.origin });
        }
    }
    Ok(None)
}

fn keyring(wanted: &Wanted<'_>, entry: Option<&sources::Entry>) -> Result<Keyring, sources::Error> {
    match wanted.key {
        Some(path) => sources::read_keyring(path),
        None => sources::keyring(wanted.archive, entry),
    }
}

/// The packages of a base, by name, out of `suites`.
///
/// # Errors
/// See [`Error`].
pub async fn packages(
    http: &Http,
    wanted: &Wanted<'_>,
    suites: &[Suite],
    store: &Store,
    progress: &Progress,
) -> Result<Vec<Chosen>, Error> {
    let mut indexes = Vec::new();
    for (source, Suite { name, url, release }) in suites.iter().enumerate() {
        for component in wanted.components {
            let path = format!("{component}/binary-{}/Packages", wanted.architecture);
            match index::fetch(http, url, name, release, &path, store, progress).await {
                Ok(text) => indexes.push((text, source)),
                // Updates need not have each component.
                Err(index::Error::NotListed { .. }) if source > 0 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    // apt-get(8): "following the package name with an equals and the version of the package"
    let versions = wanted.packages.iter().filter_map(|package| package.split_once('='));
    let mut all = Packages::wanting(versions.collect());
    for (text, source) in &indexes {
        all.add(text, *source);
    }
    let usual = ALWAYS.iter().chain(all.get(MERGED).map(|_| &MERGED)).map(|name| (*name).to_owned());
    let name = |package: &String| package.split('=').next().unwrap_or_default().to_owned();
    let names: Vec<String> = usual.chain(wanted.packages.iter().map(name)).collect();
    let chosen = closure(&all, &names)?.into_iter().map(|package| Chosen {
        name: package.name.to_owned(),
        version: package.version.to_owned(),
        architecture: package.architecture.to_owned(),
        suite: suites[package.source].name.clone(),
        path: package.filename.to_owned(),
        sha256: package.sha256,
        size: package.size,
    });
    Ok(chosen.collect())
}
