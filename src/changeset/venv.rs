//! A venv: its interpreter if that is a standalone build, its skeleton, and its
//! wheels, a bin or a big wheel a changeset; then what is built from source, and bytecode.
//!
//! A layer of wheels is a function of the wheels' hashes, the venv's path and the
//! Python version: the same bytes for every index, user and registry.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rawzip::FileReader;
use serde_json::json;
use thiserror::Error;

use super::bytecode::Bytecode;
use super::source::SourceWheel;
use super::{Changeset, Inputs, Need};
use crate::layer::{Attributes, LayerWriter};
use crate::lock::{self, LockedFile, LockedVenv, LockedWheel};
use crate::oci::{Amendment, Digest};
use crate::python::install::Installed;
use crate::python::scheme::{InvalidVersion, Scheme};
use crate::python::standalone;
use crate::python::tags::WheelTags;
use crate::python::tree::{self, Source};
use crate::python::venv::Skeleton;
use crate::python::wheel::{self, Problem, Wheel};
use crate::recipe::Venv;
use crate::sandbox::Rootfs;
use crate::store::{self, Area, Store};

/// The version of the code that turns wheels into entries.
const WHEELS: u32 = 1;
/// The version of the code that writes a skeleton.
const SKELETON: u32 = 1;
/// The version of the code that turns an interpreter's archive into entries.
const INTERPRETER: u32 = 1;
/// The version of the code that writes the directories of a user's packages.
const USER_BASE: u32 = 1;

/// Why a venv can't become layers.
#[derive(Debug, Error)]
pub enum VenvError {
    /// The lock's version of Python.
    #[error("the venv {path} can't be made")]
    Version {
        /// The venv.
        path: String,
        /// What is wrong with it.
        #[source]
        source: InvalidVersion,
    },
    /// A wheel or an archive that the lock names is not in the store.
    #[error("{name} ({digest}) is not in the store")]
    NotDownloaded {
        /// Its file name.
        name: String,
        /// Its digest.
        digest: Digest,
    },
    /// The store can't be read, or what was there was damaged.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The wheels can't become a layer.
    #[error(transparent)]
    Wheels(#[from] tree::Error),
    /// The archive can't become a layer.
    #[error(transparent)]
    Interpreter(#[from] standalone::Error),
}

impl VenvError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Version { source, .. } => source.hint(),
            Self::NotDownloaded { .. } => Some("`dlpack build` downloads what the lock names".into()),
            Self::Store(error) => error.hint(),
            Self::Wheels(error) => error.hint(),
            Self::Interpreter(error) => error.hint(),
        }
    }
}

/// One changeset of a venv, and what must be downloaded to write it.
pub struct VenvLayer {
    /// The changeset.
    pub changeset: Arc<dyn Changeset>,
    /// Wheels, or an interpreter's archive.
    pub needs: Vec<Need>,
}

/// The Python of a venv.
pub(super) struct Python {
    /// The venv.
    pub(super) scheme: Scheme,
    /// The absolute path of the executable in the image.
    pub(super) interpreter: String,
    /// Its version, as far as it is known.
    pub(super) version: String,
}

/// The changesets of a venv, lowest first: interpreter, skeleton, bins, wheels alone,
/// what is built from source, bytecode. Source trees are relative to `directory`.
///
/// # Errors
/// [`VenvError::Version`].
pub fn changesets(
    venv: &Venv,
    locked: &LockedVenv,
    directory: &Path,
    store: &Store,
) -> Result<Vec<VenvLayer>, VenvError> {
    let scheme = locked.scheme(&venv.path).map_err(|source| VenvError::Version { path: venv.path.clone(), source })?;
    let mut layers = Vec::new();
    if let Some(archive) = &locked.interpreter.archive {
        // What is built and compiled in the sandbox is by this Python.
        let runs = !locked.sources.is_empty() || venv.bytecode;
        let changeset = Arc::new(Interpreter { archive: archive.clone(), runs, store: store.clone() });
        layers.push(VenvLayer { changeset, needs: vec![Need::Archive(archive.clone())] });
    }
    let skeleton = Skeleton {
        scheme: scheme.clone(),
        interpreter: locked.interpreter.path.clone(),
        version: locked.python.clone(),
    };
    let skeleton: Arc<dyn Changeset> = match scheme.is_of_user() {
        true => {
            let present = locked.user.iter().flat_map(|user| &user.present);
            let present = present.map(|present| format!("{} {}", present.name, present.version));
            Arc::new(UserBase { scheme: scheme.clone(), present: present.collect() })
        }
        false => Arc::new(SkeletonLayer(skeleton)),
    };
    layers.push(VenvLayer { changeset: skeleton, needs: Vec::new() });
    let python = Python { scheme, interpreter: locked.interpreter.path.clone(), version: locked.python.clone() };
    let python = Arc::new(python);
    for wheels in packed(&locked.wheels) {
        let needs = wheels.iter().cloned().map(Need::Wheel).collect();
        let changeset = Arc::new(Wheels { wheels, python: Arc::clone(&python), store: store.clone() });
        layers.push(VenvLayer { changeset, needs });
    }
    layers.extend(from_source(venv, locked, &python, directory, store));
    if venv.bytecode {
        layers.extend(bytecode(locked, &python, store));
    }
    Ok(layers)
}

