//! What an export has put into a venv, noted in the venv, so that the next one knows what is
//! its own, and leaves alone what has not changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::layer::EPOCH;
use crate::oci::Digest;

/// Where exports keep what they need, relative to the venv.
pub(super) const OWN: &str = ".dlpack";
/// The file's name in it.
const FILE: &str = "contents.json";
/// The version of its form.
const VERSION: u32 = 1;

/// What an export has put into a venv.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) version: u32,
    /// Where the venv was.
    pub(super) prefix: String,
    /// The interpreter, the skeleton, and the wheels.
    pub(super) parts: Vec<Part>,
    /// Files that were being written or removed; there, they may be anything.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) unfinished: BTreeSet<String>,
}

/// What belongs together and comes and goes as one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    /// What a person calls it: `numpy 2.1.0`.
    pub(super) name: String,
    /// What stands for all that it was made from but the prefix.
    pub(super) key: Digest,
    /// Whether all of it is there.
    pub(super) whole: bool,
    /// Its files and links, relative to the venv.
    pub(super) files: BTreeMap<String, Stat>,
    /// Whether a later part has files in place of some of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) hidden: bool,
}

/// What tells without reading it that a file is what it was: nobody writes to one without
/// changing its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stat {
    /// Its type and permission bits.
    pub(super) mode: u32,
    /// Its length in bytes.
    pub(super) size: u64,
    /// Where it leads, if it is a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Stat {
    pub(super) fn file(permissions: u32, size: u64) -> Self {
        Self { mode: FileType::RegularFile.as_raw_mode() | permissions, size, target: None }
    }

    pub(super) fn link(target: &str) -> Self {
        let mode = FileType::Symlink.as_raw_mode() | 0o777;
        Self { mode, size: target.len() as u64, target: Some(target.to_owned()) }
    }

    /// Whether it is of `path`.
    pub(super) fn is_of(&self, path: &Path) -> bool {
        if let Some(target) = &self.target {
            return fs::read_link(path).is_ok_and(|found| found == Path::new(target));
        }
        path.symlink_metadata().is_ok_and(|found| {
            let untouched = (found.mtime(), found.mtime_nsec()) == (EPOCH as i64, 0);
            found.is_file() && untouched && (self.mode, self.size) == (found.mode(), found.len())
        })
    }
}

impl Contents {
    pub(super) fn new(prefix: &str, parts: Vec<Part>) -> Self {
        Self { version: VERSION, prefix: prefix.to_owned(), parts, unfinished: BTreeSet::new() }
    }

    /// What is noted in the directory `top`; nothing if no export has made it. Whoever a
    /// repository is cloned from may have written that: what leads out of the venv is no export's.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be read.
    pub(super) fn read(top: &Path) -> Result<Option<Self>, Error> {
        let own = top.join(OWN);
        let path = own.join(FILE);
        let is_ours = |path: &Path, is: fn(&Metadata) -> bool| path.symlink_metadata().is_ok_and(|found| is(&found));
        if !is_ours(&own, Metadata::is_dir) || !is_ours(&path, Metadata::is_file) {
            return Ok(None);
        }
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let read: Option<Self> = serde_json::from_slice(&bytes).ok();
        Ok(read.filter(|contents| contents.version == VERSION && contents.paths().into_iter().all(is_inside)))
    }

    /// Notes it in the directory `top`, in one step.
    ///
    /// # Errors
    /// [`Error::Io`]; what was noted before still is.
    pub(super) fn write(&self, top: &Path) -> Result<(), Error> {
        let own = top.join(OWN);
        let path = own.join(FILE);
        let write = || -> io::Result<()> {
            fs::create_dir_all(&own)?;
            let mut file = tempfile::NamedTempFile::new_in(&own)?;
            serde_json::to_writer(io::BufWriter::new(&mut file), self)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(Error::io("write", &path))
    }

    /// The part called `name` with `key`, and its files that are there as they were.
    pub(super) fn part(&self, name: &str, key: &Digest) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name && part.key == *key)
    }

    /// All paths that an export has put there.
    pub(super) fn paths(&self) -> BTreeSet<&str> {
        let of_parts = self.parts.iter().flat_map(|part| part.files.keys());
        of_parts.chain(&self.unfinished).map(String::as_str).collect()
    }
}

/// Whether `path` stays below the directory that it is relative to, if no link leads away.
fn is_inside(path: &str) -> bool {
    // an absolute one begins with an empty name
    path.split('/').all(|name| !matches!(name, "" | "." | ".."))
}
