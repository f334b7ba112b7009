//! The files of a source tree that count: those that a version control system would
//! have, not what builds, editors and caches leave beside them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::Error;
use crate::oci::{Digest, Hasher};

/// Directories that are no source, wherever they are.
const CACHES: [&str; 14] = [
    ".git",
    ".hg",
    ".svn",
    ".bzr",
    "__pycache__",
    ".venv",
    ".tox",
    ".nox",
    ".eggs",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".ipynb_checkpoints",
    "node_modules",
];

/// Directories at the top that builds write to.
const BUILDS: [&str; 3] = ["build", "dist", "venv"];

/// The files of a source tree, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    root: PathBuf,
    files: Vec<SourceFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SourceFile {
    /// Relative to the root.
    path: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    File { executable: bool },
    Symlink(String),
}

/// The files of the source tree at `root` that count: all but version control's own,
/// caches, `*.pyc`, `*.egg-info`, and at the top `build`, `dist`, `venv`, `dlpack.toml` and `dlpack.lock`.
///
/// # Errors
/// [`Error::NotAFile`] for what is neither a file nor a link, or is not named in UTF-8;
/// [`Error::Io`].
pub fn files(root: &Path) -> Result<Files, Error> {
    let mut files = Vec::new();
    for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(counts) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            Error::Io { doing: "read", path, source: error.into() }
        })?;
        let path = entry.path();
        let not = |what| Error::NotAFile { path: path.to_owned(), what };
        let inside = path.strip_prefix(root).unwrap_or(path).to_str().ok_or_else(|| not("not named in UTF-8"))?;
        let kind = if entry.file_type().is_dir() {
            continue;
        } else if entry.file_type().is_symlink() {
            let target = fs::read_link(path).map_err(Error::io("read", path))?;
            Kind::Symlink(target.to_str().ok_or_else(|| not("a link to what is not named in UTF-8"))?.to_owned())
        } else if entry.file_type().is_file() {
            let metadata = entry.metadata().map_err(|error| Error::io("read", path)(error.into()))?;
            Kind::File { executable: metadata.permissions().mode() & 0o100 != 0 }
        } else {
            return Err(not("neither a file, a directory nor a symbolic link"));
        };
        files.push(SourceFile { path: inside.to_owned(), kind });
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Files { root: root.to_owned(), files })
}

fn counts(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    // `.git` of a worktree or a submodule is a file.
    if entry.depth() == 0 {
        return true;
    }
    let ignored = CACHES.contains(&name.as_ref())
        || entry.depth() == 1 && entry.file_type().is_dir() && BUILDS.contains(&name.as_ref())
        // A lock can't hold its own hash.
        || entry.depth() == 1 && matches!(name.as_ref(), "dlpack.toml" | "dlpack.lock")
        || name.ends_with(".pyc")
        || name.ends_with(".egg-info");
    !ignored
}

impl Files {
    /// A digest of paths, contents, links and who may execute what.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn digest(&self) -> Result<Digest, Error> {
        self.each(|_, _, _| Ok(()))
    }

    /// Copies them into the empty directory `to`, and returns the digest of what was
    /// copied.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn copy(&self, to: &Path) -> Result<Digest, Error> {
        self.each(|path, kind, content| {
            let disk = to.join(path);
            let written = || {
                fs::create_dir_all(disk.parent().unwrap_or(to))?;
                match kind {
                    Kind::Symlink(target) => symlink(target, &disk),
                    Kind::File { executable } => {
                        let mode = if *executable { 0o755 } else { 0o644 };
                        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&disk)?;
                        io::Write::write_all(&mut file, content)
                    }
                }
            };
            written().map_err(Error::io("write", &disk))
        })
    }

    fn each(&self, mut each: impl FnMut(&str, &Kind, &[u8]) -> Result<(), Error>) -> Result<Digest, Error> {
        let mut hasher = Hasher::new();
        for SourceFile { path, kind } in &self.files {
            let disk = self.root.join(path);
            let (word, content) = match kind {
                Kind::Symlink(target) => ("link", target.clone().into_bytes()),
                Kind::File { executable } => {
                    let mut content = Vec::new();
                    let read = File::open(&disk).and_then(|mut file| io::Read::read_to_end(&mut file, &mut content));
                    read.map_err(Error::io("read", &disk))?;
                    (if *executable { "executable" } else { "file" }, content)
                }
            };
            // A path can't hold NUL, so that no two lists of files read the same.
            hasher.update(format!("{path}\0{word}\0{}\0", Digest::of(&content)).as_bytes());
            each(path, kind, &content)?;
        }
        Ok(hasher.finish().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_and_caches_leave_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let write = |path: &str, text: &str| {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        };
        write("pyproject.toml", "[project]");
        write("src/build/a.py", "x");
        let before = files(root).unwrap().digest().unwrap();
        for path in
            [".git/HEAD", "src/__pycache__/a.pyc", "a.egg-info/PKG-INFO", "build/lib/a.py", "dist/a.whl", "dlpack.lock"]
        {
            write(path, "noise");
        }
        assert_eq!(files(root).unwrap().digest().unwrap(), before);
        let copy = tempfile::tempdir().unwrap();
        assert_eq!(files(root).unwrap().copy(copy.path()).unwrap(), before);
        assert_eq!(files(copy.path()).unwrap().digest().unwrap(), before);
        assert!(!copy.path().join(".git").exists());
        write("src/build/a.py", "y");
        assert_ne!(files(root).unwrap().digest().unwrap(), before);
    }
}
