//! Where this store has pushed blobs to: what one repository of a registry has, another
//! one can mount.

use std::collections::BTreeMap;

use super::{Caches, Error};
use crate::oci::Digest;
use crate::registry::{Reference, Registries, Repository};
use crate::store::Store;

impl Caches {
    /// With what `store` knows of other repositories of `target`'s registry: its names are
    /// what was pushed there. One that was only built under such a name has nothing there,
    /// which a mount finds out at no cost.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn with_pushed(mut self, store: &Store, registries: &Registries, target: &Repository) -> Result<Self, Error> {
        let mut pushed = BTreeMap::new();
        for (name, manifest) in store.tags()? {
            let repository = name.parse::<Reference>().ok().and_then(|name| registries.repository(&name).ok());
            let Some(repository) = repository.filter(|repository| repository.is_beside(target)) else { continue };
            for blob in store.closure(&manifest)? {
                pushed.entry(blob.digest).or_insert_with(|| repository.clone());
            }
        }
        self.pushed = pushed;
        Ok(self)
    }

    /// Another repository of the target's registry that `blob` was pushed to.
    pub fn pushed_to(&self, blob: &Digest) -> Option<&Repository> {
        self.pushed.get(blob)
    }
}
