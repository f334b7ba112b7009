//! Extracted layers and unpacked wheels: directories that are made under `tmp/`, get their name when they
//! are whole, and are never written to again. One that was, all the same, counts as none.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::tree_files::{self, Checksums, FILES, Found, Look};
use super::{Error, Store, sealed};
use crate::oci::Digest;

/// What lies unpacked, each form in its own place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// A stack of layers, flattened; its name is the ChainId of the last one.
    Flattened,
    /// One layer in overlayfs's form; its name is the ChainId of what lies under it
    /// with it on top.
    Overlay,
    /// A wheel or an interpreter, laid out as in a venv; its name is the digest of what it was
    /// made from.
    Unpacked,
}

impl Tree {
    pub(super) const fn directory(self) -> &'static str {
        match self {
            Self::Flattened => "rootfs/sha256",
            Self::Overlay => "overlays/sha256",
            Self::Unpacked => "unpacked/sha256",
        }
    }
}

/// What is in a tree: the file beside it that marks it as used, too.
pub(super) const CONTENT: &str = "content.json";

/// What is in a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeContent {
    /// How many files, directories and links it has.
    pub entries: u64,
    /// How many bytes its files have.
    pub bytes: u64,
}

impl Store {
    pub(super) fn tree_path(&self, tree: Tree, name: &Digest) -> PathBuf {
        self.root.join(tree.directory()).join(name.hex())
    }

    /// The directory of a tree that is here, whole, and as it was made; counts as its use.
    /// One that is not is none. Reads what was touched since.
    pub fn tree(&self, tree: Tree, name: &Digest) -> Option<PathBuf> {
        let path = self.tree_path(tree, name);
        Self::peek_tree(&path)?;
        self.is_as_made(&path, Look::Changed, &|_| {}).ok()?.then_some(())?;
        super::blobs::touch(&File::open(path.join(CONTENT)).ok()?);
        Some(path)
    }

    /// What is in a tree, and when it was last used.
    pub(super) fn peek_tree(path: &Path) -> Option<(TreeContent, SystemTime)> {
        let content = path.join(CONTENT);
        let used = fs::metadata(&content).and_then(|metadata| metadata.modified()).ok()?;
        Some((sealed::open(&name_of(path)?, &fs::read(content).ok()?)?, used))
    }

    /// Whether a tree is what was made. `seen` is told of bytes as they are read.
    pub(super) fn is_as_made(&self, path: &Path, look: Look, seen: &dyn Fn(u64)) -> Result<bool, Error> {
        match tree_files::look(path, look, seen) {
            Ok(Found::Same) => Ok(true),
            Ok(Found::Damaged) => Ok(false),
            Ok(Found::Touched(files)) => {
                // Where it can't be noted, it is found out again.
                let _ = self.replace(&path.join(FILES), &files);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    /// The trees of a form, in order of name.
    pub(super) fn trees(&self, tree: Tree) -> Result<Vec<(Digest, PathBuf)>, Error> {
        let top = self.root.join(tree.directory());
        let entries = match fs::read_dir(&top) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &top)(error)),
        };
        let mut trees = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &top))?;
            if let Some(Ok(name)) = entry.file_name().to_str().map(Digest::from_hex) {
                trees.push((name, entry.path()));
            }
        }
        trees.sort();
        Ok(trees)
    }

    /// Begins a tree, once nobody else makes the same one; it may be there by then.
    ///
    /// # Errors
    /// [`Error::Io`] if `tmp/` can't be written.
    pub fn tree_writer(&self, tree: Tree, name: &Digest) -> Result<TreeWriter, Error> {
        let tmp = self.root.join("tmp");
        let lock = tmp.join(format!("{}-{}", tree.directory().replace('/', "-"), name.hex()));
        // The file may be taken away before it is locked. Then two make the same tree, and one of them is kept.
        let alone = File::options().create(true).write(true).truncate(false).mode(0o600).open(&lock);
        let alone = alone.map_err(Error::io("open", &lock))?;
        alone.lock().map_err(Error::io("lock", &lock))?;
        let (path, directory) = self.begin_directory()?;
        let to = self.tree_path(tree, name);
        Ok(TreeWriter { store: self.clone(), name: *name, path, to, directory, lock, _alone: alone })
    }

    /// An empty directory in `tmp/`, and the file that keeps it from being swept away.
    pub(super) fn begin_directory(&self) -> Result<(PathBuf, File), Error> {
        let tmp = self.root.join("tmp");
        loop {
            let path = tmp.join(format!("{}-{:016x}", std::process::id(), fastrand::u64(..)));
            // Whoever else is on this machine must not reach the set-uid files of a base.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let directory = File::open(&path).map_err(Error::io("open", &path))?;
                    // As with a file in `tmp/`: locked, it is somebody's.
                    let _ = directory.lock();
                    if path.is_dir() {
                        return Ok((path, directory));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create a directory in", &tmp)(error)),
            }
        }
    }

    /// Takes a tree away that nobody uses: out of sight in one step, then file by file.
    pub(super) fn remove_tree(&self, path: &Path) -> Result<(), Error> {
        let gone = self.set_aside(path)?;
        remove(&gone).map_err(Error::io("remove", &gone))
    }

    /// Takes a tree out of sight. Whoever uses it still does: what is left of it goes when the
    /// store is nobody's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn set_aside(&self, path: &Path) -> Result<PathBuf, Error> {
        let gone = self.root.join("tmp").join(format!("{}-{:016x}", std::process::id(), fastrand::u64(..)));
        fs::rename(path, &gone).map_err(Error::io("rename", path))?;
        Ok(gone)
    }
}

