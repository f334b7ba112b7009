//! The journal of uploads: for each blob on its way to a repository, where the
//! registry takes the rest of it. The next run goes on there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::blobs::BlobWriter;
use super::{Error, Store, sealed};
use crate::oci::Digest;

/// The version of an entry's form.
const VERSION: u32 = 2;
/// How long an entry is good for: registries forget an upload after a week at the
/// latest (distribution's `uploadpurging`).
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Which upload: one blob on its way to one repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UploadName {
    /// `HOST` or `HOST:PORT`.
    pub registry: String,
    /// The repository's name.
    pub repository: String,
    /// What is uploaded: the blob's digest, or whatever else stands for its bytes.
    pub blob: String,
}

impl UploadName {
    fn digest(&self) -> Digest {
        // none of the three has a line's end in it
        Digest::of(format!("{}\n{}\n{}", self.registry, self.repository, self.blob).as_bytes())
    }
}

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UploadState {
    /// Where the registry takes the rest. It may be signed: whoever knows it may
    /// write there.
    pub location: String,
    /// How many bytes the registry has confirmed.
    pub offset: u64,
    /// The registry's `OCI-Chunk-Min-Length`, in bytes; 0 if it has none.
    #[serde(default)]
    pub minimum: u64,
}

/// The file of an entry.
#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    #[serde(flatten)]
    name: UploadName,
    #[serde(flatten)]
    state: UploadState,
}

/// The journal's entry for one upload. While it is held, nobody else has it.
#[derive(Debug)]
pub struct UploadEntry {
    store: Store,
    name: UploadName,
    path: PathBuf,
    /// Locked. Beside the entry, which is replaced with each step.
    lock: File,
}

impl Store {
    fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// The journal's entry for the upload `name`; nothing while another process, or
    /// another task of this one, is at the same upload: it has a session of its own.
    ///
    /// # Errors
    /// [`Error::Io`] if the journal can't be written.
    pub fn upload(&self, name: &UploadName) -> Result<Option<UploadEntry>, Error> {
        let directory = self.uploads();
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        let path = directory.join(format!("{}.json", name.digest().hex()));
        let lock = lock_of(&path);
        loop {
            let file = File::options().create(true).write(true).truncate(false).open(&lock);
            let file = file.map_err(Error::io("open", &lock))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(source)) => return Err(Error::io("lock", &lock)(source)),
            }
            // Whoever had it may have removed it meanwhile: then it keeps nobody off.
            if file.metadata().is_ok_and(|metadata| metadata.nlink() > 0) {
                return Ok(Some(UploadEntry { store: self.clone(), name: name.clone(), path, lock: file }));
            }
        }
    }

    /// Removes entries that no registry remembers, and locks that nobody holds.
    /// Returns how many files that were, and their bytes.
    pub(super) fn sweep_uploads(&self) -> (usize, u64) {
        let (mut count, mut freed) = (0, 0);
        for path in fs::read_dir(self.uploads()).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let is_lock = path.extension().is_some_and(|extension| extension == "lock");
            let Ok(metadata) = path.metadata() else { continue };
            let gone = if is_lock { !path.with_extension("json").exists() } else { is_old(&metadata) };
            if gone && remove_unheld(&path) {
                (count, freed) = (count + 1, freed + metadata.len());
            }
        }
        (count, freed)
    }
}

impl UploadEntry {
    /// Where the upload stood; nothing if it is new. An entry that can't be read
    /// counts as none.
    pub fn state(&self) -> Option<UploadState> {
        let entry: Entry = sealed::open(&self.name.digest(), &fs::read(&self.path).ok()?)?;
        let fresh = !is_old(&self.path.metadata().ok()?);
        (fresh && entry.version == VERSION && entry.name == self.name).then_some(entry.state)
    }

    /// Remembers where the upload stands now.
    ///
    /// # Errors
    /// [`Error::Io`]; what was remembered before then still stands.
    pub fn put(&self, state: &UploadState) -> Result<(), Error> {
        let entry = Entry { version: VERSION, name: self.name.clone(), state: state.clone() };
        let bytes = sealed::seal(&self.name.digest(), &entry);
        let bytes = bytes.map_err(|source| Error::Format { path: self.path.clone(), source })?;
        let mut writer = BlobWriter::new(&self.store.root.join("tmp"))?;
        writer.keep_private().and_then(|()| writer.write_all(&bytes)).map_err(Error::io("write", &self.path))?;
        writer.rename_to(&self.path)
    }

    /// Forgets the session, and goes on with the next.
    pub fn forget(&self) {
        // one that stays is found out when the registry is asked about it
        let _ = fs::remove_file(&self.path);
    }

    /// Ends the entry: the registry has the blob.
    pub fn end(self) {
        self.forget();
        // while it is locked, so that nobody takes it for one that counts
        let _ = fs::remove_file(lock_of(&self.path));
        drop(self.lock);
    }
}

fn lock_of(entry: &Path) -> PathBuf {
    entry.with_extension("lock")
}

fn is_old(metadata: &fs::Metadata) -> bool {
    let age = |then: SystemTime| SystemTime::now().duration_since(then);
    metadata.modified().is_ok_and(|then| age(then).is_ok_and(|age| age > FORGOTTEN))
}

/// Removes a file of the journal unless its upload is under way; whether it did.
fn remove_unheld(path: &Path) -> bool {
    let lock = match File::open(lock_of(path)) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => return false,
    };
    let held = lock.as_ref().is_some_and(|lock| lock.try_lock().is_err());
    !held && fs::remove_file(path).is_ok()
}
