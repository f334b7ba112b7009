//! Venvs made of layers, and what is in a tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use dlpack::changeset::{self, Changeset};
use dlpack::layer::{Compression, Layer, LayerWriter};
use dlpack::lock::{LockedInterpreter, LockedVenv, LockedWheel};
use dlpack::python::wheel::FileName;
use dlpack::recipe::Venv;
use dlpack::sandbox::Rootfs;
use dlpack::store::{Area, Store};

/// What a recipe says of a venv at `path`.
pub fn recipe(path: &str) -> Venv {
    Venv {
        path: path.into(),
        user: None,
        python: super::wheel::python().into(),
        interpreter: None,
        requirements: Vec::new(),
        requirements_files: Vec::new(),
        constraints: Vec::new(),
        index_url: None,
        extra_index_url: Vec::new(),
        wheels: Vec::new(),
        projects: Vec::new(),
        no_binary: Vec::new(),
        build_requirements: Vec::new(),
        bytecode: false,
        pip: false,
    }
}

/// Puts a wheel into the store and says what a lock would say of it.
pub fn locked(store: &Store, file: &str, bytes: &[u8], bin: Option<u32>) -> LockedWheel {
    let name = FileName::parse(file).expect("a wheel's name");
    LockedWheel {
        sha256: store.put(Area::Downloads, bytes).expect("stored"),
        size: bytes.len() as u64,
        name: name.name,
        version: name.version,
        file: file.into(),
        index: "default".into(),
        bin,
        without: Vec::new(),
    }
}

/// A venv of `wheels` over `python3`.
pub fn venv(wheels: Vec<LockedWheel>) -> LockedVenv {
    let say = "import os, sys; print(os.path.realpath(sys.executable))";
    let found = super::output(Command::new("python3").args(["-c", say]), "python3");
    LockedVenv {
        interpreter: LockedInterpreter {
            path: String::from_utf8(found.stdout).expect("a path").trim().into(),
            archive: None,
        },
        user: None,
        python: super::wheel::python().into(),
        inputs: Vec::new(),
        sources: Vec::new(),
        shadowed: Default::default(),
        bins: wheels.iter().filter_map(|wheel| wheel.bin).max().map_or(0, |bin| bin + 1),
        wheels,
    }
}

/// Writes one changeset into the store.
pub fn write(store: &Store, changeset: &dyn Changeset) -> Result<Layer, changeset::Error> {
    let mut out = LayerWriter::new(store, Compression::Gzip, 0)?;
    changeset.write(&Rootfs::default(), &mut out)?;
    Ok(out.complete()?)
}

/// Unpacks layers with GNU tar, in order, as paths of `root`.
#[track_caller]
pub fn unpack(store: &Store, layers: &[Layer], root: &Path) {
    fs::create_dir_all(root).expect("created");
    for layer in layers {
        let blob = store.path(Area::Blobs, &layer.descriptor.digest);
        let mut tar = Command::new("tar");
        super::output(tar.args(["-xpzf"]).arg(&blob).arg("--no-same-owner").arg("-C").arg(root), "tar");
    }
}

/// A path of a tree: its type and mode, and its bytes or what it links to.
#[derive(Clone, PartialEq, Eq)]
pub struct Node {
    pub mode: u32,
    pub content: Vec<u8>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: String = String::from_utf8_lossy(&self.content).chars().take(400).collect();
        write!(f, "{:o} {} bytes: {shown:?}", self.mode, self.content.len())
    }
}

/// Everything below `root`, by path.
pub fn tree(root: &Path) -> BTreeMap<String, Node> {
    let nodes = walkdir::WalkDir::new(root).min_depth(1).into_iter().map(|entry| {
        let entry = entry.expect("a readable tree");
        let (path, kind) = (entry.path(), entry.file_type());
        let mode = entry.metadata().expect("a readable tree").permissions().mode();
        let content = if kind.is_file() {
            fs::read(path).expect("a readable tree")
        } else if kind.is_symlink() {
            fs::read_link(path).expect("a readable tree").into_os_string().into_encoded_bytes()
        } else {
            Vec::new()
        };
        let relative = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
        (relative, Node { mode, content })
    });
    nodes.collect()
}

/// Files that a failed write left in a store.
pub fn leftovers(store: &Store) -> Vec<PathBuf> {
    let areas = ["tmp", "blobs/sha256"].map(|area| store.root().join(area));
    let files = areas.iter().flat_map(|area| fs::read_dir(area).expect("a store"));
    files.map(|entry| entry.expect("a readable store").path()).collect()
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
