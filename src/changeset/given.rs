//! What a `run` layer's step is given besides the root filesystem, for as long as it
//! runs: files of the recipe as the lock has them, cache directories, secrets.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use thiserror::Error;
use walkdir::WalkDir;

use super::files;
use crate::lock::{FileKind, LockedFile, SCRIPT};
use crate::oci::{Digest, Hasher};
use crate::recipe::{Run, RunSecret};
use crate::sandbox::{Host, Mount, MountKind};

/// The modification time of all that is mounted: 1980-01-01, as in a layer.
const MODIFIED: Duration = Duration::from_secs(315_532_800);

/// Why a step can't be given what it is to be given.
#[derive(Debug, Error)]
pub enum Error {
    /// A file or directory of this machine can't be used.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// `create`, `read` …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the recipe is no longer what the lock says of it.
    #[error(transparent)]
    File(#[from] files::Error),
}

impl Error {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or name another store with --store".into())
            }
            Self::Io { .. } => None,
        }
    }
}

/// What a step is given.
#[derive(Debug)]
pub(super) struct Given {
    /// All of it.
    pub mounts: Vec<Mount>,
    /// The script's first bytes, if it is one: they say who runs it.
    pub script: Option<Vec<u8>>,
    /// Cache directories are one step's at a time.
    _locks: Vec<File>,
}

impl Given {
    /// What `run` asks for. Copies of `files`, which lie in the recipe's `directory`, are
    /// made in `scratch`; waits until nobody else uses its cache directories.
    pub(super) fn new(
        run: &Run,
        files: &[LockedFile],
        directory: &Path,
        host: &Host,
        scratch: &Path,
    ) -> Result<Self, Error> {
        let copies = scratch.join("given");
        fs::create_dir(&copies).map_err(Error::io("create", &copies))?;
        let mut mounts = Vec::new();
        let script = run.script.as_ref().map(|_| SCRIPT);
        let places = run.mounts.iter().map(|mount| mount.to.trim_start_matches('/')).chain(script);
        for (position, to) in places.enumerate() {
            let from = copies.join(position.to_string());
            copy(to, files, directory, &from)?;
            mounts.push(Mount { from, to: format!("/{to}"), kind: MountKind::ReadOnly });
        }
        let script = match mounts.last().filter(|_| script.is_some()) {
            Some(mount) => Some(fs::read(&mount.from).map_err(Error::io("read", &mount.from))?),
            None => None,
        };
        // flock(2) does not know that two locks are one step's; and of two steps that take the
        // same in another order, each would wait for the other
        let ids: BTreeSet<&str> = run.caches.iter().map(|cache| cache.id.as_str()).collect();
        let locks = ids.into_iter().map(|id| lock(&cache_directory(id, host))).collect::<Result<_, _>>()?;
        for cache in &run.caches {
            let from = cache_directory(&cache.id, host);
            mounts.push(Mount { from, to: cache.to.clone(), kind: MountKind::Writable });
        }
        // One that is not there is optional: whoever builds has seen to the others.
        for RunSecret { name, to, .. } in &run.secrets {
            if let Some(from) = host.secrets.get(name) {
                mounts.push(Mount { from: from.clone(), to: to.clone(), kind: MountKind::Secret });
            }
        }
        Ok(Self { mounts, script, _locks: locks })
    }
}

/// The directory of the cache `id`.
fn cache_directory(id: &str, host: &Host) -> PathBuf {
    host.caches.join(Digest::of(id.as_bytes()).hex())
}

/// Makes the cache `directory`, if it is not there, and waits until nobody else uses it.
fn lock(directory: &Path) -> Result<File, Error> {
    // what steps make with S_ISUID would be for others to run, as this user
    let caches = directory.parent().unwrap_or(directory);
    DirBuilder::new().recursive(true).mode(0o700).create(caches).map_err(Error::io("create", caches))?;
    fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    let path = directory.with_extension("lock");
    let lock = File::create(&path).map_err(Error::io("create", &path))?;
    lock.lock().map_err(Error::io("lock", &path))?;
    Ok(lock)
}

/// Copies what goes to `to` and below it, and makes sure that it is what was locked:
/// what the step sees is what its key says, whatever happens to the files meanwhile.
fn copy(to: &str, files: &[LockedFile], directory: &Path, copies: &Path) -> Result<(), Error> {
    let below = |file: &LockedFile| match file.to.strip_prefix(to) {
        Some("") => Some(copies.to_owned()),
        Some(rest) => rest.strip_prefix('/').map(|rest| copies.join(rest)),
        None => None,
    };
    let mut found = false;
    for (file, path) in files.iter().filter_map(|file| Some((file, below(file)?))) {
        found = true;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        copy_one(file, &directory.join(&file.from), &path)?;
    }
    if !found {
        fs::create_dir_all(copies).map_err(Error::io("create", copies))?;
    }
    // Deepest first: what is made in a directory changes the directory's time.
    for entry in WalkDir::new(copies).contents_first(true) {
        let entry =
            entry.map_err(|error| Error::Io { doing: "read", path: copies.to_owned(), source: error.into() })?;
        if !entry.path_is_symlink() {
            let dated = File::open(entry.path()).and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH + MODIFIED));
            dated.map_err(Error::io("date", entry.path()))?;
        }
    }
    Ok(())
}

fn copy_one(file: &LockedFile, from: &Path, to: &Path) -> Result<(), Error> {
    match file.kind {
        FileKind::Directory => fs::create_dir_all(to).map_err(Error::io("create", to)),
        FileKind::Symlink => {
            let target = fs::read_link(from).map_err(Error::io("read", from))?;
            files::verify(file, from, target.as_os_str().as_bytes())?;
            std::os::unix::fs::symlink(&target, to).map_err(Error::io("create", to))
        }
        FileKind::File => {
            let mut source = File::open(from).map_err(Error::io("read", from))?;
            let mut copy = File::create_new(to).map_err(Error::io("create", to))?;
            let mut hasher = Hasher::new();
            let mut both = io::BufWriter::new(Both(&mut copy, &mut hasher));
            io::copy(&mut source, &mut both).map_err(Error::io("copy", from))?;
            both.flush().map_err(Error::io("write", to))?;
            drop(both);
            files::compare(file, from, hasher.finish())?;
            copy.set_permissions(fs::Permissions::from_mode(file.mode)).map_err(Error::io("change", to))
        }
    }
}

/// Writes to a file and hashes what it takes.
struct Both<'a>(&'a mut File, &'a mut Hasher);

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
