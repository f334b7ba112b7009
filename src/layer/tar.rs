//! Tar headers (POSIX.1-2001 pax interchange format), in the one form that dlpack
//! writes: ustar, with a pax header only where ustar can't say it.

use std::collections::BTreeMap;

use super::{Attributes, Device};

/// The unit that headers and contents fill.
pub(crate) const BLOCK: usize = 512;
/// pax: "at the end of the archive file there shall be two 512-octet logical
/// records filled with binary zeros".
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link to the target.
    Symlink(&'a str),
    /// Another name of the target, which stands before it.
    HardLink(&'a str),
    /// A FIFO.
    Fifo,
    /// A device.
    Device(Device),
}

/// How many zeros follow a content of `size` bytes.
pub(crate) fn padding(size: u64) -> usize {
    // The remainder is below 512.
    (BLOCK as u64 - size % BLOCK as u64) as usize % BLOCK
}

/// The header of an entry, with the pax header before it where one is needed.
pub(crate) fn header(
    path: &str,
    kind: Kind<'_>,
    attributes: Attributes,
    xattrs: &BTreeMap<String, Vec<u8>>,
    mtime: u64,
) -> Vec<u8> {
    let (flag, size, link) = match kind {
        Kind::File(size) => (b'0', size, ""),
        Kind::HardLink(target) => (b'1', 0, target),
        Kind::Symlink(target) => (b'2', 0, target),
        Kind::Device(Device { block: false, .. }) => (b'3', 0, ""),
        Kind::Device(Device { block: true, .. }) => (b'4', 0, ""),
        Kind::Directory => (b'5', 0, ""),
        Kind::Fifo => (b'6', 0, ""),
    };
    // Readers tell a directory by its type flag; old ones by the slash at its end.
    let path = if kind == Kind::Directory { format!("{path}/") } else { path.to_owned() };
    let mut pax = Vec::new();
    let mut ustar = Ustar::new(flag);

    match split(&path) {
        Some((prefix, name)) => ustar.text(PREFIX, prefix).text(NAME, name),
        None => {
            record(&mut pax, "path", path.as_bytes());
            ustar.text(NAME, lossy(&path))
        }
    };
    if link.is_ascii() && link.len() <= LINK.1 {
        ustar.text(LINK, link);
    } else {
        record(&mut pax, "linkpath", link.as_bytes());
        ustar.text(LINK, lossy(link));
    }
    ustar.octal(MODE, attributes.mode.into());
    for (field, keyword, value) in [
        (UID, "uid", u64::from(attributes.uid)),
        (GID, "gid", u64::from(attributes.gid)),
        (SIZE, "size", size),
        (MTIME, "mtime", mtime),
    ] {
        if value <= largest(field) {
            ustar.octal(field, value);
        } else {
            // pax: an extended header's record overrides the field, which is left at 0.
            record(&mut pax, keyword, value.to_string().as_bytes());
            ustar.octal(field, 0);
        }
    }
    if let Kind::Device(Device { major, minor, .. }) = kind {
        // Linux has 12 and 20 bits for them, seven octal digits hold 21
        ustar.octal(MAJOR, major.into()).octal(MINOR, minor.into());
    }
    for (name, value) in xattrs {
        record(&mut pax, &format!("SCHILY.xattr.{name}"), value);
    }

    let mut bytes = Vec::with_capacity(BLOCK);
    if !pax.is_empty() {
        let mut before = Ustar::new(b'x');
        before.text(NAME, "././@PaxHeader").octal(MODE, 0o644).octal(UID, 0).octal(GID, 0);
        before.octal(SIZE, pax.len() as u64).octal(MTIME, 0);
        bytes.extend_from_slice(&before.sealed());
        bytes.extend_from_slice(&pax);
        bytes.resize(bytes.len() + padding(pax.len() as u64), 0);
    }
    bytes.extend_from_slice(&ustar.sealed());
    bytes
}

/// `(prefix, name)` as ustar holds a path: "prefix" + "/" + "name", 155 and 100
/// octets at most, ASCII. Nothing if it can't.
fn split(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME.1 {
        return Some(("", path));
    }
    let fits = |at: &usize| *at <= PREFIX.1 && path.len() - at - 1 <= NAME.1 && path.len() - at > 1;
    path.match_indices('/').map(|(at, _)| at).find(fits).map(|at| (&path[..at], &path[at + 1..]))
}

/// What a reader that knows no pax sees: the beginning of the text.
fn lossy(text: &str) -> &str {
    let ascii = text.bytes().position(|byte| !byte.is_ascii()).unwrap_or(text.len());
    &text[..ascii.min(NAME.1)]
}

/// pax: `"%d %s=%s\n", <length>, <keyword>, <value>`, where the length counts
/// itself and the newline.
fn record(pax: &mut Vec<u8>, keyword: &str, value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    pax.extend_from_slice(format!("{length} {keyword}=").as_bytes());
    pax.extend_from_slice(value);
    pax.push(b'\n');
}

/// Offset and width of a field of the header.
type Field = (usize, usize);
const NAME: Field = (0, 100);
const MODE: Field = (100, 8);
const UID: Field = (108, 8);
const GID: Field = (116, 8);
const SIZE: Field = (124, 12);
const MTIME: Field = (136, 12);
const CHECKSUM: Field = (148, 8);
const FLAG: usize = 156;
const LINK: Field = (157, 100);
const MAGIC: Field = (257, 8);
const MAJOR: Field = (329, 8);
const MINOR: Field = (337, 8);
const PREFIX: Field = (345, 155);

/// The largest number that a field holds: octal digits and a NUL.
fn largest(field: Field) -> u64 {
    (1 << (3 * (field.1 - 1))) - 1
}

/// A header in the making. Names of owner and group stay empty, so that the
/// numbers count.
struct Ustar([u8; BLOCK]);

impl Ustar {
    fn new(flag: u8) -> Self {
        let mut header = Self([0; BLOCK]);
        header.0[FLAG] = flag;
        header.text(MAGIC, "ustar\x0000");
        header
    }

    fn text(&mut self, (at, _): Field, text: &str) -> &mut Self {
        self.0[at..at + text.len()].copy_from_slice(text.as_bytes());
        self
    }

    fn octal(&mut self, (at, width): Field, value: u64) -> &mut Self {
        let mut rest = value;
        for digit in self.0[at..at + width - 1].iter_mut().rev() {
            *digit = b'0' + (rest & 7) as u8;
            rest >>= 3;
        }
        self
    }

    // ustar: "the chksum field … the simple sum of all octets … treated as if it
    // were all spaces"; six digits, a NUL and a space.
    fn sealed(mut self) -> [u8; BLOCK] {
        let (at, width) = CHECKSUM;
        self.0[at..at + width].fill(b' ');
        let sum = self.0.iter().map(|&byte| u64::from(byte)).sum();
        self.octal((at, width - 1), sum);
        self.0[at + width - 2] = 0;
        self.0
    }
}
