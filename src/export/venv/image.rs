//! The venv of an image that is given without its recipe: found in the merged view of its layers.

use std::collections::BTreeMap;

use super::error::Error;
use super::found::{Place, gather};
use super::origin::{LEADS_OUT, Origin, in_interpreter, interpreter_part};
use crate::oci::{DEFAULT_PATH, ImageConfig, Platform};
use crate::python::scheme::PythonVersion;
use crate::python::venv::{SHARED, shared_from};
use crate::sandbox::Rootfs;
use crate::store::Store;

/// Where a venv is looked for last.
const USUAL: [&str; 2] = ["/opt/venv", "/venv"];
/// What a venv has, and nothing else.
const CONFIG: &str = "pyvenv.cfg";

/// Where an image has its packages.
enum Packages {
    /// In the venv at this path, absolute.
    Venv(String),
    /// In those of the Python at this path, and on top of it in these directories of the same form as
    /// a venv, the uppermost first.
    Python(String, Vec<String>),
}

impl Origin {
    /// What the image with `config` has, whose root filesystem is `rootfs`: the venv at `at`, or the one
    /// that its environment names, or else the packages of the Python that is found by its `PATH`.
    ///
    /// # Errors
    /// [`Error::NoPackages`], [`Error::EmptyVenv`], [`Error::SeveralVenvs`], [`Error::Rootfs`], [`Error::Io`].
    pub fn of_image(store: &Store, rootfs: &Rootfs, config: &ImageConfig, at: Option<&str>) -> Result<Self, Error> {
        let (os, architecture, variant) = (config.os.clone(), config.architecture.clone(), config.variant.clone());
        let platform = Platform { os, architecture, variant };
        let none = || Error::NoPackages { at: at.map(str::to_owned) };
        let packages = match at {
            Some(at) => named(rootfs, at)?,
            None => find(rootfs, config)?,
        };
        match packages.ok_or_else(none)? {
            Packages::Venv(prefix) => of_venv(store, rootfs, platform, &prefix),
            Packages::Python(executable, on_top) => {
                let python = rootfs.real(&executable)?.and_then(|real| version_of(&real)).ok_or_else(none)?;
                let mut origin = empty(platform, python, python.to_string());
                origin.add_interpreter(store, rootfs, &executable, false)?;
                for prefix in on_top {
                    origin.add_installed(store, rootfs, &prefix, &format!("other files of {prefix}"), |_| true)?;
                }
                origin.add_base(store, rootfs, &executable)?;
                Ok(origin)
            }
        }
    }
}

