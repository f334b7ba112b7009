//! From a layer's blob to its listing, in one pass: inflated, hashed for the
//! DiffID, walked, and nothing of it kept but names and small files.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use tar::EntryType;
use thiserror::Error;

use super::archive::{Archive, Entry, InvalidTar};
use crate::oci::{Descriptor, DiffId, Digest, Hasher, media_type};
use crate::store::{Listed, ListedKind, Listing};

/// The longest file whose content is kept, in bytes.
const MAX_CONTENT: u64 = 1 << 20;
/// How much content of one layer is kept, in bytes.
const MAX_CONTENTS: u64 = 8 << 20;
/// How long all names of one layer may be together, in bytes.
const MAX_NAMES: usize = 128 << 20;
/// How many times its own length a layer may inflate to, and how much a small one
/// may in any case. Deflate's limit is 1,032 times; real layers stay under 20.
const MAX_RATIO: u64 = 100;
const MIN_LIMIT: u64 = 256 << 20;

/// Why a base's layer can't be read.
#[derive(Debug, Error)]
pub enum LayerError {
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
    /// A path that leads out of the root.
    #[error("layer {layer} has an entry `{path}`, which leads out of the image")]
    Path {
        /// The layer.
        layer: Digest,
        /// The path.
        path: String,
    },
    /// Names of more than 128 MiB.
    #[error("layer {layer} has more names than any real layer")]
    TooManyNames {
        /// The layer.
        layer: Digest,
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

/// Reads the blob of `layer` to its end and lists what it holds.
///
/// # Errors
/// [`LayerError`]: nothing is known of the layer then.
pub fn scan(layer: &Descriptor, expected: DiffId, blob: impl Read) -> Result<Listing, LayerError> {
    let digest = layer.digest;
    let limit = layer.size.saturating_mul(MAX_RATIO).max(MIN_LIMIT);
    let mut tar = Tar { inner: inflate(layer, blob)?, hasher: Hasher::new(), limit, passed: false };
    let entries = walk(digest, &mut tar);
    if tar.passed {
        return Err(LayerError::Bomb { layer: digest, size: layer.size, limit });
    }
    let entries = entries?;
    let found = DiffId(tar.hasher.finish().0);
    if found != expected {
        return Err(LayerError::DiffId { layer: digest, expected, found });
    }
    Ok(Listing::new(expected, entries))
}

/// The tar inside a blob. The media type says that it is one; how it is
/// compressed, the first bytes say, as runtimes have it.
fn inflate<'a>(layer: &Descriptor, blob: impl Read + 'a) -> Result<Box<dyn Read + 'a>, LayerError> {
    let tar_types = [media_type::LAYER_TAR, media_type::LAYER_GZIP, media_type::LAYER_ZSTD];
    // layers.md: "application/vnd.oci.image.layer.nondistributable.v1.tar" is deprecated, and still a tar
    let given = media_type::normalised(&layer.media_type).replace(".nondistributable.", ".");
    if !tar_types.contains(&given.as_str()) && !given.contains("rootfs.foreign.diff.tar") {
        return Err(LayerError::MediaType { layer: layer.digest, media_type: layer.media_type.clone() });
    }
    let unreadable = |source| LayerError::Tar { layer: layer.digest, source: InvalidTar::Io { at: 0, source } };
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

fn walk(layer: Digest, tar: &mut Tar) -> Result<Vec<Listed>, LayerError> {
    let invalid = |source| LayerError::Tar { layer, source };
    let mut archive = Archive::new(BufReader::with_capacity(1 << 17, tar));
    let (mut entries, mut names, mut kept) = (Vec::new(), 0, 0);
    while let Some(entry) = archive.next().map_err(invalid)? {
        names += entry.path.len() + entry.target.len();
        if names > MAX_NAMES {
            return Err(LayerError::TooManyNames { layer });
        }
        let path = relative(layer, &entry.path)?;
        let Some((path, kind)) = listed(layer, path, &entry)? else { continue };
        let kind = match kind {
            ListedKind::File { size, .. }
                if is_kept(&path)
                    && size <= MAX_CONTENT
                    && kept + size <= MAX_CONTENTS
                    && !entry.kind.is_gnu_sparse() =>
            {
                kept += size;
                ListedKind::File { size, content: Some(archive.content(size).map_err(invalid)?) }
            }
            kind => kind,
        };
        entries.push(Listed { path, kind, mode: entry.mode, uid: entry.uid, gid: entry.gid });
    }
    archive.drain().map_err(invalid)?;
    Ok(entries)
}

/// Files that a layer of dlpack amends (account files), copies (the skeleton of a
/// home), or wants to know (which Debian it is).
fn is_kept(path: &str) -> bool {
    const KEPT: [&str; 8] = [
        "etc/passwd",
        "etc/group",
        "etc/shadow",
        "etc/gshadow",
        "etc/os-release",
        "usr/lib/os-release",
        "etc/shells",
        "etc/timezone",
    ];
    KEPT.contains(&path) || path.starts_with("etc/skel/")
}

/// What an entry is; nothing for what no file list needs: the root itself and
/// AUFS's own files.
fn listed(layer: Digest, path: String, entry: &Entry) -> Result<Option<(String, ListedKind)>, LayerError> {
    if path.is_empty() {
        return Ok(None);
    }
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
    // layer.md: "a file with the basename `.wh..wh..opq`" hides all siblings
    if name == ".wh..wh..opq" {
        return Ok(Some((parent.to_owned(), ListedKind::Opaque)));
    }
    // AUFS: names that begin with `.wh..wh.` are its own
    if name.starts_with(".wh..wh.") {
        return Ok(None);
    }
    // layer.md: "an empty file with a prefix of .wh. … signifies a path is removed"
    if let Some(hidden) = name.strip_prefix(".wh.") {
        let hidden = if parent.is_empty() { hidden.to_owned() } else { format!("{parent}/{hidden}") };
        return Ok(Some((hidden, ListedKind::Whiteout)));
    }
    let kind = match entry.kind {
        EntryType::Directory => ListedKind::Directory,
        EntryType::Symlink => ListedKind::Symlink { target: String::from_utf8_lossy(&entry.target).into_owned() },
        EntryType::Link => ListedKind::HardLink { target: relative(layer, &entry.target)? },
        EntryType::Char | EntryType::Block | EntryType::Fifo => ListedKind::Special,
        // POSIX ustar: "If an unknown typeflag is encountered, it shall be treated as a regular file";
        // old tars mark a directory by its slash alone
        EntryType::Regular if entry.path.ends_with(b"/") => ListedKind::Directory,
        _ => ListedKind::File { size: entry.size, content: None },
    };
    Ok(Some((path, kind)))
}

/// A path of a tar, relative to the root, without `.` and doubled slashes. Runtimes
/// take an absolute one as relative too; one with `..` is refused.
fn relative(layer: Digest, path: &[u8]) -> Result<String, LayerError> {
    let text = String::from_utf8_lossy(path);
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(LayerError::Path { layer, path: text.chars().take(200).collect() }),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}
