//! What a venv is made of: its interpreter, its skeleton, its wheels and what an image has besides,
//! and the files of each.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::contents::Stat;
use super::error::Error;
use super::found::Files;
use super::unpacked;
use crate::changeset::venv as layers;
use crate::lock::{LockedFile, LockedVenv, LockedWheel};
use crate::oci::Digest;
use crate::python::install::{Content, Installed};
use crate::python::scheme::{PythonVersion, Scheme};
use crate::python::tree;
use crate::python::venv::{self, Skeleton};
use crate::store::Store;

/// Where the image's own interpreter lies, relative to the venv: in it, so that nothing that is
/// done to the store takes it away.
pub(super) const INTERPRETER: &str = ".python";

/// A part before its files are known.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// What a person calls it.
    pub(super) name: String,
    /// What stands for all that it is made from but the prefix.
    pub(super) key: Digest,
    pub(super) of: Of,
}

#[derive(Clone, Debug)]
pub(super) enum Of {
    /// The archive of a standalone build.
    Interpreter(LockedFile),
    Skeleton,
    Wheel(LockedWheel),
    /// What lies installed in an image, and where its RECORD is.
    Found {
        files: Files,
        record: Option<String>,
    },
}

impl Of {
    /// How many bytes it is made from.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Interpreter(archive) => archive.size,
            Self::Skeleton => 0,
            Self::Wheel(wheel) => wheel.size,
            Self::Found { files, .. } => files.values().map(|file| file.size).sum(),
        }
    }
}

/// A file or a link of a venv.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) stat: Stat,
    pub(super) source: Source,
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    /// It is in the venv already.
    There,
    /// A file of the store.
    Stored(PathBuf),
    /// Made for this venv.
    Bytes(Vec<u8>),
    /// A link that is made for this venv.
    Link(String),
}

impl Item {
    /// A link that is made for a venv.
    pub(super) fn link(target: String) -> Self {
        Self { stat: Stat::link(&target), source: Source::Link(target) }
    }
}

/// What every venv has; it is made anew each time, and compared.
pub(super) fn skeleton_part() -> Wanted {
    Wanted { name: "venv".to_owned(), key: Digest::of(b""), of: Of::Skeleton }
}

/// The parts that `wheels` are in a venv of `python`, in the order in which a file of one replaces that
/// of another.
pub(super) fn wheels(wheels: &[LockedWheel], python: PythonVersion) -> Vec<Wanted> {
    let part = |wheel: LockedWheel| {
        let mut without = wheel.without.clone();
        without.sort();
        let key = format!("{}\n{python}\n{}", wheel.sha256, without.join("\n"));
        let name = format!("{} {}", wheel.name, wheel.version);
        Wanted { name, key: Digest::of(key.as_bytes()), of: Of::Wheel(wheel) }
    };
    layers::packed(wheels).into_iter().flatten().map(part).collect()
}

/// The image's own interpreter, and its executable relative to the venv, if that is a standalone build.
pub(super) fn interpreter_of(locked: &LockedVenv) -> Option<(String, Wanted)> {
    let archive = locked.interpreter.archive.as_ref()?;
    let below = locked.interpreter.path.strip_prefix('/')?.strip_prefix(&archive.to)?;
    let (name, of) = (format!("Python {}", locked.python), Of::Interpreter(archive.clone()));
    Some((format!("{INTERPRETER}{below}"), Wanted { name, key: archive.sha256, of }))
}

/// The files of an interpreter, by path relative to the venv.
pub(super) fn interpreter(store: &Store, archive: &LockedFile) -> Result<Vec<(String, Item)>, Error> {
    let root = unpacked::interpreter(store, archive)?;
    let mut items = Vec::new();
    for entry in walkdir::WalkDir::new(&root).min_depth(1) {
        let failed = |error: walkdir::Error| Error::io("read", &root)(error.into());
        let entry = entry.map_err(failed)?;
        let found = entry.metadata().map_err(failed)?;
        let below = entry.path().strip_prefix(&root).unwrap_or(entry.path()).to_string_lossy();
        let item = match entry.file_type() {
            kind if kind.is_dir() => continue,
            kind if kind.is_symlink() => {
                let target = fs::read_link(entry.path()).map_err(Error::io("read", entry.path()))?;
                Item::link(target.to_string_lossy().into_owned())
            }
            _ => {
                let stat = Stat::file(found.mode() & 0o777, found.len());
                Item { stat, source: Source::Stored(entry.path().to_owned()) }
            }
        };
        items.push((format!("{INTERPRETER}/{below}"), item));
    }
    Ok(items)
}

/// The directories of a skeleton, and its files.
pub(super) fn skeleton(skeleton: &Skeleton) -> (Vec<String>, Vec<(String, Item)>) {
    let (mut directories, mut items) = (Vec::new(), Vec::new());
    // as the venv module has it from Python 3.13 on: nobody commits a venv
    let ignore = (".gitignore".to_owned(), venv::Item::File("*\n".to_owned()));
    for (path, item) in skeleton.items().into_iter().chain([ignore]) {
        match item {
            venv::Item::Directory => directories.push(path),
            venv::Item::File(text) => items.push((path, made(0o644, text.into_bytes()))),
            venv::Item::Link(target) => items.push((path, Item::link(target))),
        }
    }
    (directories, items)
}

/// The files of a wheel, by path relative to the venv.
pub(super) fn wheel(store: &Store, locked: &LockedWheel, scheme: &Scheme) -> Result<Vec<(String, Item)>, Error> {
    let wheel = layers::open(store, locked)?;
    let installed = Installed::of(&wheel, scheme).map_err(tree::Error::from)?;
    let root = unpacked::wheel(store, locked, scheme.python(), &wheel, &installed)?;
    let without: HashSet<&String> = locked.without.iter().collect();
    let files = installed.files().iter().filter(|file| !without.contains(&file.path));
    let items = files.map(|file| {
        let item = match &file.content {
            Content::Bytes(bytes) => made(file.mode, bytes.clone()),
            // read-only, as the store has it
            Content::Entry { .. } => {
                Item { stat: Stat::file(file.mode & 0o555, file.size), source: Source::Stored(root.join(&file.path)) }
            }
        };
        (file.path.clone(), item)
    });
    Ok(items.collect())
}

/// A file that is made for a venv.
pub(super) fn made(mode: u32, bytes: Vec<u8>) -> Item {
    Item { stat: Stat::file(mode, bytes.len() as u64), source: Source::Bytes(bytes) }
}