fn empty(platform: Platform, python: PythonVersion, version: String) -> Origin {
    let (others, below, packages, left_out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Origin { platform, python, version, interpreter: None, others, below, packages, left_out }
}

/// What a person means by `at`: a venv, or the prefix of a Python.
fn named(rootfs: &Rootfs, at: &str) -> Result<Option<Packages>, Error> {
    let prefix = format!("/{}", at.trim_matches('/'));
    if is_venv(rootfs, &prefix)? {
        return Ok(Some(Packages::Venv(prefix)));
    }
    let executable = format!("{}/bin/python3", prefix.trim_end_matches('/'));
    let is_there = rootfs.real(&executable)?.is_some();
    Ok(is_there.then(|| Packages::Python(executable, Vec::new())))
}

/// What the image's environment says.
fn find(rootfs: &Rootfs, config: &ImageConfig) -> Result<Option<Packages>, Error> {
    let variable = |name: &str| {
        let mut variables = config.config.env.iter().flatten().rev();
        variables.find_map(|line| line.split_once('=').filter(|(known, _)| *known == name).map(|(_, value)| value))
    };
    if let Some(prefix) = variable("VIRTUAL_ENV").filter(|prefix| prefix.starts_with('/'))
        && is_venv(rootfs, prefix)?
    {
        return Ok(Some(Packages::Venv(prefix.trim_end_matches('/').to_owned())));
    }
    let path: Vec<&str> = variable("PATH").unwrap_or(DEFAULT_PATH).split(':').collect();
    let prefixes: Vec<&str> =
        path.iter().filter_map(|directory| directory.trim_end_matches('/').strip_suffix("/bin")).collect();
    let mut venvs: Vec<&str> = Vec::new();
    for prefix in prefixes.iter().copied().filter(|prefix| prefix.starts_with('/')) {
        if is_venv(rootfs, prefix)? && !venvs.contains(&prefix) {
            venvs.push(prefix);
        }
    }
    if venvs.is_empty() {
        for prefix in USUAL {
            venvs.extend(is_venv(rootfs, prefix)?.then_some(prefix));
        }
    }
    match venvs.as_slice() {
        [] => {}
        [prefix] => return Ok(Some(Packages::Venv((*prefix).to_owned()))),
        several => return Err(Error::SeveralVenvs { found: several.join(", ") }),
    }
    python_in(rootfs, &path)
}

/// The first Python in `path`, and the directories before it that have packages for it: what
/// `pip install --user` leaves.
fn python_in(rootfs: &Rootfs, path: &[&str]) -> Result<Option<Packages>, Error> {
    let mut before = Vec::new();
    for directory in path.iter().map(|directory| directory.trim_end_matches('/')) {
        for name in ["python3", "python"] {
            let executable = format!("{directory}/{name}");
            let real = rootfs.real(&executable)?;
            let Some(python) = real.and_then(|real| version_of(&real)) else { continue };
            let mut on_top = Vec::new();
            for prefix in before {
                let has = !rootfs.names(&format!("{prefix}/lib/python{python}/site-packages"))?.is_empty();
                on_top.extend(has.then_some(prefix));
            }
            return Ok(Some(Packages::Python(executable, on_top)));
        }
        before.extend(directory.strip_suffix("/bin").map(str::to_owned));
    }
    Ok(None)
}

fn is_venv(rootfs: &Rootfs, prefix: &str) -> Result<bool, Error> {
    Ok(rootfs.read(&format!("{prefix}/{CONFIG}"))?.is_some())
}

/// The version that the executable at `path` has by its name, `python3.11`.
fn version_of(path: &str) -> Option<PythonVersion> {
    path.rsplit('/').next()?.strip_prefix("python")?.parse().ok()
}

fn of_venv(store: &Store, rootfs: &Rootfs, platform: Platform, prefix: &str) -> Result<Origin, Error> {
    let none = || Error::EmptyVenv { path: prefix.to_owned() };
    let config = rootfs.read(&format!("{prefix}/{CONFIG}"))?.unwrap_or_default();
    let config = String::from_utf8_lossy(&config);
    // site: "Key-value pairs are separated by `=`; keys are case-insensitive"
    let lines = config.lines().filter_map(|line| line.split_once('='));
    let settings: BTreeMap<String, &str> =
        lines.map(|(key, value)| (key.trim().to_lowercase(), value.trim())).collect();
    let mut pythons = Vec::new();
    for name in rootfs.names(&format!("{prefix}/lib"))? {
        let Some(python) = version_of(&name) else { continue };
        let has = !rootfs.names(&format!("{prefix}/lib/{name}/site-packages"))?.is_empty();
        pythons.extend(has.then_some(python));
    }
    // the venv module writes `version`, virtualenv and uv `version_info`
    let version = ["version", "version_info"].iter().find_map(|key| settings.get(*key));
    let is_of = |python: &PythonVersion| {
        let told = version.and_then(|version| version.parse::<PythonVersion>().ok());
        told.is_none_or(|told| (told.major, told.minor) == (python.major, python.minor))
    };
    let python = pythons.iter().copied().find(is_of).ok_or_else(none)?;
    let full =
        version.map_or_else(|| python.to_string(), |version| version.split('.').take(3).collect::<Vec<_>>().join("."));
    let mut origin = empty(platform, python, full);
    let shared_file = format!("{}/{SHARED}", origin.site_packages());
    let shared = rootfs.read(&format!("{prefix}/{shared_file}"))?;
    let shared = shared.and_then(|text| shared_from(&String::from_utf8_lossy(&text)));
    // only this leads there by a path of the image
    origin.add_installed(store, rootfs, prefix, "other files", |path| shared.is_none() || path != shared_file)?;
    if let Some(below) = shared.as_deref().and_then(|site| site.strip_suffix(&format!("/{}", origin.site_packages()))) {
        origin.add_installed(store, rootfs, below, &format!("other files of {below}"), |_| true)?;
    }
    let sees_base =
        settings.get("include-system-site-packages").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if origin.packages.is_empty() && !sees_base {
        return Err(none());
    }
    let Some(home) = settings.get("home").filter(|home| home.starts_with('/')) else { return Ok(origin) };
    let executable = format!("{}/python{python}", home.trim_end_matches('/'));
    origin.add_interpreter(store, rootfs, &executable, !sees_base)?;
    if sees_base {
        origin.add_base(store, rootfs, &executable)?;
    }
    Ok(origin)
}

impl Origin {
    /// Adds the image's own interpreter `executable`, if that is a standalone build: all that it needs lies
    /// below its prefix, which no other's does. Its site-packages come along `with_site`.
    fn add_interpreter(
        &mut self,
        store: &Store,
        rootfs: &Rootfs,
        executable: &str,
        with_site: bool,
    ) -> Result<(), Error> {
        let (python, real) = (self.python, rootfs.real(executable)?.unwrap_or_default());
        let Some(prefix) = real.strip_suffix(&format!("/bin/python{python}")) else { return Ok(()) };
        let library = format!("lib/python{python}");
        if !is_standalone(rootfs, &format!("{prefix}/{library}"))? {
            return Ok(());
        }
        let place = Place { from: prefix.to_owned(), to: in_interpreter("").trim_end_matches('/').to_owned() };
        let (programs, libraries) = (in_interpreter("bin/python"), in_interpreter("lib/"));
        let site = in_interpreter(&format!("{library}/site-packages/"));
        let is_wanted = |path: &str| {
            path.starts_with(&programs) || path.starts_with(&libraries) && (with_site || !path.starts_with(&site))
        };
        let (files, leading_out) = gather(store, rootfs, &place, is_wanted)?;
        self.leave_out(leading_out, LEADS_OUT);
        let path = in_interpreter(&format!("bin/python{python}"));
        self.interpreter = Some((path, interpreter_part(&python.to_string(), files)));
        Ok(())
    }
}

/// Whether the Python whose modules are in `library` says that it is a standalone build.
fn is_standalone(rootfs: &Rootfs, library: &str) -> Result<bool, Error> {
    for name in rootfs.names(library)?.iter().filter(|name| name.starts_with("_sysconfigdata_")) {
        let data = rootfs.read(&format!("{library}/{name}"))?.unwrap_or_default();
        // python-build-standalone, "Distribution archives": a variable that says so, in newer ones; all are
        // configured with this prefix
        let data = String::from_utf8_lossy(&data);
        if data.contains("'PYTHON_BUILD_STANDALONE'") || data.contains("'prefix': '/install'") {
            return Ok(true);
        }
    }
    Ok(false)
}
