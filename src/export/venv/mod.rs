//! The image's venv on the host, where an editor finds it: the same packages, laid out as in the
//! image, with the paths of here.
//!
//! ```text
//! lock, base ──┬─▶ origin ──▶ parts: interpreter, skeleton, ──▶ items: each ──▶ changes ──▶ applied
//! image ───────┘              packages                          file once         │ against what the
//!                              └─▶ those that are there as they were              │ last export noted
//!                                  are left alone
//! ```
//!
//! A new venv gets its name when it is whole. One that is there is changed in place, file by file:
//! what will be touched is noted before, so that an export that ended in the middle is gone on with.

mod apply;
mod contents;
mod distributions;
mod error;
mod found;
mod image;
mod interpreter;
mod origin;
mod parts;
mod place;
mod sums;
mod target;
mod unpacked;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use error::Error;
pub use interpreter::Python;
pub use origin::{LeftOut, Origin};
pub use place::Placed;
pub use target::Target;

use super::folder::Folder;
use super::output::{Destination, Stop};
use crate::changeset::Need;
use crate::locked::locked as guard;
use crate::progress::{Activity, Progress};
use crate::python::scheme::Scheme;
use crate::python::tree;
use crate::python::venv::Skeleton;
use crate::store::Store;
use apply::Changes;
use contents::{Contents, Part};
use parts::{Item, Of, Source, Wanted};

/// What an export came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Where the venv is, absolute.
    pub path: PathBuf,
    /// The version of its Python.
    pub python: String,
    /// How many packages it has.
    pub packages: usize,
    /// The packages and whatever else were written, whole or in part, as a person calls them.
    pub written: Vec<String>,
    /// Those that are no longer there.
    pub removed: Vec<String>,
    /// What the image has and the venv has not.
    pub left_out: Vec<LeftOut>,
    /// How the files of the store came in.
    pub placed: Placed,
}

/// A venv that is about to be exported.
pub struct Export {
    target: Target,
    skeleton: Skeleton,
    parts: Vec<(Wanted, Then)>,
    packages: usize,
    left_out: Vec<LeftOut>,
}

/// What is done about a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It is there as it was.
    Leave,
    Make,
}

impl Export {
    /// An export of what `origin` has, run by `python`, to `target`. What is there as it was is told from
    /// what is made.
    pub fn new(target: Target, origin: Origin, python: Python) -> Self {
        let Origin { python: version, interpreter, others, below, packages, left_out, .. } = origin;
        let scheme = Scheme::new(&target.prefix, version);
        let interpreter = interpreter.filter(|_| python.is_of_image).map(|(_, part)| part);
        let count = below.len() + packages.len();
        let lower = interpreter.into_iter().chain(others).chain(below);
        let wanted = lower.chain([parts::skeleton_part()]).chain(packages);
        let then = |part: &Wanted| if is_there(part, &target) { Then::Leave } else { Then::Make };
        let parts = wanted.map(|part| (then(&part), part)).map(|(then, part)| (part, then)).collect();
        let skeleton = Skeleton { scheme, interpreter: python.executable, version: python.version };
        Self { target, skeleton, parts, packages: count, left_out }
    }

    /// What must be in the store before it is written.
    pub fn needs(&self) -> Vec<Need> {
        let made = self.parts.iter().filter(|(_, then)| *then == Then::Make);
        let need = made.filter_map(|(part, _)| match &part.of {
            Of::Interpreter(archive) => Some(Need::Archive(archive.clone())),
            Of::Wheel(wheel) => Some(Need::Wheel(wheel.clone())),
            Of::Skeleton | Of::Found { .. } => None,
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
        let Target { path, old, there, force, .. } = &self.target;
        let new = match there {
            Some(_) => None,
            None => Some(Folder::create(&Destination::Path { path: path.clone(), force: *force })?),
        };
        let top = new.as_ref().map_or(path.as_path(), Folder::unfinished);
        let changes = Changes::between(top, path, old, &items, &directories);
        let contents = Contents::new(self.skeleton.scheme.prefix(), parts);
        let exported = self.sum_up(&changes, &contents);
        if !*force {
            changes.check(old)?;
        }
        if contents == *old && changes.place.is_empty() && changes.remove.is_empty() {
            return Ok(exported);
        }
        if new.is_none() {
            under_way(&contents, &changes).write(top)?;
        }
        let task = progress.task(Activity::Export, format!("venv {}", path.display()), Some(changes.bytes()));
        let placed = changes.apply(*force, &task, stop)?;
        sync(top)?;
        contents.write(top)?;
        if let Some(new) = new {
            if *force {
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
                stop.check(&self.target.path)?;
                if *then == Then::Leave || matches!(part.of, Of::Skeleton) {
                    continue;
                }
                let (size, scheme) = (part.of.size(), &self.skeleton.scheme);
                let task = progress.task(Activity::Extract, part.name.clone(), Some(size));
                *guard(place) = match &part.of {
                    Of::Interpreter(archive) => parts::interpreter(store, archive)?,
                    Of::Wheel(wheel) => parts::wheel(store, wheel, scheme)?,
                    Of::Found { files, record } => {
                        found::items(store, &part.key, files, record.as_ref(), &scheme.interpreter())?
                    }
                    Of::Skeleton => Vec::new(),
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
            let old = self.target.old.part(&part.name, &part.key);
            let left = old.filter(|_| *then == Then::Leave).into_iter().flat_map(|old| &old.files);
            let left = left.map(|(path, stat)| (path.clone(), Item { stat: stat.clone(), source: Source::There }));
            let made = made.into_iter().map(|(path, item)| {
                let is_there = matches!(item.source, Source::Stored(_))
                    && old.is_some_and(|old| old.files.get(&path) == Some(&item.stat))
                    && item.stat.is_of(&self.target.path.join(&path));
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
            parts[*at].files.insert(path.clone(), item.stat.clone());
        }
        Ok((items.into_iter().map(|(path, (_, item))| (path, item)).collect(), parts))
    }

    fn sum_up(&self, changes: &Changes<'_>, contents: &Contents) -> Exported {
        let placed: Vec<&str> = changes.place.iter().map(|(path, _)| *path).collect();
        let is_written = |part: &&Part| part.files.keys().any(|path| placed.binary_search(&path.as_str()).is_ok());
        let is_gone = |part: &&Part| !contents.parts.iter().any(|now| now.name == part.name);
        let names = |parts: Vec<&Part>| parts.into_iter().map(|part| part.name.clone()).collect();
        Exported {
            path: self.target.path.clone(),
            python: self.skeleton.version.clone(),
            packages: self.packages,
            written: names(contents.parts.iter().filter(is_written).collect()),
            removed: names(self.target.old.parts.iter().filter(is_gone).collect()),
            left_out: self.left_out.clone(),
            placed: Placed::default(),
        }
    }
}

/// Whether nothing need be done about `part` of the venv in `target`.
fn is_there(part: &Wanted, target: &Target) -> bool {
    let Target { path: top, prefix, old, .. } = target;
    let known = old.part(&part.name, &part.key).filter(|part| part.whole && !part.hidden);
    old.prefix == *prefix
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
