//! What an extracted tree has, noted beside it when it is made, so that one that has changed
//! since is found before a step sees it.
//!
//! `files` has a line for each file, directory and link, and a last one with the sha256 of
//! all before it:
//!
//! ```text
//! dlpack tree 1
//! PATH NUL MODE SIZE MTIME CTIME CONTENT ATTRIBUTES CLOSED
//! sha256:…
//! ```
//!
//! Whoever writes to a file changes its ctime (inode(7)), and can't set it: what has the times
//! and the mode that it was made with is what was made, and is not read again each time. What
//! has another ctime is read and held against the sums; a copy of a store passes so, too. Bits
//! that a disk lost by itself have changed no time: [`super::Store::verify`] reads everything.
//! The sums are CRC-32, since what is to be found are accidents: whoever can write to a store
//! can write this file as well.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::oci::Digest;

/// The file's name.
pub(super) const FILES: &str = "files";
/// Its first line.
const VERSION: &str = "dlpack tree 1\n";
/// How much of a file is read at a time, in bytes.
const CHUNK: usize = 128 << 10;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The CRC-32 of files' contents, by inode.
pub type Checksums = HashMap<u64, u32>;

/// What is noted of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Noted {
    mode: u32,
    /// In bytes; 0 of a directory, whose length is the filesystem's.
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    /// Of its content, or of where a link leads.
    content: u32,
    /// Of its `user.` attributes.
    attributes: u32,
    /// A directory that its owner can't look into: what is in it is not noted.
    closed: bool,
}

/// How closely a tree is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// What has another ctime is read.
    Changed,
    /// Everything is read.
    Whole,
}

/// What a look at a tree came to.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// All is as it was made, and was not touched.
    Same,
    /// The same, though not by its ctimes: what is to be noted now.
    Touched(Vec<u8>),
    /// Something is not what it was, is missing, or was not there.
    Damaged,
}

/// What `tree` has now, as the content of its [`FILES`]. Contents that `sums` has not are read.
pub(super) fn note(tree: &Path, sums: &Checksums) -> io::Result<Vec<u8>> {
    let mut all = BTreeMap::new();
    walk(&open(tree)?, &mut Vec::new(), &mut |place, stat| {
        let sum = sums.get(&stat.st_ino).filter(|_| kind(stat) == FileType::RegularFile);
        // what lies beside the root may have the inode of what was there before
        let sum = sum.filter(|_| place.path.contains(&b'/'));
        let content = sum.map_or_else(|| place.content(stat), |sum| Ok(Some(*sum)))?;
        let noted = Noted { content: content.unwrap_or_default(), attributes: place.attributes(stat)?, ..of(stat) };
        let closed = place.is_closed(stat);
        all.insert(place.path.to_vec(), Noted { closed, ..noted });
        Ok(if closed { Then::Stay } else { Then::Enter })
    })?;
    Ok(written(&all))
}

/// Holds `tree` against what is noted of it. `seen` is told of bytes as they are read.
///
/// # Errors
/// If it can't be read.
pub(super) fn look(tree: &Path, look: Look, seen: &dyn Fn(u64)) -> io::Result<Found> {
    let bytes = std::fs::read(tree.join(FILES))?;
    let Some(mut noted) = parsed(&bytes) else { return Ok(Found::Damaged) };
    let (mut missing, mut touched, mut sound) = (noted.len(), false, true);
    walk(&open(tree)?, &mut Vec::new(), &mut |place, stat| {
        let Some(known) = noted.get_mut(place.path) else {
            sound = false;
            return Ok(Then::End);
        };
        missing -= 1;
        let now = Noted { content: known.content, attributes: known.attributes, closed: known.closed, ..of(stat) };
        if now != *known || look == Look::Whole {
            let same = Noted { ctime: known.ctime, ..now } == *known
                && place.content(stat)?.map_or(now.ctime == known.ctime, |sum| sum == known.content)
                && place.attributes(stat)? == known.attributes;
            seen(now.size);
            touched |= now != *known;
            *known = now;
            if !same {
                sound = false;
                return Ok(Then::End);
            }
        }
        Ok(if known.closed { Then::Stay } else { Then::Enter })
    })?;
    Ok(match (sound && missing == 0, touched) {
        (false, _) => Found::Damaged,
        (true, false) => Found::Same,
        (true, true) => Found::Touched(written(&noted)),
    })
}

/// Where a walk goes on.
#[derive(PartialEq)]
enum Then {
    Enter,
    Stay,
    End,
}

/// A file that a walk has come to.
struct Place<'a> {
    directory: &'a OwnedFd,
    name: &'a std::ffi::CStr,
    /// Relative to the tree.
    path: &'a [u8],
}

/// Comes to everything below `directory`; whether it was not ended on the way. Trees are no
/// deeper than extraction makes them.
fn walk(
    directory: &OwnedFd,
    path: &mut Vec<u8>,
    each: &mut dyn FnMut(&Place<'_>, &Stat) -> io::Result<Then>,
) -> io::Result<bool> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let beside = [FILES, super::trees::CONTENT].map(str::as_bytes);
        if [b".".as_slice(), b".."].contains(&name.to_bytes()) || path.is_empty() && beside.contains(&name.to_bytes()) {
            continue;
        }
        let above = path.len();
        path.extend(if above > 0 { b"/".as_slice() } else { b"" });
        path.extend(name.to_bytes());
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let then = each(&Place { directory, name, path }, &stat)?;
        if then == Then::End {
            return Ok(false);
        }
        if then == Then::Enter && kind(&stat) == FileType::Directory {
            let below = rustix::fs::openat(directory, name, DIRECTORY, Mode::empty())?;
            if !walk(&below, path, each)? {
                return Ok(false);
            }
        }
        path.truncate(above);
    }
    Ok(true)
}

