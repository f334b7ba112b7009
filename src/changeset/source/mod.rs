//! A wheel that is built from source in the sandbox, by the image's Python and without
//! network, and from then on is a wheel like any other: a layer of its own.
//!
//! A build is a function of the source, the wheels that it is built with, and the root
//! filesystem that it runs on. It happens in `/build`, whatever the machine.

mod environment;
mod error;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rawzip::FileReader;
use serde_json::json;

use self::environment::Environment;
use super::venv::{Python, VenvError, open, owner, place, verify, write_wheels};
use super::{Changeset, Inputs, Need, bytecode};
use crate::layer::LayerWriter;
use crate::lock::{LockedOrigin, LockedSource, LockedWheel};
use crate::python::source::{self, BuildSystem, required_name};
use crate::python::tags::{Tags, Target, WheelTags};
use crate::python::wheel::{FileName, Wheel};
use crate::sandbox::{self, Log, Rootfs};
use crate::store::{Area, Store};

pub use error::Error;

/// The version of the code that builds wheels.
const VERSION: u32 = 1;

/// A project that is built into a wheel.
pub(super) struct SourceWheel {
    pub(super) source: LockedSource,
    pub(super) python: Arc<Python>,
    /// The recipe's directory, where source trees lie.
    pub(super) directory: PathBuf,
    /// The normalised names of all that is in the venv.
    pub(super) installed: Arc<Vec<String>>,
    pub(super) bytecode: bool,
    pub(super) store: Store,
}

impl SourceWheel {
    /// What must be fetched to build it.
    pub(super) fn needs(&self) -> Vec<Need> {
        let sdist = match &self.source.from {
            LockedOrigin::Sdist(sdist) => Some(Need::Sdist(sdist.clone())),
            LockedOrigin::Tree(_) => None,
        };
        sdist.into_iter().chain(self.source.requires.iter().cloned().map(Need::Wheel)).collect()
    }

