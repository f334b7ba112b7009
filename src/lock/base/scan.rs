//! From a layer's blob to its listing, in one pass: inflated, hashed for the
//! DiffID, walked, and nothing of it kept but names and small files.

use std::io::Read;

use tar::EntryType;
use thiserror::Error;

use crate::layer::read::{self, Archive, Entry, ReadError};
use crate::oci::{Descriptor, DiffId, Digest};
use crate::store::{Listed, ListedKind, Listing};

/// The longest file whose content is kept, in bytes.
const MAX_CONTENT: u64 = 1 << 20;
/// How much content of one layer is kept, in bytes.
const MAX_CONTENTS: u64 = 8 << 20;
/// How long all names of one layer may be together, in bytes.
const MAX_NAMES: usize = 128 << 20;
/// Why a base's layer can't be read.
#[derive(Debug, Error)]
pub enum LayerError {
    /// The blob.
    #[error(transparent)]
    Read(#[from] ReadError),
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
}

/// Reads the blob of `layer` to its end and lists what it holds.
///
/// # Errors
/// [`LayerError`]: nothing is known of the layer then.
pub fn scan(layer: &Descriptor, expected: DiffId, blob: impl Read) -> Result<Listing, LayerError> {
    let entries = read::walk(layer, expected, blob, |archive| walk(layer.digest, archive))?;
    Ok(Listing::new(expected, entries))
}

fn walk(layer: Digest, archive: &mut Archive<&mut dyn Read>) -> Result<Vec<Listed>, LayerError> {
    let invalid = |source| ReadError::Tar { layer, source };
    let (mut entries, mut names, mut kept) = (Vec::new(), 0, 0);
    while let Some(entry) = archive.next_entry().map_err(invalid)? {
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
            ListedKind::File { size, .. }
                if is_metadata(&path) && size <= MAX_CONTENT && !entry.kind.is_gnu_sparse() =>
            {
                let mut content = archive.content(size).map_err(invalid)?;
                // core metadata: "The description … the message body", which is of no use here
                content.truncate(content.windows(2).position(|two| two == b"\n\n").unwrap_or(content.len()));
                let content = Some(content).filter(|head| kept + head.len() as u64 <= MAX_CONTENTS);
                kept += content.as_ref().map_or(0, |head| head.len() as u64);
                ListedKind::File { size, content }
            }
            kind => kind,
        };
        entries.push(Listed { path, kind, mode: entry.mode, uid: entry.uid, gid: entry.gid });
    }
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

/// The metadata of Python distributions, of which the head is kept: what a base's Python has.
fn is_metadata(path: &str) -> bool {
    path.ends_with(".dist-info/METADATA") || path.ends_with(".egg-info/PKG-INFO") || path.ends_with(".egg-info")
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