impl Place<'_> {
    /// The sum of a file's content, or of where a link leads; nothing for a file that its owner
    /// can't read.
    fn content(&self, stat: &Stat) -> io::Result<Option<u32>> {
        match kind(stat) {
            FileType::RegularFile => {}
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(self.directory, self.name, Vec::new())?;
                return Ok(Some(crc32fast::hash(target.as_bytes())));
            }
            _ => return Ok(Some(0)),
        }
        let mut file = match rustix::fs::openat(self.directory, self.name, FILE, Mode::empty()) {
            Err(Errno::ACCESS) => return Ok(None),
            file => std::fs::File::from(file?),
        };
        let (mut sum, mut buffer) = (crc32fast::Hasher::new(), vec![0; CHUNK]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Some(sum.finalize())),
                count => sum.update(&buffer[..count]),
            }
        }
    }

    /// The sum of the attributes of a file or a directory; links and FIFOs can have none.
    fn attributes(&self, stat: &Stat) -> io::Result<u32> {
        if !matches!(kind(stat), FileType::RegularFile | FileType::Directory) {
            return Ok(0);
        }
        // There is no lgetxattr(2) that is relative to a directory.
        let mut path = format!("/proc/self/fd/{}/", self.directory.as_raw_fd()).into_bytes();
        path.extend(self.name.to_bytes());
        let mut names = vec![0; rustix::fs::llistxattr_query(&path[..])?];
        let length = rustix::fs::llistxattr(&path[..], &mut names[..])?;
        let mut names: Vec<&[u8]> = names[..length].split(|byte| *byte == 0).collect();
        names.retain(|name| name.starts_with(b"user."));
        names.sort_unstable();
        let mut sum = crc32fast::Hasher::new();
        for name in names {
            let mut value = match rustix::fs::lgetxattr_query(&path[..], name) {
                // as with the content of what its owner can't read
                Err(Errno::ACCESS) => continue,
                length => vec![0; length?],
            };
            let length = rustix::fs::lgetxattr(&path[..], name, &mut value[..])?;
            for part in [name, b"\0", &value[..length], b"\0"] {
                sum.update(part);
            }
        }
        Ok(sum.finalize())
    }

    /// Whether it is a directory that can't be looked into.
    fn is_closed(&self, stat: &Stat) -> bool {
        let opened = || rustix::fs::openat(self.directory, self.name, DIRECTORY, Mode::empty());
        kind(stat) == FileType::Directory
            && (opened().is_err()
                || rustix::fs::accessat(self.directory, self.name, rustix::fs::Access::EXEC_OK, AtFlags::empty())
                    .is_err())
    }
}

fn open(tree: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, tree, DIRECTORY, Mode::empty())?)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// What a file's inode says of it.
fn of(stat: &Stat) -> Noted {
    Noted {
        mode: stat.st_mode,
        size: if kind(stat) == FileType::Directory { 0 } else { stat.st_size as u64 },
        mtime: (stat.st_mtime, stat.st_mtime_nsec as i64),
        ctime: (stat.st_ctime, stat.st_ctime_nsec as i64),
        content: 0,
        attributes: 0,
        closed: false,
    }
}

fn written(all: &BTreeMap<Vec<u8>, Noted>) -> Vec<u8> {
    let mut bytes = VERSION.as_bytes().to_vec();
    for (path, Noted { mode, size, mtime, ctime, content, attributes, closed }) in all {
        bytes.extend(path);
        let closed = u8::from(*closed);
        let ((m, m_nanos), (c, c_nanos)) = (mtime, ctime);
        let line = format!("\0{mode} {size} {m} {m_nanos} {c} {c_nanos} {content} {attributes} {closed}\n");
        bytes.extend(line.into_bytes());
    }
    let digest = Digest::of(&bytes);
    bytes.extend(digest.to_string().into_bytes());
    bytes
}

/// Nothing if it is not what was written, or of another version.
fn parsed(bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Noted>> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n')? + 1;
    let (mut lines, digest) = bytes.split_at(end);
    if Digest::of(lines).to_string().as_bytes() != digest {
        return None;
    }
    lines = lines.strip_prefix(VERSION.as_bytes())?;
    let mut all = BTreeMap::new();
    while !lines.is_empty() {
        let path = lines.iter().position(|byte| *byte == 0)?;
        let end = path + lines[path..].iter().position(|byte| *byte == b'\n')?;
        let mut numbers = str::from_utf8(&lines[path + 1..end]).ok()?.split(' ').map(str::parse::<i64>);
        let mut number = || numbers.next()?.ok();
        let noted = Noted {
            mode: number()? as u32,
            size: number()? as u64,
            mtime: (number()?, number()?),
            ctime: (number()?, number()?),
            content: number()? as u32,
            attributes: number()? as u32,
            closed: number()? != 0,
        };
        all.insert(lines[..path].to_vec(), noted);
        lines = &lines[end + 1..];
    }
    Some(all)
}
