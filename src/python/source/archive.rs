//! Unpacking an sdist (PyPA, "Source distribution format") so that nothing lands
//! outside of the directory that it is unpacked into.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::Error;

/// The most that an sdist may unpack to, in bytes.
const MAX_UNPACKED: u64 = 4 << 30;
/// The most entries.
const MAX_ENTRIES: usize = 100_000;

/// Unpacks the sdist in `archive` (its file name is `name`) into the empty directory
/// `into`, and returns the one directory that it holds.
///
/// # Errors
/// [`Error::Archive`], [`Error::Bomb`], [`Error::Entry`], [`Error::Io`].
pub fn unpack(archive: impl Read, name: &str, into: &Path) -> Result<PathBuf, Error> {
    let damaged = |source| Error::Archive { archive: name.to_owned(), source };
    let bomb = |what, limit| Error::Bomb { archive: name.to_owned(), what, limit };
    // One byte more than is accepted tells the two apart.
    let tar = Counted { inner: MultiGzDecoder::new(archive), left: MAX_UNPACKED + 1 };
    let mut tar = tar::Archive::new(tar);
    let (mut links, mut top, mut count) = (BTreeMap::new(), None, 0);
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        count += 1;
        if count > MAX_ENTRIES {
            return Err(bomb("entries", MAX_ENTRIES as u64));
        }
        if entry.size() > MAX_UNPACKED {
            return Err(bomb("bytes", MAX_UNPACKED));
        }
        let raw = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&raw).into_owned();
        let refused = |why| Error::Entry { archive: name.to_owned(), path: shown.clone(), why };
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue;
        }
        let path = plain(&raw).ok_or_else(|| refused("it is not a plain path"))?;
        // "a single top-level directory called {name}-{version}"
        let first = path.split('/').next().unwrap_or_default().to_owned();
        if top.get_or_insert_with(|| first.clone()) != &first {
            return Err(refused("it does not lie in the sdist's one directory"));
        }
        if (0..path.len()).any(|end| path.is_char_boundary(end) && links.contains_key(&path[..end])) {
            return Err(refused("it lies under a link"));
        }
        let disk = into.join(&path);
        match entry.header().entry_type() {
            EntryType::Directory => fs::create_dir_all(&disk).map_err(Error::io("create", &disk))?,
            EntryType::Regular | EntryType::Continuous => {
                let mode = entry.header().mode().unwrap_or(0o644);
                write(&mut entry, &disk, mode).map_err(|error| match error {
                    Failed::Read(source) => damaged(source),
                    Failed::Write(source) => Error::io("write", &disk)(source),
                })?;
            }
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name_bytes().and_then(|target| String::from_utf8(target.into_owned()).ok());
                let target = target.ok_or_else(|| refused("its target is missing or not UTF-8"))?;
                let hard = entry.header().entry_type() == EntryType::Link;
                if !hard && !stays_inside(&path, &target) {
                    return Err(refused("it links to something outside"));
                }
                links.insert(path, (hard, target));
            }
            _ => return Err(refused("it is neither a file, a directory nor a link")),
        }
    }
    // Links come last, so that nothing is written through one.
    link(&links, name, into)?;
    top.map(|top| into.join(top)).ok_or_else(|| damaged(io::ErrorKind::UnexpectedEof.into()))
}

fn link(links: &BTreeMap<String, (bool, String)>, name: &str, into: &Path) -> Result<(), Error> {
    for (path, (hard, target)) in links {
        let disk = into.join(path);
        if let Some(parent) = disk.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        if *hard {
            let from = plain(target.as_bytes()).filter(|target| !links.contains_key(target));
            let from = from.map(|target| into.join(target)).filter(|from| from.is_file());
            let why = "it links to what is no file of the sdist";
            let from = from.ok_or_else(|| Error::Entry { archive: name.to_owned(), path: path.clone(), why })?;
            fs::copy(from, &disk).map_err(Error::io("write", &disk))?;
        } else {
            symlink(target, &disk).map_err(Error::io("write", &disk))?;
        }
    }
    Ok(())
}

