//! A store for one piece of work that is to believe nothing of what was made before.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, symlink};

use super::{Area, Error, Store, Tree};

/// A store under another one's `tmp/`, gone when dropped; killed, the other sweeps it away.
#[derive(Debug)]
pub struct Apart {
    store: Store,
    /// Locked: it is somebody's.
    _directory: File,
}

impl Store {
    /// A store without a layer, without a record and without an extracted layer, which has
    /// this one's downloads, whose bytes are verified each time they are read, and its extracted
    /// bases, and adds to both. What is being written lies in this one's `tmp/`, where those who
    /// extract the same base find each other.
    ///
    /// # Errors
    /// [`Error::Io`] if this store can't be written.
    pub fn apart(&self) -> Result<Apart, Error> {
        let (path, directory) = self.begin_directory()?;
        // From here on its end clears it away.
        let apart = Apart { store: Self { root: path }, _directory: directory };
        Self::open(&apart.store.root)?;
        for shared in [Area::Downloads.directory(), Tree::Flattened.directory(), "tmp"] {
            self.share(shared, &apart.store)?;
        }
        Ok(apart)
    }

    /// Lets `with` have the directory `name` of this store as its own, which is empty yet.
    fn share(&self, name: &str, with: &Self) -> Result<(), Error> {
        let (ours, theirs) = (self.root.join(name), with.root.join(name));
        for path in [&ours, &theirs] {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))?;
        }
        let target = fs::canonicalize(&ours).map_err(Error::io("find", &ours))?;
        fs::remove_dir(&theirs).map_err(Error::io("replace", &theirs))?;
        symlink(target, &theirs).map_err(Error::io("create", &theirs))
    }
}

impl Apart {
    /// The store, as long as this lives.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // What can't be removed now is swept away later.
        let _ = super::remove_tree(&self.store.root);
    }
}
