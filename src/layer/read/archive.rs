//! Walking the tar of a layer that a stranger wrote: one header at a time, in
//! bounded memory, whatever the headers claim.

use std::collections::BTreeMap;
use std::io::{self, Read};

use tar::{EntryType, Header};

/// The longest name, link target or PAX header that is read, in bytes.
const MAX_EXTENSION: u64 = 1 << 20;

const BLOCK: usize = 512;

/// Why bytes are no tar.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTar {
    /// The bytes end, or can't be read further.
    #[error("it can't be read at byte {at}")]
    Io {
        /// Where in the tar.
        at: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A block that is no header.
    #[error("there is no tar header at byte {at}")]
    Header {
        /// Where in the tar.
        at: u64,
    },
    /// A name, link target or PAX header that is longer than any real one.
    #[error("the header at byte {at} announces a name of {length} bytes")]
    TooLong {
        /// Where in the tar.
        at: u64,
        /// What it announces.
        length: u64,
    },
    /// An extended header that is not made of `LENGTH KEYWORD=VALUE` records.
    #[error("the extended header at byte {at} can't be read")]
    Extended {
        /// Where in the tar.
        at: u64,
    },
    /// Headers that one reader takes so and another otherwise.
    #[error("the entry at byte {at} has two {what} that differ")]
    Disagreement {
        /// Where in the tar.
        at: u64,
        /// `names`, `lengths` …
        what: &'static str,
    },
}

/// An entry's header, with its extensions applied.
#[derive(Debug)]
pub struct Entry {
    /// The path as it stands in the tar; not UTF-8 where a stranger so wished.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryType,
    /// The target of a link.
    pub target: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The length of its content in bytes.
    pub size: u64,
    /// When it was changed: seconds since 1970, and nanoseconds.
    pub mtime: (i64, u32),
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Its extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether its content is a map of holes and what lies between them.
    pub sparse: bool,
}

/// Extensions that apply to the next entry.
#[derive(Default)]
struct Extensions {
    seen_pax: bool,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    sparse: bool,
}

/// A tar being read.
pub struct Archive<R> {
    inner: R,
    at: u64,
    /// Content and padding of the current entry that nobody has read yet.
    left: u64,
}

impl<R: Read> Archive<R> {
    /// The tar that `inner` holds.
    pub fn new(inner: R) -> Self {
        Self { inner, at: 0, left: 0 }
    }

    /// The next entry; nothing at the end. What was not read of the entry before is
    /// passed over.
    ///
    /// # Errors
    /// [`InvalidTar`].
    pub fn next_entry(&mut self) -> Result<Option<Entry>, InvalidTar> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let at = self.at;
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            let length = header.entry_size().map_err(|_| InvalidTar::Header { at })?;
            // POSIX pax: "x" says more about the next file, "g" about all that follow; GNU's "L" and "K" hold
            // the next file's long name and long link target
            match kind {
                EntryType::XHeader => extensions.read_pax(&self.extension(length)?, at)?,
                EntryType::GNULongName => {
                    once(&mut extensions.long_name, until_nul(self.extension(length)?), at, "names")?;
                }
                EntryType::GNULongLink => {
                    once(&mut extensions.long_link, until_nul(self.extension(length)?), at, "link targets")?;
                }
                EntryType::XGlobalHeader => refuse_names_for_all(&self.extension(length)?, at)?,
                _ => {
                    let entry = extensions.entry(&header, kind, length, at)?;
                    // what is no file has no content, whatever its header says of its size
                    let has_content = kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse();
                    self.left = if has_content { padded(entry.size) } else { 0 };
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// How many bytes of the tar were read.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Something to read the current entry's content of `size` bytes from.
    pub fn reader(&mut self, size: u64) -> Content<'_, R> {
        Content { archive: self, left: size }
    }

    /// The current entry's content of `size` bytes.
    ///
    /// # Errors
    /// [`InvalidTar::Io`].
    pub fn content(&mut self, size: u64) -> Result<Vec<u8>, InvalidTar> {
        let mut bytes = Vec::new();
        let at = self.at;
        let count =
            (&mut self.inner).take(size).read_to_end(&mut bytes).map_err(|source| InvalidTar::Io { at, source })?;
        self.at += count as u64;
        if (count as u64) < size {
            return Err(InvalidTar::Io { at: self.at, source: io::ErrorKind::UnexpectedEof.into() });
        }
        self.left -= size;
        Ok(bytes)
    }

    /// Reads what follows the last entry, up to the end of the stream.
    ///
    /// # Errors
    /// [`InvalidTar::Io`].
    pub fn drain(&mut self) -> Result<(), InvalidTar> {
        io::copy(&mut self.inner, &mut io::sink()).map(drop).map_err(|source| InvalidTar::Io { at: self.at, source })
    }

    fn extension(&mut self, length: u64) -> Result<Vec<u8>, InvalidTar> {
        if length > MAX_EXTENSION {
            return Err(InvalidTar::TooLong { at: self.at, length });
        }
        self.left = padded(length);
        self.content(length)
    }

    fn skip(&mut self) -> Result<(), InvalidTar> {
        let at = self.at;
        let skipped = io::copy(&mut (&mut self.inner).take(self.left), &mut io::sink())
            .map_err(|source| InvalidTar::Io { at, source })?;
        self.at += skipped;
        if skipped < self.left {
            return Err(InvalidTar::Io { at: self.at, source: io::ErrorKind::UnexpectedEof.into() });
        }
        self.left = 0;
        Ok(())
    }

    /// The header here; nothing at the end, which is a block of zeros or no block.
    fn header(&mut self) -> Result<Option<Header>, InvalidTar> {
        let mut block = [0; BLOCK];
        let at = self.at;
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(InvalidTar::Io { at, source: io::ErrorKind::UnexpectedEof.into() }),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(InvalidTar::Io { at, source }),
            }
        }
        self.at += BLOCK as u64;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // POSIX ustar: the checksum is the sum of the header's bytes, its own eight taken as spaces
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        let header = Header::from_byte_slice(&block).clone();
        match header.cksum() {
            Ok(expected) if expected == sum => Ok(Some(header)),
            _ => Err(InvalidTar::Header { at }),
        }
    }
}

