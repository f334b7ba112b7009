//! A directory that gets its name when it is whole. One that a process was killed over is
//! swept away by the next export to the same place.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::Error;
use super::output::{Destination, parent};
use crate::oci::Digest;
use crate::store::remove_tree;

/// A directory in the making. Dropped before [`Folder::keep`], it is gone.
pub(super) struct Folder {
    unfinished: PathBuf,
    /// Locked, it is somebody's.
    _alone: File,
    path: PathBuf,
    /// The permission bits that it gets with its name.
    mode: u32,
    written: u64,
}

impl Folder {
    /// An empty one, which will be `destination`.
    pub(super) fn create(destination: &Destination) -> Result<Self, Error> {
        let path = destination.path().to_owned();
        sweep(&path);
        let (unfinished, alone) = begin(&path).map_err(Error::write("create", &path))?;
        let mut folder = Self { unfinished, _alone: alone, path, mode: 0, written: 0 };
        let made = folder.unfinished.metadata().map_err(Error::write("look at", &folder.path))?;
        folder.mode = made.permissions().mode() & 0o7777;
        // whoever else is on this machine must not reach the set-user-ID files of an image before it is whole
        folder.set_mode(0o700)?;
        Ok(folder)
    }

    fn set_mode(&self, mode: u32) -> Result<(), Error> {
        let set = fs::set_permissions(&self.unfinished, Permissions::from_mode(mode));
        set.map_err(Error::write("change", &self.path))
    }

    /// Lets it have other permission bits than the umask gives.
    pub(super) fn with_mode(&mut self, mode: u32) {
        self.mode = mode;
    }

    /// Where it is meanwhile.
    pub(super) fn unfinished(&self) -> &Path {
        &self.unfinished
    }

    /// What it will be called.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that `bytes` more are in its files.
    pub(super) fn count(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Gives the directory its name: synced, and renamed in one step. Returns how many bytes are in its files.
    pub(super) fn keep(self) -> Result<u64, Error> {
        self.seal()?;
        match rustix::fs::renameat_with(CWD, &self.unfinished, CWD, &self.path, RenameFlags::NOREPLACE) {
            // renameat2(2): "EINVAL … The filesystem does not support one of the flags": then rename, which
            // replaces nothing but an empty directory
            Err(Errno::INVAL) => {
                fs::rename(&self.unfinished, &self.path).map_err(Error::write("rename to", &self.path))?;
            }
            Err(Errno::EXIST) => return Err(Error::Exists { path: self.path.clone(), is_file: false }),
            renamed => renamed.map_err(|error| Error::write("rename to", &self.path)(error.into()))?,
        }
        self.sync(parent(&self.path))?;
        Ok(self.written)
    }

    /// Puts the directory in place of the one that has its name, in one step.
    pub(super) fn replace(self) -> Result<(), Error> {
        self.seal()?;
        let failed = |error| Error::write("replace", &self.path)(error);
        // what was there is cleared away with what has no name
        match rustix::fs::renameat_with(CWD, &self.unfinished, CWD, &self.path, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => fs::rename(&self.unfinished, &self.path).map_err(failed)?,
            // as in `keep`
            Err(Errno::INVAL) => {
                remove_tree(&self.path).map_err(failed)?;
                fs::rename(&self.unfinished, &self.path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error.into())),
        }
        self.sync(parent(&self.path))
    }

    /// What is in it is on disk before it has its name.
    fn seal(&self) -> Result<(), Error> {
        self.set_mode(self.mode)?;
        self.sync(&self.unfinished)
    }

    fn sync(&self, directory: &Path) -> Result<(), Error> {
        // one sync for all files: they are many, and small
        let synced = File::open(directory).and_then(|directory| Ok(rustix::fs::syncfs(directory)?));
        synced.map_err(Error::write("sync", &self.path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // under its new name it is not there any more
        let _ = remove_tree(&self.unfinished);
    }
}

/// How directories begin that will be called `path`, whose name may be as long as names can be.
fn prefix(path: &Path) -> String {
    let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
    format!(".dlpack-{}-", Digest::of(name).short())
}

/// An empty directory beside `path`, and what keeps it from being swept away.
fn begin(path: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        // what the umask takes away is taken away
        let permissions = Permissions::from_mode(0o777);
        let unfinished =
            tempfile::Builder::new().prefix(&prefix(path)).permissions(permissions).tempdir_in(parent(path))?;
        let alone = File::open(unfinished.path())?;
        // not every filesystem has locks; there, nothing is swept either
        let _ = alone.lock();
        // somebody may have swept it away before it was locked
        if unfinished.path().is_dir() {
            return Ok((unfinished.keep(), alone));
        }
    }
}

/// Removes what exports to `path` have left that were killed. What can't be removed stays.
fn sweep(path: &Path) {
    let prefix = prefix(path);
    for entry in fs::read_dir(parent(path)).into_iter().flatten().flatten() {
        let is_one = entry.file_name().as_bytes().starts_with(prefix.as_bytes());
        if !is_one || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if let Ok(directory) = File::open(entry.path())
            && directory.try_lock().is_ok()
        {
            let _ = remove_tree(&entry.path());
        }
    }
}
