//! Bringing a directory from what it has to what a venv has.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use walkdir::{DirEntry, WalkDir};

use super::contents::{Contents, OWN};
use super::error::Error;
use super::parts::{Item, Source};
use super::place::{self, Placed, Placer};
use crate::export::output::Stop;
use crate::progress::Task;
use crate::store::remove_tree;

/// What is to be done to a directory.
pub(super) struct Changes<'a> {
    /// Where the venv is made: its place, or one that it gets its name from.
    top: &'a Path,
    /// Its place, for errors.
    path: &'a Path,
    /// What is written.
    pub(super) place: Vec<(&'a str, &'a Item)>,
    /// What goes.
    pub(super) remove: Vec<&'a str>,
    /// The directories that a venv has even if nothing is in them.
    directories: &'a [String],
}

impl<'a> Changes<'a> {
    /// What makes a venv with `items` of the directory `top`, in which `old` was put.
    pub(super) fn between(
        top: &'a Path,
        path: &'a Path,
        old: &'a Contents,
        items: &'a BTreeMap<String, Item>,
        directories: &'a [String],
    ) -> Self {
        let kept: HashSet<&str> = old.parts.iter().flat_map(|part| part.files.keys().map(String::as_str)).collect();
        let is_there = |path: &str, item: &Item| match &item.source {
            Source::There => true,
            // what it is, its part's key has said
            Source::Stored(_) => false,
            Source::Bytes(bytes) => {
                let place = top.join(path);
                kept.contains(path) && item.stat.is_of(&place) && fs::read(&place).is_ok_and(|found| found == *bytes)
            }
            Source::Link(target) => fs::read_link(top.join(path)).is_ok_and(|found| found == Path::new(target)),
        };
        let place = items.iter().filter(|(path, item)| !is_there(path, item));
        let place = place.map(|(path, item)| (path.as_str(), item)).collect();
        let remove = old.paths().into_iter().filter(|path| !items.contains_key(*path)).collect();
        Self { top, path, place, remove, directories }
    }

    /// Says what stands where something is to be written, and was not put there by an export.
    ///
    /// # Errors
    /// [`Error::InTheWay`].
    pub(super) fn check(&self, old: &Contents) -> Result<(), Error> {
        let owned = old.paths();
        let mut in_the_way = BTreeSet::new();
        for (path, _) in &self.place {
            let above = path.match_indices('/').map(|(end, _)| &path[..end]);
            let blocked = above.chain([*path]).find_map(|place| {
                let found = self.top.join(place).symlink_metadata().ok()?;
                match found.is_dir() {
                    true if place == *path => self.others_in(place, &owned),
                    true => None,
                    false => (!owned.contains(place)).then(|| self.top.join(place)),
                }
            });
            in_the_way.extend(blocked);
        }
        let others = in_the_way.len().saturating_sub(1);
        match in_the_way.first() {
            Some(first) => {
                let path = self.path.join(first.strip_prefix(self.top).unwrap_or(first));
                Err(Error::InTheWay { path, others })
            }
            None => Ok(()),
        }
    }

    /// What first is in the `directory`, and neither `owned` nor bytecode; the directory, if it is empty.
    fn others_in(&self, directory: &str, owned: &BTreeSet<&str>) -> Option<PathBuf> {
        let top = self.top.join(directory);
        let is_bytecode = |entry: &DirEntry| entry.file_type().is_dir() && entry.file_name() == "__pycache__";
        let entries = WalkDir::new(&top).min_depth(1).sort_by_file_name().into_iter();
        let mut found = entries.filter_entry(|entry| !is_bytecode(entry)).filter_map(Result::ok);
        let is_owned = |path: &Path| {
            let path = path.strip_prefix(self.top).ok().and_then(Path::to_str);
            path.is_some_and(|path| owned.contains(path))
        };
        let is_above = owned.iter().any(|owned| is_below(owned, directory));
        let other = found.find(|entry| !entry.file_type().is_dir() && !is_owned(entry.path()));
        other.map(DirEntry::into_path).or_else(|| (!is_above).then_some(top))
    }

    /// How many bytes are written.
    pub(super) fn bytes(&self) -> u64 {
        self.place.iter().map(|(_, item)| item.stat.size).sum()
    }

