//! Bytecode of a venv: `unchecked-hash` pycs (PEP 552), which depend on no time, made by
//! the image's Python in the sandbox. A module's bytecode is a function of its source, its
//! path in the image, and the interpreter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rawzip::FileReader;
use thiserror::Error;
use walkdir::WalkDir;

use super::venv::{Python, VenvError, label, source_of, told, verify};
use super::{Changeset, Inputs};
use crate::layer::LayerWriter;
use crate::lock::LockedWheel;
use crate::python::install::Content;
use crate::python::tree::{self, Source};
use crate::python::wheel;
use crate::sandbox::{self, Directory, Log, Mount, MountKind, Rootfs, Step, Tail};
use crate::store::Store;

/// The version of the code that makes bytecode.
pub(super) const VERSION: u32 = 1;

const PROGRAM: &str = include_str!("compile.py");

/// The largest module that is compiled, in bytes: generated tables are the largest.
const MAX_MODULE: u64 = 16 << 20;

/// Why there is no bytecode.
#[derive(Debug, Error)]
pub enum Error {
    /// The interpreter failed; modules that don't compile are no failure.
    #[error("the bytecode of {prefix} can't be made: {ending}")]
    Compile {
        /// The venv.
        prefix: String,
        /// How it ended.
        ending: sandbox::Error,
        /// What it printed last.
        #[source]
        tail: Tail,
    },
    /// The step can't be started.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// A wheel can't be read.
    #[error(transparent)]
    Wheel(#[from] wheel::Error),
    /// A wheel can't be had.
    #[error(transparent)]
    Venv(#[from] VenvError),
    /// A file can't be read or written.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// `read`, `write` …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Compile { .. } => Some("is the venv's `interpreter` what the recipe says, and does it run?".into()),
            Self::Sandbox(error) => error.hint(),
            Self::Wheel(error) => error.hint(),
            Self::Venv(error) => error.hint(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space with `dlpack cache gc`, or name another place with --store".into())
            }
            Self::Io { .. } => None,
        }
    }

    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// Bytecode on disk, for as long as this is there.
#[derive(Default)]
pub(super) struct Compiled {
    files: BTreeMap<String, PathBuf>,
    directory: Option<Directory>,
}

impl Compiled {
    /// Where each file lies, by its path relative to the venv.
    pub(super) fn files(&self) -> &BTreeMap<String, PathBuf> {
        debug_assert!(self.directory.is_some() || self.files.is_empty());
        &self.files
    }
}

/// Compiles the modules of `wheels` but for those that are `shadowed`, by wheel. `log`
/// takes what the interpreter prints.
pub(super) fn compile(
    python: &Python,
    store: &Store,
    wheels: &[LockedWheel],
    shadowed: &BTreeMap<String, Vec<String>>,
    under: &Rootfs,
    mut log: Log,
) -> Result<Compiled, Error> {
    let directory = Directory::create(&under.host()?.scratch)?;
    let [modules, bytecode, program] = ["modules", "bytecode", "compile.py"].map(|name| directory.join(name));
    for path in [&modules, &bytecode] {
        fs::create_dir(path).map_err(Error::io("create", path))?;
    }
    fs::write(&program, PROGRAM).map_err(Error::io("write", &program))?;
    let site_packages = format!("{}/", python.scheme.site_packages());
    let mut laid = BTreeSet::new();
    for locked in wheels {
        let left_out = shadowed.get(&locked.name).map_or(&[][..], Vec::as_slice);
        verify(store, &locked.sha256)?;
        lay(&source_of(store, locked, &python.scheme)?, &site_packages, left_out, &modules, &mut laid)?;
    }
    let image = format!("{}/{}", python.scheme.prefix(), python.scheme.site_packages());
    // -s, -S: nothing of the image's own packages has a part in it. (-I would ignore the
    // hash seed.)
    let step = Step::new([&python.interpreter, "-s", "-S", "-B", "/build/compile.py", &image])
        .mount(Mount::new(&modules, "/build/modules", MountKind::ReadOnly))
        .mount(Mount::new(&program, "/build/compile.py", MountKind::ReadOnly))
        .mount(Mount::new(&bytecode, "/build/bytecode", MountKind::Writable))
        .env("PYTHONHASHSEED", "0");
    if !laid.is_empty() {
        match under.open()?.run_logged(&step, &mut log) {
            Ok(()) => {}
            Err(ending @ sandbox::Error::Step { .. }) => {
                let prefix = python.scheme.prefix().to_owned();
                return Err(Error::Compile { prefix, ending, tail: log.tail() });
            }
            Err(error) => return Err(error.into()),
        }
    }
    let files = collect(&bytecode, &site_packages, &laid)?;
    Ok(Compiled { files, directory: Some(directory) })
}

/// Lays the modules of a wheel where the compiler finds them. Those that are `laid`
/// already are the same.
fn lay(
    source: &Source<FileReader>,
    site_packages: &str,
    left_out: &[String],
    modules: &Path,
    laid: &mut BTreeSet<String>,
) -> Result<(), Error> {
    let files = source.installed.files().iter().filter(|file| !left_out.contains(&file.path));
    for file in files.filter(|file| file.size <= MAX_MODULE) {
        let Some(module) = file.path.strip_prefix(site_packages).filter(|path| path.ends_with(".py")) else { continue };
        let Content::Entry { path, .. } = &file.content else { continue };
        let Some(entry) = source.wheel.directory().find(path).filter(|_| laid.insert(module.to_owned())) else {
            continue;
        };
        let disk = modules.join(module);
        let content = source.wheel.read(entry)?;
        let written = fs::create_dir_all(disk.parent().unwrap_or(modules)).and_then(|()| fs::write(&disk, content));
        written.map_err(Error::io("write", &disk))?;
    }
    Ok(())
}

/// The bytecode of modules that were `laid`, and nothing else that may lie there.
fn collect(bytecode: &Path, site_packages: &str, laid: &BTreeSet<String>) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(bytecode) {
        let entry = entry.map_err(|error| Error::io("read", bytecode)(error.into()))?;
        let path = entry.path().strip_prefix(bytecode).ok().and_then(Path::to_str).unwrap_or_default();
        if entry.file_type().is_file() && module_of(path).is_some_and(|module| laid.contains(&module)) {
            files.insert(format!("{site_packages}{path}"), entry.into_path());
        }
    }
    Ok(files)
}

