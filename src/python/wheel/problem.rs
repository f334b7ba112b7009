//! Why a wheel is refused.

use std::io;

use thiserror::Error;

/// A wheel that can't be installed.
#[derive(Debug, Error)]
#[error("the wheel {wheel} can't be installed")]
pub struct Error {
    /// Its file name.
    pub wheel: String,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match &self.problem {
            Problem::Read(_) | Problem::Inflate { .. } | Problem::Content { .. } => {
                Some("`dlpack cache verify` removes what is damaged; the next build downloads it again".into())
            }
            Problem::WheelVersion { .. } => Some("a newer dlpack may know this version of the format".into()),
            Problem::FileName { .. } => Some("a wheel keeps the file name that it was built with".into()),
            _ => Some(format!(
                "leave {} out or pin another version of it with `constraints`; its maintainers should know",
                self.wheel.split('-').next().unwrap_or_default()
            )),
        }
    }
}

/// What is wrong with a wheel.
#[derive(Debug, Error)]
pub enum Problem {
    /// Not of the form that wheels' names have.
    #[error("`{file}` is not NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM.whl")]
    FileName {
        /// The name.
        file: String,
    },
    /// It can't be read.
    #[error("can't read it")]
    Read(#[source] io::Error),
    /// Not a zip, or one that is cut off.
    #[error("its zip directory can't be read")]
    Zip(#[source] rawzip::Error),
    /// More bytes follow the archive.
    #[error("the zip ends at byte {end}, the file at {size}")]
    Trailing {
        /// Where the archive ends.
        end: u64,
        /// The file's length.
        size: u64,
    },
    /// The directory has another number of entries than it says.
    #[error("the zip directory says {said} entries and has {found}")]
    Count {
        /// What it says.
        said: u64,
        /// How many there are.
        found: u64,
    },
    /// More entries, or a longer directory, than any wheel has.
    #[error("the zip directory has more than {limit} {what}")]
    DirectoryTooLarge {
        /// `entries` or `bytes`.
        what: &'static str,
        /// How many are accepted.
        limit: u64,
    },
    /// A name that is not UTF-8.
    #[error("the name of an entry is not UTF-8: `{path}`")]
    NotUtf8 {
        /// The name, with what is not UTF-8 replaced.
        path: String,
    },
    /// A path that leads elsewhere, or not the same way everywhere.
    #[error("the path `{path}` is refused: {why}")]
    Path {
        /// The path.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// A symbolic link, device, or the like.
    #[error("`{path}` is neither a file nor a directory (mode {mode:o})")]
    Special {
        /// The path.
        path: String,
        /// Its Unix mode.
        mode: u32,
    },
    /// A path that stands twice.
    #[error("`{path}` is in the zip twice")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// A path that is a file and, for another entry, a directory.
    #[error("`{path}` is a file, and `{below}` needs a directory there")]
    FileAndDirectory {
        /// The path.
        path: String,
        /// The other entry.
        below: String,
    },
    /// An encrypted entry.
    #[error("`{path}` is encrypted")]
    Encrypted {
        /// The path.
        path: String,
    },
    /// A compression other than deflate.
    #[error("`{path}` is compressed by method {method}; wheels use deflate or none")]
    Method {
        /// The path.
        path: String,
        /// The method's number.
        method: u16,
    },
    /// A size that deflate can't reach, or that can't be in this archive.
    #[error("the directory lies about `{path}`: {size} bytes from {compressed}")]
    Size {
        /// The path.
        path: String,
        /// What it says of the size.
        size: u64,
        /// What it says of the compressed size.
        compressed: u64,
    },
    /// A bomb.
    #[error("it would unpack to {size} bytes from {compressed}, more than any wheel does")]
    Bomb {
        /// The sum of sizes.
        size: u64,
        /// The archive's length.
        compressed: u64,
    },
    /// Entries that share bytes.
    #[error("`{path}` overlaps what comes after it in the zip")]
    Overlap {
        /// The path.
        path: String,
    },
    /// The header before the content says something else than the directory.
    #[error("the two headers of `{path}` disagree on its {what}")]
    Headers {
        /// The path.
        path: String,
        /// `name`, `size` …
        what: &'static str,
    },
    /// A stream that can't be inflated.
    #[error("`{path}` can't be read")]
    Inflate {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A content that is not what the directory says.
    #[error("`{path}` has another length or CRC-32 than the zip directory says")]
    Content {
        /// The path.
        path: String,
    },
    /// A file that must be read whole and is too large for that.
    #[error("`{path}` has {size} bytes; at most {limit} are accepted")]
    TooLarge {
        /// The path.
        path: String,
        /// Its length.
        size: u64,
        /// The most.
        limit: u64,
    },
    /// No `.dist-info`.
    #[error("it has no .dist-info directory")]
    NoDistInfo,
    /// More than one `.dist-info`.
    #[error("it has two .dist-info directories: `{one}` and `{other}`")]
    TwoDistInfos {
        /// One.
        one: String,
        /// Another.
        other: String,
    },
    /// The `.dist-info` of something else.
    #[error("its metadata is `{found}`, which is not what its file name says")]
    OtherDistInfo {
        /// The directory.
        found: String,
    },
    /// A file that every wheel has.
    #[error("it has no `{path}`")]
    Missing {
        /// The path.
        path: String,
    },
    /// A metadata file that is not text.
    #[error("`{path}` is not UTF-8")]
    NotText {
        /// The path.
        path: String,
    },
    /// A version of the format that dlpack does not know.
    #[error("its Wheel-Version is `{version}`; 1.x is known")]
    WheelVersion {
        /// What `WHEEL` says.
        version: String,
    },
    /// RECORD is not a CSV of three columns.
    #[error("line {line} of RECORD can't be understood: `{text}`")]
    RecordLine {
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// RECORD has a path twice, with different hashes.
    #[error("RECORD lists `{path}` twice, with different hashes")]
    RecordTwice {
        /// The path.
        path: String,
    },
    /// A file that RECORD does not list.
    #[error("`{path}` is not listed in RECORD")]
    Unlisted {
        /// The path.
        path: String,
    },
    /// A line of RECORD without a file.
    #[error("RECORD lists `{path}`, which is not in the wheel")]
    Absent {
        /// The path.
        path: String,
    },
    /// A line of RECORD without a hash.
    #[error("RECORD has no hash for `{path}`")]
    NoHash {
        /// The path.
        path: String,
    },
    /// A hash that is weak, unknown or malformed.
    #[error("RECORD has the hash `{hash}` for `{path}`; sha256, sha384 or sha512 is needed")]
    Hash {
        /// The path.
        path: String,
        /// The hash.
        hash: String,
    },
    /// A content that is not what RECORD says.
    #[error("`{path}` is not what RECORD says: its {what} differs")]
    RecordMismatch {
        /// The path.
        path: String,
        /// `size`, or the hash's algorithm.
        what: &'static str,
    },
    /// Something in `.data` that is of no scheme.
    #[error("`{path}` belongs to no install scheme")]
    Scheme {
        /// The path.
        path: String,
    },
    /// An entry point that can't become a script.
    #[error("the entry point `{line}` can't become a script: {why}")]
    EntryPoint {
        /// The line of `entry_points.txt`.
        line: String,
        /// Why.
        why: &'static str,
    },
    /// A path that is the venv's own.
    #[error("it brings `{path}`, which is the venv's own")]
    Reserved {
        /// The path, relative to the venv.
        path: String,
    },
    /// Two of its files would be installed at one place.
    #[error("two of its files would become `{path}`, with different contents")]
    Twice {
        /// The path, relative to the venv.
        path: String,
    },
}
