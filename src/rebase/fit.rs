//! Whether layers fit a base: its files have the last word.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{Error, Upper};
use crate::assemble::account_files;
use crate::changeset::Told;
use crate::lock::base::{self, FileList, GLIBC, Libc, Needs, Resolved};
use crate::lock::distributions;
use crate::oci::Platform;
use crate::python::wheel::normalize;
use crate::recipe::Base;
use crate::registry::Registries;
use crate::sandbox::Host;
use crate::store::Store;

/// The base `name` for the layers of `image` as they are: its layers are read, once for each store,
/// if that of the image has others.
///
/// # Errors
/// See [`Error`]: why the layers can't lie on it as they are.
pub async fn resolve(
    image: &Upper,
    name: &str,
    registries: &Registries,
    store: &Store,
    host: &Arc<Host>,
) -> Result<Resolved, Error> {
    let added = image.added()?;
    let platform = &added.platform;
    let base = Base::Image(name.to_owned());
    // A registry is not where local files lie.
    let read = async |needs| base::resolve(&base, Path::new("."), platform, needs, registries, store, host).await;
    let resolved = read(Needs::default()).await.map_err(|error| other_platform(image, name, platform, error))?;
    if resolved.locked.diff_ids == image.base {
        return Ok(resolved);
    }
    sandboxed(image, name)?;
    let told: Vec<(&str, &str, &Told)> =
        image.layers.iter().filter_map(|layer| Some((&*layer.name, &*layer.title, layer.told.as_ref()?))).collect();
    let needs = Needs {
        accounts: added.account_files.is_some(),
        list: told.iter().any(|(.., told)| needs_files(told)),
        libc: false,
    };
    let resolved = read(needs).await?;
    if added.account_files.is_some_and(|files| files != account_files(&resolved.locked)) {
        let layers = named(image, |told| told.kind == "account");
        return Err(Error::Accounts { layers, reference: image.reference.clone(), base: name.to_owned() });
    }
    if let Some(files) = &resolved.files {
        Fit { base: name, platform, files }.check(&told)?;
    }
    Ok(resolved)
}

/// The same error, where it is of a base for another machine, with the image that it is not for.
fn other_platform(image: &Upper, name: &str, platform: &Platform, error: base::Error) -> Error {
    let found = match &error {
        base::Error::Platform { offered, .. } => offered.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        base::Error::OtherPlatform { found, .. } => found.to_string(),
        _ => return error.into(),
    };
    let (reference, base) = (image.reference.clone(), name.to_owned());
    Error::Platform { reference, platform: platform.clone(), base, found }
}

/// Refuses layers that are a function of the base's files.
fn sandboxed(image: &Upper, name: &str) -> Result<(), Error> {
    let (reference, base) = (image.reference.clone(), name.to_owned());
    let mut of_base = image.layers.iter().filter(|layer| layer.told.as_ref().is_none_or(|told| told.under.is_some()));
    if let Some(layer) = of_base.clone().find(|layer| layer.told.as_ref().is_some_and(|told| told.kind == "apt")) {
        return Err(Error::Dpkg { layer: layer.name.clone(), reference, base });
    }
    if of_base.next().is_some() {
        let layers = named(image, |told| told.under.is_some());
        return Err(Error::Sandboxed { layers, reference, base });
    }
    Ok(())
}

/// The names of the recipe's layers of which `is` says so, as a message has them.
fn named(image: &Upper, is: impl Fn(&Told) -> bool) -> String {
    let layers = image.layers.iter().filter(|layer| layer.told.as_ref().is_none_or(&is));
    let mut seen = BTreeSet::new();
    let names: Vec<&str> = layers.map(|layer| layer.name.as_str()).filter(|name| seen.insert(*name)).collect();
    names.join("`, `")
}

/// Whether it takes the base's files to tell whether a layer fits.
fn needs_files(told: &Told) -> bool {
    told.fields.contains_key("libc") || ["venv", "user-base", "files"].contains(&told.kind.as_str())
}

/// A base and its files.
pub struct Fit<'a> {
    /// The base, as a person names it.
    pub base: &'a str,
    /// What the image is for.
    pub platform: &'a Platform,
    /// Its files.
    pub files: &'a FileList,
}