    /// Does it; with `force`, directories of whosoever make way. What was not done is done by the next export.
    pub(super) fn apply(&self, force: bool, task: &Task, stop: &Stop) -> Result<Placed, Error> {
        self.forget_bytecode()?;
        for path in &self.remove {
            stop.check(self.path)?;
            self.remove(path)?;
        }
        self.remove_empty();
        let mut directories = HashSet::new();
        for path in self.directories {
            self.make_directory(path, &mut directories)?;
        }
        let staged = self.top.join(OWN).join("new");
        self.make_directory(OWN, &mut directories)?;
        let (mut placer, mut placed) = (Placer::new(), Placed::default());
        for (path, item) in &self.place {
            stop.check(self.path)?;
            self.make_directory(path.rsplit_once('/').map_or("", |(above, _)| above), &mut directories)?;
            let place = self.top.join(path);
            let failed = || Error::io("write", &self.path.join(path));
            remove_file(&staged).map_err(failed())?;
            let made = match &item.source {
                Source::There => continue,
                Source::Stored(from) => placer.place(from, &staged, &item.stat, &mut placed),
                Source::Bytes(bytes) => place::write(bytes, &staged, &item.stat),
                Source::Link(target) => symlink(target, &staged),
            };
            made.map_err(failed())?;
            if place.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                let removed = if force { remove_tree(&place) } else { remove_emptied(&place) };
                removed.map_err(failed())?;
            }
            fs::rename(&staged, &place).map_err(failed())?;
            task.advance(item.stat.size);
        }
        // rename(2): "If oldpath and newpath are existing hard links referring to the same file … rename() does nothing"
        remove_file(&staged).map_err(Error::io("remove", &staged))?;
        Ok(placed)
    }

    /// Removes the bytecode of modules that go or change: Python takes it for that of another
    /// file of the same length and time, and all files of wheels have one time.
    fn forget_bytecode(&self) -> Result<(), Error> {
        let mut modules: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        let changed = self.remove.iter().copied().chain(self.place.iter().map(|(path, _)| *path));
        for (directory, name) in changed.filter_map(|path| path.strip_suffix(".py")?.rsplit_once('/')) {
            modules.entry(directory).or_default().insert(name);
        }
        let caches = modules.into_iter().map(|(directory, modules)| (format!("{directory}/__pycache__"), modules));
        for (cache, modules) in caches.filter(|(cache, _)| self.is_ours(cache)) {
            let cache = self.top.join(cache);
            for entry in fs::read_dir(&cache).into_iter().flatten().flatten() {
                let name = entry.file_name();
                // PEP 3147: `module.cpython-311.pyc`
                let of = name.to_str().and_then(|name| name.strip_suffix(".pyc")?.split('.').next());
                if of.is_some_and(|module| modules.contains(module)) {
                    remove_file(&entry.path()).map_err(Error::io("remove", &entry.path()))?;
                }
            }
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), Error> {
        let place = self.top.join(path);
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        // a directory where a file was is somebody's
        if !self.is_ours(above) || place.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return Ok(());
        }
        remove_file(&place).map_err(Error::io("remove", &self.path.join(path)))
    }

    /// Removes the directories that what went has left empty.
    fn remove_empty(&self) {
        let mut directories = BTreeSet::new();
        for path in &self.remove {
            if let Some((above, _)) = path.rsplit_once('/') {
                directories.insert(format!("{above}/__pycache__"));
            }
            directories.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
        }
        // from the lowest up; one with something in it stays
        for directory in directories.iter().rev().filter(|directory| self.is_ours(directory)) {
            let _ = fs::remove_dir(self.top.join(directory));
        }
    }

    /// Makes a directory, and those above it.
    fn make_directory(&self, path: &str, made: &mut HashSet<String>) -> Result<(), Error> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for above in ends.map(|end| &path[..end]) {
            if made.contains(above) {
                continue;
            }
            let place = self.top.join(above);
            let failed = || Error::io("create", &self.path.join(above));
            match place.symlink_metadata() {
                Ok(found) if found.is_dir() => {}
                found => {
                    if found.is_ok() {
                        remove_file(&place).map_err(failed())?;
                    }
                    DirBuilder::new().mode(0o755).create(&place).map_err(failed())?;
                    // whatever the umask
                    fs::set_permissions(&place, Permissions::from_mode(0o755)).map_err(failed())?;
                }
            }
            made.insert(above.to_owned());
        }
        Ok(())
    }

    /// Whether `path` is in the venv, and not behind a link that a person has put in its way.
    fn is_ours(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let places: Vec<PathBuf> = ends.map(|end| self.top.join(&path[..end])).collect();
        !places.iter().any(|place| place.symlink_metadata().is_ok_and(|found| !found.is_dir()))
    }
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Removes a directory, in which nothing but directories and bytecode may be left.
fn remove_emptied(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match (entry.file_type()?.is_dir(), entry.file_name() == "__pycache__") {
            (true, true) => remove_tree(&entry.path())?,
            (true, false) => remove_emptied(&entry.path())?,
            (false, _) => {}
        }
    }
    fs::remove_dir(directory)
}

/// Removes a file or a link, if it is there.
fn remove_file(path: &Path) -> io::Result<()> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
