//! Names in the layout's `index.json`, so that skopeo and umoci find an image by
//! `oci:STORE:NAME`.

use std::fs::{self, File};
use std::path::PathBuf;

use super::{Area, Error, Store};
use crate::oci::{Descriptor, Index, MAX_MANIFEST, ManifestOrIndex, REF_NAME, media_type, parse_manifest};

/// The file that is locked while the index is replaced.
pub(super) const INDEX_LOCK: &str = "index.lock";

pub(super) const EMPTY_INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

impl Store {
    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn index(&self) -> Result<Index, Error> {
        let path = self.index_path();
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        match parse_manifest(&bytes, media_type::INDEX) {
            Ok(ManifestOrIndex::Index(index)) => Ok(index),
            Ok(ManifestOrIndex::Manifest(_)) => Err(Error::Index { path, source: None }),
            Err(source) => Err(Error::Index { path, source: Some(source) }),
        }
    }

    /// Every tag with the manifest that it names, in order of name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`].
    pub fn tags(&self) -> Result<Vec<(String, Descriptor)>, Error> {
        let named = |descriptor: Descriptor| Some((descriptor.annotations.get(REF_NAME)?.clone(), descriptor));
        let mut tags: Vec<_> = self.index()?.manifests.into_iter().filter_map(named).collect();
        tags.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(tags)
    }

    /// The manifest that `name` names.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`].
    pub fn resolve(&self, name: &str) -> Result<Option<Descriptor>, Error> {
        Ok(self.tags()?.into_iter().find_map(|(tag, descriptor)| (tag == name).then_some(descriptor)))
    }

    /// Lets `name` name `manifest`, in place of what it named before.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`]; the name then still names the old one.
    pub fn tag(&self, name: &str, manifest: &Descriptor) -> Result<(), Error> {
        let mut named = manifest.clone();
        named.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        self.change_index(|index| {
            index.manifests.retain(|old| old.annotations.get(REF_NAME).map(String::as_str) != Some(name));
            index.manifests.push(named);
        })
    }

    /// Takes `name` away; whether there was such a name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`].
    pub fn untag(&self, name: &str) -> Result<bool, Error> {
        let mut found = false;
        self.change_index(|index| {
            let before = index.manifests.len();
            index.manifests.retain(|old| old.annotations.get(REF_NAME).map(String::as_str) != Some(name));
            found = index.manifests.len() < before;
        })?;
        Ok(found)
    }

    /// Everything that the index lists, by its name, or by its digest if it has none.
    pub(super) fn roots(&self) -> Result<Vec<(String, Descriptor)>, Error> {
        let named = |descriptor: Descriptor| {
            let name = descriptor.annotations.get(REF_NAME).cloned();
            (name.unwrap_or_else(|| descriptor.digest.to_string()), descriptor)
        };
        let mut roots: Vec<_> = self.index()?.manifests.into_iter().map(named).collect();
        roots.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(roots)
    }

    /// `root` and everything that it leads to: an index's manifests, a manifest's
    /// config and layers. What is not in the store leads nowhere further. To look at them is
    /// no use of them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn closure(&self, root: &Descriptor) -> Result<Vec<Descriptor>, Error> {
        let mut found: Vec<Descriptor> = vec![root.clone()];
        let mut next = 0;
        while let Some(descriptor) = found.get(next).cloned() {
            next += 1;
            for child in self.children(&descriptor)? {
                if !found.iter().any(|known| known.digest == child.digest) {
                    found.push(child);
                }
            }
        }
        Ok(found)
    }

    fn children(&self, descriptor: &Descriptor) -> Result<Vec<Descriptor>, Error> {
        if descriptor.size > MAX_MANIFEST || !is_manifest(&descriptor.media_type) {
            return Ok(Vec::new());
        }
        let bytes = match self.peek(Area::Blobs, &descriptor.digest) {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(Error::Damaged { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        Ok(match parse_manifest(&bytes, &descriptor.media_type) {
            Ok(ManifestOrIndex::Index(index)) => index.manifests,
            Ok(ManifestOrIndex::Manifest(manifest)) => {
                std::iter::once(manifest.config).chain(manifest.layers).collect()
            }
            Err(_) => Vec::new(),
        })
    }

    /// Waits until nobody else changes the index; ends when dropped. The file stays,
    /// since one that is removed can be locked twice.
    pub(super) fn lock_index(&self) -> Result<File, Error> {
        let path = self.root.join(INDEX_LOCK);
        let lock =
            File::options().create(true).write(true).truncate(false).open(&path).map_err(Error::io("open", &path))?;
        lock.lock().map_err(Error::io("lock", &path))?;
        Ok(lock)
    }

    /// Reads, changes and replaces the index under a lock of its own, so that two
    /// processes that tag at once both succeed.
    fn change_index(&self, change: impl FnOnce(&mut Index)) -> Result<(), Error> {
        let _lock = self.lock_index()?;
        let mut index = self.index()?;
        change(&mut index);
        let path = self.index_path();
        let bytes = serde_json::to_vec(&index).map_err(|source| Error::Format { path: path.clone(), source })?;
        self.replace(&path, &bytes)
    }
}

fn is_manifest(media_type: &str) -> bool {
    media_type::ACCEPTED_MANIFESTS.contains(&media_type)
}
