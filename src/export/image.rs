//! An image of the store, as what is exported: its documents in memory, its layers as they
//! are read.

use std::collections::BTreeMap;
use std::io;

use super::Error;
use crate::layer::EPOCH;
use crate::oci::{Descriptor, DiffId, ImageConfig, Manifest};
use crate::store::{Area, BlobReader, Store};

/// An image whose blobs are in a store.
#[derive(Clone, Debug)]
pub struct Image {
    store: Store,
    /// Its whole name, `docker.io/library/debian:12`, or with a digest.
    pub name: String,
    /// Its manifest.
    pub manifest: Document<Manifest>,
    /// Its config.
    pub config: Document<ImageConfig>,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
}

/// A blob that has been read, and what it says.
#[derive(Clone, Debug)]
pub struct Document<T> {
    /// The blob.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub value: T,
}

/// A layer of an image.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its blob.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
}

impl Image {
    /// The image `name` of `store`, as its manifest and its config are there.
    ///
    /// # Errors
    /// [`Error::DiffIds`].
    pub fn new(
        store: Store,
        name: String,
        manifest: Document<Manifest>,
        config: Document<ImageConfig>,
    ) -> Result<Self, Error> {
        let (layers, diff_ids) = (manifest.value.layers.clone(), config.value.rootfs.diff_ids.clone());
        if layers.len() != diff_ids.len() {
            let (layers, diff_ids) = (layers.len(), diff_ids.len());
            return Err(Error::DiffIds { manifest: manifest.descriptor.digest, layers, diff_ids });
        }
        let layer = |(descriptor, diff_id)| Layer { descriptor, diff_id };
        let layers = layers.into_iter().zip(diff_ids).map(layer).collect();
        Ok(Self { store, name, manifest, config, layers })
    }

    /// Its tag's name, if it was named by a tag.
    pub(super) fn tag(&self) -> Option<&str> {
        (!self.name.contains('@')).then_some(self.name.as_str())
    }

    /// Its labels, as JSON.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub(super) fn labels(&self) -> Result<Vec<u8>, Error> {
        let none = BTreeMap::new();
        let labels = self.config.value.config.labels.as_ref().unwrap_or(&none);
        let manifest = self.manifest.descriptor.digest;
        serde_json::to_vec(labels).map_err(|source| Error::Encode { manifest, source })
    }

    /// When it was made, in seconds since 1970: the time of all in an export that no layer has.
    pub(super) fn created(&self) -> u64 {
        let created = self.config.value.created.as_ref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        created.and_then(|time| u64::try_from(time.as_second()).ok()).unwrap_or(EPOCH)
    }

    /// Opens a blob for verified reading.
    pub(super) fn open(&self, blob: &Descriptor) -> Result<BlobReader, Error> {
        let missing = || Error::Missing { digest: blob.digest, size: blob.size };
        self.store.open_blob(Area::Blobs, &blob.digest)?.ok_or_else(missing)
    }

    /// Reads a layer with `read`, which is given its blob and what its tar must be.
    ///
    /// # Errors
    /// If the blob's own bytes are damaged, that is the reason, whatever `read` says.
    pub(super) fn walk<T>(
        &self,
        layer: &Layer,
        read: impl FnOnce(&mut BlobReader, DiffId) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut blob = self.open(&layer.descriptor)?;
        let result = read(&mut blob, layer.diff_id);
        if matches!(result, Err(Error::Stopped { .. } | Error::Write { .. })) {
            return result;
        }
        // what the reader left is what it does not need; a digest is that of all bytes
        match io::copy(&mut blob, &mut io::sink()) {
            Err(error) => Err(blob.explain(error).into()),
            Ok(_) if blob.is_damaged() => Err(blob.explain(io::ErrorKind::InvalidData.into()).into()),
            Ok(_) => result,
        }
    }

    /// A layer that the store has not, or not in its full length.
    pub(super) fn missing(&self) -> Option<&Descriptor> {
        let mut blobs = self.layers.iter().map(|layer| &layer.descriptor);
        blobs.find(|blob| self.store.size(Area::Blobs, &blob.digest) != Some(blob.size))
    }
}