impl Fit<'_> {
    /// Checks that layers, lowest first, each with its name, what is in it and what it was made of,
    /// work on the base.
    ///
    /// # Errors
    /// [`Error::NoPython`], [`Error::OtherPython`], [`Error::Libc`], [`Error::BehindLink`].
    pub fn check(&self, layers: &[(&str, &str, &Told)]) -> Result<(), Error> {
        for (at, (name, title, told)) in layers.iter().enumerate() {
            if ["venv", "user-base"].contains(&told.kind.as_str()) {
                self.python(name, told, layers[..at].iter().map(|(.., told)| *told))?;
            }
            if let Some(needs) = told.fields.get("present") {
                self.present(name, told, needs)?;
            }
            if let Some(needs) = told.fields.get("libc") {
                self.libc(name, title, needs)?;
            }
            if told.kind == "files" {
                self.links(name, told)?;
            }
        }
        Ok(())
    }

    /// The interpreter that a venv leads to is there, and of its version, unless layers `below`
    /// bring it.
    fn python<'b>(&self, layer: &str, told: &Told, below: impl Iterator<Item = &'b Told>) -> Result<(), Error> {
        let (Some(path), Some(wanted)) = (told.fields.get("interpreter"), told.fields.get("python")) else {
            return Ok(());
        };
        let brings = |below: &Told| match below.kind.as_str() {
            "interpreter" => {
                below.fields.get("path").is_some_and(|root| Path::new(path).starts_with(format!("/{root}")))
            }
            // What these bring is not told file by file.
            "apt" | "run" => true,
            _ => false,
        };
        if below.into_iter().any(brings) {
            return Ok(());
        }
        let (layer, base) = (layer.to_owned(), self.base.to_owned());
        let Some(real) = self.files.real(path) else {
            return Err(Error::NoPython { layer, path: path.clone(), base, found: self.pythons_beside(path) });
        };
        match self.version(&real) {
            Some(found) if found != *wanted => {
                Err(Error::OtherPython { layer, path: path.clone(), base, wanted: wanted.clone(), found })
            }
            _ => Ok(()),
        }
    }

    /// Which Python the executable at `real` is, as `3.12`: its name says so, else the directory of
    /// its standard library.
    fn version(&self, real: &str) -> Option<String> {
        let (directory, name) = real.rsplit_once('/').unwrap_or(("", real));
        if let Some(version) = minor(name) {
            return Some(version);
        }
        let root = directory.rsplit_once('/').map_or("", |(root, _)| root);
        // site: "It starts by constructing up to four directories from a head and a tail part … lib/pythonX.Y"
        let library = |minor: &u32| {
            ["lib", "lib64"].iter().any(|lib| self.files.contains(&format!("{root}/{lib}/python3.{minor}/os.py")))
        };
        let mut found = (0..40).filter(library);
        let only = found.next().filter(|_| found.next().is_none())?;
        Some(format!("3.{only}"))
    }

    /// The Pythons in the directory where `path` should be.
    fn pythons_beside(&self, path: &str) -> Vec<String> {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let names = self.files.under(directory).map(|(name, _)| name);
        names.filter(|name| minor(name).is_some()).map(|name| format!("{directory}/{name}")).collect()
    }

    /// What packages lie on top of is there, in the same versions: `numpy 1.22.2, torch 1.13.0`.
    fn present(&self, layer: &str, told: &Told, needs: &str) -> Result<(), Error> {
        let (Some(path), Some(python)) = (told.fields.get("interpreter"), told.fields.get("python")) else {
            return Ok(());
        };
        let found = distributions(self.files, path, python);
        for needs in needs.split(", ") {
            let name = needs.split(' ').next().unwrap_or_default();
            let here = found.iter().find(|found| normalize(&found.name) == name);
            let found = here.map(|here| format!("{name} {}", here.version.as_deref().unwrap_or_default()));
            if found.as_deref() != Some(needs) {
                let (layer, base) = (layer.to_owned(), self.base.to_owned());
                let found = found.unwrap_or_else(|| "none".to_owned());
                return Err(Error::Present { layer, needs: needs.to_owned(), base, found });
            }
        }
        Ok(())
    }

    /// The C library is the one that wheels need, and new enough.
    fn libc(&self, layer: &str, title: &str, needs: &str) -> Result<(), Error> {
        let wanted = needs.strip_prefix("glibc 2.").and_then(|minor| minor.parse().ok()).unwrap_or(0);
        let found = match Libc::of(self.platform, |path| self.files.contains(path)) {
            Some(Libc::Glibc(minor)) if minor >= wanted || minor == GLIBC => return Ok(()),
            Some(Libc::Glibc(minor)) => format!("glibc 2.{minor}"),
            Some(Libc::Musl(path)) => format!("musl ({path})"),
            // A distribution may have it elsewhere.
            None if self.files.has_named("libc.so.6") => return Ok(()),
            None => "none".to_owned(),
        };
        let (layer, title, needs) = (layer.to_owned(), title.to_owned(), needs.to_owned());
        Err(Error::Libc { layer, title, needs, base: self.base.to_owned(), found })
    }

    /// No file of a layer lies below a link of the base: a directory would be made in its place.
    fn links(&self, layer: &str, told: &Told) -> Result<(), Error> {
        let paths = told.parts.get("files").into_iter().flat_map(|files| files.keys());
        for to in paths.map(|path| path.trim_matches('/')) {
            if let Some(real) = self.files.behind_links(to) {
                let (layer, base) = (layer.to_owned(), self.base.to_owned());
                return Err(Error::BehindLink { layer, to: to.to_owned(), base, real });
            }
        }
        Ok(())
    }
}

/// `3.12` of `python3.12`.
fn minor(name: &str) -> Option<String> {
    let version = name.strip_prefix("python")?;
    let digits = version.strip_prefix("3.")?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| version.to_owned())
}
