//! What a venv is exported from: a recipe's lock, with what only the image and its base have
//! besides, or an image alone.

use super::error::Error;
use super::found::{self, Files, Place, distributions, gather};
use super::parts::{self, INTERPRETER, Wanted};
use crate::changeset::venv::VenvError;
use crate::lock::{LockedVenv, package_directories};
use crate::oci::Platform;
use crate::python::scheme::{PythonVersion, Scheme};
use crate::python::wheel::normalize;
use crate::sandbox::{EntryKind, Rootfs};

/// What a venv will have, in parts.
#[derive(Clone, Debug)]
pub struct Origin {
    pub(super) platform: Platform,
    pub(super) python: PythonVersion,
    /// The version in full, as far as it is known.
    pub(super) version: String,
    /// The image's own interpreter, if that can come along: its executable, relative to the venv.
    pub(super) interpreter: Option<(String, Wanted)>,
    /// What the rest lies on top of.
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
pub(super) const LEADS_OUT: &str = "it is a link that leads out of the venv";

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
            below: Vec::new(),
            packages: parts::wheels(&locked.wheels, python),
            left_out: Vec::new(),
        })
    }

    /// Adds what `base` has for its Python at `interpreter`, absolute, under the packages that are there.
    /// A package that is among those is not seen in the image either.
    ///
    /// # Errors
    /// [`Error::Rootfs`], [`Error::Io`].
    pub fn add_base(&mut self, base: &Rootfs, interpreter: &str) -> Result<(), Error> {
        let names: Vec<String> = self.packages.iter().map(|part| name_of(&part.name)).collect();
        let short = self.python.to_string();
        let real = real(base, interpreter)?;
        let site = self.site_packages();
        let mut files = Files::new();
        for from in package_directories(Some(&real), interpreter, &short) {
            let place = Place { from, to: site.clone() };
            let leading_out = gather(base, &place, |_| true, &mut files)?;
            self.leave_out(leading_out, LEADS_OUT);
        }
        let is_wanted = |name: &str| !names.iter().any(|known| known == name);
        self.below.extend(distributions(files, &site, "other files of the base", is_wanted)?);
        Ok(())
    }

    /// Adds what was built into `layer` of the image, at `prefix`, absolute, over the packages that
    /// are there.
    ///
    /// # Errors
    /// [`Error::Rootfs`], [`Error::Io`].
    pub fn add_built(&mut self, name: &str, layer: &Rootfs, prefix: &str) -> Result<(), Error> {
        self.add_installed(layer, prefix, &format!("other files of {name}"))
    }

    /// Adds what is installed at `prefix`, absolute, of `rootfs`; what is no package is called `others`.
    pub(super) fn add_installed(&mut self, rootfs: &Rootfs, prefix: &str, others: &str) -> Result<(), Error> {
        let scheme = Scheme::new("/", self.python);
        let mut files = Files::new();
        let place = Place { from: prefix.trim_matches('/').to_owned(), to: String::new() };
        let leading_out = gather(rootfs, &place, |path| is_of_packages(path, &scheme), &mut files)?;
        self.leave_out(leading_out, LEADS_OUT);
        self.packages.extend(distributions(files, &self.site_packages(), others, |_| true)?);
        Ok(())
    }

    /// Notes that all of `names` are left out.
    pub fn leave_out(&mut self, names: impl IntoIterator<Item = String>, why: &'static str) {
        self.left_out.extend(names.into_iter().map(|name| LeftOut { name, why }));
    }

    fn site_packages(&self) -> String {
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

/// Where links lead from `path`, absolute, of `rootfs`.
pub(super) fn real(rootfs: &Rootfs, path: &str) -> Result<String, Error> {
    let mut at = path.trim_start_matches('/').to_owned();
    // path_resolution(7): "the maximum number of symbolic links followed … is 40"
    for _ in 0..40 {
        let Some(EntryKind::Symlink(target)) = rootfs.entry(&at)?.map(|entry| entry.kind) else { break };
        let Some(target) = target.to_str() else { break };
        let above = at.rsplit_once('/').map_or("", |(above, _)| above);
        let Some(next) = (match target.strip_prefix('/') {
            Some(absolute) => found::normalised("", absolute),
            None => found::normalised(above, target),
        }) else {
            break;
        };
        at = next;
    }
    Ok(at)
}

/// The part that is the image's own Python, in the venv.
pub(super) fn interpreter_part(version: &str, files: Files) -> Wanted {
    found::part(format!("Python {version}"), files, None)
}

/// Where in a venv that is, of `path` relative to its prefix.
pub(super) fn in_interpreter(path: &str) -> String {
    format!("{INTERPRETER}/{path}")
}
