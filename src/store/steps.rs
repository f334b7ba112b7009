//! What steps leave in the store besides layers: logs, and cache directories that persist
//! between builds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Entry, Error, Kind, Store};
use crate::oci::Digest;

impl Store {
    /// Logs, each last used when it was written, and cache directories, each last used
    /// when a step last locked it.
    pub(super) fn left_by_steps(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for path in sorted(&self.logs())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // one that vanishes meanwhile is none
            if let Ok(metadata) = path.symlink_metadata()
                && metadata.is_file()
            {
                let (digest, size) = (Digest::of(name.as_bytes()), metadata.len());
                let (kind, last_used) = (Kind::Log, time(&path));
                entries.push(Entry { kind, digest, size, last_used, path, needed_by: vec![], twice: false });
            }
        }
        for path in sorted(&self.caches())? {
            let hex = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let (Ok(digest), true) = (Digest::from_hex(&hex), path.is_dir()) {
                let last_used = time(&lock_of(&path)).max(time(&path));
                entries.push(Entry {
                    kind: Kind::Cache,
                    digest,
                    size: size(&path),
                    last_used,
                    path,
                    needed_by: vec![],
                    twice: false,
                });
            }
        }
        Ok(entries)
    }

    /// Removes a cache directory. Nobody uses the store meanwhile.
    pub(super) fn remove_cache(&self, path: &Path) -> Result<(), Error> {
        self.remove_tree(path)?;
        // without its directory it says nothing
        let _ = fs::remove_file(lock_of(path));
        Ok(())
    }
}

/// The file that whoever uses a cache directory has locked.
fn lock_of(cache: &Path) -> PathBuf {
    cache.with_extension("lock")
}

/// What lies in `directory`, if there is one.
fn sorted(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::io("read", directory)(error);
    let mut paths = Vec::new();
    match fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                paths.push(entry.map_err(failed)?.path());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    paths.sort();
    Ok(paths)
}

fn time(path: &Path) -> SystemTime {
    path.symlink_metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The length of all files below `directory`; what can't be read counts for nothing.
fn size(directory: &Path) -> u64 {
    let entries = walkdir::WalkDir::new(directory).into_iter().filter_map(Result::ok);
    let files = entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file);
    files.map(|metadata| metadata.len()).sum()
}
