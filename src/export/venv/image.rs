//! The venv of an image that is given without its recipe: found in the merged view of its layers.

use std::collections::BTreeMap;

use super::error::Error;
use super::found::{Files, Place, gather};
use super::origin::{Origin, in_interpreter, interpreter_part, real};
use crate::oci::{DEFAULT_PATH, ImageConfig, Platform};
use crate::python::scheme::PythonVersion;
use crate::sandbox::{EntryKind, Rootfs};

/// Where a venv is looked for last.
const USUAL: [&str; 2] = ["/opt/venv", "/venv"];
/// What a venv has, and nothing else.
const CONFIG: &str = "pyvenv.cfg";

/// Where an image has its packages.
enum Packages {
    /// In the venv at this path, absolute.
    Venv(String),
    /// In those of the Python at this path, and on top of it in these directories of the same form as
    /// a venv, the uppermost last.
    Python(String, Vec<String>),
}

impl Origin {
    /// What the image with `config` has, whose root filesystem is `rootfs`: the venv at `at`, or the one
    /// that its environment names, or else the packages of the Python that is found by its `PATH`.
    ///
    /// # Errors
    /// [`Error::NoPackages`], [`Error::SeveralVenvs`], [`Error::Rootfs`], [`Error::Io`].
    pub fn of_image(rootfs: &Rootfs, config: &ImageConfig, at: Option<&str>) -> Result<Self, Error> {
        let (os, architecture, variant) = (config.os.clone(), config.architecture.clone(), config.variant.clone());
        let platform = Platform { os, architecture, variant };
        let none = || Error::NoPackages { at: at.map(str::to_owned) };
        let packages = match at {
            Some(at) => named(rootfs, at)?,
            None => find(rootfs, config)?,
        };
        match packages.ok_or_else(none)? {
            Packages::Venv(prefix) => of_venv(rootfs, platform, &prefix),
            Packages::Python(executable, on_top) => {
                let python = version_of(&real(rootfs, &executable)?).ok_or_else(none)?;
                let mut origin = empty(platform, python, python.to_string());
                origin.interpreter = interpreter(rootfs, python, &executable)?;
                for prefix in on_top {
                    origin.add_installed(rootfs, &prefix, &format!("other files of {prefix}"))?;
                }
                origin.add_base(rootfs, &executable)?;
                Ok(origin)
            }
        }
    }
}

fn empty(platform: Platform, python: PythonVersion, version: String) -> Origin {
    let (below, packages, left_out) = (Vec::new(), Vec::new(), Vec::new());
    Origin { platform, python, version, interpreter: None, below, packages, left_out }
}

/// What a person means by `at`: a venv, or the prefix of a Python.
fn named(rootfs: &Rootfs, at: &str) -> Result<Option<Packages>, Error> {
    let prefix = format!("/{}", at.trim_matches('/'));
    if is_venv(rootfs, &prefix)? {
        return Ok(Some(Packages::Venv(prefix)));
    }
    let executable = format!("{}/bin/python3", prefix.trim_end_matches('/'));
    let is_there = rootfs.entry(&executable)?.is_some();
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
            let Some(python) = version_of(&real(rootfs, &executable)?) else { continue };
            if rootfs.entry(&executable)?.is_none() {
                continue;
            }
            let mut on_top = Vec::new();
            for prefix in before {
                let has = !rootfs.names(&format!("{prefix}/lib/python{python}/site-packages"))?.is_empty();
                on_top.extend(has.then_some(prefix));
            }
            on_top.reverse();
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

fn of_venv(rootfs: &Rootfs, platform: Platform, prefix: &str) -> Result<Origin, Error> {
    let none = || Error::NoPackages { at: Some(prefix.to_owned()) };
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
    origin.add_installed(rootfs, prefix, "other files")?;
    let Some(home) = settings.get("home").filter(|home| home.starts_with('/')) else { return Ok(origin) };
    let executable = format!("{}/python{python}", home.trim_end_matches('/'));
    origin.interpreter = interpreter(rootfs, python, &executable)?;
    if settings.get("include-system-site-packages").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        origin.add_base(rootfs, &executable)?;
    }
    Ok(origin)
}

/// The image's own interpreter `executable`, if all that it needs lies below its prefix: a standalone
/// build does; that of a distribution has its libraries elsewhere, and conda's has all of conda.
fn interpreter(
    rootfs: &Rootfs,
    python: PythonVersion,
    executable: &str,
) -> Result<Option<(String, super::parts::Wanted)>, Error> {
    let real = real(rootfs, executable)?;
    let Some(prefix) = real.strip_suffix(&format!("/bin/python{python}")) else { return Ok(None) };
    let library = format!("lib/python{python}");
    let is_file = |path: &str| -> Result<bool, Error> {
        Ok(rootfs.entry(path)?.is_some_and(|entry| matches!(entry.kind, EntryKind::File(_))))
    };
    let is_shared =
        ["", "usr", "usr/local"].contains(&prefix) || !rootfs.names(&format!("{prefix}/conda-meta"))?.is_empty();
    if is_shared || !is_file(&format!("{prefix}/{library}/os.py"))? || !is_file(&real)? {
        return Ok(None);
    }
    let mut files = Files::new();
    let place = Place { from: prefix.to_owned(), to: in_interpreter("").trim_end_matches('/').to_owned() };
    let (programs, libraries) = (in_interpreter("bin/python"), in_interpreter("lib/"));
    let is_wanted = |path: &str| path.starts_with(&programs) || path.starts_with(&libraries);
    gather(rootfs, &place, is_wanted, &mut files)?;
    let path = in_interpreter(&format!("bin/python{python}"));
    Ok(Some((path, interpreter_part(&python.to_string(), files))))
}
