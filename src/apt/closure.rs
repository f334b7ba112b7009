//! Which packages a minimal system has: those that are asked for and what they
//! depend on, by debootstrap's simple rule. Whatever needs a real resolver belongs
//! into an `apt` layer, where the image's own apt is one.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::dependency::{self, Alternative};
use super::packages::{Package, Packages};

/// Why there is no such set.
#[derive(Debug, Error)]
pub enum Error {
    /// A package that was asked for is not there.
    #[error("the archive has no package `{name}`")]
    NoPackage {
        /// Its name.
        name: String,
    },
    /// A dependency that no package satisfies.
    #[error("the archive has nothing for `{package}`, which depends on `{dependency}`")]
    NoDependency {
        /// The package.
        package: String,
        /// What it depends on.
        dependency: String,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPackage { .. } => Some("check the name, and `components` and `suite` of the base".into()),
            Self::NoDependency { .. } => Some("the archive is not whole: set `components`, or another `mirror`".into()),
        }
    }
}

/// The essential packages, `wanted`, and what they depend on, by name. Of
/// alternatives, one that is taken anyway, else the first that there is; of those that
/// provide it, the most important.
///
/// # Errors
/// See [`Error`].
pub fn closure<'p, 'a>(packages: &'p Packages<'a>, wanted: &[String]) -> Result<Vec<&'p Package<'a>>, Error> {
    let mut providers: BTreeMap<&str, Vec<&'p Package<'a>>> = BTreeMap::new();
    for package in packages.iter() {
        for one in dependency::parse(package.provides).flatten() {
            providers.entry(one.name).or_default().push(package);
        }
    }
    // Stable: by name among those that are as important as each other
    providers.values_mut().for_each(|packages| packages.sort_by_key(|package| package.priority));
    let mut taken: BTreeMap<&'a str, &'p Package<'a>> = BTreeMap::new();
    let mut open: Vec<&'p Package<'a>> = packages.iter().filter(|package| package.essential).collect();
    for name in wanted {
        open.push(packages.get(name).ok_or_else(|| Error::NoPackage { name: name.clone() })?);
    }
    let known: BTreeSet<&str> = open.iter().map(|package| package.name).collect();
    while let Some(package) = open.pop() {
        if taken.insert(package.name, package).is_some() {
            continue;
        }
        for alternatives in package.depends.iter().flat_map(|field| dependency::parse(field)) {
            let alternatives: Vec<Alternative<'_>> = alternatives.collect();
            let real = |one: &Alternative<'_>| packages.get(one.name).filter(|package| one.accepts(package.version));
            let provided = |one: &Alternative<'_>| providers.get(one.name).into_iter().flatten().copied();
            let candidates = || alternatives.iter().flat_map(|one| real(one).into_iter().chain(provided(one)));
            let chosen = |package: &&Package<'_>| taken.contains_key(package.name) || known.contains(package.name);
            let Some(next) = candidates().find(chosen).or_else(|| candidates().next()) else {
                let names: Vec<&str> = alternatives.iter().map(|one| one.name).collect();
                return Err(Error::NoDependency { package: package.name.into(), dependency: names.join(" | ") });
            };
            open.push(next);
        }
    }
    Ok(taken.into_values().collect())
}
