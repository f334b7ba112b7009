//! Resolution: from requirements to one wheel a package, for a Python and a
//! platform that need not be this machine's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;
use url::Url;

use super::index::Indexes;
use super::pylock::{self, Origin, Resolved};
use super::tags::{Tags, Target};
use super::uv::{self, Uv};
use super::wheel::{FileName, normalize};
use crate::oci::Platform;

/// Why requirements don't resolve to wheels.
#[derive(Debug, Error)]
pub enum Error {
    /// uv is missing or says no.
    #[error(transparent)]
    Uv(#[from] uv::Error),
    /// Its answer has something in it that is not a wheel from an index or disk.
    #[error(transparent)]
    Pylock(#[from] pylock::Error),
    /// A platform that wheels for Linux are not made for here.
    #[error("there are no Python wheels for {platform}")]
    Platform {
        /// The platform.
        platform: Platform,
    },
    /// A Python version that is not `3.X`.
    #[error("`{version}` is not a version of Python 3")]
    Python {
        /// What the recipe says.
        version: String,
    },
    /// A requirement that is an option or more than one line.
    #[error("`{requirement}` is not one requirement")]
    Requirement {
        /// What the recipe says.
        requirement: String,
    },
    /// A requirement by URL, which no index has.
    #[error("{name} is required by URL ({url}), and a lock has wheels of indexes and of disk alone")]
    DirectUrl {
        /// The package.
        name: String,
        /// Its URL.
        url: String,
    },
    /// A wheel on disk that is not there, or whose name is none.
    #[error("{} is not a wheel", path.display())]
    LocalWheel {
        /// The path.
        path: PathBuf,
    },
    /// A package from an index that is none of those that uv says it asks.
    #[error("uv has {name} from {index}, which is none of the indexes that it lists")]
    UnknownIndex {
        /// The package.
        name: String,
        /// The index, without credentials.
        index: String,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Uv(error) => error.hint(),
            Self::Pylock(error) => error.hint(),
            Self::Platform { .. } => Some("choose linux/amd64 or linux/arm64".into()),
            Self::Python { .. } => Some("write the minor version, such as `python = \"3.12\"`".into()),
            Self::Requirement { .. } => {
                Some("options have fields of their own: `index-url`, `extra-index-url`, `constraints`".into())
            }
            Self::DirectUrl { .. } => Some("download the wheel and name it in `wheels`".into()),
            Self::LocalWheel { .. } => Some("name a `.whl` file, relative to the recipe".into()),
            Self::UnknownIndex { .. } => Some("name the index in `extra-index-url`".into()),
        }
    }
}

/// What is to be resolved, and for what.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The recipe's directory: paths are relative to it.
    pub directory: &'a Path,
    /// The layer, as an error names it.
    pub layer: &'a str,
    /// `3.12`, or `3.12.7` where the patch is known.
    pub python: &'a str,
    /// Whose wheels.
    pub platform: &'a Platform,
    /// The minor version of the image's glibc: 35 for 2.35.
    pub glibc: u32,
    /// Dependency specifiers.
    pub requirements: &'a [String],
    /// requirements.txt files.
    pub requirements_files: &'a [String],
    /// Constraints, one a string.
    pub constraints: &'a [String],
    /// Wheels on disk that are installed.
    pub wheels: &'a [String],
    /// Whether pip is one of the requirements.
    pub pip: bool,
}

/// A wheel and the alias of where it is from.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The wheel.
    pub wheel: Resolved,
    /// `default`, `extra-0`, … or `local:PATH`.
    pub index: String,
}