fn from_source<'a>(
    venv: &'a Venv,
    locked: &'a LockedVenv,
    python: &'a Arc<Python>,
    directory: &'a Path,
    store: &'a Store,
) -> impl Iterator<Item = VenvLayer> + 'a {
    let wheels = locked.wheels.iter().map(|wheel| wheel.name.clone());
    let sources = locked.sources.iter().map(|source| source.name.clone());
    let present = locked.user.iter().flat_map(|user| &user.present).map(|present| present.name.clone());
    let installed: Arc<Vec<String>> = Arc::new(wheels.chain(sources).chain(present).collect());
    locked.sources.iter().map(move |source| {
        let changeset = SourceWheel {
            source: source.clone(),
            python: Arc::clone(python),
            directory: directory.to_owned(),
            installed: Arc::clone(&installed),
            bytecode: venv.bytecode,
            store: store.clone(),
        };
        let needs = changeset.needs();
        VenvLayer { changeset: Arc::new(changeset), needs }
    })
}

fn bytecode(locked: &LockedVenv, python: &Arc<Python>, store: &Store) -> impl Iterator<Item = VenvLayer> {
    let mut layers: BTreeMap<u32, Vec<LockedWheel>> = BTreeMap::new();
    for wheel in &locked.wheels {
        layers.entry(lock::bytecode_bin(&wheel.name, locked.bins)).or_default().push(wheel.clone());
    }
    let shadowed = Arc::new(locked.shadowed.clone());
    layers.into_values().map(move |mut wheels| {
        wheels.sort_by_key(|wheel| wheel.sha256);
        let needs = wheels.iter().cloned().map(Need::Wheel).collect();
        let (shadowed, python, store) = (Arc::clone(&shadowed), Arc::clone(python), store.clone());
        VenvLayer { changeset: Arc::new(Bytecode { wheels, shadowed, python, store }), needs }
    })
}

/// The wheels of each layer, lowest first: the shared bins in order, then the big ones by name.
/// The order decides whose copy of a shared file is seen.
pub fn packed(wheels: &[LockedWheel]) -> Vec<Vec<LockedWheel>> {
    let mut bins: BTreeMap<u32, Vec<LockedWheel>> = BTreeMap::new();
    let mut alone = Vec::new();
    for wheel in wheels {
        match wheel.bin {
            Some(bin) => bins.entry(bin).or_default().push(wheel.clone()),
            None => alone.push(vec![wheel.clone()]),
        }
    }
    alone.sort_by(|one, other| one[0].name.cmp(&other[0].name));
    // Within a bin by hash, so that it is the same whatever the lock's order.
    bins.values_mut().for_each(|wheels| wheels.sort_by_key(|wheel| wheel.sha256));
    bins.into_values().chain(alone).collect()
}

struct SkeletonLayer(Skeleton);

impl Changeset for SkeletonLayer {
    fn inputs(&self) -> Inputs {
        let Skeleton { scheme, interpreter, version } = &self.0;
        Inputs::new("venv", SKELETON, format!("dlpack venv {}: Python {version}", scheme.prefix()))
            .with("path", scheme.prefix())
            .with("python", scheme.python().to_string())
            .with("interpreter", interpreter.as_str())
            .with("version", version.as_str())
            .with("payload", self.0.fingerprint().to_string())
            .for_everybody()
    }

    fn write(&self, _under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        Ok(self.0.write(out)?)
    }

    /// An account's own venv, which an earlier layer set, comes before this one.
    fn amendments(&self) -> Vec<Amendment> {
        vec![Amendment::Venv(self.0.scheme.prefix().to_owned())]
    }
}

