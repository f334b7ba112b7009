//! A binary package (deb(5)): an ar archive of `debian-binary`, `control.tar` and
//! `data.tar`.

use std::collections::BTreeMap;
use std::io::{self, Read};

use thiserror::Error;

use super::compression::{Compression, unpacked};

/// The global header of an ar archive, and the length of a member's (deb(5)).
const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;

/// The longest control.tar that is read, packed or unpacked, in bytes.
const MAX_CONTROL: u64 = 64 << 20;

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

/// A package that is read from its beginning to its end.
pub struct Deb<'r> {
    /// What there is to know of it and its maintainer scripts: the files of
    /// `control.tar`, by name.
    pub control: BTreeMap<String, Vec<u8>>,
    /// The tar of its files, unpacked as it is read.
    pub data: Box<dyn Read + 'r>,
}

/// Opens `package`. `name` is what errors call it.
///
/// # Errors
/// See [`Error`].
pub fn open<'r>(name: &str, mut package: impl Read + 'r) -> Result<Deb<'r>, Error> {
    let form = |what| Error::Form { package: name.to_owned(), what };
    let io = |source| Error::Io { package: name.to_owned(), source };
    let mut magic = [0; MAGIC.len()];
    package.read_exact(&mut magic).map_err(io)?;
    if magic != *MAGIC {
        return Err(form("it is no ar archive"));
    }
    let mut control = None;
    let (mut first, mut header) = (true, [0; HEADER]);
    loop {
        package.read_exact(&mut header).map_err(|_| form("it has no data.tar"))?;
        let text = str::from_utf8(&header).ok().filter(|text| text.is_ascii());
        let text = text.ok_or_else(|| form("a header is not ASCII"))?;
        // The name, three numbers, the mode, the size at 48, and two bytes that end it
        let member = text[..16].trim_end().trim_end_matches('/');
        let size: u64 = text[48..58].trim_end().parse().map_err(|_| form("a member has no length"))?;
        if first && member != "debian-binary" {
            return Err(form("it does not begin with debian-binary"));
        }
        first = false;
        let unknown = || form("it is compressed with something else than gzip, xz or zstd");
        if let Some(suffix) = member.strip_prefix("data.tar") {
            let control = control.ok_or_else(|| form("it has no control.tar before data.tar"))?;
            let compression = Compression::of(suffix).ok_or_else(unknown)?;
            return Ok(Deb { control, data: unpacked(package.take(size), compression).map_err(io)? });
        }
        let mut bytes = Vec::new();
        package.by_ref().take(size.min(MAX_CONTROL)).read_to_end(&mut bytes).map_err(io)?;
        // "data section … is padded to an even length"
        let rest = size + size % 2 - bytes.len() as u64;
        io::copy(&mut package.by_ref().take(rest), &mut io::sink()).map_err(io)?;
        if let Some(suffix) = member.strip_prefix("control.tar") {
            let compression = Compression::of(suffix).ok_or_else(unknown)?;
            let files = unpacked(&bytes[..], compression).and_then(files);
            control = Some(files.map_err(|source| Error::Io { package: name.to_owned(), source })?);
        }
    }
}

/// The regular files of `control.tar`.
fn files(tar: Box<dyn Read + '_>) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar.take(MAX_CONTROL)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        if entry.header().entry_type().is_file() && !path.contains('/') {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            files.insert(path, content);
        }
    }
    Ok(files)
}
