//! The image's venv on the host, where an editor finds it: the same wheels, laid out as in the
//! image, with the paths of here.
//!
//! ```text
//! lock ──▶ parts: interpreter, skeleton, wheels ──▶ items: each file once ──▶ changes ──▶ applied
//!            │ those that are there as they were                                 │ against what the
//!            └─▶ are left alone                                                  │ last export noted
//! ```
//!
//! A new venv gets its name when it is whole. One that is there is changed in place, file by file:
//! what will be touched is noted before, so that an export that ended in the middle is gone on with.

mod apply;
mod contents;
mod error;
mod interpreter;
mod parts;
mod place;
mod unpacked;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use error::Error;
pub use place::Placed;

use super::output::{Destination, Folder, Stop};
use crate::changeset::Need;
use crate::lock::LockedVenv;
use crate::locked::locked as guard;
use crate::oci::Platform;
use crate::progress::{Activity, Progress};
use crate::python::scheme::Scheme;
use crate::python::tree;
use crate::python::venv::Skeleton;
use crate::store::Store;
use apply::Changes;
use contents::{Contents, Part};
use parts::{Item, Of, Source, Wanted};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The venv of a lock.
    pub locked: LockedVenv,
    /// What the lock is for.
    pub platform: Platform,
    /// Where the venv will be.
    pub path: PathBuf,
    /// The Python that it runs with, if the image has none of its own; one is looked for if none is named.
    pub python: Option<PathBuf>,
    /// Whether another tool's venv is replaced, and what is in the way in ours.
    pub force: bool,
}

/// What an export came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Where the venv is, absolute.
    pub path: PathBuf,
    /// The version of its Python.
    pub python: String,
    /// How many wheels it has.
    pub wheels: usize,
    /// The wheels and whatever else were written, whole or in part, as a person calls them.
    pub written: Vec<String>,
    /// Those that are no longer there.
    pub removed: Vec<String>,
    /// How the files of the store came in.
    pub placed: Placed,
}

/// A venv that is about to be exported. Nobody else exports to the same place meanwhile.
pub struct Export {
    request: Request,
    skeleton: Skeleton,
    /// What is there.
    old: Contents,
    /// The directory that is there, locked.
    there: Option<File>,
    parts: Vec<(Wanted, Then)>,
}

/// What is done about a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It is there as it was.
    Leave,
    Make,
}

impl Export {
    /// Looks at what is there, and for a Python.
    ///
    /// # Errors
    /// [`Error`]: whatever stands in the way, before anything is fetched or written.
    pub fn prepare(request: Request) -> Result<Self, Error> {
        let here = Platform::host();
        if !request.platform.accepts(&here) {
            return Err(Error::Platform { wanted: request.platform, here });
        }
        let (path, prefix) = place(&request.path)?;
        let request = Request { path, ..request };
        let (there, old) = find(&request)?;
        let version = &request.locked.python;
        let python = version.parse().map_err(|source| {
            let path = prefix.clone();
            crate::changeset::venv::VenvError::Version { path, source }
        })?;
        let scheme = Scheme::new(&prefix, python);
        let (interpreter, version) = match parts::executable(&request.locked, &prefix) {
            Some(executable) => (executable, version.clone()),
            None => {
                let found = interpreter::find(python, request.python.as_deref(), &request.path)?;
                (text(&found.path)?.to_owned(), found.version)
            }
        };
        let wanted = parts::wanted(&request.locked, &scheme);
        let then = |part: &Wanted| if is_there(part, &old, &prefix, &request.path) { Then::Leave } else { Then::Make };
        let parts = wanted.into_iter().map(|part| (then(&part), part)).map(|(then, part)| (part, then)).collect();
        Ok(Self { request, skeleton: Skeleton { scheme, interpreter, version }, old, there, parts })
    }

    /// What must be in the store before it is written.
    pub fn needs(&self) -> Vec<Need> {
        let made = self.parts.iter().filter(|(_, then)| *then == Then::Make);
        let need = made.filter_map(|(part, _)| match &part.of {
            Of::Interpreter(archive) => Some(Need::Archive(archive.clone())),
            Of::Wheel(wheel) => Some(Need::Wheel(wheel.clone())),
            Of::Skeleton => None,
        });
        need.collect()
    }

