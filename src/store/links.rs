//! Which blobs and manifests a repository of the embedded registry has: the bytes
//! are the store's, the right to name them a repository's.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Error, Store};
use crate::oci::Digest;

/// What a link is to. The distribution-spec gives each its own place under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A config or a layer.
    Blob,
    /// A manifest or an index.
    Manifest,
}

impl Link {
    // A repository's name has no component that begins with `_`.
    fn directory(self) -> &'static str {
        match self {
            Self::Blob => "_blobs",
            Self::Manifest => "_manifests",
        }
    }
}

impl Store {
    fn links_path(&self, repository: &str, link: Link) -> PathBuf {
        self.root.join("repositories").join(repository).join(link.directory())
    }

    /// Lets `repository` have what lies under `digest`. `media_type` is what a
    /// manifest was pushed as; it is kept in the link.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn link(&self, repository: &str, link: Link, digest: &Digest, media_type: &str) -> Result<(), Error> {
        let directory = self.links_path(repository, link);
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        self.replace(&directory.join(digest.hex()), media_type.as_bytes())
    }

    /// The media type of a link of `repository`; nothing if it has none to `digest`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn linked(&self, repository: &str, link: Link, digest: &Digest) -> Result<Option<String>, Error> {
        let path = self.links_path(repository, link).join(digest.hex());
        match fs::read_to_string(&path) {
            Ok(media_type) => Ok(Some(media_type)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Takes a link away; whether there was one. The bytes stay.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn unlink(&self, repository: &str, link: Link, digest: &Digest) -> Result<bool, Error> {
        let path = self.links_path(repository, link).join(digest.hex());
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("remove", &path)(error)),
        }
    }

    /// Everything that `repository` links to, in order of digest.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn links(&self, repository: &str, link: Link) -> Result<Vec<Digest>, Error> {
        let directory = self.links_path(repository, link);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &directory)(error)),
        };
        let mut digests = Vec::new();
        for entry in entries {
            let name = entry.map_err(Error::io("read", &directory))?.file_name();
            digests.extend(name.to_str().and_then(|name| Digest::from_hex(name).ok()));
        }
        digests.sort();
        Ok(digests)
    }

    /// The names of repositories that have links.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn repositories(&self) -> Result<Vec<String>, Error> {
        let top = self.root.join("repositories");
        let mut names = Vec::new();
        if !top.is_dir() {
            return Ok(names);
        }
        for entry in walkdir::WalkDir::new(&top).min_depth(1) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(&top).to_owned();
                Error::io("read", &path)(error.into())
            })?;
            let directory = entry.file_name().to_str();
            if entry.file_type().is_dir()
                && [Link::Blob, Link::Manifest].iter().any(|link| directory == Some(link.directory()))
                && let Some(name) = entry.path().parent().and_then(|path| path.strip_prefix(&top).ok())
            {
                names.push(name.to_string_lossy().into_owned());
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }
}
