//! Where the files of a wheel go: the `venv` and `posix_user` install schemes of CPython's
//! `sysconfig`, with paths relative to the venv or to the user's base directory.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::layer::Attributes;

/// Not a version of Python.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("`{given}` is not a version of Python such as 3.12")]
pub struct InvalidVersion {
    /// What was given.
    pub given: String,
}

impl InvalidVersion {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some("write major and minor version, `3.12`; free-threaded builds are `3.13t`".into())
    }
}

/// Major and minor version of Python: all that paths in a venv depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PythonVersion {
    /// `3`.
    pub major: u8,
    /// `12`.
    pub minor: u8,
    /// Whether it is a free-threaded build, which has directories of its own.
    pub free_threaded: bool,
}

impl FromStr for PythonVersion {
    type Err = InvalidVersion;

    /// Reads `3.12`, `3.12.4` or `3.13t`.
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion { given: text.chars().take(40).collect() };
        let (number, free_threaded) = text.strip_suffix('t').map_or((text, false), |number| (number, true));
        let mut parts = number.splitn(3, '.');
        let mut part = || -> Option<u8> {
            parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
        };
        let (major, minor) = (part().ok_or_else(invalid)?, part().ok_or_else(invalid)?);
        if major < 3 {
            return Err(invalid());
        }
        Ok(Self { major, minor, free_threaded })
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.major, self.minor, if self.free_threaded { "t" } else { "" })
    }
}

/// The directories of a venv, or of a user's own packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheme {
    prefix: String,
    python: PythonVersion,
    site_packages: String,
    /// None for a venv.
    user: Option<UserSite>,
}

/// Whose packages they are, on top of those of which interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct UserSite {
    interpreter: String,
    uid: u32,
    gid: u32,
}

impl Scheme {
    /// The venv at `prefix`, absolute, for `python`.
    pub fn new(prefix: &str, python: PythonVersion) -> Self {
        Self {
            prefix: prefix.trim_end_matches('/').to_owned(),
            python,
            site_packages: format!("lib/python{python}/site-packages"),
            user: None,
        }
    }

    /// What `pip install --user` of the Python at `interpreter`, absolute, would use: the base
    /// directory `base`, absolute, of a user with these ids.
    pub fn of_user(base: &str, python: PythonVersion, interpreter: &str, (uid, gid): (u32, u32)) -> Self {
        Self { user: Some(UserSite { interpreter: interpreter.to_owned(), uid, gid }), ..Self::new(base, python) }
    }

    /// Whether it is a user's own, and no venv.
    pub fn is_of_user(&self) -> bool {
        self.user.is_some()
    }

    /// Whose files are, with these permission bits: root's in a venv.
    pub fn attributes(&self, mode: u32) -> Attributes {
        match &self.user {
            Some(UserSite { uid, gid, .. }) => Attributes { mode, uid: *uid, gid: *gid },
            None => Attributes::root(mode),
        }
    }

    /// Where the venv lies, absolute.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Python's version.
    pub fn python(&self) -> PythonVersion {
        self.python
    }

    /// The interpreter that scripts name.
    pub fn interpreter(&self) -> String {
        self.user.as_ref().map_or_else(|| format!("{}/bin/python", self.prefix), |user| user.interpreter.clone())
    }

    /// Where both purelib and platlib are: a venv has one site-packages.
    pub fn site_packages(&self) -> &str {
        &self.site_packages
    }

    /// Where the headers of the project `name` go.
    pub fn headers(&self, name: &str) -> String {
        // sysconfig: of `posix_user`, "include": "{userbase}/include/python{py_version_short}"
        let site = if self.is_of_user() { "" } else { "site/" };
        format!("include/{site}python{}/{name}", self.python)
    }

    /// The directories that every venv has, sorted; the venv's own is the empty path.
    pub fn directories(&self) -> [String; 6] {
        let lib = format!("lib/python{}", self.python);
        ["".into(), "bin".into(), "include".into(), "lib".into(), lib, self.site_packages.clone()]
    }

    /// Whether `path` is one that the venv has itself, or lies in a file of its own.
    pub fn is_reserved(&self, path: &str) -> bool {
        let mut names = path.splitn(3, '/');
        let (top, second) = (names.next().unwrap_or_default(), names.next());
        match (top, second) {
            ("pyvenv.cfg" | "lib64", _) => !self.is_of_user(),
            ("bin", Some(name)) if !self.is_of_user() => {
                matches!(name, "python" | "python3" | "pythonw" | "activate" | "activate.csh" | "activate.fish")
                    || name.strip_prefix("python").is_some_and(|version| version.parse::<PythonVersion>().is_ok())
            }
            _ => self.directories().iter().any(|directory| directory == path),
        }
    }

    /// `path` as RECORD has it: relative to site-packages.
    pub fn record_path(&self, path: &str) -> String {
        match path.strip_prefix(&self.site_packages).and_then(|rest| rest.strip_prefix('/')) {
            Some(rest) => rest.to_owned(),
            None => format!("../../../{path}"),
        }
    }
}
