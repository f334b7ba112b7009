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
//!
//! What can't be read is nobody's to sweep: only a record that says so lets a container go,
//! and only on its own machine, since on NFS and Lustre another's locks may not be seen.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::owner::host;
use super::{Error, Name};
use crate::oci::{Descriptor, Digest};
use crate::sandbox::{Directory, Identity, Lasting};
use crate::store::{self, CONTAINER, Store};

/// What a kept container has written, in its directory.
const SANDBOX: &str = "sandbox";

/// What the directory of a kept container begins with, where it is not in the store.
const ELSEWHERE: &str = "container-";

/// How many names are made up before they get digits, and how many with them.
const ATTEMPTS: usize = 32;

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
    /// Who the caller is in it, and its files are.
    pub identity: Identity,
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

/// A container that there is, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its name.
    pub name: Name,
    /// What is known of it.
    pub record: Record,
    /// Whether it runs.
    pub running: bool,
}

/// A container that there is, whatever can be read of it.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: Name,
    /// Whether somebody holds its lock, or may.
    pub running: bool,
    /// What is known of it, or why that can't be read.
    pub record: io::Result<Record>,
}

impl Found {
    /// Whether it has ended for good, as far as this machine can tell.
    fn is_dead(&self) -> bool {
        !self.running && self.record.as_ref().is_ok_and(Record::goes_with_its_owner)
    }

    /// With what is known of it.
    fn known(self) -> Result<Listed, Error> {
        let Self { name, running, record } = self;
        match record {
            Ok(record) => Ok(Listed { name, record, running }),
            Err(source) => Err(Error::Unreadable { name: name.to_string(), source }),
        }
    }
}

impl Record {
    /// One of `image`, which is `manifest` with its layers in `trees`, that is about to be opened
    /// here. Killed by then, nothing is left of it.
    pub fn begun(image: String, manifest: Descriptor, trees: Vec<PathBuf>, identity: Identity) -> Self {
        Self {
            image,
            manifest,
            trees,
            command: Vec::new(),
            user: String::new(),
            identity,
            pid: std::process::id(),
            host: host(),
            started: jiff::Timestamp::now().to_string(),
            ended: None,
            directory: PathBuf::new(),
            kept: false,
            ports: Vec::new(),
        }
    }

    /// Whether nothing is to be left once its lock is free: that of another machine may only
    /// seem to be.
    fn goes_with_its_owner(&self) -> bool {
        !self.kept && self.host == host()
    }

    /// Whether it was started on another machine, and has not ended there as far as anybody knows:
    /// where locks are not shared, its lock seems to be free.
    pub fn may_run_elsewhere(&self) -> bool {
        self.ended.is_none() && self.host != host()
    }
}

/// The containers of a store.
#[derive(Clone, Debug)]
pub struct Containers {
    store: Store,
    root: PathBuf,
}

impl Containers {
    /// Those of `store`.
    pub fn of(store: &Store) -> Self {
        Self { store: store.clone(), root: store.containers() }
    }

    /// Takes `name` for a container that is to run, for as long as what is returned lives. `force`
    /// says that the machine on which one of that name may run is gone.
    ///
    /// # Errors
    /// [`Error::NameInUse`], [`Error::OfAnotherMachine`], [`Error::Unreadable`];
    /// [`Error::State`] if the store can't be written.
    pub fn claim(&self, name: &Name, force: bool) -> Result<Claim, Error> {
        let alone = self.alone()?;
        let (claim, gone) = self.take(name, force)?;
        drop(alone);
        remove_all(&gone);
        Ok(claim)
    }

    /// The same with a name that nobody has.
    ///
    /// # Errors
    /// [`Error::NameInUse`] if there is none; [`Error::State`] if the store can't be written.
    pub fn claim_any(&self) -> Result<Claim, Error> {
        let _alone = self.alone()?;
        let plain = std::iter::repeat_with(Name::made_up).take(ATTEMPTS);
        let numbered = std::iter::repeat_with(Name::made_up_with_digits).take(ATTEMPTS);
        for name in plain.chain(numbered) {
            if !self.path(&name).exists() {
                return self.take(&name, false).map(|(claim, _)| claim);
            }
        }
        Err(Error::NameInUse { name: Name::made_up().to_string() })
    }

