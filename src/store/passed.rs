//! Which images have passed which tests, so that what did not change is not tested again.
//! `tests/HEX.json`, HEX being the digest of both, sealed (`sealed.rs`).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use super::{Error, Store, sealed};
use crate::oci::Digest;

impl Store {
    pub(super) fn passed_path(&self, tested: &Digest) -> PathBuf {
        self.root.join("tests").join(format!("{}.json", tested.hex()))
    }

    /// Whether `tested`, the digest of an image and of its tests, is known to have passed.
    ///
    /// # Errors
    /// [`Error::Io`] other than that there is no such file.
    pub fn has_passed(&self, tested: &Digest) -> Result<bool, Error> {
        let path = self.passed_path(tested);
        let read = File::open(&path).and_then(|mut file| {
            super::blobs::touch(&file);
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        });
        match read {
            Ok(bytes) => Ok(sealed::open(tested, &bytes) == Some(true)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Remembers that `tested` has passed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put_passed(&self, tested: &Digest) -> Result<(), Error> {
        let path = self.passed_path(tested);
        let text = sealed::seal(tested, &true).map_err(|source| Error::Format { path: path.clone(), source })?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        self.replace(&path, &text)
    }
}
