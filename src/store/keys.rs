//! Keys and the records they lead to: what is known of a layer without opening it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Error, Store, sealed};
use crate::oci::{Descriptor, DiffId, Digest};

/// The digest of everything that a layer is a function of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerKey(pub Digest);

impl fmt::Display for LayerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of a finished layer. One that would be longer than a layer may be is in
/// parts, each an image's layer of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The lowest part; mostly the only one.
    #[serde(flatten)]
    pub first: LayerPart,
    /// The other parts, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<LayerPart>,
}

/// What is known of one part of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerPart {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The tar's length in bytes.
    pub unpacked: u64,
}

impl From<LayerPart> for LayerRecord {
    fn from(only: LayerPart) -> Self {
        Self { first: only, rest: Vec::new() }
    }
}

impl LayerRecord {
    /// All parts, lowest first.
    pub fn parts(&self) -> impl Iterator<Item = &LayerPart> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The digests of their tars.
    pub fn diff_ids(&self) -> impl Iterator<Item = DiffId> {
        self.parts().map(|part| part.diff_id)
    }

    /// The length of all blobs, in bytes.
    pub fn size(&self) -> u64 {
        self.parts().map(|part| part.descriptor.size).sum()
    }

    /// How many parts there are.
    pub fn count(&self) -> usize {
        1 + self.rest.len()
    }
}

/// The file of a record.
#[derive(Serialize, Deserialize)]
struct Noted {
    #[serde(flatten)]
    record: LayerRecord,
    /// What lies in downloads that the layer can be made from, without running anything.
    #[serde(default, rename = "made-from", skip_serializing_if = "Vec::is_empty")]
    made_from: Vec<Digest>,
}

impl Store {
    pub(super) fn key_path(&self, key: &LayerKey) -> PathBuf {
        let hex = key.0.hex();
        self.root.join("keys").join(&hex[..2]).join(format!("{hex}.json"))
    }

    /// The record of `key`, if there is one. It says nothing about whether the
    /// blob is still here. A record that can't be read counts as none.
    ///
    /// # Errors
    /// [`Error::Io`] other than that there is no such file.
    pub fn record(&self, key: &LayerKey) -> Result<Option<LayerRecord>, Error> {
        let path = self.key_path(key);
        match File::open(&path) {
            Ok(mut file) => {
                super::blobs::touch(&file);
                let mut bytes = Vec::new();
                let read = file.read_to_end(&mut bytes).ok();
                Ok(read.and_then(|_| noted(key, &bytes)).map(|(record, _)| record))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// The same, and the downloads that the layer can be made again from, without its counting as
    /// use, and with every failure as none.
    pub(super) fn peek_noted(&self, key: &LayerKey) -> Option<(LayerRecord, Vec<Digest>)> {
        noted(key, &fs::read(self.key_path(key)).ok()?)
    }

    /// Remembers `record` under `key`, in place of an older one.
    ///
    /// # Errors
    /// [`Error::Io`]; the older record then still stands.
    pub fn put_record(&self, key: &LayerKey, record: &LayerRecord) -> Result<(), Error> {
        self.put_record_of(key, record, &[])
    }

    /// The same for a layer that can be made again, at any time, from these downloads.
    ///
    /// # Errors
    /// As [`Store::put_record`].
    pub fn put_record_of(&self, key: &LayerKey, record: &LayerRecord, made_from: &[Digest]) -> Result<(), Error> {
        let path = self.key_path(key);
        let noted = Noted { record: record.clone(), made_from: made_from.to_vec() };
        let bytes = sealed::seal(&key.0, &noted).map_err(|source| Error::Format { path: path.clone(), source })?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        self.replace(&path, &bytes)
    }
}

/// What the file of `key` says, if its bits are those that were written.
pub(super) fn noted(key: &LayerKey, bytes: &[u8]) -> Option<(LayerRecord, Vec<Digest>)> {
    let Noted { record, made_from } = sealed::open(&key.0, bytes)?;
    Some((record, made_from))
}
