//! The central directory of a zip, with all that can be told from it alone: names
//! that stay inside, sizes that can be, entries that share no bytes.

use std::collections::HashSet;

use rawzip::{
    CompressionMethod, RECOMMENDED_BUFFER_SIZE, RangeReader, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder,
    ZipFileHeaderRecord, ZipLocator,
};

use super::Problem;

/// More than any wheel has: the largest known have some 30,000.
const MAX_ENTRIES: u64 = 100_000;
/// The directory is held in memory.
const MAX_DIRECTORY: u64 = 32 << 20;
/// Of one wheel, unpacked, in bytes.
const MAX_UNPACKED: u64 = 64 << 30;
/// Deflate can't do better: 258 bytes in two bits.
const MAX_RATIO: u64 = 1032;
/// A wheel that unpacks to more than this …
const SUSPICIOUS: u64 = 1 << 30;
/// … is a bomb if it is so many times its own size.
const SUSPICIOUS_RATIO: u64 = 100;
/// Linux's PATH_MAX, less room for the venv's own path.
const MAX_PATH: usize = 3072;
/// A local header without name and extra field (APPNOTE 4.3.7).
const LOCAL_HEADER: u64 = 30;

/// What is in a wheel, as its central directory says.
#[derive(Clone, Debug)]
pub struct Directory {
    entries: Vec<Entry>,
}

/// A file in a wheel.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path: relative, plain, UTF-8.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// The length of what lies in the archive.
    pub compressed: u64,
    /// The CRC-32 of its content.
    pub crc32: u32,
    /// Whether it is deflated; stored if not.
    pub deflated: bool,
    /// Whether its Unix mode has an executable bit.
    pub executable: bool,
    at: ZipArchiveEntryWayfinder,
    header: u64,
    limit: u64,
}

pub(super) fn locate<R: ReaderAt>(reader: R, size: u64) -> Result<ZipArchive<R>, Problem> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    ZipLocator::new().locate_in_reader(reader, &mut buffer, size).map_err(|(_, error)| unreadable(error))
}

/// An error of the medium is told from one of the archive.
fn unreadable(error: rawzip::Error) -> Problem {
    match error.into_kind() {
        rawzip::ErrorKind::IO(source) => Problem::Read(source),
        kind => Problem::Zip(kind.into()),
    }
}

impl Directory {
    /// Reads the directory of an archive of `size` bytes. Only its end is read, so
    /// that `reader` may be a ranged download.
    ///
    /// # Errors
    /// [`Problem`], named for what is wrong.
    pub fn read(reader: &impl ReaderAt, size: u64) -> Result<Self, Problem> {
        Self::of(&locate(reader, size)?, size)
    }

    pub(super) fn of<R: ReaderAt>(archive: &ZipArchive<R>, size: u64) -> Result<Self, Problem> {
        if archive.end_offset() != size {
            return Err(Problem::Trailing { end: archive.end_offset(), size });
        }
        if archive.eocd_offset().saturating_sub(archive.directory_offset()) > MAX_DIRECTORY {
            return Err(Problem::DirectoryTooLarge { what: "bytes", limit: MAX_DIRECTORY });
        }
        let mut buffer = vec![0; rawzip::MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
        let mut records = archive.entries(&mut buffer);
        let (mut entries, mut directories, mut found) = (Vec::new(), HashSet::new(), 0);
        while let Some(record) = records.next_entry().map_err(unreadable)? {
            found += 1;
            if found > MAX_ENTRIES {
                return Err(Problem::DirectoryTooLarge { what: "entries", limit: MAX_ENTRIES });
            }
            let (path, is_directory) = plain_path(record.file_path().as_ref())?;
            check_type(&record, &path, is_directory)?;
            if !is_directory {
                entries.push(Entry::new(&record, path)?);
            } else if !directories.insert(path.clone()) {
                return Err(Problem::Duplicate { path });
            }
        }
        if found != archive.entries_hint() {
            return Err(Problem::Count { said: archive.entries_hint(), found });
        }
        check_total(&entries, size)?;
        limit(&mut entries, archive.directory_offset())?;
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        check_paths(&entries, directories)?;
        Ok(Self { entries })
    }

    /// The files, by path. Directories are not kept.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The file at `path`.
    pub fn find(&self, path: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok().map(|index| &self.entries[index])
    }
}

impl Entry {
    fn new(record: &ZipFileHeaderRecord<'_>, path: String) -> Result<Self, Problem> {
        let (size, compressed) = (record.uncompressed_size_hint(), record.compressed_size_hint());
        if record.flags().is_encrypted() || record.flags().has_strong_encryption() {
            return Err(Problem::Encrypted { path });
        }
        let deflated = match record.compression_method() {
            CompressionMethod::DEFLATE => true,
            CompressionMethod::STORE => false,
            method => return Err(Problem::Method { path, method: method.as_u16() }),
        };
        let possible = if deflated { size <= compressed.saturating_mul(MAX_RATIO) } else { size == compressed };
        if !possible {
            return Err(Problem::Size { path, size, compressed });
        }
        Ok(Self {
            path,
            size,
            compressed,
            crc32: record.crc32(),
            deflated,
            executable: unix_mode(record) & 0o111 != 0,
            at: record.wayfinder(),
            header: record.local_header_offset(),
            limit: 0,
        })
    }