/// The digest that a tree is called by.
fn name_of(path: &Path) -> Option<Digest> {
    Digest::from_hex(path.file_name()?.to_str()?).ok()
}

/// A tree that has no name yet. Dropped before [`TreeWriter::keep`], it is gone.
pub struct TreeWriter {
    store: Store,
    name: Digest,
    path: PathBuf,
    to: PathBuf,
    directory: File,
    lock: PathBuf,
    _alone: File,
}

impl TreeWriter {
    /// The empty directory in which the tree is made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the tree its name, and returns where it is then: synced, and renamed in
    /// one step. If another process was faster, its tree is the one; one that was damaged
    /// makes way. `sums` has those of files, which are read where it has none.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing is then left behind.
    pub fn keep(self, content: TreeContent, sums: &Checksums) -> Result<PathBuf, Error> {
        let marker = self.path.join(CONTENT);
        let bytes = sealed::seal(&self.name, &content);
        let bytes = bytes.map_err(|source| Error::Format { path: marker.clone(), source })?;
        fs::write(&marker, bytes).map_err(Error::io("write", &marker))?;
        let noted = tree_files::note(&self.path, sums).and_then(|files| fs::write(self.path.join(FILES), files));
        noted.map_err(Error::io("write", &self.path.join(FILES)))?;
        let parent = self.to.parent().unwrap_or(&self.to);
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(Error::io("create", parent))?;
        // one sync for all files: they are many, and small
        rustix::fs::syncfs(&self.directory).map_err(|error| Error::io("sync", &self.path)(error.into()))?;
        loop {
            match rustix::fs::renameat_with(CWD, &self.path, CWD, &self.to, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    let synced = File::open(parent).and_then(|directory| directory.sync_all());
                    synced.map_err(Error::io("sync", parent))?;
                    break;
                }
                Err(Errno::EXIST) if self.is_there()? => break,
                Err(Errno::EXIST) => _ = self.store.set_aside(&self.to)?,
                Err(error) => return Err(Error::io("rename", &self.to)(error.into())),
            }
        }
        Ok(self.to.clone())
    }

    /// Whether what has the tree's name already is the tree.
    fn is_there(&self) -> Result<bool, Error> {
        let whole = Store::peek_tree(&self.to).is_some();
        Ok(whole && self.store.is_as_made(&self.to, Look::Changed, &|_| {})?)
    }
}

impl Drop for TreeWriter {
    fn drop(&mut self) {
        // After `keep` there is nothing at this path.
        if self.path.exists() {
            let _ = remove(&self.path);
        }
        let _ = fs::remove_file(&self.lock);
    }
}

/// Removes a directory and all in it, however deep, and whatever its directories' modes:
/// what is in a directory of a directory is moved to the top first.
///
/// # Errors
/// If something in it can't be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_up(CWD, path)?;
    let top = rustix::fs::open(path, flags, Mode::empty())?;
    let mut moved = 0u64;
    loop {
        let directories = unlink_files(&top)?;
        for name in &directories {
            open_up(&top, name)?;
            let directory = rustix::fs::openat(&top, name, flags, Mode::empty())?;
            for inner in unlink_files(&directory)? {
                open_up(&directory, &inner)?;
                loop {
                    moved += 1;
                    let new = format!(".{moved}");
                    match rustix::fs::renameat_with(&directory, &inner, &top, new, RenameFlags::NOREPLACE) {
                        Ok(()) => break,
                        Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            rustix::fs::unlinkat(&top, name, AtFlags::REMOVEDIR)?;
        }
        if directories.is_empty() {
            return fs::remove_dir(path);
        }
    }
}

/// Lets the owner change what is in a directory.
fn open_up(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> io::Result<()> {
    Ok(rustix::fs::chmodat(at, name, Mode::RWXU, AtFlags::empty())?)
}

/// Unlinks all in a directory but its directories, and returns their names.
fn unlink_files(directory: &impl std::os::fd::AsFd) -> io::Result<Vec<std::ffi::CString>> {
    let mut directories = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            directories.push(name.to_owned());
            continue;
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => {}
            // not every filesystem says in a listing what is a directory
            Err(Errno::ISDIR | Errno::PERM) => directories.push(name.to_owned()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(directories)
}
