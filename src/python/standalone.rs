//! A standalone build of Python: a tar whose root is `python/`, compressed with
//! gzip or zstd, which becomes a layer. The tar is spooled to disk, since a layer's
//! entries are sorted and a build's are not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rawzip::{FileReader, RangeReader};
use tar::EntryType;
use thiserror::Error;

use super::unpack::{self, Folder};
use crate::layer::{self, Attributes, LayerWriter};

/// The most that a build may unpack to, in bytes; the largest have some 1.5 GiB with
/// their debug symbols.
const MAX_UNPACKED: u64 = 8 << 30;
/// The most entries.
const MAX_ENTRIES: usize = 200_000;
/// The directory that all entries lie in.
const ROOT: &str = "python";

/// Why an archive can't become a layer.
#[derive(Debug, Error)]
pub enum Error {
    /// It is not a tar compressed with gzip or zstd, or it is cut off.
    #[error("{archive} is not a tar.gz or tar.zst that can be read")]
    Archive {
        /// Where it is from.
        archive: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It unpacks to more than any build does.
    #[error("{archive} has more than {limit} {what}")]
    Bomb {
        /// Where it is from.
        archive: String,
        /// `bytes` or `entries`.
        what: &'static str,
        /// How many are accepted.
        limit: u64,
    },
    /// The tar can't be written to disk.
    #[error("can't write to {}", path.display())]
    Spool {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry that can't be part of an interpreter.
    #[error("`{path}` in {archive} is refused: {why}")]
    Entry {
        /// Where the archive is from.
        archive: String,
        /// The entry.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// The layer does not take it.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// It can't be unpacked.
    #[error(transparent)]
    Unpack(#[from] unpack::Error),
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Archive { .. } | Self::Bomb { .. } | Self::Entry { .. } => Some(
                "`interpreter.url` names an install-only build: a .tar.gz or .tar.zst with all of it in `python/`"
                    .into(),
            ),
            Self::Spool { .. } => {
                Some("free some space with `dlpack cache gc`, or name another place with --store".into())
            }
            Self::Layer(error) => error.hint(),
            Self::Unpack(error) => error.hint(),
        }
    }
}

enum Kind {
    Directory,
    File { offset: u64, size: u64 },
    Symlink(String),
}

struct Item {
    mode: u32,
    kind: Kind,
}

type Items = BTreeMap<String, Item>;

/// Writes the build in `archive` (fetched from `name`, its hash verified) below `to`. All of it belongs
/// to root; modes are kept but for set-uid, set-gid and sticky. A hard link becomes a
/// copy of what it links to. The tar is spooled in the directory `spool`.
///
/// # Errors
/// [`Error`]; the layer is then incomplete and must be dropped.
pub fn write(archive: impl Read, name: &str, spool: &Path, to: &str, out: &mut LayerWriter) -> Result<(), Error> {
    let (tar, items) = read(archive, name, spool)?;
    for (path, item) in &items {
        let path = if path.is_empty() { to.to_owned() } else { format!("{to}/{path}") };
        match &item.kind {
            Kind::Directory => out.directory(&path, Attributes::root(item.mode))?,
            Kind::Symlink(target) => out.symlink(&path, Attributes::root(0o777), target)?,
            Kind::File { offset, size } => {
                let content = BufReader::new(RangeReader::new(&tar, *offset..offset + size));
                out.stream(&path, Attributes::root(item.mode), *size, content)?;
            }
        }
    }
    Ok(())
}

/// Unpacks the build in `archive` into `folder`, as [`write`] does it into a layer.
///
/// # Errors
/// [`Error`]; what is in the folder is then good for nothing.
pub fn unpack_into(archive: impl Read, name: &str, spool: &Path, folder: &mut Folder) -> Result<(), Error> {
    let (tar, items) = read(archive, name, spool)?;
    for (path, item) in &items {
        match &item.kind {
            Kind::Directory => folder.directory(path)?,
            Kind::Symlink(target) => folder.link(path, target)?,
            Kind::File { offset, size } => {
                let content = RangeReader::new(&tar, *offset..offset + size);
                let unreadable = |source| Error::Spool { path: spool.to_owned(), source };
                folder.file(path, item.mode, content, |_| {}, unreadable)?;
            }
        }
    }
    Ok(())
}

/// The spooled tar, and what is in it.
fn read(archive: impl Read, name: &str, spool: &Path) -> Result<(FileReader, Items), Error> {
    let tar = unpack(archive, name, spool)?;
    let items = index(&tar, name)?;
    check_links(&items, name)?;
    Ok((FileReader::from(tar), items))
}

/// Spools the tar.
fn unpack(mut archive: impl Read, name: &str, spool: &Path) -> Result<File, Error> {
    let damaged = |source| Error::Archive { archive: name.to_owned(), source };
    let full = |source| Error::Spool { path: spool.to_owned(), source };
    let mut tar = tempfile::tempfile_in(spool).map_err(full)?;
    let mut magic = [0; 4];
    archive.read_exact(&mut magic).map_err(damaged)?;
    let whole = magic.as_slice().chain(archive);
    let unpacked = if magic == [0x28, 0xb5, 0x2f, 0xfd] {
        zstd::stream::read::Decoder::new(whole).and_then(|inner| copy(inner, &mut tar))
    } else {
        copy(flate2::read::MultiGzDecoder::new(whole), &mut tar)
    };
    match unpacked {
        Ok(size) if size > MAX_UNPACKED => {
            Err(Error::Bomb { archive: name.to_owned(), what: "bytes", limit: MAX_UNPACKED })
        }
        Ok(_) => Ok(tar),
        Err(source) if source.kind() == io::ErrorKind::StorageFull => Err(full(source)),
        Err(source) => Err(damaged(source)),
    }
}

fn copy(from: impl Read, to: &mut File) -> io::Result<u64> {
    let size = io::copy(&mut from.take(MAX_UNPACKED + 1), to)?;
    to.flush()?;
    to.seek(SeekFrom::Start(0))?;
    Ok(size)
}

/// What is in the tar, by path below `python/`.
fn index(tar: &File, name: &str) -> Result<Items, Error> {
    let damaged = |source| Error::Archive { archive: name.to_owned(), source };
    let mut items: Items = BTreeMap::from([(String::new(), Item { mode: 0o755, kind: Kind::Directory })]);
    let mut links = Vec::new();
    for entry in tar::Archive::new(tar).entries_with_seek().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        if items.len() >= MAX_ENTRIES {
            return Err(Error::Bomb { archive: name.to_owned(), what: "entries", limit: MAX_ENTRIES as u64 });
        }
        let raw = entry.path_bytes();
        let shown = String::from_utf8_lossy(&raw).into_owned();
        let refused = |why| Error::Entry { archive: name.to_owned(), path: shown.clone(), why };
        let path = below_root(&raw).ok_or_else(|| refused("it is not a plain path below `python/`"))?;
        let target = entry.link_name_bytes();
        let mode = entry.header().mode().map_err(damaged)? & 0o777;
        let kind = match entry.header().entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => {
                Kind::File { offset: entry.raw_file_position(), size: entry.size() }
            }
            EntryType::Symlink => {
                let target = target.and_then(|target| String::from_utf8(target.into_owned()).ok());
                Kind::Symlink(target.ok_or_else(|| refused("its target is missing or not UTF-8"))?)
            }
            EntryType::Link => {
                let target = target.and_then(|target| below_root(&target));
                links.push((path, target.ok_or_else(|| refused("it links to something outside"))?));
                continue;
            }
            EntryType::XGlobalHeader => continue,
            _ => return Err(refused("it is neither a file, a directory nor a link")),
        };
        // A later entry replaces an earlier one, as when tar unpacks them.
        items.insert(path, Item { mode, kind });
    }
    for (path, target) in links {
        let copy = match items.get(&target) {
            Some(Item { mode, kind: Kind::File { offset, size } }) => {
                Item { mode: *mode, kind: Kind::File { offset: *offset, size: *size } }
            }
            _ => {
                return Err(Error::Entry { archive: name.to_owned(), path, why: "it links to what is no file" });
            }
        };
        items.insert(path, copy);
    }
    Ok(with_parents(items))
}

