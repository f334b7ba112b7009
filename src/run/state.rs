//! Which containers there are: a directory each in the store, with a lock that its owner, the
//! dlpack that runs it, holds. So who is dead is known by a lock that is free, whatever
//! process has its number by then.
//!
//! ```text
//! containers/
//!   lock                  held while a directory comes, goes, or is looked at
//!   NAME/lock             held by the owner for as long as the container runs
//!   NAME/container.json   a Record
//!   NAME/sandbox/         what a kept one has written, where the store is on local disk
//! ```

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Name};
use crate::oci::{Descriptor, Digest};
use crate::store::{self, CONTAINER, Store};

/// What a kept container has written, in its directory.
const SANDBOX: &str = "sandbox";

/// How many names are made up before there are none left.
const ATTEMPTS: usize = 64;

/// What is known of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// How a person named its image.
    pub image: String,
    /// The image's manifest.
    pub manifest: Descriptor,
    /// The directories of its layers, lowest first.
    pub trees: Vec<PathBuf>,
    /// Its command, with all arguments.
    pub command: Vec<String>,
    /// Who it runs as, as the image config says it.
    pub user: String,
    /// The process that owns it, on `host`.
    pub pid: u32,
    /// The machine that it runs on, or ran on.
    pub host: String,
    /// When it was started: RFC 3339.
    pub started: String,
    /// How it ended; none while it runs, and if it was killed.
    pub ended: Option<String>,
    /// Where it writes, on `host`, and where its owner listens.
    pub directory: PathBuf,
    /// Whether it stays when it has ended.
    pub kept: bool,
    /// The ports of this machine that lead to it, as `-p` says them.
    pub ports: Vec<String>,
}

/// A container that there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its name.
    pub name: Name,
    /// What is known of it.
    pub record: Record,
    /// Whether it runs.
    pub running: bool,
}

/// The containers of a store.
#[derive(Clone, Debug)]
pub struct Containers {
    root: PathBuf,
}

impl Containers {
    /// Those of `store`.
    pub fn of(store: &Store) -> Self {
        Self { root: store.containers() }
    }

    /// Takes `name` for a container that is to run, for as long as what is returned lives.
    ///
    /// # Errors
    /// [`Error::NameInUse`]; [`Error::State`] if the store can't be written.
    pub fn claim(&self, name: &Name) -> Result<Claim, Error> {
        let _alone = self.alone()?;
        self.take(name)?.ok_or_else(|| Error::NameInUse { name: name.to_string() })
    }

    /// The same with a name that nobody has.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub fn claim_any(&self) -> Result<Claim, Error> {
        let _alone = self.alone()?;
        for _ in 0..ATTEMPTS {
            let name = Name::made_up();
            if !self.path(&name).exists()
                && let Some(claim) = self.take(&name)?
            {
                return Ok(claim);
            }
        }
        Err(Error::NameInUse { name: Name::made_up().to_string() })
    }

    /// None if it runs. One that is dead, and was not to be kept, makes way.
    fn take(&self, name: &Name) -> Result<Option<Claim>, Error> {
        let path = self.path(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("create", &path))?;
        let lock = path.join("lock");
        // flock(2), NFS details: "to place an exclusive lock, the file must be opened for writing"
        let file =
            File::options().create(true).write(true).truncate(false).open(&lock).map_err(failed("open", &lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &lock)(source)),
        }
        let earlier = read(&path).filter(|record| record.kept);
        if earlier.is_none() {
            let _ = fs::remove_file(path.join(CONTAINER));
            let _ = store::remove_tree(&path.join(SANDBOX));
        }
        Ok(Some(Claim {
            containers: self.clone(),
            name: name.clone(),
            path,
            earlier,
            keeps: false,
            goes: None,
            _lock: file,
        }))
    }

    /// All containers, by name. Those that were killed, and were not to be kept, are swept.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.root)(error)),
        };
        // a store that can't be written is looked at as it is
        let _alone = self.alone().ok();
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_str().and_then(|name| name.parse::<Name>().ok());
            let Some(name) = name.filter(|_| entry.path().is_dir()) else { continue };
            let running = is_held(&entry.path().join("lock"));
            match read(&entry.path()) {
                Some(record) if running || record.kept => found.push(Listed { name, record, running }),
                _ if running => {}
                _ => drop(store::remove_tree(&entry.path())),
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The container `name`.
    ///
    /// # Errors
    /// [`Error::NoContainer`]; [`Error::State`].
    pub fn find(&self, name: &Name) -> Result<Listed, Error> {
        let found = self.list()?.into_iter().find(|listed| listed.name == *name);
        found.ok_or_else(|| Error::NoContainer { name: name.to_string() })
    }

    /// Waits until the owner of the container `name` is gone, if it has one.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn await_end(&self, name: &Name) -> Result<(), Error> {
        let lock = self.path(name).join("lock");
        match File::open(&lock) {
            Ok(file) => file.lock_shared().map_err(failed("lock", &lock)),
            // it is gone, and its name with it
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("open", &lock)(error)),
        }
    }

    /// Removes the container `name`, which must not run, with all that it has written.
    ///
    /// # Errors
    /// [`Error::NoContainer`], [`Error::Runs`], [`Error::State`].
    pub fn remove(&self, name: &Name) -> Result<(), Error> {
        let listed = self.find(name)?;
        let alone = self.alone()?;
        let path = self.path(name);
        if is_held(&path.join("lock")) {
            return Err(Error::Runs { name: name.to_string() });
        }
        let elsewhere = !listed.record.directory.starts_with(&path);
        if elsewhere && listed.record.directory.exists() {
            let directory = &listed.record.directory;
            store::remove_tree(directory).map_err(failed("remove", directory))?;
        }
        // out of sight in one step: nobody finds half of it
        let gone = self.root.join(format!(".{name}-{:016x}", fastrand::u64(..)));
        fs::rename(&path, &gone).map_err(failed("rename", &path))?;
        drop(alone);
        store::remove_tree(&gone).map_err(failed("remove", &gone))
    }

    /// Where what is known of `name` is.
    fn path(&self, name: &Name) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// Waits until nobody else is at the directories.
    fn alone(&self) -> Result<File, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(failed("create", &self.root))?;
        let path = self.root.join("lock");
        let file =
            File::options().create(true).write(true).truncate(false).open(&path).map_err(failed("open", &path))?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(file)
    }
}

