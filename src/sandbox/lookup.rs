//! A file looked up in layers in overlayfs's form, without mounting them.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::record::OPAQUE;

/// path_resolution(7): "the maximum number of symbolic links followed … is 40".
const MOST_LINKS: usize = 40;

/// What is at a path of the layers.
enum Found {
    /// A directory of these layers, lowest first.
    Directory(Vec<PathBuf>),
    /// Anything else.
    Other(PathBuf, Metadata),
}

/// The content of the file at `path` in `layers`, lowest first. Links are followed inside
/// of them; none if there is no file.
pub(super) fn read(layers: &[PathBuf], path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut links = 0;
    // the directories on the way from the root
    let mut way = vec![layers.to_vec()];
    let mut rest: Vec<PathBuf> = components(Path::new(path));
    while let Some(name) = rest.pop() {
        if name == Path::new("..") {
            way.truncate(way.len().saturating_sub(1).max(1));
            continue;
        }
        let Some(here) = way.last() else { return Ok(None) };
        match find(here, &name)? {
            None => return Ok(None),
            Some(Found::Directory(directory)) => way.push(directory),
            Some(Found::Other(link, metadata)) if metadata.is_symlink() => {
                links += 1;
                let target = fs::read_link(link)?;
                if links > MOST_LINKS {
                    return Ok(None);
                }
                if target.is_absolute() {
                    way.truncate(1);
                }
                rest.extend(components(&target));
            }
            Some(Found::Other(file, metadata)) if metadata.is_file() && rest.is_empty() => {
                let mut content = Vec::new();
                File::open(file)?.read_to_end(&mut content)?;
                return Ok(Some(content));
            }
            Some(Found::Other(..)) => return Ok(None),
        }
    }
    Ok(None)
}

/// The names on a path, the last first.
fn components(path: &Path) -> Vec<PathBuf> {
    let name = |component| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    let mut names: Vec<PathBuf> = path.components().filter_map(name).collect();
    names.reverse();
    names
}

/// What the directories `here`, lowest first, have under `name`: overlayfs.rst, "the name
/// in the upper filesystem is visible while the object in the lower is hidden or, in the
/// case of directories, merged".
fn find(here: &[PathBuf], name: &Path) -> io::Result<Option<Found>> {
    let mut merged = Vec::new();
    for directory in here.iter().rev() {
        let path = directory.join(name);
        let metadata = match path.symlink_metadata() {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            metadata => metadata?,
        };
        let whiteout = metadata.file_type().is_char_device() && metadata.rdev() == 0;
        match (metadata.is_dir(), merged.is_empty()) {
            (true, _) => {
                let mut value = [0; 1];
                let opaque = rustix::fs::lgetxattr(&path, OPAQUE, &mut value) == Ok(1) && value == *b"y";
                merged.push(path);
                if opaque {
                    break;
                }
            }
            (false, true) if !whiteout => return Ok(Some(Found::Other(path, metadata))),
            (false, _) => break,
        }
    }
    merged.reverse();
    Ok((!merged.is_empty()).then_some(Found::Directory(merged)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_inside_of_the_layers() {
        let [low, high] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        fs::create_dir_all(low.path().join("usr/lib/deep")).unwrap();
        fs::create_dir_all(high.path().join("usr/lib")).unwrap();
        fs::write(low.path().join("usr/lib/os-release"), "low").unwrap();
        fs::write(low.path().join("usr/lib/deep/file"), "deep").unwrap();
        fs::write(high.path().join("usr/lib/name"), "high").unwrap();
        symlink("/usr/lib", high.path().join("lib")).unwrap();
        symlink("../../../../../../lib/name", low.path().join("usr/lib/deep/up")).unwrap();
        symlink("loop", low.path().join("loop")).unwrap();
        symlink("/etc/passwd", low.path().join("out")).unwrap();
        let layers = [low.path().to_owned(), high.path().to_owned()];
        let read = |path: &str| read(&layers, path).unwrap().map(|content| String::from_utf8(content).unwrap());
        assert_eq!(read("lib/os-release").as_deref(), Some("low"));
        assert_eq!(read("lib/deep/file").as_deref(), Some("deep"));
        assert_eq!(read("/usr/lib/deep/up").as_deref(), Some("high"));
        for nothing in ["loop", "out", "lib", "lib/os-release/x", "none", ""] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