/// The directories of a user's own packages.
struct UserBase {
    scheme: Scheme,
    /// What of the base's Python they rely on: names and versions.
    present: Vec<String>,
}

impl Changeset for UserBase {
    fn inputs(&self) -> Inputs {
        let scheme = &self.scheme;
        let inputs = Inputs::new("user-base", USER_BASE, format!("dlpack packages in {}", scheme.prefix()))
            .with("path", scheme.prefix())
            .with("python", scheme.python().to_string())
            .telling("present", Some(self.present.join(", ")).filter(|present| !present.is_empty()));
        of_whom(inputs, scheme)
    }

    fn write(&self, _under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let prefix = self.scheme.prefix().trim_start_matches('/');
        for directory in self.scheme.directories() {
            let path = format!("{prefix}/{directory}");
            out.directory(path.trim_end_matches('/'), self.scheme.attributes(0o755))?;
        }
        Ok(())
    }

    /// Its programs are found before those that they are laid on top of.
    fn amendments(&self) -> Vec<Amendment> {
        vec![Amendment::FirstInPath(vec![format!("{}/bin", self.scheme.prefix())])]
    }
}

/// What histories call the place of wheels.
pub(super) fn place(scheme: &Scheme) -> String {
    format!("{} {}", if scheme.is_of_user() { "packages in" } else { "venv" }, scheme.prefix())
}

/// Adds whose files they are, and what runs them: in a venv its path says both, and they are the
/// same for everybody.
fn of_whom(inputs: Inputs, scheme: &Scheme) -> Inputs {
    match owner(scheme) {
        Some(owner) => inputs.with("interpreter", scheme.interpreter()).with("owner", owner),
        None => inputs.for_everybody(),
    }
}

/// Whose files they are, in a key; none for a venv's, which are root's.
pub(super) fn owner(scheme: &Scheme) -> Option<String> {
    let Attributes { uid, gid, .. } = scheme.attributes(0o755);
    scheme.is_of_user().then(|| format!("{uid}:{gid}"))
}

struct Interpreter {
    archive: LockedFile,
    /// Whether steps of the venv's own run it.
    runs: bool,
    store: Store,
}

impl Changeset for Interpreter {
    fn inputs(&self) -> Inputs {
        // A URL's query may be signed, and what stands here is for everybody.
        let address = self.archive.from.split(['?', '#']).next().unwrap_or_default();
        let name = address.rsplit('/').next().unwrap_or_default();
        let inputs = Inputs::new("interpreter", INTERPRETER, format!("dlpack python /{}: {name}", self.archive.to))
            .with("sha256", self.archive.sha256.to_string())
            .with("path", self.archive.to.as_str())
            .telling("libc", name.contains("-linux-gnu").then_some("glibc"))
            .part("sha256", name, "", &json!(self.archive.sha256))
            .containing(name, self.archive.size)
            .for_everybody();
        if self.runs { inputs.seen() } else { inputs }
    }

    fn write(&self, _under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let LockedFile { from, to, sha256, .. } = &self.archive;
        verify(&self.store, sha256)?;
        let archive = File::open(self.store.path(Area::Downloads, sha256))
            .map_err(|_| VenvError::NotDownloaded { name: from.clone(), digest: *sha256 })?;
        let spool = self.store.root().join("tmp");
        standalone::write(archive, from, &spool, to.trim_matches('/'), out).map_err(VenvError::from)?;
        Ok(())
    }
}

/// Reads a download whole. One that is damaged is removed, so that the next build
/// fetches it again; one that is not there is as good.
///
/// # Errors
/// [`VenvError::Store`] if it was damaged.
pub fn verify(store: &Store, sha256: &Digest) -> Result<(), VenvError> {
    let Some(mut download) = store.open_blob(Area::Downloads, sha256)? else { return Ok(()) };
    match std::io::copy(&mut download, &mut std::io::sink()) {
        Ok(_) => Ok(()),
        Err(error) => Err(download.explain(error).into()),
    }
}

/// A wheel in the store.
///
/// # Errors
/// [`VenvError::NotDownloaded`], and [`VenvError::Wheels`] if it is no wheel.
pub fn open(store: &Store, locked: &LockedWheel) -> Result<Wheel<FileReader>, VenvError> {
    let path = store.path(Area::Downloads, &locked.sha256);
    let file =
        File::open(&path).map_err(|_| VenvError::NotDownloaded { name: locked.file.clone(), digest: locked.sha256 })?;
    let unreadable = |source| wheel::Error { wheel: locked.file.clone(), problem: Problem::Read(source) };
    let size = file.metadata().map_err(unreadable).map_err(tree::Error::from)?.len();
    Ok(Wheel::open(FileReader::from(file), size, &locked.file).map_err(tree::Error::from)?)
}