/// The module of `a/__pycache__/b.cpython-311.pyc` (PEP 3147).
fn module_of(path: &str) -> Option<String> {
    let (directory, name) = path.rsplit_once('/')?;
    let (stem, _tag) = name.strip_suffix(".pyc")?.rsplit_once('.')?;
    let package = directory.strip_suffix("__pycache__")?;
    Some(format!("{package}{stem}.py"))
}

/// The bytecode of some wheels of a venv.
pub(super) struct Bytecode {
    pub(super) wheels: Vec<LockedWheel>,
    pub(super) shadowed: Arc<BTreeMap<String, Vec<String>>>,
    pub(super) python: Arc<Python>,
    pub(super) store: Store,
}

impl Changeset for Bytecode {
    fn inputs(&self) -> Inputs {
        let wheels = self.wheels.iter().map(|wheel| {
            let sorted = |paths: &[String]| paths.iter().cloned().collect::<BTreeSet<_>>();
            let shadowed = self.shadowed.get(&wheel.name).map(|paths| sorted(paths)).unwrap_or_default();
            serde_json::json!({ "sha256": wheel.sha256, "shadowed": shadowed })
        });
        let prefix = self.python.scheme.prefix();
        let mut names: Vec<String> = self.wheels.iter().map(label).collect();
        names.sort();
        let inputs =
            Inputs::new("bytecode", VERSION, format!("dlpack venv {prefix}: bytecode of {}", names.join(", ")))
                .with("path", prefix)
                .with("python", self.python.scheme.python().to_string())
                .with("interpreter", self.python.interpreter.as_str())
                .with("wheels", wheels.collect::<Vec<_>>());
        let of = |wheel: &LockedWheel| format!("bytecode of {}", label(wheel));
        let inputs =
            self.wheels.iter().fold(inputs, |inputs, wheel| told(inputs.containing(of(wheel), wheel.size), wheel));
        inputs.on_rootfs().unseen()
    }

    fn write(&self, under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let compiled =
            compile(&self.python, &self.store, &self.wheels, &self.shadowed, under, under.log().map_err(Error::from)?)?;
        let written = tree::write::<FileReader>(&[], &self.python.scheme, compiled.files(), out);
        Ok(written.map_err(VenvError::from)?)
    }
}

#[cfg(test)]
mod tests {
    use super::module_of;

    #[test]
    fn bytecode_is_that_of_a_module() {
        assert_eq!(module_of("a/__pycache__/b.cpython-311.pyc").as_deref(), Some("a/b.py"));
        assert_eq!(module_of("__pycache__/six.cpython-312.pyc").as_deref(), Some("six.py"));
        for path in ["a/b.pyc", "a/__pycache__/b.py", "a/x__pycache__y/b.cpython-311.pyc", "__pycache__/b.pyc"] {
            assert_eq!(module_of(path), None, "{path}");
        }
    }
}