impl Request<'_> {
    /// Asks `uv`, with the packages of `indexes`.
    ///
    /// Blocks while uv runs.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn resolve(&self, uv: &Uv, indexes: &Indexes) -> Result<Vec<Chosen>, Error> {
        let target = self.target()?;
        let asking = Asking::new(&target, self.python)?;
        let input = self.input()?;
        let arguments = asking.arguments();
        let constraints = asking.write("constraints.txt", &lines(self.constraints)?)?;
        let mut first = arguments.clone();
        first.extend(["--format", "pylock.toml", "--generate-hashes"].map(str::to_owned));
        first.extend(["--constraints".to_owned(), constraints.display().to_string()]);
        first.extend(self.requirements_files.iter().cloned());
        let doing = format!("resolve `{}` for {}, Python {}", self.layer, self.platform, self.python);
        let answer = uv.compile(self.directory, &first, &indexes.environment(), &input, &doing)?;
        let wheels = pylock::read(&answer, &Tags::of(&target), &format!("{}, Python {}", self.platform, self.python))?;
        let origins = Origins::ask(uv, self.directory, arguments, &wheels, indexes, &doing)?;
        wheels.into_iter().map(|wheel| Ok(Chosen { index: self.alias(&wheel, &origins, indexes)?, wheel })).collect()
    }

    /// The tags' target.
    fn target(&self) -> Result<Target, Error> {
        let machine = match (self.platform.os.as_str(), self.platform.architecture.as_str()) {
            ("linux", "amd64") => "x86_64",
            ("linux", "arm64") => "aarch64",
            _ => return Err(Error::Platform { platform: self.platform.clone() }),
        };
        let minor = self.python.strip_prefix("3.").and_then(|rest| rest.split('.').next()?.parse().ok());
        let minor = minor.ok_or_else(|| Error::Python { version: self.python.to_owned() })?;
        Ok(Target { minor, machine, glibc: self.glibc })
    }

    /// The requirements as uv reads them from its standard input.
    fn input(&self) -> Result<String, Error> {
        let mut input = lines(self.requirements)?;
        if self.pip {
            input.push_str("pip\n");
        }
        for wheel in self.wheels {
            let path = self.directory.join(wheel);
            let not_a_wheel = || Error::LocalWheel { path: path.clone() };
            let path = fs::canonicalize(&path).map_err(|_| not_a_wheel())?;
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let name = FileName::parse(&file).map_err(|_| not_a_wheel())?.name;
            let url = Url::from_file_path(&path).map_err(|()| not_a_wheel())?;
            input.push_str(&format!("{name} @ {url}\n"));
        }
        Ok(input)
    }

    fn alias(&self, wheel: &Resolved, origins: &Origins, indexes: &Indexes) -> Result<String, Error> {
        let path = match &wheel.origin {
            Origin::Path(path) => path,
            Origin::Index(_) => return origins.alias(&wheel.name, indexes),
            Origin::Direct(url) => {
                return Err(Error::DirectUrl { name: wheel.name.clone(), url: url.clone() });
            }
        };
        let absolute = self.directory.join(path);
        let same = |wheel: &&String| match (fs::canonicalize(self.directory.join(wheel)), fs::canonicalize(&absolute)) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        };
        let written = self.wheels.iter().find(same).cloned().unwrap_or_else(|| path.display().to_string());
        Ok(format!("local:{written}"))
    }
}

fn lines(requirements: &[String]) -> Result<String, Error> {
    let mut text = String::new();
    for requirement in requirements {
        if requirement.contains(['\n', '\r']) || requirement.trim_start().starts_with('-') {
            return Err(Error::Requirement { requirement: requirement.clone() });
        }
        text.push_str(requirement);
        text.push('\n');
    }
    Ok(text)
}

/// Which index each package came from: uv says so in the annotations of its other
/// output format.
enum Origins {
    /// There is but one index.
    Default,
    /// Normalised name and index.
    Annotated(Vec<(String, String)>),
}

impl Origins {
    fn ask(
        uv: &Uv,
        directory: &Path,
        mut arguments: Vec<String>,
        wheels: &[Resolved],
        indexes: &Indexes,
        doing: &str,
    ) -> Result<Self, Error> {
        let pins: Vec<&Resolved> = wheels.iter().filter(|wheel| matches!(wheel.origin, Origin::Index(_))).collect();
        if indexes.is_single() || pins.is_empty() {
            return Ok(Self::Default);
        }
        let input: String = pins.iter().map(|wheel| format!("{}=={}\n", wheel.name, wheel.version)).collect();
        arguments.extend(["--no-deps", "--no-annotate", "--emit-index-annotation"].map(str::to_owned));
        let answer = uv.compile(directory, &arguments, &indexes.environment(), &input, doing)?;
        let mut found = Vec::new();
        let mut name = None;
        for line in answer.lines() {
            if let Some((pinned, _)) = line.split_once("==") {
                name = Some(normalize(pinned.trim()));
            } else if let (Some(index), Some(name)) = (line.trim().strip_prefix("# from "), name.take()) {
                found.push((name, index.to_owned()));
            }
        }
        Ok(Self::Annotated(found))
    }

