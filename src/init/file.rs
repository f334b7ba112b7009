//! Reads the files that a recipe is written from.

use std::fs::File;
use std::path::Path;

use super::error::Error;
use crate::text;

/// The text of the file `name` in `directory`.
///
/// # Errors
/// If it can't be read, or is not UTF-8.
pub(super) fn read(directory: &Path, name: &str) -> Result<String, Error> {
    let path = directory.join(name);
    File::open(&path).and_then(text::read).map_err(|source| Error::Unreadable { path, source })
}