    /// Writes it. The caller holds a lease on the store.
    ///
    /// # Errors
    /// [`Error`]. A venv that was not there is not there then; one that was is gone on with by the
    /// next export.
    pub fn write(self, store: &Store, progress: &Progress, stop: &Stop) -> Result<Exported, Error> {
        let mut files = self.unpack(store, progress, stop)?;
        let (directories, own) = parts::skeleton(&self.skeleton);
        let is_skeleton = |part: &(Wanted, Then)| matches!(part.0.of, Of::Skeleton);
        if let Some(at) = self.parts.iter().position(is_skeleton) {
            files[at] = own;
        }
        let (items, parts) = self.merge(files)?;
        let path = &self.request.path;
        let new = match &self.there {
            Some(_) => None,
            None => Some(Folder::create(&Destination::Path { path: path.clone(), force: self.request.force })?),
        };
        let top = new.as_ref().map_or(path.as_path(), Folder::unfinished);
        let changes = Changes::between(top, path, &self.old, &items, &directories);
        let contents = Contents::new(self.skeleton.scheme.prefix(), parts);
        let exported = self.sum_up(&changes, &contents);
        if !self.request.force {
            changes.check(&self.old)?;
        }
        if contents == self.old && changes.place.is_empty() && changes.remove.is_empty() {
            return Ok(exported);
        }
        if new.is_none() {
            under_way(&contents, &changes).write(top)?;
        }
        let task = progress.task(Activity::Export, format!("venv {}", path.display()), Some(changes.bytes()));
        let placed = changes.apply(&task, stop)?;
        sync(top)?;
        contents.write(top)?;
        if let Some(new) = new {
            if self.request.force {
                new.replace()?
            } else {
                new.keep().map(drop)?
            };
        }
        task.end("written");
        Ok(Exported { placed, ..exported })
    }

    /// The files of the parts that are made, as many at a time as there are cores.
    fn unpack(&self, store: &Store, progress: &Progress, stop: &Stop) -> Result<Vec<Vec<(String, Item)>>, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let files: Vec<Mutex<Vec<(String, Item)>>> = self.parts.iter().map(|_| Mutex::default()).collect();
        let rest = Mutex::new(self.parts.iter().zip(&files));
        let work = || -> Result<(), Error> {
            loop {
                let next = guard(&rest).next();
                let Some(((part, then), place)) = next else { return Ok(()) };
                stop.check(&self.request.path)?;
                if *then == Then::Leave {
                    continue;
                }
                let size = match &part.of {
                    Of::Interpreter(archive) => archive.size,
                    Of::Wheel(wheel) => wheel.size,
                    Of::Skeleton => continue,
                };
                let task = progress.task(Activity::Extract, part.name.clone(), Some(size));
                *guard(place) = match &part.of {
                    Of::Interpreter(archive) => parts::interpreter(store, archive)?,
                    Of::Wheel(wheel) => parts::wheel(store, wheel, &self.skeleton.scheme)?,
                    Of::Skeleton => continue,
                };
                task.advance(size);
                task.end("unpacked");
            }
        };
        std::thread::scope(|scope| -> Result<(), Error> {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            let mut ended = threads.into_iter().map(|thread| thread.join());
            ended.try_for_each(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        Ok(files.into_iter().map(|files| std::mem::take(&mut *guard(&files))).collect())
    }

    /// Each file once, and what the parts have of them: a later part's file is seen.
    fn merge(&self, files: Vec<Vec<(String, Item)>>) -> Result<(BTreeMap<String, Item>, Vec<Part>), Error> {
        let mut items: BTreeMap<String, (usize, Item)> = BTreeMap::new();
        let mut hidden = vec![false; self.parts.len()];
        for (at, ((part, then), made)) in self.parts.iter().zip(files).enumerate() {
            let old = self.old.part(&part.name, &part.key);
            let left = old.filter(|_| *then == Then::Leave).into_iter().flat_map(|old| &old.files);
            let left = left.map(|(path, stat)| (path.clone(), Item { stat: *stat, source: Source::There }));
            let made = made.into_iter().map(|(path, item)| {
                let is_there = matches!(item.source, Source::Stored(_))
                    && old.is_some_and(|old| old.files.get(&path) == Some(&item.stat))
                    && item.stat.is_of(&self.request.path.join(&path));
                let source = if is_there { Source::There } else { item.source };
                (path, Item { stat: item.stat, source })
            });
            for (path, item) in left.chain(made) {
                if let Some((below, _)) = items.insert(path, (at, item)) {
                    hidden[below] = true;
                }
            }
        }
        let mut parts: Vec<Part> = self
            .parts
            .iter()
            .zip(hidden)
            .map(|((part, _), hidden)| {
                let (name, key) = (part.name.clone(), part.key);
                Part { name, key, whole: true, files: BTreeMap::new(), hidden }
            })
            .collect();
        for (path, (at, item)) in &items {
            let above = path.match_indices('/').map(|(end, _)| &path[..end]);
            if let Some((path, (at, _))) = above.into_iter().find_map(|above| items.get_key_value(above)) {
                let wheel = self.parts[*at].0.name.clone();
                return Err(tree::Error::FileAndDirectory { path: path.clone(), wheel }.into());
            }
            parts[*at].files.insert(path.clone(), item.stat);
        }
        Ok((items.into_iter().map(|(path, (_, item))| (path, item)).collect(), parts))
    }

    fn sum_up(&self, changes: &Changes<'_>, contents: &Contents) -> Exported {
        let placed: Vec<&str> = changes.place.iter().map(|(path, _)| *path).collect();
        let is_written = |part: &&Part| part.files.keys().any(|path| placed.binary_search(&path.as_str()).is_ok());
        let is_gone = |part: &&Part| !contents.parts.iter().any(|now| now.name == part.name);
        let names = |parts: Vec<&Part>| parts.into_iter().map(|part| part.name.clone()).collect();
        Exported {
            path: self.request.path.clone(),
            python: self.skeleton.version.clone(),
            wheels: self.request.locked.wheels.len(),
            written: names(contents.parts.iter().filter(is_written).collect()),
            removed: names(self.old.parts.iter().filter(is_gone).collect()),
            placed: Placed::default(),
        }
    }
}

/// `path`, absolute and without links on the way, and the same as text.
fn place(path: &Path) -> Result<(PathBuf, String), Error> {
    let absolute = std::path::absolute(path).map_err(Error::io("find", path))?;
    let found = match fs::canonicalize(&absolute) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let nameless = || Error::Name { path: path.to_owned(), why: "it names no directory" };
            let (parent, name) = absolute.parent().zip(absolute.file_name()).ok_or_else(nameless)?;
            fs::canonicalize(parent).map_err(Error::io("find", parent))?.join(name)
        }
        found => found.map_err(Error::io("find", path))?,
    };
    let prefix = text(&found)?.to_owned();
    Ok((found, prefix))
}

