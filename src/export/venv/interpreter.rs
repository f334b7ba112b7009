//! The Python that a venv runs with: the image's own if that is a standalone build, else one of
//! this machine.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::Error;
use super::origin::Origin;
use super::target::{Target, text};
use crate::oci::Platform;
use crate::python::scheme::PythonVersion;

/// What a Python is asked: what it is, its version, and the executable that venvs are made with.
const QUESTION: &str = "\
import sys, sysconfig
threads = 't' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''
print(sys.implementation.name)
print('%d.%d%s' % (sys.version_info[0], sys.version_info[1], threads))
print('%d.%d.%d' % sys.version_info[:3])
print(getattr(sys, '_base_executable', '') or sys.executable)
";

/// The Python that a venv runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// Its executable, absolute; not that of a venv.
    pub(super) executable: String,
    /// Its version, in full where that is known.
    pub(super) version: String,
    /// Whether it is the image's own, which comes into the venv.
    pub(super) is_of_image: bool,
}

impl Python {
    /// For what `origin` has in `target`: the one that is `named`, else the image's own if that can come
    /// along, else one of this machine.
    ///
    /// # Errors
    /// [`Error::Platform`], [`Error::NoPython`], [`Error::OtherPython`], [`Error::Name`].
    pub fn choose(origin: &Origin, target: &Target, named: Option<&Path>) -> Result<Self, Error> {
        let here = Platform::host();
        if !origin.platform.accepts(&here) {
            return Err(Error::Platform { wanted: origin.platform.clone(), here });
        }
        if let (None, Some((path, _))) = (named, &origin.interpreter) {
            let (executable, version) = (format!("{}/{path}", target.prefix), origin.version.clone());
            return Ok(Self { executable, version, is_of_image: true });
        }
        let Local { path, version } = find(origin.python, named, &target.path)?;
        Ok(Self { executable: text(&path)?.to_owned(), version, is_of_image: false })
    }
}

/// A Python of this machine.
struct Local {
    /// Its executable, absolute; not that of a venv.
    path: PathBuf,
    /// Its version in full.
    version: String,
}

/// The Python `named`, or the first of this machine that is a CPython `wanted`, for the venv at `prefix`.
fn find(wanted: PythonVersion, named: Option<&Path>, prefix: &Path) -> Result<Local, Error> {
    if let Some(path) = named {
        let other = |found: String| Error::OtherPython { path: path.to_owned(), found, wanted };
        let (python, is) = ask(path).ok_or_else(|| other("no Python that runs".to_owned()))?;
        return if is == wanted.to_string() { Ok(python) } else { Err(other(format!("Python {is}"))) };
    }
    candidates(wanted)
        .filter(|path| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
        .filter_map(|path| ask(&path))
        // that of the venv itself goes with it
        .find(|(python, is)| *is == wanted.to_string() && !python.path.starts_with(prefix))
        .map(|(python, _)| python)
        .ok_or_else(|| Error::NoPython { path: prefix.to_owned(), wanted })
}

/// Where a Python may be: `python3.X` in `PATH`, those that uv keeps, and then whatever is called
/// `python3` or `python`.
fn candidates(wanted: PythonVersion) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = env::split_paths(&path).filter(|path| path.is_absolute()).collect();
    let exact = format!("python{wanted}");
    let in_path = move |name: String| directories.clone().into_iter().map(move |directory| directory.join(&name));
    in_path(exact.clone()).chain(kept_by_uv(&exact)).chain(in_path("python3".into())).chain(in_path("python".into()))
}

/// uv, "Python versions": managed ones lie in `UV_PYTHON_INSTALL_DIR`, else in `uv/python` of the
/// user's data directory, each in a directory of its own. Newest first.
fn kept_by_uv(name: &str) -> Vec<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = || absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    let Some(top) = absolute("UV_PYTHON_INSTALL_DIR").or_else(|| Some(data()?.join("uv/python"))) else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(top).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path().join("bin").join(name)).collect();
    found.sort_by(|one, other| other.cmp(one));
    found
}

/// What the Python at `path` is, and its `X.Y`; nothing if it is none, or not CPython.
fn ask(path: &Path) -> Option<(Local, String)> {
    let mut command = Command::new(path);
    // -I: neither the user's modules nor variables such as PYTHONHOME have a say in it
    let asked = command.args(["-I", "-c", QUESTION]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8(asked.stdout).ok().filter(|_| asked.status.success())?;
    let mut lines = said.lines();
    let (implementation, short, version) = (lines.next()?, lines.next()?, lines.next()?);
    let path = PathBuf::from(lines.next()?);
    let python = Local { path, version: version.to_owned() };
    (implementation == "cpython" && python.path.is_absolute()).then(|| (python, short.to_owned()))
}
