//! Files that are there whole or not at all.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::recipe::Recipe;

use super::error::Error;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was written.
    Written,
    /// It was there, with the same text.
    Unchanged,
}

/// Writes the recipe `text` to `path`, if the recipe's reader accepts it. One that is there
/// with other text is replaced only with `force`.
///
/// # Errors
/// If there is another, if it is not accepted, or if it can't be written.
pub fn write(path: &Path, text: &str, force: bool) -> Result<Change, Error> {
    match fs::read(path) {
        Ok(known) if known == text.as_bytes() => return Ok(Change::Unchanged),
        Ok(_) if !force => return Err(Error::Exists { path: path.to_owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Unreadable { path: path.to_owned(), source }),
    }
    let file = beside(path, text)?;
    accepted(file.path(), path)?;
    persist(file, path)?;
    Ok(Change::Written)
}

/// Checks that the recipe's reader accepts `text`, which is to be printed.
///
/// # Errors
/// If it does not.
pub fn check(text: &str) -> Result<(), Error> {
    let path = PathBuf::from("-");
    let failed = |source| Error::Write { path: path.clone(), source };
    let mut file = NamedTempFile::new().map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    accepted(file.path(), &path)
}

fn accepted(file: &Path, path: &Path) -> Result<(), Error> {
    let loaded = Recipe::load(file, &[]);
    loaded.map(drop).map_err(|source| Error::NotAccepted { path: path.to_owned(), source: Box::new(source) })
}

/// Replaces the file at `path`, or that which a link there leads to, by one with `text`.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    persist(beside(&path, text)?, &path)
}

/// A file with `text` in the directory of `path`, without a name of its own yet.
fn beside(path: &Path, text: &str) -> Result<NamedTempFile, Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // open(2): "the effective mode is modified by the process's umask"; that of a file that is there stays
    let mode = fs::metadata(path).map_or(0o666, |known| known.permissions().mode() & 0o777);
    let mut builder = tempfile::Builder::new();
    let file = builder.permissions(Permissions::from_mode(mode)).tempfile_in(directory);
    let mut file = file.map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    Ok(file)
}

fn persist(file: NamedTempFile, path: &Path) -> Result<(), Error> {
    let kept = file.persist(path);
    kept.map(drop).map_err(|error| Error::Write { path: path.to_owned(), source: error.error })
}
