//! A wheel: a zip whose file name says what it is, with a `.dist-info` directory
//! (PyPA, "Binary distribution format"). Read with bounded memory, from a file or
//! from whatever else can be read at an offset.

mod directory;
mod name;
mod problem;

use std::io::Read;

use flate2::read::DeflateDecoder;
use rawzip::{RangeReader, ZipArchive};

pub use directory::{Directory, Entry};
pub use name::{FileName, normalize};
pub use problem::{Error, Problem};
/// What a wheel is read from: anything with reads at an offset.
pub use rawzip::ReaderAt;

/// The most that a file of `.dist-info` or a script to rewrite may be, in bytes.
/// RECORD is the largest: a line a file.
const TEXT_LIMIT: u64 = 32 << 20;

/// An opened wheel. Its directory has been checked; its contents are checked as
/// they are read.
pub struct Wheel<R> {
    archive: ZipArchive<R>,
    directory: Directory,
    name: FileName,
    stem: String,
}

impl<R: ReaderAt> Wheel<R> {
    /// Opens the wheel `file` (its file name) of `size` bytes behind `reader`. Only
    /// the end of the archive is read.
    ///
    /// # Errors
    /// [`Error`] if it is not a zip that can be a wheel, or not the one that its
    /// name says.
    pub fn open(reader: R, size: u64, file: &str) -> Result<Self, Error> {
        let attempt = || {
            let name = FileName::parse(file)?;
            let archive = directory::locate(reader, size)?;
            let directory = Directory::of(&archive, size)?;
            let stem = dist_info(&directory, &name)?;
            Ok(Self { archive, directory, name, stem })
        };
        attempt().map_err(|problem| Error { wheel: file.to_owned(), problem })
    }

    /// What its file name says.
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// What is in it.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The name of the directory that holds what is installed elsewhere than in
    /// site-packages: `{distribution}-{version}.data`.
    pub fn data_directory(&self) -> String {
        format!("{}.data", self.stem)
    }

    /// The path of a file of the `.dist-info` directory.
    pub fn dist_info(&self, file: &str) -> String {
        format!("{}.dist-info/{file}", self.stem)
    }

    /// An error about this wheel.
    pub fn error(&self, problem: Problem) -> Error {
        Error { wheel: self.name.to_string(), problem }
    }

    /// The bytes of `entry` as they lie in the archive.
    ///
    /// # Errors
    /// If the header before them says something else than the directory, or they
    /// reach into the next entry.
    pub fn raw(&self, entry: &Entry) -> Result<RangeReader<&R>, Error> {
        entry.locate(&self.archive).map_err(|problem| self.error(problem))
    }

    /// The content of a small `entry`, verified against the directory's CRC-32.
    ///
    /// # Errors
    /// If it is more than 32 MiB or not what the directory says.
    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, Error> {
        let attempt = || {
            if entry.size > TEXT_LIMIT {
                return Err(Problem::TooLarge { path: entry.path.clone(), size: entry.size, limit: TEXT_LIMIT });
            }
            let mut content = Vec::new();
            self.inflated(entry)?
                .take(entry.size + 1)
                .read_to_end(&mut content)
                .map_err(|source| Problem::Inflate { path: entry.path.clone(), source })?;
            entry.check(content.len() as u64, crc32fast::hash(&content))?;
            Ok(content)
        };
        attempt().map_err(|problem| self.error(problem))
    }

    /// The first bytes of `entry`, at most `count`.
    ///
    /// # Errors
    /// If it can't be read or inflated.
    pub fn head(&self, entry: &Entry, count: u64) -> Result<Vec<u8>, Error> {
        let attempt = || {
            let mut head = Vec::new();
            self.inflated(entry)?
                .take(count)
                .read_to_end(&mut head)
                .map_err(|source| Problem::Inflate { path: entry.path.clone(), source })?;
            Ok(head)
        };
        attempt().map_err(|problem| self.error(problem))
    }

    /// The content of `entry`, not verified.
    ///
    /// # Errors
    /// As [`Wheel::raw`].
    pub fn content(&self, entry: &Entry) -> Result<Box<dyn Read + '_>, Error> {
        self.inflated(entry).map_err(|problem| self.error(problem))
    }

    fn inflated(&self, entry: &Entry) -> Result<Box<dyn Read + '_>, Problem>
    where
        R: ReaderAt,
    {
        let raw = entry.locate(&self.archive)?;
        Ok(if entry.deflated { Box::new(DeflateDecoder::new(raw)) } else { Box::new(raw) })
    }
}

/// The stem of the one `.dist-info` directory, which must be that of the file name.
fn dist_info(directory: &Directory, name: &FileName) -> Result<String, Problem> {
    let mut found: Vec<&str> = Vec::new();
    for entry in directory.entries() {
        let stem = entry.path.split_once('/').and_then(|(top, _)| top.strip_suffix(".dist-info"));
        if let Some(stem) = stem.filter(|stem| !found.contains(stem)) {
            found.push(stem);
        }
    }
    match found.as_slice() {
        [] => Err(Problem::NoDistInfo),
        // "{distribution}-{version}.dist-info/ contains metadata"
        [stem] if name.is(stem) => Ok((*stem).to_owned()),
        [stem] => Err(Problem::OtherDistInfo { found: format!("{stem}.dist-info") }),
        [one, other, ..] => {
            Err(Problem::TwoDistInfos { one: format!("{one}.dist-info"), other: format!("{other}.dist-info") })
        }
    }
}