    /// Builds the wheel, and keeps it in the store. Returns also the build's log.
    fn build(&self, under: &Rootfs) -> Result<(LockedWheel, Log), Error> {
        let environment = Environment::create(&under.host()?.scratch)?;
        let project = self.lay_source(&environment)?;
        self.lay_requirements(&environment)?;
        let BuildSystem { backend, backend_path, .. } = BuildSystem::of(&project)?;
        let known: Vec<&str> = self.source.requires.iter().map(|wheel| wheel.name.as_str()).collect();
        let task = json!({ "backend": backend, "backend-path": backend_path, "known": known });
        let step = environment.step(&project, &task.to_string());
        let mut log = under.log()?;
        let ended = under.open()?.run_logged(&step, &mut log);
        let result = environment.path("wheel");
        match ended {
            Ok(()) => Ok((self.keep(&result)?, log)),
            Err(ending @ sandbox::Error::Step { .. }) => {
                let project = self.source.label();
                let tail = log.tail();
                match small(&result.join("unmet")) {
                    Some(text) => Err(Error::Unmet { project, missing: text.lines().map(str::to_owned).collect() }),
                    None => Err(Error::Build { project, ending, tail }),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts the source where the build writes to it, and returns its directory.
    fn lay_source(&self, environment: &Environment) -> Result<PathBuf, Error> {
        let unpacked = environment.path("unpacked");
        match &self.source.from {
            LockedOrigin::Sdist(sdist) => {
                verify(&self.store, &sdist.sha256)?;
                let missing = || VenvError::NotDownloaded { name: sdist.file.clone(), digest: sdist.sha256 };
                let archive = File::open(self.store.path(Area::Downloads, &sdist.sha256)).map_err(|_| missing())?;
                Ok(source::unpack(archive, &sdist.file, &unpacked)?)
            }
            LockedOrigin::Tree(tree) => {
                let path = self.directory.join(&tree.path);
                match source::files(&path)?.copy(&unpacked)? == tree.sha256 {
                    true => Ok(unpacked),
                    false => Err(Error::Changed { path }),
                }
            }
        }
    }

    fn lay_requirements(&self, environment: &Environment) -> Result<(), Error> {
        let scheme = Environment::scheme(&self.python.scheme);
        environment.make_venv(&scheme, &self.python.interpreter, &self.python.version)?;
        for locked in &self.source.requires {
            verify(&self.store, &locked.sha256)?;
            environment.install(&open(&self.store, locked)?, &scheme)?;
        }
        Ok(())
    }

    /// Checks the wheel in `directory` and puts it into the store.
    fn keep(&self, directory: &Path) -> Result<LockedWheel, Error> {
        let entries = fs::read_dir(directory).map_err(Error::io("read", directory))?;
        let mut files: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        files.retain(|file| file.ends_with(".whl"));
        let [file] = files.as_slice() else {
            return Err(Error::Wheels { project: self.source.label(), found: files.len() });
        };
        let path = directory.join(file);
        // The build may have left a link to a file of this machine.
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            return Err(Error::Wheels { project: self.source.label(), found: 0 });
        }
        let version = self.check(file, &path)?;
        let mut content = File::open(&path).map_err(Error::io("read", &path))?;
        let mut writer = self.store.writer()?;
        std::io::copy(&mut content, &mut writer).map_err(Error::io("copy", &path))?;
        let (sha256, size) = self.store.keep(Area::Downloads, writer)?;
        let LockedSource { name, .. } = &self.source;
        let index = format!("built:{}", self.source.label());
        Ok(LockedWheel {
            name: name.clone(),
            version,
            file: file.clone(),
            sha256,
            size,
            index,
            bin: None,
            without: Vec::new(),
        })
    }

    /// Whether the wheel at `path` is that of the lock's project, for this Python, and
    /// requires what is there. Returns its version.
    fn check(&self, file: &str, path: &Path) -> Result<String, Error> {
        let other = |what| Error::Other { project: self.source.label(), file: file.to_owned(), what };
        let reader = File::open(path).map_err(Error::io("read", path))?;
        let size = reader.metadata().map_err(Error::io("read", path))?.len();
        let wheel = Wheel::open(FileReader::from(reader), size, file)?;
        let FileName { name, version, .. } = wheel.name();
        if *name != self.source.name {
            return Err(other("which is another project's"));
        }
        if self.source.version.as_ref().is_some_and(|locked| plain(locked) != plain(version)) {
            return Err(other("which is of another version"));
        }
        let fits = WheelTags::parse(file).is_ok_and(|tags| self.tags().iter().any(|known| known.rank(&tags).is_some()));
        if !fits {
            return Err(other("which is for another Python"));
        }
        let metadata =
            wheel.directory().find(&wheel.dist_info("METADATA")).map(|entry| wheel.read(entry)).transpose()?;
        let metadata = metadata.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let fields = metadata.lines().take_while(|line| !line.is_empty());
        let mut required = fields.filter_map(|line| line.strip_prefix("Requires-Dist:")).map(str::trim);
        // What has a marker may be for another platform or an extra.
        let absent = |field: &&str| !field.contains(';') && !self.installed.contains(&required_name(field));
        match required.find(absent) {
            Some(field) => Err(Error::Requires { project: self.source.label(), requirement: field.to_owned() }),
            None => Ok(version.clone()),
        }
    }

    /// The tags of the image's Python; the build ran on its machine, whichever that is.
    fn tags(&self) -> Vec<Tags> {
        let minor = u32::from(self.python.scheme.python().minor);
        ["x86_64", "aarch64"].map(|machine| Tags::of(&Target { minor, machine, glibc: 40 })).into()
    }

    fn write_all(&self, under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let (wheel, log) = self.build(under)?;
        let wheels = [wheel];
        let bytecode = match self.bytecode {
            true => bytecode::compile(&self.python, &self.store, &wheels, &BTreeMap::new(), under, log)?,
            false => bytecode::Compiled::default(),
        };
        Ok(write_wheels(&self.store, &wheels, &self.python.scheme, bytecode.files(), out)?)
    }
}

/// A version as two spellings of it have it in common: `1.0-rc1`, `1.0rc1`.
fn plain(version: &str) -> String {
    version.to_lowercase().replace(['-', '_', '.', '+'], "")
}

/// The text of a small file that is no link.
fn small(path: &Path) -> Option<String> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if metadata.is_file() && metadata.len() < 64 << 10 { fs::read_to_string(path).ok() } else { None }
}

impl Changeset for SourceWheel {
    fn inputs(&self) -> Inputs {
        let LockedSource { from, requires, .. } = &self.source;
        let requires: Vec<_> = requires.iter().map(|wheel| wheel.sha256.to_string()).collect();
        let (file, size, sha256) = match from {
            LockedOrigin::Sdist(sdist) => (sdist.file.clone(), sdist.size, sdist.sha256),
            LockedOrigin::Tree(tree) => (tree.path.clone(), 0, tree.sha256),
        };
        let (prefix, label) = (self.python.scheme.prefix(), self.source.label());
        let inputs = Inputs::new(
            "source",
            VERSION,
            format!("dlpack {}: {label}, built from {file}", place(&self.python.scheme)),
        )
        .with("path", prefix)
        .with("python", self.python.scheme.python().to_string())
        .with("interpreter", self.python.interpreter.as_str())
        .with("source", sha256.to_string())
        .with("requires", requires);
        let inputs = match owner(&self.python.scheme) {
            Some(owner) => inputs.with("owner", owner),
            None => inputs,
        };
        let inputs = match self.bytecode {
            true => inputs.with("bytecode", bytecode::VERSION),
            false => inputs,
        };
        let version = self.source.version.as_deref().unwrap_or_default();
        let inputs = inputs.part("source", self.source.name.as_str(), version, &json!(sha256));
        let of = |inputs: Inputs, wheel: &LockedWheel| {
            inputs.part("requires", wheel.name.as_str(), &wheel.version, &json!(wheel.sha256))
        };
        let inputs = self.source.requires.iter().fold(inputs, of);
        inputs.containing(format!("{label} (from source)"), size).on_rootfs().unseen()
    }

    fn write(&self, under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        self.write_all(under, out)
    }
}