    fn alias(&self, name: &str, indexes: &Indexes) -> Result<String, Error> {
        let Self::Annotated(found) = self else { return Ok("default".into()) };
        let index = found.iter().find(|(package, _)| package == name).map_or("an index it doesn't name", |(_, i)| i);
        indexes.alias(index).ok_or_else(|| Error::UnknownIndex { name: name.to_owned(), index: index.to_owned() })
    }
}

/// What uv is asked for, and a stand-in for the target's interpreter: a script that
/// prints what uv would ask a Python.
pub(super) struct Asking {
    directory: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Asking {
    /// For a question that no target has a part in.
    pub(super) fn any() -> Result<Self, uv::Error> {
        Self::new(&Target { minor: 12, machine: "x86_64", glibc: 28 }, "3.12")
    }

    fn new(target: &Target, python: &str) -> Result<Self, uv::Error> {
        let cannot = |source| uv::Error::Scratch { path: std::env::temp_dir(), source };
        let directory = tempfile::TempDir::new().map_err(cannot)?;
        let interpreter = directory.path().join("python");
        let platform = format!("{}-manylinux_2_{}", target.machine, known_to_uv(target.glibc));
        let interpreter = interpreter.display().to_string();
        let arguments = [
            "--only-binary",
            ":all:",
            "--python",
            &interpreter,
            "--python-platform",
            &platform,
            "--python-version",
            python,
        ];
        let asking = Self { arguments: arguments.map(str::to_owned).into(), directory };
        let answer = answer(target, python, asking.directory.path());
        let path = asking.write("python", &format!("#!/bin/sh\ncat <<'END'\n{answer}\nEND\n"))?;
        let executable = fs::set_permissions(&path, fs::Permissions::from_mode(0o755));
        executable.map_err(|source| uv::Error::Scratch { path, source })?;
        Ok(asking)
    }

    fn write(&self, name: &str, content: &str) -> Result<PathBuf, uv::Error> {
        let path = self.directory.path().join(name);
        fs::write(&path, content).map_err(|source| uv::Error::Scratch { path: path.clone(), source })?;
        Ok(path)
    }

    pub(super) fn arguments(&self) -> Vec<String> {
        self.arguments.clone()
    }
}

/// The newest glibc that uv has a platform for and that is not newer than `glibc`.
fn known_to_uv(glibc: u32) -> u32 {
    match glibc {
        ..28 => 17,
        28..31 => 28,
        31..=40 => glibc,
        _ => 40,
    }
}

/// What uv asks an interpreter, answered for the target.
fn answer(target: &Target, python: &str, prefix: &Path) -> serde_json::Value {
    let short = format!("3.{}", target.minor);
    let full = if python.matches('.').count() == 2 { python.to_owned() } else { format!("{short}.0") };
    let library = prefix.join(format!("lib/python{short}"));
    let packages = library.join("site-packages");
    let executable = prefix.join("python");
    json!({
        "result": "success",
        "markers": {
            "implementation_name": "cpython", "implementation_version": full, "os_name": "posix",
            "platform_machine": target.machine, "platform_python_implementation": "CPython",
            "platform_release": "", "platform_system": "Linux", "platform_version": "",
            "python_full_version": full, "python_version": short, "sys_platform": "linux",
        },
        "sys_base_prefix": prefix, "sys_base_exec_prefix": prefix, "sys_prefix": prefix,
        "sys_base_executable": executable, "sys_executable": executable, "sys_path": [packages],
        "site_packages": [packages], "stdlib": library,
        "extension_suffixes": [".abi3.so", ".so"], "standalone": false,
        "scheme": {
            "platlib": packages, "purelib": packages, "include": prefix.join("include"),
            "scripts": prefix.join("bin"), "data": prefix,
        },
        "virtualenv": {
            "purelib": format!("lib/python{short}/site-packages"), "platlib": format!("lib/python{short}/site-packages"),
            "include": format!("include/site/python{short}"), "scripts": "bin", "data": "",
        },
        "os": { "name": "manylinux", "major": 2, "minor": target.glibc }, "arch": target.machine,
        "cpu_info": { "detected": { "kind": "flags", "flags": "" } }, "manylinux_compatible": true, "gil_disabled": false, "debug_enabled": false,
        "pointer_size": "64",
    })
}
