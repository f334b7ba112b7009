//! A binary package (deb(5)): an ar archive of `debian-binary`, `control.tar` and
//! `data.tar`.

use std::io::{self, Read};

use thiserror::Error;

use super::compression::{Compression, unpacked};

/// The global header of an ar archive, and the length of a member's (deb(5)).
const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;

/// Why a package can't be opened.
#[derive(Debug, Error)]
pub enum Error {
    /// It is no package of format 2.
    #[error("`{package}` is no Debian package: {what}")]
    Form {
        /// Its file's name.
        package: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It can't be read.
    #[error("can't read `{package}`")]
    Io {
        /// Its file's name.
        package: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The tar of the files in `package`, unpacked as it is read. `name` is what errors
/// call it.
///
/// # Errors
/// See [`Error`].
pub fn data<'r>(name: &str, mut package: impl Read + 'r) -> Result<Box<dyn Read + 'r>, Error> {
    let form = |what| Error::Form { package: name.to_owned(), what };
    let io = |source| Error::Io { package: name.to_owned(), source };
    let mut magic = [0; MAGIC.len()];
    package.read_exact(&mut magic).map_err(io)?;
    if magic != *MAGIC {
        return Err(form("it is no ar archive"));
    }
    let (mut first, mut header) = (true, [0; HEADER]);
    loop {
        package.read_exact(&mut header).map_err(|_| form("it has no data.tar"))?;
        let text = str::from_utf8(&header).map_err(|_| form("a header is not ASCII"))?;
        // The name, three numbers, the mode, the size at 48, and two bytes that end it
        let member = text[..16].trim_end().trim_end_matches('/');
        let size: u64 = text[48..58].trim_end().parse().map_err(|_| form("a member has no length"))?;
        if first && member != "debian-binary" {
            return Err(form("it does not begin with debian-binary"));
        }
        first = false;
        if let Some(suffix) = member.strip_prefix("data.tar") {
            let compression = match suffix {
                "" => Compression::None,
                ".gz" => Compression::Gzip,
                ".xz" => Compression::Xz,
                ".zst" => Compression::Zstd,
                _ => return Err(form("data.tar is compressed with something else than gzip, xz or zstd")),
            };
            return unpacked(package.take(size), compression).map_err(io);
        }
        // "data section … is padded to an even length"
        let skipped = io::copy(&mut package.by_ref().take(size + size % 2), &mut io::sink()).map_err(io)?;
        if skipped < size {
            return Err(form("it breaks off"));
        }
    }
}
