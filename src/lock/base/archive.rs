//! Walking the tar of a layer that a stranger wrote: one header at a time, in
//! bounded memory, whatever the headers claim.

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
}

/// Extensions that apply to the next entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
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
    pub fn next(&mut self) -> Result<Option<Entry>, InvalidTar> {
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
                EntryType::XHeader => extensions.read_pax(&self.extension(length)?),
                EntryType::GNULongName => extensions.path = Some(until_nul(self.extension(length)?)),
                EntryType::GNULongLink => extensions.target = Some(until_nul(self.extension(length)?)),
                EntryType::XGlobalHeader => self.left = padded(length),
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
    pub fn drain(mut self) -> Result<(), InvalidTar> {
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

impl Extensions {
    fn read_pax(&mut self, bytes: &[u8]) {
        for extension in tar::PaxExtensions::new(bytes).flatten() {
            let value = extension.value_bytes();
            let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            match extension.key_bytes() {
                b"path" => self.path = Some(value.to_owned()),
                b"linkpath" => self.target = Some(value.to_owned()),
                b"size" => self.size = number(),
                b"uid" => self.uid = number().and_then(|id| id.try_into().ok()),
                b"gid" => self.gid = number().and_then(|id| id.try_into().ok()),
                _ => {}
            }
        }
    }

    fn entry(&mut self, header: &Header, kind: EntryType, length: u64, at: u64) -> Result<Entry, InvalidTar> {
        let extensions = std::mem::take(self);
        let id = |number: io::Result<u64>| number.ok().and_then(|id| id.try_into().ok()).unwrap_or(0);
        Ok(Entry {
            path: extensions.path.unwrap_or_else(|| header.path_bytes().into_owned()),
            kind,
            target: extensions.target.or_else(|| header.link_name_bytes().map(Into::into)).unwrap_or_default(),
            mode: header.mode().map_err(|_| InvalidTar::Header { at })? & 0o7777,
            uid: extensions.uid.unwrap_or_else(|| id(header.uid())),
            gid: extensions.gid.unwrap_or_else(|| id(header.gid())),
            size: extensions.size.unwrap_or(length),
        })
    }
}

/// A length with the padding that fills the last block.
fn padded(length: u64) -> u64 {
    length.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}
