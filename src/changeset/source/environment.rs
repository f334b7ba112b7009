//! What a build sees: a venv of the wheels that it requires and the project's source,
//! laid out in a scratch directory and mounted below `/build`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use super::Error;
use crate::layer::EPOCH;
use crate::python::install::{Content, Installed};
use crate::python::scheme::Scheme;
use crate::python::venv::{Item, Skeleton};
use crate::python::wheel::{ReaderAt, Wheel};
use crate::sandbox::{Directory, Mount, MountKind, Step};

const PROGRAM: &str = include_str!("build_wheel.py");

/// A scratch directory with all that a build sees.
pub(super) struct Environment {
    directory: Directory,
}

impl Environment {
    /// A new one below `scratch`, with nothing in it yet.
    pub(super) fn create(scratch: &Path) -> Result<Self, Error> {
        let environment = Self { directory: Directory::create(scratch)? };
        for name in ["unpacked", "venv", "wheel", "tmp"] {
            let path = environment.path(name);
            fs::create_dir(&path).map_err(Error::io("create", &path))?;
        }
        environment.write("build_wheel.py", 0o644, PROGRAM.as_bytes())?;
        Ok(environment)
    }

    /// Where `name` of it lies on this machine.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The scheme of the build's venv for the Python of `scheme`.
    pub(super) fn scheme(scheme: &Scheme) -> Scheme {
        Scheme::new("/build/venv", scheme.python())
    }

    /// Makes the venv, over the interpreter of the image.
    pub(super) fn make_venv(&self, scheme: &Scheme, interpreter: &str, version: &str) -> Result<(), Error> {
        let skeleton =
            Skeleton { scheme: scheme.clone(), interpreter: interpreter.to_owned(), version: version.to_owned() };
        let mut items = skeleton.items();
        items.sort_by(|one, other| one.0.cmp(&other.0));
        for (path, item) in items {
            let disk = self.path("venv").join(&path);
            match item {
                Item::Directory => fs::create_dir_all(&disk).map_err(Error::io("create", &disk))?,
                Item::Link(target) => symlink(target, &disk).map_err(Error::io("create", &disk))?,
                Item::File(content) => self.write(&format!("venv/{path}"), 0o644, content.as_bytes())?,
            }
        }
        Ok(())
    }

    /// Installs a wheel into the venv.
    pub(super) fn install<R: ReaderAt>(&self, wheel: &Wheel<R>, scheme: &Scheme) -> Result<(), Error> {
        for file in Installed::of(wheel, scheme)?.files() {
            let path = format!("venv/{}", file.path);
            match &file.content {
                Content::Bytes(bytes) => self.write(&path, file.mode, bytes)?,
                // What `Installed` lists is there.
                Content::Entry { path: name, .. } => {
                    let Some(entry) = wheel.directory().find(name) else { continue };
                    self.write(&path, file.mode, &wheel.read(entry)?)?;
                }
            }
        }
        Ok(())
    }

    fn write(&self, path: &str, mode: u32, content: &[u8]) -> Result<(), Error> {
        let path = self.path(path);
        let written = || {
            fs::create_dir_all(path.parent().unwrap_or(self.directory.path()))?;
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path)?;
            file.write_all(content)
        };
        written().map_err(Error::io("write", &path))
    }

    /// The step that builds `project`, a directory of this machine. `task` is the
    /// argument of the program.
    pub(super) fn step(&self, project: &Path, task: &str) -> Step {
        let step = Step::new(["/build/venv/bin/python", "/build/build_wheel.py", task])
            .mount(Mount::new(self.path("venv"), "/build/venv", MountKind::ReadOnly))
            .mount(Mount::new(self.path("build_wheel.py"), "/build/build_wheel.py", MountKind::ReadOnly))
            .mount(Mount::new(project.to_owned(), "/build/source", MountKind::Writable))
            .mount(Mount::new(self.path("wheel"), "/build/wheel", MountKind::Writable))
            .mount(Mount::new(self.path("tmp"), "/build/tmp", MountKind::Writable));
        let path = format!("/build/venv/bin:{}", step.env.get("PATH").map_or("", String::as_str));
        step.env("PATH", path)
            .env("HOME", "/build/tmp")
            .env("TMPDIR", "/build/tmp")
            .env("TZ", "UTC")
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONNOUSERSITE", "1")
            // reproducible-builds.org: "The value … to be used in place of the current time"
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
    }
}
