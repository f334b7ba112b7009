//! Reading a layer that a stranger wrote: inflated, hashed for the DiffID, and
//! stopped where it does not end.

mod archive;

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

pub use archive::{Archive, Entry, InvalidTar};

use crate::oci::{Descriptor, DiffId, Digest, Hasher, media_type};

/// How many times its own length a layer may inflate to, and how much a small one
/// may in any case. Deflate's limit is 1,032 times; real layers stay under 20.
const MAX_RATIO: u64 = 100;
const MIN_LIMIT: u64 = 256 << 20;

/// Why a layer's blob can't be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A layer of a kind that can't be read: encrypted, or no tar.
    #[error("layer {layer} is a `{media_type}`, which can't be read")]
    MediaType {
        /// The layer.
        layer: Digest,
        /// What it is.
        media_type: String,
    },
    /// Bytes that are no tar, or no gzip or zstd stream.
    #[error("layer {layer} is not a layer's tar")]
    Tar {
        /// The layer.
        layer: Digest,
        /// What is wrong with it.
        #[source]
        source: InvalidTar,
    },
    /// Another tar than the config says.
    #[error("layer {layer} unpacks to {found}, the image's config says {expected}")]
    DiffId {
        /// The layer.
        layer: Digest,
        /// What the config says.
        expected: DiffId,
        /// What it is.
        found: DiffId,
    },
    /// Bytes that inflate without end.
    #[error("layer {layer} of {size} bytes inflates to more than {limit} bytes")]
    Bomb {
        /// The layer.
        layer: Digest,
        /// Its length in bytes.
        size: u64,
        /// Where reading stopped.
        limit: u64,
    },
}

impl ReadError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some("the base is broken or somebody changed it: take another tag, or push it again".to_owned())
    }
}

/// Walks the tar of `layer` with `walk`, to its end, and sees that it is the one that
/// the image's config says. What `walk` made of it is nothing worth if this fails.
///
/// # Errors
/// [`ReadError`], or the error of `walk`.
pub fn walk<T, E: From<ReadError>>(
    layer: &Descriptor,
    expected: DiffId,
    blob: impl Read,
    walk: impl FnOnce(&mut Archive<&mut dyn Read>) -> Result<T, E>,
) -> Result<T, E> {
    unpack(layer, expected, blob, |tar| {
        let mut archive = Archive::new(tar);
        let walked = walk(&mut archive)?;
        archive.drain().map_err(|source| ReadError::Tar { layer: layer.digest, source })?;
        Ok(walked)
    })
}

/// Has `read` read the tar of `layer` as bytes, up to where it likes, and sees that the whole
/// is the one that the image's config says. What `read` made of it is nothing worth if this
/// fails.
///
/// # Errors
/// [`ReadError`], or the error of `read`.
pub fn unpack<T, E: From<ReadError>>(
    layer: &Descriptor,
    expected: DiffId,
    blob: impl Read,
    read: impl FnOnce(&mut dyn Read) -> Result<T, E>,
) -> Result<T, E> {
    let digest = layer.digest;
    let limit = layer.size.saturating_mul(MAX_RATIO).max(MIN_LIMIT);
    let mut tar = Tar { inner: inflate(layer, blob)?, hasher: Hasher::new(), limit, passed: false };
    let mut buffered = BufReader::with_capacity(1 << 17, &mut tar);
    let done = read(&mut buffered);
    let drained = if done.is_ok() { io::copy(&mut buffered, &mut io::sink()).map(drop) } else { Ok(()) };
    drop(buffered);
    if tar.passed {
        return Err(ReadError::Bomb { layer: digest, size: layer.size, limit }.into());
    }
    let done = done?;
    let at = tar.hasher.length();
    drained.map_err(|source| ReadError::Tar { layer: digest, source: InvalidTar::Io { at, source } })?;
    let found = DiffId(tar.hasher.finish().0);
    if found != expected {
        return Err(ReadError::DiffId { layer: digest, expected, found }.into());
    }
    Ok(done)
}

/// The tar inside a blob. The media type says that it is one; how it is
/// compressed, the first bytes say, as runtimes have it.
fn inflate<'a>(layer: &Descriptor, blob: impl Read + 'a) -> Result<Box<dyn Read + 'a>, ReadError> {
    let tar_types = [media_type::LAYER_TAR, media_type::LAYER_GZIP, media_type::LAYER_ZSTD];
    // layers.md: "application/vnd.oci.image.layer.nondistributable.v1.tar" is deprecated, and still a tar
    let given = media_type::normalised(&layer.media_type).replace(".nondistributable.", ".");
    if !tar_types.contains(&given.as_str()) && !given.contains("rootfs.foreign.diff.tar") {
        return Err(ReadError::MediaType { layer: layer.digest, media_type: layer.media_type.clone() });
    }
    let unreadable = |source| ReadError::Tar { layer: layer.digest, source: InvalidTar::Io { at: 0, source } };
    let mut blob = BufReader::with_capacity(1 << 16, blob);
    let magic = blob.fill_buf().map_err(unreadable)?;
    Ok(match magic {
        // RFC 1952 2.3.1: ID1 and ID2 are 0x1f 0x8b
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(blob)),
        // RFC 8878 3.1.1: the magic number is 0xFD2FB528, little-endian; 3.1.2: skippable frames 0x184D2A5?
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(blob).map_err(unreadable)?)
        }
        _ => Box::new(blob),
    })
}

/// Hashes a tar as it is read, and stops one that does not end.
struct Tar<'a> {
    inner: Box<dyn Read + 'a>,
    hasher: Hasher,
    limit: u64,
    passed: bool,
}

impl Read for Tar<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        if self.hasher.length() > self.limit {
            self.passed = true;
            return Err(io::Error::other("too long"));
        }
        Ok(count)
    }
}
