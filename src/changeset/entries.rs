//! The entries of a small layer, put together in any order and written sorted.

use std::collections::BTreeMap;

use crate::layer::{Attributes, Error, LayerWriter};

/// What a small layer holds. A path that is set again is replaced.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries(BTreeMap<String, Entry>);

#[derive(Clone, Debug)]
enum Entry {
    Directory(Attributes),
    File(Attributes, Vec<u8>),
    Symlink(Attributes, String),
}

impl Entries {
    pub(super) fn directory(&mut self, path: impl Into<String>, attributes: Attributes) {
        self.0.insert(path.into(), Entry::Directory(attributes));
    }

    pub(super) fn file(&mut self, path: impl Into<String>, attributes: Attributes, content: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Entry::File(attributes, content.into()));
    }

    pub(super) fn symlink(&mut self, path: impl Into<String>, attributes: Attributes, target: impl Into<String>) {
        self.0.insert(path.into(), Entry::Symlink(attributes, target.into()));
    }

    /// Writes them in the order that a layer wants.
    pub(super) fn write(&self, out: &mut LayerWriter) -> Result<(), Error> {
        for (path, entry) in &self.0 {
            match entry {
                Entry::Directory(attributes) => out.directory(path, *attributes)?,
                Entry::File(attributes, content) => out.file(path, *attributes, content)?,
                Entry::Symlink(attributes, target) => out.symlink(path, *attributes, target)?,
            }
        }
        Ok(())
    }
}