/// A name that is a container's for as long as this lives. Dropped, it is nobody's any more,
/// unless the container is kept.
pub struct Claim {
    containers: Containers,
    name: Name,
    path: PathBuf,
    earlier: Option<Record>,
    /// Whether it stays as it was noted last.
    keeps: bool,
    /// What was kept, and is to be no more.
    goes: Option<PathBuf>,
    _lock: File,
}

impl Claim {
    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The container that was kept under it.
    pub fn earlier(&self) -> Option<&Record> {
        self.earlier.as_ref()
    }

    /// Whether a container of the image `digest` can go on with what was kept, if anything was.
    ///
    /// # Errors
    /// [`Error::AnotherImage`], [`Error::Lost`].
    pub fn fits(&self, digest: &Digest) -> Result<(), Error> {
        let Some(earlier) = &self.earlier else { return Ok(()) };
        let name = self.name.to_string();
        if earlier.manifest.digest != *digest {
            return Err(Error::AnotherImage { name, image: earlier.image.clone() });
        }
        if !earlier.directory.is_dir() {
            return Err(Error::Lost { name, path: earlier.directory.clone(), host: earlier.host.clone() });
        }
        Ok(())
    }

    /// Where a container that is kept writes: in `scratch`, or beside the record where that is
    /// on the same disk as the store.
    pub fn sandbox(&self, scratch: &Path) -> PathBuf {
        match scratch.parent() == self.containers.root.parent() {
            true => self.path.join(SANDBOX),
            false => scratch.join(format!("container-{}-{:08x}", self.name, fastrand::u32(..))),
        }
    }

    /// Writes down what is known of the container, whole or not at all.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn note(&mut self, record: &Record) -> Result<(), Error> {
        let (path, new) = (self.path.join(CONTAINER), self.path.join(".new"));
        let bytes = serde_json::to_vec(record).map_err(io::Error::from);
        let written = bytes.and_then(|bytes| fs::write(&new, bytes)).and_then(|()| fs::rename(&new, &path));
        written.map_err(failed("write", &path))?;
        self.keeps = record.kept;
        // what was kept is to be removed with it
        if let Some(earlier) = self.earlier.take_if(|_| !record.kept) {
            self.goes = Some(earlier.directory);
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.keeps && self.earlier.is_none() {
            let _ = self.goes.as_deref().map(store::remove_tree);
            let _alone = self.containers.alone();
            let _ = store::remove_tree(&self.path);
        }
    }
}

fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path.join(CONTAINER)).ok()?).ok()
}

/// Whether somebody holds the lock `path`. The caller has the directories alone.
fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::State { doing, path, source }
}
