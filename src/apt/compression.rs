//! What indexes and packages are compressed with.

use std::io::{self, BufReader, Read};

/// A compression that archives use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// None.
    None,
    /// `.gz`.
    Gzip,
    /// `.xz`.
    Xz,
    /// `.zst`.
    Zstd,
}

impl Compression {
    /// That of a file whose name ends in `suffix`, if it is known here.
    pub fn of(suffix: &str) -> Option<Self> {
        match suffix {
            "" => Some(Self::None),
            ".gz" => Some(Self::Gzip),
            ".xz" => Some(Self::Xz),
            ".zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The content of `file`, unpacked as it is read.
///
/// # Errors
/// If it can't be begun; what is damaged is an error where it is read.
pub fn unpacked<'r>(file: impl Read + 'r, compression: Compression) -> io::Result<Box<dyn Read + 'r>> {
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new(BufReader::new(file), true)),
        Compression::Zstd => Box::new(zstd::Decoder::new(file)?),
    })
}
