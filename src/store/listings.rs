//! What a base's layer holds, kept by the layer's digest, so that a layer is
//! streamed once for each store and never again.
//!
//! A listing is `listings/HEX.json`, HEX being the sha256 of the compressed layer, sealed
//! (`sealed.rs`) around:
//!
//! ```json
//! {"version": 2, "diff-id": "sha256:…", "entries": [
//!   {"path": "etc", "kind": "directory", "mode": 493},
//!   {"path": "etc/passwd", "kind": "file", "mode": 420, "size": 885, "content": "cm9vdDp4…"},
//!   {"path": "bin", "kind": "symlink", "target": "usr/bin", "mode": 511},
//!   {"path": "usr/bin/perl5.36", "kind": "hard-link", "target": "usr/bin/perl"},
//!   {"path": "var/lib/apt/lists", "kind": "whiteout"}, {"path": "tmp", "kind": "opaque"}]}
//! ```
//!
//! Entries stand in the tar's order; `uid`, `gid`, `mode` and `size` are left out
//! where they are 0. `content` is base64, and only of files that a layer of dlpack
//! may amend or copy; of the metadata of Python distributions it is the head.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Error, Store, sealed};
use crate::oci::{DiffId, Digest};

/// The version of the listings' form. One of another version counts as none.
const VERSION: u32 = 2;

/// What a layer holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listing {
    version: u32,
    /// The digest of the layer's tar.
    pub diff_id: DiffId,
    /// Its entries, in the tar's order.
    pub entries: Vec<Listed>,
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    /// Relative to the root, without a leading slash. For a whiteout, what it hides.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: ListedKind,
    /// Permission bits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mode: u32,
    /// Owner.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// Group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
}

/// What an entry of a layer is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ListedKind {
    /// A regular file.
    File {
        /// Its length in bytes.
        #[serde(default)]
        size: u64,
        /// Its content, where it is kept; the head of a Python distribution's metadata.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "base64_text")]
        content: Option<Vec<u8>>,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it leads to, as it stands in the tar.
        target: String,
    },
    /// Another name of a file.
    HardLink {
        /// The file's path, relative to the root.
        target: String,
    },
    /// A device or a FIFO.
    Special,
    /// `.wh.NAME`: hides what lower layers have there.
    Whiteout,
    /// `.wh..wh..opq`: hides what lower layers have in this directory.
    Opaque,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(content: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match content {
            Some(content) => serializer.serialize_str(&STANDARD.encode(content)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom)).transpose()
    }
}

impl Listing {
    /// A listing of the layer whose tar has the digest `diff_id`.
    pub fn new(diff_id: DiffId, entries: Vec<Listed>) -> Self {
        Self { version: VERSION, diff_id, entries }
    }
}

impl Store {
    pub(super) fn listing_path(&self, layer: &Digest) -> PathBuf {
        self.root.join("listings").join(format!("{}.json", layer.hex()))
    }

    /// The listing of the layer whose blob is `layer`, if there is one. One that
    /// can't be read, or is of another version, counts as none.
    ///
    /// # Errors
    /// [`Error::Io`] other than that there is no such file.
    pub fn listing(&self, layer: &Digest) -> Result<Option<Listing>, Error> {
        let path = self.listing_path(layer);
        let read = File::open(&path).and_then(|mut file| {
            super::blobs::touch(&file);
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        });
        match read {
            Ok(bytes) => Ok(sealed::open(layer, &bytes).filter(|listing: &Listing| listing.version == VERSION)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Keeps the listing of the layer whose blob is `layer`, in place of an older one.
    ///
    /// # Errors
    /// [`Error::Io`]; the older one then still stands.
    pub fn put_listing(&self, layer: &Digest, listing: &Listing) -> Result<(), Error> {
        let path = self.listing_path(layer);
        let bytes = sealed::seal(layer, listing).map_err(|source| Error::Format { path: path.clone(), source })?;
        self.replace(&path, &bytes)
    }
}
