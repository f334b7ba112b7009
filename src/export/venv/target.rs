//! The directory that a venv is exported to: what is there, and that nobody else exports to it
//! meanwhile.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::error::Error;

/// Where a venv will be. Nobody else exports to the same place while there is one.
pub struct Target {
    /// Absolute, and without links on the way.
    pub(super) path: PathBuf,
    /// The same as text.
    pub(super) prefix: String,
    /// What an export has put there.
    pub(super) old: Contents,
    /// The directory that is there, locked; none if it is made anew.
    pub(super) there: Option<File>,
    /// Whether another tool's venv is replaced, and what is in the way in ours.
    pub(super) force: bool,
}

impl Target {
    /// Looks at what is at `path`; with `force`, another tool's venv is replaced, and what is in the way
    /// in one of ours.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NotOurs`], [`Error::Io`].
    pub fn open(path: &Path, force: bool) -> Result<Self, Error> {
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
        let (there, old) = find(&found, force)?;
        Ok(Self { path: found, prefix, old, there, force })
    }
}

/// `path` as scripts have it.
pub(super) fn text(path: &Path) -> Result<&str, Error> {
    let refused = |why| Error::Name { path: path.to_owned(), why };
    let text = path.to_str().ok_or_else(|| refused("it is not UTF-8"))?;
    match text.contains([':', '\n', '\r']) {
        // the venv module: "Refusing to create a venv in … because it contains the PATH separator"
        true => Err(refused("it has a colon or a line break in it")),
        false => Ok(text),
    }
}

/// The directory that is there, locked, and what an export has put into it; neither if it is made anew.
fn find(path: &Path, force: bool) -> Result<(Option<File>, Contents), Error> {
    let refused = |is_venv| Err(Error::NotOurs { path: path.to_owned(), is_venv });
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
    match (is_empty, is_venv && force) {
        (true, _) => Ok((Some(directory), Contents::default())),
        (false, true) => Ok((None, Contents::default())),
        (false, false) => refused(is_venv),
    }
}
