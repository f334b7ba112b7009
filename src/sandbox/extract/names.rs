//! What the names of a layer's tar mean.

use super::ExtractError;
use crate::oci::Digest;

/// The longest path, in bytes (`PATH_MAX`), and how many directories may lie in each other.
const MAX_PATH: usize = 4096;
pub(crate) const MAX_DEPTH: u32 = 256;

/// What an entry's name says that it does, before it says what it is.
#[derive(Debug, PartialEq)]
pub(crate) enum Named {
    /// The root itself.
    Root,
    /// A file of the tree, without slashes at its ends, `.` and doubled slashes.
    Path(Vec<u8>),
    /// It removes this path of the layers below.
    Whiteout(Vec<u8>),
    /// It removes all of the layers below that is in this directory.
    Opaque(Vec<u8>),
    /// It belongs to AUFS, and means nothing here.
    Aufs,
}

/// Reads the name of an entry.
pub(crate) fn read(layer: Digest, raw: &[u8]) -> Result<Named, ExtractError> {
    let path = relative(layer, raw)?;
    if path.is_empty() {
        return Ok(Named::Root);
    }
    let (parent, name) = split(&path);
    // AUFS: names that begin with `.wh..wh.` are its own, but for that of the opaque whiteout
    let aufs = |part: &[u8]| part.starts_with(b".wh..wh.");
    // layer.md: "a file with the basename `.wh..wh..opq`" hides all siblings
    if name == b".wh..wh..opq" && !parent.split(|byte| *byte == b'/').any(|part| part.starts_with(b".wh.")) {
        return Ok(Named::Opaque(parent.to_owned()));
    }
    if path.split(|byte| *byte == b'/').any(aufs) {
        return Ok(Named::Aufs);
    }
    // layer.md: "Files with the .wh. prefix are special whiteout tombstones": no directory is called so
    if parent.split(|byte| *byte == b'/').any(|part| part.starts_with(b".wh.")) {
        return Err(ExtractError::Name { layer, path: lossy(raw) });
    }
    // layer.md: "an empty file with a prefix of .wh. … signifies a path is removed"
    match name.strip_prefix(b".wh.") {
        None => Ok(Named::Path(path)),
        Some(b"" | b"." | b"..") => Err(ExtractError::Name { layer, path: lossy(raw) }),
        Some(hidden) => Ok(Named::Whiteout(join(parent, hidden))),
    }
}

/// A path of a tar, relative to the root. Runtimes take an absolute one as relative, too;
/// one with `..` is refused.
pub(crate) fn relative(layer: Digest, raw: &[u8]) -> Result<Vec<u8>, ExtractError> {
    let mut path = Vec::with_capacity(raw.len());
    let mut depth = 0;
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err(ExtractError::Leaves { layer, path: lossy(raw) }),
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
        depth += 1;
    }
    if path.len() >= MAX_PATH || depth > MAX_DEPTH || path.contains(&0) {
        return Err(ExtractError::Name { layer, path: lossy(raw) });
    }
    Ok(path)
}

/// The directory of a path, empty for the root, and its last part.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_owned() } else { [parent, b"/", name].concat() }
}

/// A path for a person, not longer than a line or two.
pub(crate) fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_specification_has_them() {
        let layer = Digest::of(b"");
        let named = |name: &str| read(layer, name.as_bytes()).map_err(|error| error.to_string()).unwrap_or(Named::Root);
        assert_eq!(named("./"), Named::Root);
        assert_eq!(named("//a/./b/"), Named::Path(b"a/b".to_vec()));
        assert_eq!(named("a/.wh.b"), Named::Whiteout(b"a/b".to_vec()));
        assert_eq!(named("a/.wh..wh..opq"), Named::Opaque(b"a".to_vec()));
        assert_eq!(named(".wh..wh..opq"), Named::Opaque(b"".to_vec()));
        assert_eq!(named(".wh..wh.plnk/1"), Named::Aufs);
        for wrong in ["..", "a/../b", "/..", ".wh.", ".wh..", ".wh...", ".wh.a/b", "a\0b", &"a/".repeat(300)] {
            assert!(read(layer, wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
