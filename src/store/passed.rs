//! Which images have passed which tests, so that what did not change is not tested again.
//! `tests/HEX.json`, HEX being the digest of both, sealed (`sealed.rs`).

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Error, Store, sealed};
use crate::oci::Digest;

impl Store {
    fn passed_path(&self, tested: &Digest) -> PathBuf {
        self.root.join("tests").join(format!("{}.json", tested.hex()))
    }

    /// Whether `tested`, the digest of an image and of its tests, is known to have passed.
    ///
    /// # Errors
    /// [`Error::Io`] other than that there is no such file.
    pub fn has_passed(&self, tested: &Digest) -> Result<bool, Error> {
        let path = self.passed_path(tested);
        match fs::read(&path) {
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
