//! Files from the recipe's directory, each read once, and only if it is still what
//! the lock says of it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;

use super::{Changeset, Inputs};
use crate::layer::{Attributes, LayerWriter};
use crate::lock::{FileKind, LockedFile};
use crate::oci::{Digest, Hasher};
use crate::recipe;
use crate::sandbox::Rootfs;

/// Why a file can't be put into a layer.
#[derive(Debug, Error)]
pub enum Error {
    /// It can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no longer what the lock says.
    #[error("{} changed after it was locked: expected {expected} of {size} bytes, found {found} of {found_size} bytes",
        path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The lock's sha256.
        expected: Digest,
        /// The lock's length in bytes.
        size: u64,
        /// That of the file.
        found: Digest,
        /// The file's length in bytes.
        found_size: u64,
    },
    /// The lock names a file whose content the recipe hasn't got.
    #[error("the recipe has no content for /{to}")]
    NoContent {
        /// Where it goes.
        to: String,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() != io::ErrorKind::NotFound => None,
            _ => Some("lock the recipe again with `--update`".into()),
        }
    }
}

/// Copies files, directories and symbolic links.
#[derive(Debug)]
pub struct Files {
    /// Sorted by where they go.
    files: Vec<(LockedFile, Source)>,
}

/// Where a file's content is.
#[derive(Debug)]
enum Source {
    Disk(PathBuf),
    Recipe(String),
}

/// The changeset of a `files` layer. `directory` is the recipe's.
///
/// # Errors
/// [`Error::NoContent`] if `recipe` and `locked` are not of one another.
pub fn changeset(recipe: &recipe::Files, locked: &[LockedFile], directory: &Path) -> Result<Files, Error> {
    let source = |file: &LockedFile| {
        if !file.from.is_empty() {
            return Ok(Source::Disk(directory.join(&file.from)));
        }
        let entry = recipe.files.iter().find(|entry| entry.to.trim_matches('/') == file.to);
        let content = entry.and_then(|entry| entry.content.clone());
        content.map(Source::Recipe).ok_or_else(|| Error::NoContent { to: file.to.clone() })
    };
    let mut files = locked.iter().map(|file| Ok((file.clone(), source(file)?))).collect::<Result<Vec<_>, Error>>()?;
    files.sort_by(|a, b| a.0.to.cmp(&b.0.to));
    Ok(Files { files })
}

impl Changeset for Files {
    fn inputs(&self) -> Inputs {
        let file = |(file, _): &(LockedFile, Source)| {
            json!([file.to, file.kind, file.mode, file.uid, file.gid, file.sha256, file.size])
        };
        let names: Vec<String> = self.files.iter().map(|(file, _)| format!("/{}", file.to)).collect();
        let summary = match names.as_slice() {
            [] => "dlpack files".to_owned(),
            [one] => format!("dlpack files {one}"),
            [first, rest @ ..] => format!("dlpack files {first} and {} more", rest.len()),
        };
        let inputs = Inputs::new("files", 1, summary).with("files", self.files.iter().map(file).collect::<Vec<_>>());
        let inputs = self
            .files
            .iter()
            .zip(&names)
            .fold(inputs, |inputs, (one, name)| inputs.part("files", name.as_str(), "", &file(one)));
        let regular = self.files.iter().filter(|(file, _)| file.kind == FileKind::File);
        regular.fold(inputs, |inputs, (file, _)| inputs.containing(format!("/{}", file.to), file.size))
    }

    fn write(&self, _under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        for (file, source) in &self.files {
            let attributes = Attributes { mode: file.mode, uid: file.uid, gid: file.gid };
            match (file.kind, source) {
                (FileKind::Directory, _) => out.directory(&file.to, attributes)?,
                (_, Source::Recipe(content)) => {
                    verify(file, Path::new(&file.to), content.as_bytes())?;
                    out.file(&file.to, attributes, content.as_bytes())?;
                }
                (FileKind::Symlink, Source::Disk(path)) => {
                    let target = fs::read_link(path).map_err(|source| Error::Read { path: path.clone(), source })?;
                    verify(file, path, target.as_os_str().as_bytes())?;
                    out.symlink(&file.to, attributes, &target.to_string_lossy())?;
                }
                (FileKind::File, Source::Disk(path)) => copy(file, path, attributes, out)?,
            }
        }
        Ok(())
    }
}

pub(super) fn verify(file: &LockedFile, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    compare(file, path, (Digest::of(bytes), bytes.len() as u64))
}

/// Whether what was `found` of a file is what the lock says.
pub(super) fn compare(file: &LockedFile, path: &Path, (found, found_size): (Digest, u64)) -> Result<(), Error> {
    if (found, found_size) == (file.sha256, file.size) {
        return Ok(());
    }
    Err(Error::Changed { path: path.to_owned(), expected: file.sha256, size: file.size, found, found_size })
}

/// Hashes a file as the layer takes it in. A mismatch is found when the layer has
/// its bytes already; but a layer that is not completed has no name.
fn copy(file: &LockedFile, path: &Path, attributes: Attributes, out: &mut LayerWriter) -> Result<(), super::Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let mut disk = File::open(path).map_err(unreadable)?;
    let size = disk.metadata().map_err(unreadable)?.len();
    if size != file.size {
        let mut hasher = Hasher::new();
        io::copy(&mut disk, &mut hasher).map_err(unreadable)?;
        return Ok(compare(file, path, hasher.finish())?);
    }
    let mut hashing = Hashing { inner: disk, hasher: Hasher::new() };
    out.stream(&file.to, attributes, file.size, &mut hashing)?;
    // what was appended in the meantime counts, too
    io::copy(&mut hashing, &mut io::sink()).map_err(unreadable)?;
    Ok(compare(file, path, hashing.hasher.finish())?)
}

struct Hashing {
    inner: File,
    hasher: Hasher,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}
