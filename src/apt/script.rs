//! Scripts for apt and dpkg in the sandbox: the directory in which a step finds one with
//! all that it is given, and an environment in which nobody is asked anything and nothing
//! is of the moment.

use std::fs;
use std::path::PathBuf;

use crate::layer::EPOCH;
use crate::sandbox::{Directory, Error, Host, Mount, MountKind, Step};

/// Where a step finds what it is given.
pub const GIVEN: &str = "/run/dlpack";

/// What steps are given: scripts, and files for them. It is there until this is dropped.
#[derive(Debug)]
pub struct Scripts {
    directory: Directory,
}

impl Scripts {
    /// Nothing yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(host: &Host) -> Result<Self, Error> {
        Ok(Self { directory: Directory::create(&host.scratch)? })
    }

    /// Where `name` of it lies on this machine.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn make(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        fs::create_dir_all(&path).map_err(|source| Error::Io { doing: "create", path, source })
    }

    /// Adds a file, or replaces it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = self.path(name);
        fs::write(&path, content).map_err(|source| Error::Io { doing: "write", path, source })
    }

    /// The step that runs the script `name` with where it finds what it is given, and
    /// `arguments`.
    pub fn step(&self, name: &str, arguments: &[&str]) -> Step {
        let script = format!("{GIVEN}/{name}");
        Step::new(["/bin/sh", &script, GIVEN].into_iter().chain(arguments.iter().copied()))
            // debconf(7): "the frontend never interacts with you at all"
            .env("DEBIAN_FRONTEND", "noninteractive")
            // reproducible-builds.org: "programs should use it in place of the current time".
            // shadow-utils date passwords by it, and Python ties what it compiles to hashes.
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            // perlrun(1), python(1): the order of hashes, in what maintainer scripts write
            .env("PERL_HASH_SEED", "0")
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .mount(Mount::new(self.directory.path(), GIVEN, MountKind::ReadOnly))
    }
}