    /// Takes `name` unless it runs. One that is dead, and was not to be kept, makes way: what it
    /// left is out of sight, and to be removed. The caller has the directories alone.
    fn take(&self, name: &Name, force: bool) -> Result<(Claim, Vec<PathBuf>), Error> {
        let path = self.path(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("create", &path))?;
        let lock = path.join("lock");
        // flock(2), NFS details: "to place an exclusive lock, the file must be opened for writing"
        let file =
            File::options().create(true).write(true).truncate(false).open(&lock).map_err(failed("open", &lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::NameInUse { name: name.to_string() }),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &lock)(source)),
        }
        let mut gone = Vec::new();
        let mut earlier = None;
        match read(&path) {
            None => {}
            Some(Err(source)) => return Err(Error::Unreadable { name: name.to_string(), source }),
            Some(Ok(record)) if record.may_run_elsewhere() && !force => {
                return Err(Error::OfAnotherMachine { name: name.to_string(), host: record.host });
            }
            Some(Ok(record)) if record.kept => earlier = Some(record),
            Some(Ok(record)) => {
                gone.extend(self.set_aside(&record.directory)?);
                let record = path.join(CONTAINER);
                fs::remove_file(&record).map_err(failed("remove", &record))?;
            }
        }
        let (containers, name) = (self.clone(), name.clone());
        Ok((Claim { containers, name, path, earlier, keeps: false, goes: None, lock: file }, gone))
    }

    /// All containers, by name. Those of this machine that were killed, and were not to be
    /// kept, are swept.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn list(&self) -> Result<Vec<Found>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.root)(error)),
        };
        // a store that can't be written is looked at as it is
        let alone = self.alone().ok();
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        for entry in entries.flatten() {
            let name = entry.file_name().to_str().and_then(|name| name.parse::<Name>().ok());
            let Some(it) = name.filter(|_| entry.path().is_dir()).and_then(|name| self.look(name)) else { continue };
            if !it.is_dead() {
                found.push(it);
            } else if alone.is_some() {
                // what can't be swept now is there for the next one
                gone.extend(self.out_of_sight(&it).unwrap_or_default());
            }
        }
        drop(alone);
        remove_all(&gone);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The container `name`, whatever can be read of it.
    ///
    /// # Errors
    /// [`Error::NoContainer`]; [`Error::State`].
    pub fn look_up(&self, name: &Name) -> Result<Found, Error> {
        let found = self.list()?.into_iter().find(|found| found.name == *name);
        found.ok_or_else(|| Error::NoContainer { name: name.to_string() })
    }

    /// The container `name`.
    ///
    /// # Errors
    /// [`Error::NoContainer`], [`Error::Unreadable`]; [`Error::State`].
    pub fn find(&self, name: &Name) -> Result<Listed, Error> {
        self.look_up(name)?.known()
    }

    /// What can be seen of `name`; nothing if nobody has it, or who does has yet to say so.
    fn look(&self, name: Name) -> Option<Found> {
        let path = self.path(&name);
        // the lock first: whoever lets go of it has written what is to be known
        let running = !is_free(&path.join("lock"));
        read(&path).map(|record| Found { name, running, record })
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

    /// Removes the container `name`, which must not run, with all that it has written. `force`
    /// says that the machine on which it may run is gone.
    ///
    /// # Errors
    /// [`Error::NoContainer`], [`Error::Runs`], [`Error::Elsewhere`], [`Error::State`];
    /// [`Error::Unreadable`] if its record may be sound.
    pub fn remove(&self, name: &Name, force: bool) -> Result<(), Error> {
        let alone = self.alone()?;
        let found = self.look(name.clone()).ok_or_else(|| Error::NoContainer { name: name.to_string() })?;
        if let Some(record) = found.record.as_ref().ok().filter(|record| record.may_run_elsewhere() && !force) {
            return Err(Error::Elsewhere { name: name.to_string(), host: record.host.clone() });
        }
        // a server of NFS 3 may keep the lock of a client that is gone until it comes back
        let is_gone = force && found.record.as_ref().is_ok_and(Record::may_run_elsewhere);
        if found.running && !is_gone {
            return Err(Error::Runs { name: name.to_string() });
        }
        // without the record nobody knows where it wrote: only one that is damaged is given up
        if found.record.as_ref().is_err_and(|error| error.raw_os_error().is_some()) {
            return found.known().map(drop);
        }
        let gone = self.out_of_sight(&found)?;
        drop(alone);
        gone.iter().try_for_each(|gone| store::remove_tree(gone).map_err(failed("remove", gone)))
    }

    /// Takes all of a container out of sight, what it wrote first: nobody finds half of it. The
    /// caller has the directories alone, and removes what is returned when others may go on.
    fn out_of_sight(&self, found: &Found) -> Result<Vec<PathBuf>, Error> {
        let path = self.path(&found.name);
        let wrote = found.record.as_ref().ok().map(|record| &record.directory);
        let elsewhere = wrote.filter(|directory| !directory.starts_with(&path));
        let mut gone =
            elsewhere.map_or(Ok(None), |directory| self.set_aside(directory))?.into_iter().collect::<Vec<_>>();
        gone.extend(self.set_aside(&path)?);
        Ok(gone)
    }

    /// Takes a directory of a container out of sight in one step, to where the next one sweeps
    /// it if this dlpack is killed; none if it is not there, or goes with its sandbox.
    fn set_aside(&self, directory: &Path) -> Result<Option<PathBuf>, Error> {
        let is_ours = directory.starts_with(&self.root);
        let is_elsewhere =
            directory.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(ELSEWHERE.as_bytes()));
        if !directory.exists() || !(is_ours || is_elsewhere) {
            return Ok(None);
        }
        match is_ours {
            true => Ok(Some(self.store.set_aside(directory)?)),
            false => Directory::set_aside(directory).map(Some).map_err(failed("rename", directory)),
        }
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
    /// Where it writes, if that is to be no more.
    goes: Option<PathBuf>,
    lock: File,
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

    /// Whether who the caller is in the container is who they were in the one that was kept.
    ///
    /// # Errors
    /// [`Error::AnotherUser`].
    pub fn fits_identity(&self, identity: Identity) -> Result<(), Error> {
        match &self.earlier {
            Some(earlier) if earlier.identity != identity => {
                Err(Error::AnotherUser { name: self.name.to_string(), user: earlier.user.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Where the container that has `begun` writes what stays: where an earlier one did, or in a
    /// directory that is noted before it is made, so that it goes with this dlpack.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn lasting(&mut self, scratch: &Path, begun: &Record) -> Result<Lasting, Error> {
        let directory = match &self.earlier {
            Some(earlier) => earlier.directory.clone(),
            None => {
                let directory = self.sandbox(scratch);
                self.note(&Record { directory: directory.clone(), ..begun.clone() })?;
                directory
            }
        };
        let lock = self.lock.try_clone().map_err(failed("hold the lock in", &self.path))?.into();
        Ok(Lasting { directory, lock })
    }

    /// In `scratch`, or beside the record where that is on the same disk as the store.
    fn sandbox(&self, scratch: &Path) -> PathBuf {
        match scratch.parent() == self.containers.root.parent() {
            true => self.path.join(SANDBOX),
            false => scratch.join(format!("{ELSEWHERE}{}-{:08x}", self.name, fastrand::u32(..))),
        }
    }

    /// Writes down what is known of the container, whole or not at all.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn note(&mut self, record: &Record) -> Result<(), Error> {
        let (path, new) = (self.path.join(CONTAINER), self.path.join(".new"));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            // rename(2) may reach the disk before what was written
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(failed("write", &path))?;
        self.keeps = record.kept;
        self.goes = (!record.kept).then(|| record.directory.clone());
        // what was kept is to be removed with it
        self.earlier.take_if(|_| !record.kept);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.keeps || self.earlier.is_some() {
            return;
        }
        let alone = self.containers.alone();
        let wrote = self.goes.iter().filter(|directory| !directory.starts_with(&self.path));
        let gone = wrote.chain([&self.path]).filter_map(|path| self.containers.set_aside(path).ok().flatten());
        let gone = gone.collect::<Vec<_>>();
        drop(alone);
        remove_all(&gone);
    }
}

/// Removes what is out of sight. What can't be removed is swept by another.
fn remove_all(gone: &[PathBuf]) {
    gone.iter().for_each(|path| drop(store::remove_tree(path)));
}

/// What is known of the container in `path`; none if nothing was noted of it, and nothing
/// written by it.
fn read(path: &Path) -> Option<io::Result<Record>> {
    match fs::read(path.join(CONTAINER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.join(SANDBOX).exists() => None,
        read => Some(read.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?))),
    }
}

/// Whether certainly nobody holds the lock `path`. The caller has the directories alone.
fn is_free(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => file.try_lock_shared().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::State { doing, path, source }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn when_all_names_are_taken_they_get_digits() {
        let directory = tempfile::tempdir().unwrap();
        let containers = Containers::of(&Store::open(directory.path()).unwrap());
        let names: BTreeSet<_> = std::iter::repeat_with(Name::made_up).take(20_000).collect();
        names.iter().for_each(|name| fs::create_dir_all(containers.path(name)).unwrap());
        let claim = containers.claim_any().unwrap();
        assert!(!names.contains(claim.name()), "{}", claim.name());
        drop(claim);
        assert_eq!(fs::read_dir(&containers.root).unwrap().count(), names.len() + 1, "and the lock");
    }
}