    /// Where its bytes lie, once the header before them agrees with the directory.
    pub(super) fn locate<'archive, R: ReaderAt>(
        &self,
        archive: &'archive ZipArchive<R>,
    ) -> Result<RangeReader<&'archive R>, Problem> {
        let entry = archive.get_entry(self.at).map_err(unreadable)?;
        let (start, end) = entry.compressed_data_range();
        let variable = start.saturating_sub(self.header.saturating_add(LOCAL_HEADER));
        let mut buffer = vec![0; usize::try_from(variable).unwrap_or_default()];
        let local = entry.local_header(&mut buffer).map_err(unreadable)?;
        let differ = |what| Err(Problem::Headers { path: self.path.clone(), what });
        if local.file_path().as_ref() != self.path.as_bytes() {
            return differ("name");
        }
        if local.compression_method().as_u16() != if self.deflated { 8 } else { 0 } {
            return differ("compression");
        }
        if local.flags().is_encrypted() {
            return differ("encryption");
        }
        // APPNOTE 4.4.4: with bit 3 set, "the fields crc-32, compressed size and
        // uncompressed size are set to zero in the local header"
        if !local.flags().has_data_descriptor() {
            if local.crc32() != self.crc32 {
                return differ("CRC-32");
            }
            if (local.uncompressed_size_hint(), local.compressed_size_hint()) != (self.size, self.compressed) {
                return differ("size");
            }
        }
        if end > self.limit {
            return Err(Problem::Overlap { path: self.path.clone() });
        }
        Ok(RangeReader::new(archive.get_ref(), start..end))
    }

    pub(super) fn check(&self, size: u64, crc32: u32) -> Result<(), Problem> {
        if (size, crc32) == (self.size, self.crc32) {
            return Ok(());
        }
        Err(Problem::Content { path: self.path.clone() })
    }
}

/// The Unix mode that an entry carries; zero if it was not made on Unix.
fn unix_mode(record: &ZipFileHeaderRecord<'_>) -> u32 {
    use rawzip::CreatorSystem;
    match record.version_made_by().creator_system() {
        CreatorSystem::UNIX | CreatorSystem::MACOS => record.external_attributes() >> 16,
        _ => 0,
    }
}

/// Whatever system it is said to be from: a link is refused.
fn check_type(record: &ZipFileHeaderRecord<'_>, path: &str, is_directory: bool) -> Result<(), Problem> {
    let mode = record.external_attributes() >> 16;
    match mode & 0o170_000 {
        0 | 0o100_000 => Ok(()),
        0o040_000 if is_directory => Ok(()),
        _ => Err(Problem::Special { path: path.to_owned(), mode }),
    }
}

/// The path without a directory's slash, and whether it had one. A path that a
/// reader would have to normalise first is refused, not normalised: two readers
/// would not agree on it.
fn plain_path(raw: &[u8]) -> Result<(String, bool), Problem> {
    let Ok(path) = str::from_utf8(raw) else {
        return Err(Problem::NotUtf8 { path: String::from_utf8_lossy(raw).into_owned() });
    };
    let (plain, is_directory) = path.strip_suffix('/').map_or((path, false), |plain| (plain, true));
    let drive = |path: &str| path.as_bytes().get(1) == Some(&b':') && path.as_bytes()[0].is_ascii_alphabetic();
    let why = if plain.len() > MAX_PATH {
        "it is too long"
    } else if plain.starts_with('/') || drive(plain) {
        "it is absolute"
    } else if plain.contains('\\') {
        "it has a backslash"
    } else if plain.chars().any(char::is_control) {
        "it has a control character"
    } else if plain.split('/').any(|part| part == "..") {
        "it leads out of the wheel"
    } else if plain.split('/').any(|part| part.is_empty() || part == ".") {
        "it has an empty component"
    } else {
        return Ok((plain.to_owned(), is_directory));
    };
    Err(Problem::Path { path: path.chars().take(200).flat_map(char::escape_default).collect(), why })
}

fn check_total(entries: &[Entry], size: u64) -> Result<(), Problem> {
    let total = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
    if total > MAX_UNPACKED || (total > SUSPICIOUS && total > size.saturating_mul(SUSPICIOUS_RATIO)) {
        return Err(Problem::Bomb { size: total, compressed: size });
    }
    Ok(())
}

/// Tells each entry where the next one begins, which it must not reach.
fn limit(entries: &mut [Entry], directory: u64) -> Result<(), Problem> {
    entries.sort_by_key(|entry| entry.header);
    let mut next = directory;
    for entry in entries.iter_mut().rev() {
        let least = LOCAL_HEADER + entry.path.len() as u64;
        let end = entry.header.saturating_add(least).saturating_add(entry.compressed);
        if end > next {
            return Err(Problem::Overlap { path: entry.path.clone() });
        }
        entry.limit = next;
        next = entry.header;
    }
    Ok(())
}

/// No path twice, and none that is both a file and a directory. `entries` are sorted.
fn check_paths(entries: &[Entry], mut directories: HashSet<String>) -> Result<(), Problem> {
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
        return Err(Problem::Duplicate { path: pair[0].path.clone() });
    }
    for entry in entries {
        let mut parent = entry.path.as_str();
        while let Some((above, _)) = parent.rsplit_once('/') {
            if !directories.insert(above.to_owned()) {
                break;
            }
            parent = above;
        }
    }
    // A directory's entry is below a file if the file is an ancestor of it.
    for directory in &directories {
        let ancestors = directory.match_indices('/').map(|(end, _)| &directory[..end]);
        for path in ancestors.chain([directory.as_str()]) {
            if entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).is_ok() {
                return Err(Problem::FileAndDirectory { path: path.to_owned(), below: format!("{directory}/") });
            }
        }
    }
    Ok(())
}