/// A wheel in the store, and what it becomes under `scheme`.
pub(super) fn source_of(store: &Store, locked: &LockedWheel, scheme: &Scheme) -> Result<Source<FileReader>, VenvError> {
    let wheel = open(store, locked)?;
    let installed = Installed::of(&wheel, scheme).map_err(tree::Error::from)?;
    Ok(Source { wheel, installed, without: locked.without.iter().cloned().collect() })
}

/// Writes wheels, with bytecode that lies on disk beside them.
pub(super) fn write_wheels(
    store: &Store,
    wheels: &[LockedWheel],
    scheme: &Scheme,
    bytecode: &BTreeMap<String, PathBuf>,
    out: &mut LayerWriter,
) -> Result<(), VenvError> {
    let sources = wheels.iter().map(|wheel| source_of(store, wheel, scheme)).collect::<Result<Vec<_>, _>>()?;
    Ok(tree::write(&sources, scheme, bytecode, out)?)
}

struct Wheels {
    wheels: Vec<LockedWheel>,
    python: Arc<Python>,
    store: Store,
}

impl Wheels {
    fn summary(&self) -> String {
        let mut names: Vec<String> = self.wheels.iter().map(label).collect();
        names.sort();
        format!("dlpack {}: {}", place(&self.python.scheme), names.join(", "))
    }

    /// Whether the wheels are those of the lock.
    fn verify(&self) -> Result<(), VenvError> {
        self.wheels.iter().try_for_each(|wheel| verify(&self.store, &wheel.sha256))
    }
}

impl Changeset for Wheels {
    fn inputs(&self) -> Inputs {
        let wheels = self.wheels.iter().map(|wheel| {
            let mut without = wheel.without.clone();
            without.sort();
            json!({ "sha256": wheel.sha256, "without": without })
        });
        let inputs = Inputs::new("wheels", WHEELS, self.summary())
            .with("path", self.python.scheme.prefix())
            .with("python", self.python.scheme.python().to_string())
            .with("wheels", wheels.collect::<Vec<_>>())
            .telling("libc", libc(&self.wheels));
        let inputs = of_whom(inputs, &self.python.scheme);
        self.wheels.iter().fold(inputs, |inputs, wheel| told(inputs.containing(label(wheel), wheel.size), wheel))
    }

    fn write(&self, _under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let Self { wheels, python, store } = self;
        let (written, verified) = thread::scope(|scope| {
            // CRC-32 and RECORD vouch for what is in files, and nothing but its hash for what else a
            // wheel says: which of them can be executed.
            let verifying = thread::Builder::new().name("wheel-hash".into()).spawn_scoped(scope, || self.verify());
            let written = write_wheels(store, wheels, &python.scheme, &BTreeMap::new(), out);
            let verified = match verifying {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => self.verify(),
            };
            (written, verified)
        });
        // Nobody wants the rest, or the disk is full.
        let is_of_output =
            |error: &VenvError| matches!(error, VenvError::Wheels(tree::Error::Layer(error)) if error.is_of_output());
        match written {
            Err(error) if is_of_output(&error) => Err(error.into()),
            // Bytes that are not those of its hash explain whatever else is wrong.
            written => Ok(verified.and(written)?),
        }
    }
}

/// The C library that wheels need of what lies under them, as an image tells it: `glibc 2.28`, or
/// `glibc` where none says which. Nothing if none has machine code.
fn libc(wheels: &[LockedWheel]) -> Option<String> {
    let needs = wheels.iter().filter_map(|wheel| WheelTags::parse(&wheel.file).ok()?.glibc());
    needs.max().map(|minor| if minor == 0 { "glibc".to_owned() } else { format!("glibc 2.{minor}") })
}

/// Names `wheel` as a part of the field `wheels`.
pub(super) fn told(inputs: Inputs, wheel: &LockedWheel) -> Inputs {
    inputs.part("wheels", wheel.name.as_str(), &wheel.version, &json!(wheel.sha256))
}

/// Name and version as a person reads them.
pub(super) fn label(wheel: &LockedWheel) -> String {
    format!("{} {}", wheel.name, wheel.version)
}
