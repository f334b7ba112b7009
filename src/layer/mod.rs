//! Writing a layer: entries go in sorted, a blob with its digest and DiffID comes
//! out. The tar and its compression are ours byte for byte, so that no library's
//! next version changes a digest.

mod bits;
mod deflate;
mod huffman;
mod inflate;
mod lane;
mod order;
mod output;
mod parts;
pub mod read;
mod sink;
pub(crate) mod tar;
mod writer;

use std::io;

use thiserror::Error;

use crate::oci::{Descriptor, DiffId};
use crate::store::LayerPart;
pub use sink::Sink;
pub use writer::LayerWriter;

/// The version of the code that turns entries into bytes. It is part of every
/// key: raise it with any change to what is written. Since 2, what is not spliced is
/// compressed with codes of each block's own; tars and their DiffIDs are those of 1. Since 3, short
/// blocks in the fixed codes hold bytes above 143 as RFC 1951 has them: before, they inflated to others.
pub const FORMAT: u32 = 3;

/// Modification time of everything in a layer, and creation time of every image,
/// in seconds since 1970: 1980-01-01, the first time that a zip can hold, so that
/// tools which pack an image's files again don't trip over it.
pub const EPOCH: u64 = 315_532_800;

/// How long the blob of a layer is at most where the recipe says nothing, in bytes: what every
/// registry takes (docs/registries.md), with room for whoever counts otherwise.
pub const CEILING: u64 = 9_500_000_000;

/// Why a layer can't be written.
#[derive(Debug, Error)]
pub enum Error {
    /// A path that is absolute, empty, or has `.`, `..` or NUL in it.
    #[error("`{path}` can't be a path in a layer")]
    Path {
        /// The path.
        path: String,
    },
    /// An entry that comes after a later one, or twice.
    #[error("`{path}` comes after `{after}`: entries are sorted, and no path stands twice")]
    Order {
        /// The path.
        path: String,
        /// The entry before it.
        after: String,
    },
    /// A content that is longer or shorter than announced, or has another CRC-32.
    #[error("`{path}` is not what was announced: {what}")]
    Content {
        /// The path.
        path: String,
        /// What differs.
        what: String,
    },
    /// An entry under a file or a symbolic link of the same layer.
    #[error("`{path}` lies under `{file}`, which is no directory")]
    Parent {
        /// The path.
        path: String,
        /// The entry that it lies under.
        file: String,
    },
    /// A layer that can't go on after an entry that failed.
    #[error("the layer broke off at `{path}`")]
    Unfinished {
        /// The entry.
        path: String,
    },
    /// A layer that is sent as it is written, and is longer than one may be.
    #[error("the layer is too long from `{path}` on: it is in parts, of which a stream takes one")]
    Parts {
        /// The first entry that has no room.
        path: String,
    },
    /// The content can't be read, or no thread be started for it.
    #[error("can't write `{path}` into a layer")]
    Io {
        /// The entry at which it happened; empty before the first one.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store does not take the blob.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

impl Error {
    /// Whether it says nothing of what the layer is made of: nobody wants the rest of it, or
    /// it is longer than one may be.
    pub fn is_of_output(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::BrokenPipe,
            Self::Parts { .. } => true,
            _ => false,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Content { .. } => {
                Some("fetch the file again: what is here is damaged, or was made to mislead".into())
            }
            Self::Store(error) => error.hint(),
            Self::Path { path } if path.contains(".wh.") => {
                Some("names that begin with `.wh.` delete files of the layers below; rename the file".into())
            }
            Self::Parent { .. } => Some("a path can't be a file and have files below it: move one of the two".into()),
            _ => None,
        }
    }
}

/// How many threads write a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The caller's alone: best where as many layers are written at a time as there are CPUs.
    One,
    /// The caller's, one for the DiffID, and one for the blob.
    Several,
}

impl Default for Threads {
    /// Several where the process may use more than one CPU.
    fn default() -> Self {
        match std::thread::available_parallelism() {
            Ok(cpus) if cpus.get() > 1 => Self::Several,
            _ => Self::One,
        }
    }
}

/// `text` as one deflate stream (RFC 1951), the same on every machine.
pub fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = deflate::Encoder::new();
    encoder.write(text);
    encoder.finish();
    let mut stream = Vec::new();
    // a Vec takes everything
    let _ = encoder.take(&mut |bytes| {
        stream.extend_from_slice(bytes);
        Ok(())
    });
    stream
}

/// How a blob is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// What every runtime reads.
    #[default]
    Gzip,
    /// Smaller and faster to unpack; for runtimes that read it.
    Zstd,
}

impl Compression {
    /// Its name in a recipe.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Mode and owner of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attributes {
    /// Permission bits with set-uid, set-gid and sticky: at most 0o7777.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

impl Attributes {
    /// Owned by root.
    pub const fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }
}

/// Which device a device file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Whether it is a block device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// A finished layer: what manifest and config say of it. Its bytes are where its [`Sink`] led.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The tar's length in bytes.
    pub unpacked: u64,
}

impl From<Layer> for LayerPart {
    fn from(layer: Layer) -> Self {
        Self { descriptor: layer.descriptor, diff_id: layer.diff_id, unpacked: layer.unpacked }
    }
}

impl AsRef<Descriptor> for Layer {
    fn as_ref(&self) -> &Descriptor {
        &self.descriptor
    }
}
