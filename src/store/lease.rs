//! Who is using the store: builds share it, collection has it alone.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::{Error, Store};

/// Held while blobs that no tag names yet are in use: collection waits for it.
/// It ends when dropped, or with the process.
#[derive(Debug)]
pub struct Lease {
    /// Nothing for a store that can't be written, which nobody collects.
    _file: Option<File>,
}

impl Store {
    fn lock_file(&self) -> Result<(File, PathBuf), Error> {
        let path = self.root.join("lock");
        let file =
            File::options().create(true).write(true).truncate(false).open(&path).map_err(Error::io("open", &path))?;
        Ok((file, path))
    }

    /// A share of the store. Waits while a collection runs. A store that can't be
    /// written can be shared, too. Whoever comes to a store that nobody uses sweeps
    /// away what killed processes left half-written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn lease(&self) -> Result<Lease, Error> {
        let (file, path) = match self.lock_file() {
            Ok(lock) => lock,
            Err(Error::Io { source, .. })
                if matches!(source.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) =>
            {
                return Ok(Lease { _file: None });
            }
            Err(error) => return Err(error),
        };
        if file.try_lock().is_ok() {
            // What can't be removed now is in nobody's way: the next one tries again.
            let _ = self.sweep();
        }
        // flock(2): converting an exclusive lock into a shared one is allowed
        file.lock_shared().map_err(Error::io("lock", &path))?;
        Ok(Lease { _file: Some(file) })
    }

    /// The store alone; nothing if somebody is using it.
    pub(super) fn exclusive(&self) -> Result<Option<Lease>, Error> {
        let (file, path) = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lease { _file: Some(file) })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
        }
    }
}
