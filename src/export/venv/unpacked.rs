//! Wheels, interpreters and what lies installed in images, unpacked once each into the store.

use std::path::PathBuf;

use rawzip::ReaderAt;

use super::error::Error;
use super::found::File;
use crate::changeset::venv::{self, VenvError};
use crate::lock::{LockedFile, LockedWheel};
use crate::oci::Digest;
use crate::python::install::Installed;
use crate::python::scheme::PythonVersion;
use crate::python::unpack::{self, Folder};
use crate::python::{standalone, wheel::Wheel};
use crate::store::{Area, Store, Tree};

/// The version of the code that unpacks.
const FORM: u32 = 1;
/// Where in a tree of the store the files are.
const ROOT: &str = "root";

/// The directory with what `wheel` brings into every venv of `python`.
pub(super) fn wheel<R: ReaderAt>(
    store: &Store,
    locked: &LockedWheel,
    python: PythonVersion,
    wheel: &Wheel<R>,
    installed: &Installed,
) -> Result<PathBuf, Error> {
    let key = Digest::of(format!("wheel {FORM}\n{}\n{python}\n", locked.sha256).as_bytes());
    made_once(store, &key, |folder| {
        // CRC-32 and RECORD vouch for what is in files, and nothing but its hash for what else a
        // wheel says. One that is damaged is gone then, and is fetched again.
        venv::verify(store, &locked.sha256)?;
        Ok(unpack::wheel(wheel, installed, folder)?)
    })
}

/// The directory with what is in the interpreter's `archive`.
pub(super) fn interpreter(store: &Store, archive: &LockedFile) -> Result<PathBuf, Error> {
    let key = Digest::of(format!("interpreter {FORM}\n{}\n", archive.sha256).as_bytes());
    made_once(store, &key, |folder| {
        let (name, digest) = (archive.from.clone(), archive.sha256);
        let bytes = store.open_blob(Area::Downloads, &digest)?;
        let bytes = bytes.ok_or(VenvError::NotDownloaded { name, digest })?;
        let unpacked = standalone::unpack_into(bytes, &archive.from, &store.root().join("tmp"), folder);
        unpacked.map_err(|error| venv::verify(store, &digest).map_or_else(Error::from, |()| error.into()))
    })
}

/// The directory with those of `files` that are the same in every venv, of the part `key`.
pub(super) fn found(store: &Store, key: &Digest, files: &[(&String, &File)]) -> Result<PathBuf, Error> {
    let key = Digest::of(format!("found {FORM}\n{key}\n").as_bytes());
    made_once(store, &key, |folder| {
        files.iter().try_for_each(|(path, file)| Ok(folder.copy(path, file.mode, &file.place)?))
    })
}

/// The directory of the store's tree `key`, which `make` fills if it is not there.
pub(super) fn made_once(
    store: &Store,
    key: &Digest,
    make: impl FnOnce(&mut Folder) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    if let Some(path) = store.tree(Tree::Unpacked, key) {
        return Ok(path.join(ROOT));
    }
    let writer = store.tree_writer(Tree::Unpacked, key)?;
    // Whoever was waited for may have made it.
    if let Some(path) = store.tree(Tree::Unpacked, key) {
        return Ok(path.join(ROOT));
    }
    let mut folder = Folder::create(&writer.path().join(ROOT))?;
    make(&mut folder)?;
    let (content, sums) = folder.finish();
    Ok(writer.keep(content, &sums)?.join(ROOT))
}