/// `path` without `python/`, if it is a plain path in it.
fn below_root(raw: &[u8]) -> Option<String> {
    let path = str::from_utf8(raw).ok()?;
    let path = path.strip_prefix("./").unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path == ROOT {
        return Some(String::new());
    }
    let rest = path.strip_prefix(ROOT)?.strip_prefix('/')?;
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    rest.split('/').all(plain).then(|| rest.to_owned())
}

/// Adds the directories that the tar does not name.
fn with_parents(mut items: Items) -> Items {
    let parents: Vec<String> =
        items.keys().flat_map(|path| path.match_indices('/').map(|(end, _)| path[..end].to_owned())).collect();
    for parent in parents {
        items.entry(parent).or_insert(Item { mode: 0o755, kind: Kind::Directory });
    }
    items
}

/// No entry lies in something that is not a directory, and no link leads out.
fn check_links(items: &Items, name: &str) -> Result<(), Error> {
    for (path, item) in items {
        let refused = |why| Error::Entry { archive: name.to_owned(), path: path.clone(), why };
        let in_directories = path
            .match_indices('/')
            .all(|(end, _)| matches!(items.get(&path[..end]), Some(Item { kind: Kind::Directory, .. })));
        if !in_directories {
            return Err(refused("it lies in something that is not a directory"));
        }
        match &item.kind {
            Kind::Symlink(_) if path.is_empty() => return Err(refused("the root is not a directory")),
            Kind::Symlink(target) if !stays_inside(path, target) => {
                return Err(refused("it links to something outside"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a link at `path` to `target` stays below the root. Judged by its text
/// alone, so that no further link can change the answer: `..` is only accepted at
/// the beginning, where it goes up real directories.
fn stays_inside(path: &str, target: &str) -> bool {
    let depth = path.matches('/').count();
    let up = target.split('/').take_while(|part| *part == "..").count();
    !target.is_empty()
        && !target.starts_with('/')
        && up <= depth
        && target.split('/').skip(up).all(|part| !matches!(part, ".." | "") && !part.contains('\0'))
}
