//! What a venv is exported from: a recipe's lock, with what only the image and its base have
//! besides, or an image alone.

use std::collections::BTreeSet;

use super::distributions;
use super::error::Error;
use super::found::{self, Files, Place, gather};
use super::parts::{self, INTERPRETER, Wanted};
use crate::changeset::venv::VenvError;
use crate::lock::{LockedVenv, package_directories};
use crate::oci::Platform;
use crate::python::scheme::{PythonVersion, Scheme};
use crate::python::wheel::normalize;
use crate::sandbox::Rootfs;
use crate::store::Store;

/// What a venv will have, in parts.
#[derive(Clone, Debug)]
pub struct Origin {
    pub(super) platform: Platform,
    pub(super) python: PythonVersion,
    /// The version in full, as far as it is known.
    pub(super) version: String,
    /// The image's own interpreter, if that can come along: its executable, relative to the venv.
    pub(super) interpreter: Option<(String, Wanted)>,
    /// What is of no package, under all that is.
    pub(super) others: Vec<Wanted>,
    /// The packages that the rest lies on top of.
    pub(super) below: Vec<Wanted>,
    /// The packages, in the order in which a file of one replaces that of another.
    pub(super) packages: Vec<Wanted>,
    pub(super) left_out: Vec<LeftOut>,
}

/// What the image has and the venv will not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What a person calls it.
    pub name: String,
    /// Why.
    pub why: &'static str,
}

/// Why a link of the image's is left out.
pub(super) const LEADS_OUT: &str = "it is a link that may lead out of the venv";

impl Origin {
    /// The venv of `locked`, which is for `platform`: its wheels.
    ///
    /// # Errors
    /// [`Error::Venv`] if the lock's version of Python is none.
    pub fn of_lock(locked: &LockedVenv, platform: &Platform) -> Result<Self, Error> {
        let version = |source| VenvError::Version { path: locked.interpreter.path.clone(), source };
        let python: PythonVersion = locked.python.parse().map_err(version)?;
        Ok(Self {
            platform: platform.clone(),
            python,
            version: locked.python.clone(),
            interpreter: parts::interpreter_of(locked),
            others: Vec::new(),
            below: Vec::new(),
            packages: parts::wheels(&locked.wheels, python),
            left_out: Vec::new(),
        })
    }

    /// Adds what `base` has for its Python at `interpreter`, absolute, under what is there. Of packages of
    /// one name, that which is found first is seen in the image, too.
    ///
    /// # Errors
    /// [`Error::Rootfs`], [`Error::Io`].
    pub fn add_base(&mut self, store: &Store, base: &Rootfs, interpreter: &str) -> Result<(), Error> {
        let mut names = self.names();
        let real = base.real(interpreter)?;
        let site = self.site_packages();
        let mut others = Files::new();
        for from in package_directories(real.as_deref(), interpreter, &self.python.to_string()) {
            let place = Place { from, to: site.clone() };
            let (files, leading_out) = gather(store, base, &place, |_| true)?;
            self.leave_out(leading_out, LEADS_OUT);
            let (found, rest) = distributions::split(files, &site, |name| !names.contains(name))?;
            names.extend(found.iter().map(|part| name_of(&part.name)));
            self.below.splice(0..0, found);
            for (path, file) in rest {
                others.entry(path).or_insert(file);
            }
        }
        self.add_others("other files of the base", others);
        Ok(())
    }

    /// Adds what was built into `layer` of the image, at `prefix`, absolute, over the packages that
    /// are there.
    ///
    /// # Errors
    /// [`Error::Rootfs`], [`Error::Io`].
    pub fn add_built(&mut self, name: &str, store: &Store, layer: &Rootfs, prefix: &str) -> Result<(), Error> {
        let (found, rest) = self.installed(store, layer, prefix, |_| true)?;
        self.packages.extend(found);
        self.add_others(&format!("other files of {name}"), rest);
        Ok(())
    }

    /// Adds what is installed at `prefix`, absolute, of `rootfs`, under the packages that are there, and but
    /// for those; what is no package is called `others`. Of each path in a venv, `is_wanted` says whether
    /// it comes along.
    pub(super) fn add_installed(
        &mut self,
        store: &Store,
        rootfs: &Rootfs,
        prefix: &str,
        others: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let (found, rest) = self.installed(store, rootfs, prefix, is_wanted)?;
        self.packages.splice(0..0, found);
        self.add_others(others, rest);
        Ok(())
    }

    /// The packages at `prefix` of `rootfs` whose names are not there, and what is no package.
    fn installed(
        &mut self,
        store: &Store,
        rootfs: &Rootfs,
        prefix: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<(Vec<Wanted>, Files), Error> {
        let (scheme, names) = (Scheme::new("/", self.python), self.names());
        let place = Place { from: prefix.trim_matches('/').to_owned(), to: String::new() };
        let is_wanted = |path: &str| is_of_packages(path, &scheme) && is_wanted(path);
        let (files, leading_out) = gather(store, rootfs, &place, is_wanted)?;
        self.leave_out(leading_out, LEADS_OUT);
        distributions::split(files, scheme.site_packages(), |name| !names.contains(name))
    }

    /// Adds what is of no package, under what else is of none.
    fn add_others(&mut self, name: &str, files: Files) {
        if !files.is_empty() {
            self.others.insert(0, found::part(name.to_owned(), files, None));
        }
    }

    /// The normalised names of the packages that are there.
    fn names(&self) -> BTreeSet<String> {
        self.packages.iter().map(|part| name_of(&part.name)).collect()
    }

    /// Notes that all of `names` are left out.
    pub fn leave_out(&mut self, names: impl IntoIterator<Item = String>, why: &'static str) {
        self.left_out.extend(names.into_iter().map(|name| LeftOut { name, why }));
    }

    pub(super) fn site_packages(&self) -> String {
        Scheme::new("/", self.python).site_packages().to_owned()
    }
}

/// Whether `path` of a venv is a package's, and not of the skeleton that each venv gets for itself.
fn is_of_packages(path: &str, scheme: &Scheme) -> bool {
    let Some((top, rest)) = path.split_once('/') else { return false };
    // virtualenv and uv make more scripts than the venv module
    let of_shells = |name: &str| ["activate", "Activate", "deactivate"].iter().any(|start| name.starts_with(start));
    !(top.starts_with('.') || scheme.is_reserved(path) || top == "bin" && of_shells(rest))
}

/// The normalised name of a part called `NAME VERSION`.
fn name_of(part: &str) -> String {
    normalize(part.split(' ').next().unwrap_or(part))
}

/// The part that is the image's own Python, in the venv.
pub(super) fn interpreter_part(version: &str, files: Files) -> Wanted {
    found::part(format!("Python {version}"), files, None)
}

/// Where in a venv that is, of `path` relative to its prefix.
pub(super) fn in_interpreter(path: &str) -> String {
    format!("{INTERPRETER}/{path}")
}
