//! Directories on this machine's local disk for as long as a sandbox or a step needs
//! them: removed with their owner, and if dlpack was killed, swept by the next.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Error;

/// What the directories' names begin with.
const PREFIX: &str = "sandbox-";

/// A directory of somebody's own. Whoever holds its lock uses it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    stays: bool,
    lock: File,
}

impl Directory {
    /// A new one in `scratch`, which is made if need be, and from which those that nobody
    /// uses are removed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(scratch: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { doing: "make a directory in", path: scratch.to_owned(), source };
        fs::create_dir_all(scratch).map_err(failed)?;
        sweep(scratch);
        Self::locked(scratch).map_err(failed)
    }

    /// The one at `path`, made if need be, which stays when it is nobody's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn lasting(path: &Path) -> Result<Self, Error> {
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            let lock = File::open(path)?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Ok(Self { path: path.to_owned(), stays: true, lock })
        };
        open().map_err(|source| Error::Io { doing: "use", path: path.to_owned(), source })
    }

    /// Takes one that stayed, and that nobody uses, out of sight in one step: where it is then, it
    /// is swept like any other unless the caller removes it.
    ///
    /// # Errors
    /// As rename(2).
    pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
        let gone = path.with_file_name(format!("{PREFIX}{:016x}", fastrand::u64(..)));
        fs::rename(path, &gone)?;
        Ok(gone)
    }

    fn locked(scratch: &Path) -> io::Result<Self> {
        loop {
            // what steps make with S_ISUID would be for others to run, as this user
            let closed = Permissions::from_mode(0o700);
            let path = tempfile::Builder::new().prefix(PREFIX).permissions(closed).tempdir_in(scratch)?.keep();
            // another sandbox may take it for one of the dead before it is locked
            let lock = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && path.exists() {
                return Ok(Self { path, stays: false, lock });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What holds it for as long as any copy is open.
    pub(super) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Where `name` in it is.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.stays {
            let _ = remove(&self.path);
        }
    }
}

/// Removes the directories in `scratch` that nobody uses.
fn sweep(scratch: &Path) {
    for entry in fs::read_dir(scratch).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(directory) = File::open(entry.path()) else { continue };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = remove(&entry.path());
        }
    }
}

/// Removes a tree whose directories may be closed to their owner, as overlayfs's `work`
/// is.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        result => result,
    }
}

fn open_up(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