/// An entry's content.
pub struct Content<'a, R> {
    archive: &'a mut Archive<R>,
    left: u64,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.archive.inner.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.archive.left -= count as u64;
        self.archive.at += count as u64;
        Ok(count)
    }
}

impl Extensions {
    fn read_pax(&mut self, bytes: &[u8], at: u64) -> Result<(), InvalidTar> {
        if std::mem::replace(&mut self.seen_pax, true) {
            return Err(InvalidTar::Disagreement { at, what: "extended headers" });
        }
        for record in Records(bytes) {
            let (keyword, value) = record.ok_or(InvalidTar::Extended { at })?;
            // pax: "If the <value> field is zero length, it shall delete any header block field"
            if value.is_empty() && !keyword.starts_with(XATTR) {
                continue;
            }
            let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            match keyword {
                b"path" => self.path = Some(value.to_owned()),
                b"linkpath" => self.target = Some(value.to_owned()),
                b"size" => self.size = Some(number().ok_or(InvalidTar::Extended { at })?),
                b"uid" => self.uid = number().and_then(|id| id.try_into().ok()),
                b"gid" => self.gid = number().and_then(|id| id.try_into().ok()),
                b"mtime" => self.mtime = std::str::from_utf8(value).ok().and_then(seconds),
                _ if keyword.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {
                    if let Some(name) = keyword.strip_prefix(XATTR) {
                        self.xattrs.insert(name.to_owned(), value.to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, kind: EntryType, length: u64, at: u64) -> Result<Entry, InvalidTar> {
        let extensions = std::mem::take(self);
        let id = |number: io::Result<u64>| number.ok().and_then(|id| id.try_into().ok()).unwrap_or(0);
        let device = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0);
        let long = |pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>, what| match (pax, gnu) {
            (Some(pax), Some(gnu)) if pax != gnu => Err(InvalidTar::Disagreement { at, what }),
            (pax, gnu) => Ok(pax.or(gnu)),
        };
        // a length that the header could have said, and says otherwise
        if extensions.size.is_some_and(|size| size != length && size <= LARGEST_OCTAL) {
            return Err(InvalidTar::Disagreement { at, what: "lengths" });
        }
        let path = long(extensions.path, extensions.long_name, "names")?;
        let target = long(extensions.target, extensions.long_link, "link targets")?;
        let mtime = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
        Ok(Entry {
            path: path.unwrap_or_else(|| header.path_bytes().into_owned()),
            kind,
            target: target.or_else(|| header.link_name_bytes().map(Into::into)).unwrap_or_default(),
            mode: header.mode().map_err(|_| InvalidTar::Header { at })? & 0o7777,
            uid: extensions.uid.unwrap_or_else(|| id(header.uid())),
            gid: extensions.gid.unwrap_or_else(|| id(header.gid())),
            size: extensions.size.unwrap_or(length),
            mtime: extensions.mtime.unwrap_or((mtime, 0)),
            device: (device(header.device_major()), device(header.device_minor())),
            xattrs: extensions.xattrs,
            sparse: extensions.sparse || kind.is_gnu_sparse(),
        })
    }
}

/// What the keyword of an extended attribute begins with, as GNU tar, Docker and
/// containerd write it (image-spec `layer.md`, "Header Types").
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the eleven octal digits of a header's length can say.
const LARGEST_OCTAL: u64 = (1 << 33) - 1;

/// The records of an extended header: `"%d %s=%s\n", <length>, <keyword>, <value>`.
/// Nothing for one that is not of this form, which is then the last.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.take();
        if record.is_none() {
            self.0 = &[];
        }
        Some(record)
    }
}

impl<'a> Records<'a> {
    fn take(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let space = self.0.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&self.0[..space]).ok()?.parse().ok()?;
        let record = self.0.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        self.0 = &self.0[length..];
        let (keyword, value) = (&record[..equals], &record[equals + 1..]);
        // a NUL would end the value for readers in C
        (keyword.starts_with(XATTR) || !value.contains(&0)).then_some((keyword, value))
    }
}

/// A header for all that follow may not name them: some readers heed it, some don't.
fn refuse_names_for_all(bytes: &[u8], at: u64) -> Result<(), InvalidTar> {
    for record in Records(bytes) {
        let (keyword, _) = record.ok_or(InvalidTar::Extended { at })?;
        if matches!(keyword, b"path" | b"linkpath" | b"size") {
            return Err(InvalidTar::Extended { at });
        }
    }
    Ok(())
}

fn once(place: &mut Option<Vec<u8>>, value: Vec<u8>, at: u64, what: &'static str) -> Result<(), InvalidTar> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(InvalidTar::Disagreement { at, what }),
    }
}

/// Seconds since 1970 as a decimal number, and nanoseconds.
fn seconds(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (whole, nanos) = (whole.parse::<i64>().ok()?, digits.parse::<u32>().ok()?);
    // before 1970 the fraction counts backwards; nobody needs it then
    Some((whole, if text.starts_with('-') { 0 } else { nanos }))
}

/// A length with the padding that fills the last block.
fn padded(length: u64) -> u64 {
    length.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}