/// `path` as scripts have it.
fn text(path: &Path) -> Result<&str, Error> {
    let refused = |why| Error::Name { path: path.to_owned(), why };
    let text = path.to_str().ok_or_else(|| refused("it is not UTF-8"))?;
    match text.contains([':', '\n', '\r']) {
        // the venv module: "Refusing to create a venv in … because it contains the PATH separator"
        true => Err(refused("it has a colon or a line break in it")),
        false => Ok(text),
    }
}

/// The directory that is there, locked, and what an export has put into it; neither if it is made anew.
fn find(request: &Request) -> Result<(Option<File>, Contents), Error> {
    let path = &request.path;
    let refused = |is_venv| Err(Error::NotOurs { path: path.clone(), is_venv });
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, Contents::default())),
        Err(error) => return Err(Error::io("look at", path)(error)),
        Ok(found) if !found.is_dir() => return refused(false),
        Ok(_) => {}
    }
    let directory = File::open(path).map_err(Error::io("open", path))?;
    directory.lock().map_err(Error::io("lock", path))?;
    if let Some(contents) = Contents::read(path)? {
        return Ok((Some(directory), contents));
    }
    let is_empty = fs::read_dir(path).map_err(Error::io("read", path))?.next().is_none();
    let is_venv = path.join("pyvenv.cfg").is_file();
    match (is_empty, is_venv && request.force) {
        (true, _) => Ok((Some(directory), Contents::default())),
        (false, true) => Ok((None, Contents::default())),
        (false, false) => refused(is_venv),
    }
}

/// Whether nothing need be done about `part` of the venv in `top`.
fn is_there(part: &Wanted, old: &Contents, prefix: &str, top: &Path) -> bool {
    let known = old.part(&part.name, &part.key).filter(|part| part.whole && !part.hidden);
    old.prefix == prefix
        && !matches!(part.of, Of::Skeleton)
        && known.is_some_and(|part| part.files.iter().all(|(path, stat)| stat.is_of(&top.join(path))))
}

/// What is noted while `changes` are made that lead to `contents`.
fn under_way(contents: &Contents, changes: &Changes<'_>) -> Contents {
    let placed = changes.place.iter().map(|(path, _)| *path);
    let touched = placed.chain(changes.remove.iter().copied()).map(str::to_owned).collect();
    let mut now = Contents { unfinished: touched, ..contents.clone() };
    for part in &mut now.parts {
        let before = part.files.len();
        part.files.retain(|path, _| !now.unfinished.contains(path));
        part.whole = part.files.len() == before;
    }
    now
}

/// What is in the venv at `top` is on disk before it counts as whole.
fn sync(top: &Path) -> Result<(), Error> {
    let directory = File::open(top).map_err(Error::io("open", top))?;
    rustix::fs::syncfs(directory).map_err(|error| Error::io("sync", top)(error.into()))
}