enum Failed {
    Read(io::Error),
    Write(io::Error),
}

/// Writes a file of mode 0644, or 0755 if its owner may execute it. A later entry
/// replaces an earlier one, as when tar unpacks them.
fn write(content: &mut impl Read, path: &Path, mode: u32) -> Result<(), Failed> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Failed::Write)?;
    }
    let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
    let mut file: File =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).map_err(Failed::Write)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => file.write_all(&buffer[..read]).map_err(Failed::Write)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failed::Read(error)),
        }
    }
}

/// Ends with an error where it would go on for longer than it may.
struct Counted<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        if self.left == 0 {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it unpacks to more than {MAX_UNPACKED} bytes"),
            ));
        }
        Ok(read)
    }
}

/// `raw` as a relative path without `.`, `..` or empty parts.
fn plain(raw: &[u8]) -> Option<String> {
    let path = str::from_utf8(raw).ok()?;
    let path = path.strip_prefix("./").unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.split('/').all(plain).then(|| path.to_owned())
}

/// Whether a link at `path` stays in the sdist, judged by the target's text alone.
fn stays_inside(path: &str, target: &str) -> bool {
    // The sdist's own directory is the one that it may not leave.
    let depth = path.matches('/').count().saturating_sub(1);
    let up = target.split('/').take_while(|part| *part == "..").count();
    !target.is_empty()
        && up <= depth
        && target.split('/').skip(up).all(|part| !matches!(part, ".." | "") && !part.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdist(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // The crate refuses what is tried here.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            if *kind == EntryType::Regular {
                header.set_size(content.len() as u64);
            } else {
                header.set_size(0);
                header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            header.set_cksum();
            let data = if *kind == EntryType::Regular { content.as_bytes() } else { &[] };
            tar.append(&header, data).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn an_sdist_is_unpacked_into_its_one_directory() {
        let into = tempfile::tempdir().unwrap();
        let entries = [
            ("a-1/setup.py", EntryType::Regular, "x"),
            ("a-1/b", EntryType::Link, "a-1/setup.py"),
            ("a-1/c/d", EntryType::Symlink, "../setup.py"),
        ];
        let top = unpack(sdist(&entries).as_slice(), "a-1.tar.gz", into.path()).unwrap();
        assert_eq!(top, into.path().join("a-1"));
        for path in ["setup.py", "b", "c/d"] {
            assert_eq!(fs::read_to_string(top.join(path)).unwrap(), "x", "{path}");
        }
    }

    #[test]
    fn what_leads_out_of_an_sdist_is_refused() {
        for (path, kind, content) in [
            ("../a", EntryType::Regular, ""),
            ("/a", EntryType::Regular, ""),
            ("a-1/../../a", EntryType::Regular, ""),
            ("b-1/a", EntryType::Regular, ""),
            ("a-1/l", EntryType::Symlink, "/etc/passwd"),
            ("a-1/l", EntryType::Symlink, "../b"),
            ("a-1/d/l", EntryType::Symlink, "x/../../.."),
            ("a-1/l", EntryType::Link, "/etc/passwd"),
            ("a-1/l", EntryType::Link, "a-1/nothing"),
            ("a-1/fifo", EntryType::Fifo, ""),
            ("a-1/null", EntryType::Char, ""),
        ] {
            let into = tempfile::tempdir().unwrap();
            let bytes = sdist(&[("a-1/x", EntryType::Regular, ""), (path, kind, content)]);
            let error = unpack(bytes.as_slice(), "a-1.tar.gz", into.path()).unwrap_err();
            assert!(matches!(error, Error::Entry { .. }), "{path} {content}: {error}");
        }
        let into = tempfile::tempdir().unwrap();
        let bytes = sdist(&[("a-1/l", EntryType::Symlink, "d"), ("a-1/l/x", EntryType::Regular, "")]);
        assert!(matches!(unpack(bytes.as_slice(), "a", into.path()), Err(Error::Entry { .. })));
        assert!(matches!(unpack(&b"PK\x03\x04"[..], "a.zip", into.path()), Err(Error::Archive { .. })));
    }
}
