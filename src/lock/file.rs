//! The lock on disk: `NAME.lock` beside `NAME.toml`, in TOML.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::Error;
use super::model::{BaseFile, Lock, VERSION};
use crate::oci::Digest;
use crate::recipe;

/// What a lock file begins with.
const HEADER: &str = "\
# Written by `dlpack lock`: everything that a build consumes, by sha256 and size.
# Keep it in version control beside its recipe. `dlpack lock` makes it anew.

";

/// Where the lock of the recipe at `recipe` lies: `NAME.lock` beside `NAME.toml`.
pub fn path_for(recipe: &Path) -> PathBuf {
    recipe.with_extension("lock")
}

/// Reads the lock at `path`; nothing if there is none.
///
/// # Errors
/// [`Error::Read`], [`Error::Form`] with line and column, [`Error::Version`].
pub fn read(path: &Path) -> Result<Option<Lock>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
    };
    parse(&text, path).map(Some)
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn parse(text: &str, path: &Path) -> Result<Lock, Error> {
    // A later version may have fields that this one doesn't know: it is asked first.
    if let Ok(Versioned { version }) = toml::from_str(text)
        && version != VERSION
    {
        return Err(Error::Version { path: path.to_owned(), version });
    }
    let form = |byte: usize, problem: String| {
        let (line, column) = position(text, byte);
        Error::Form { path: path.to_owned(), line, column, problem }
    };
    let lock: Lock = toml::from_str(text).map_err(|source: toml::de::Error| {
        form(source.span().map_or(0, |span| span.start), source.message().to_owned())
    })?;
    if lock.layers.len() != lock.recipe.layers.len() {
        return Err(form(0, "it has not as many layers as its recipe".into()));
    }
    if let Some(file) = lock.base.files.iter().find(|file| !is_itself(file)) {
        let at = text.find(&format!("path = \"{}\"", file.path)).unwrap_or(0);
        return Err(form(at, format!("the content of /{} is not that of its sha256 and size", file.path)));
    }
    Ok(lock)
}

/// Whether a file of the base has the content that its hash and size say.
fn is_itself(file: &BaseFile) -> bool {
    file.bytes().is_ok_and(|bytes| (Digest::of(&bytes), bytes.len() as u64) == (file.sha256, file.size))
}

/// Line and column of a byte, both from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Writes `lock` at `path`, whole or not at all.
///
/// # Errors
/// [`Error::Write`]; what was there before then still stands.
pub fn write(path: &Path, lock: &Lock) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let text = format!("{HEADER}{}", toml::to_string(lock).map_err(|error| failed(io::Error::other(error)))?);
    let mut file = tempfile::NamedTempFile::new_in(recipe::directory_of(path)).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    // What a person may read of the recipe, a person may read of its lock.
    let mode = fs::metadata(path).or_else(|_| fs::metadata(path.with_extension("toml"))).map(|meta| meta.permissions());
    file.as_file().set_permissions(mode.unwrap_or_else(|_| default_mode())).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn default_mode() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
