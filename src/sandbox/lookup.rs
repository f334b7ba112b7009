//! A file looked up in layers in overlayfs's form, without mounting them.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::record::{OPAQUE, OWNER, Owner};
use crate::layer::Attributes;

/// path_resolution(7): "the maximum number of symbolic links followed … is 40".
pub(crate) const MOST_LINKS: usize = 40;

/// A file, directory or link, as steps see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its mode, and the owner that is recorded of a file or a directory.
    pub attributes: Attributes,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryKind {
    /// A file with its content.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link and where it leads.
    Symlink(PathBuf),
    /// A device, a FIFO or a socket.
    Special,
}

/// What lies below a directory, and is none.
#[derive(Clone, Debug)]
pub struct Below {
    /// Its path relative to the directory.
    pub path: String,
    /// Where it lies on this machine.
    pub place: PathBuf,
    /// What it is there: its owner is the caller's.
    pub metadata: Metadata,
}

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
    match look(layers, path, true)?.map(|(_, found)| found) {
        Some(Found::Other(file, metadata)) if metadata.is_file() => content(&file).map(Some),
        _ => Ok(None),
    }
}

fn content(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(file)?.read_to_end(&mut content)?;
    Ok(content)
}

/// What is at `path`, links on the way followed, one at its end not.
pub(super) fn entry(layers: &[PathBuf], path: &str) -> io::Result<Option<Entry>> {
    let (kind, at, metadata) = match look(layers, path, false)?.map(|(_, found)| found) {
        None => return Ok(None),
        Some(Found::Directory(merged)) => {
            let Some(top) = merged.last().cloned() else { return Ok(None) };
            let metadata = top.symlink_metadata()?;
            (EntryKind::Directory, top, metadata)
        }
        Some(Found::Other(link, metadata)) if metadata.is_symlink() => {
            (EntryKind::Symlink(fs::read_link(&link)?), link, metadata)
        }
        Some(Found::Other(file, metadata)) if metadata.is_file() => (EntryKind::File(content(&file)?), file, metadata),
        Some(Found::Other(other, metadata)) => (EntryKind::Special, other, metadata),
    };
    let mut value = [0; 32];
    let recorded = match kind {
        EntryKind::Directory | EntryKind::File(_) => rustix::fs::lgetxattr(&at, OWNER, &mut value).ok(),
        EntryKind::Symlink(_) | EntryKind::Special => None,
    };
    let owner = recorded.and_then(|length| Owner::parse(value.get(..length)?)).unwrap_or(Owner::ROOT);
    let attributes = Attributes { mode: metadata.mode() & 0o7777, uid: owner.uid, gid: owner.gid };
    Ok(Some(Entry { kind, attributes }))
}

/// The names in the directory at `path`, sorted; none if there is no directory.
pub(super) fn names(layers: &[PathBuf], path: &str) -> io::Result<Vec<String>> {
    match look(layers, path, true)?.map(|(_, found)| found) {
        Some(Found::Directory(merged)) => visible(&merged),
        _ => Ok(Vec::new()),
    }
}

/// The files and links below the directory at `path`, however deep, sorted; none if there is no
/// directory. Links are not followed but on the way to it.
pub(super) fn below(layers: &[PathBuf], path: &str) -> io::Result<Vec<Below>> {
    let Some((_, Found::Directory(top))) = look(layers, path, true)? else { return Ok(Vec::new()) };
    let (mut all, mut rest) = (Vec::new(), vec![(String::new(), top)]);
    while let Some((above, merged)) = rest.pop() {
        for name in visible(&merged)? {
            let found = find(&merged, Path::new(&name))?;
            let path = if above.is_empty() { name } else { format!("{above}/{name}") };
            match found {
                Some(Found::Directory(merged)) => rest.push((path, merged)),
                Some(Found::Other(place, metadata)) => all.push(Below { path, place, metadata }),
                None => {}
            }
        }
    }
    all.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(all)
}

/// The names in the directory that `merged` are, lowest first, sorted; not those that are no text.
fn visible(merged: &[PathBuf]) -> io::Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for directory in merged {
        for entry in fs::read_dir(directory)? {
            names.insert(entry?.file_name());
        }
    }
    let mut visible = Vec::new();
    for name in names {
        // one that a layer above has deleted is there in a layer below
        if let Some(text) = name.to_str()
            && find(merged, Path::new(&name))?.is_some()
        {
            visible.push(text.to_owned());
        }
    }
    Ok(visible)
}

/// Where links lead from `path`, without a leading slash; nothing if nothing is there.
pub(super) fn real(layers: &[PathBuf], path: &str) -> io::Result<Option<String>> {
    Ok(look(layers, path, true)?.and_then(|(path, _)| path.into_os_string().into_string().ok()))
}

/// What is at `path` in `layers`, lowest first, and its path without links on the way. They are followed
/// inside of the layers, one at the end only if `follow` says so.
fn look(layers: &[PathBuf], path: &str, follow: bool) -> io::Result<Option<(PathBuf, Found)>> {
    let mut links = 0;
    // the directories on the way from the root
    let mut way = vec![(PathBuf::new(), layers.to_vec())];
    let mut rest: Vec<PathBuf> = components(Path::new(path));
    while let Some(name) = rest.pop() {
        if name == Path::new("..") {
            way.truncate(way.len().saturating_sub(1).max(1));
            continue;
        }
        let Some((above, here)) = way.last() else { return Ok(None) };
        match find(here, &name)? {
            None => return Ok(None),
            Some(Found::Directory(directory)) => way.push((above.join(&name), directory)),
            Some(Found::Other(link, metadata)) if metadata.is_symlink() && (follow || !rest.is_empty()) => {
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
            Some(other) if rest.is_empty() => return Ok(Some((above.join(&name), other))),
            Some(Found::Other(..)) => return Ok(None),
        }
    }
    Ok(way.pop().map(|(path, directory)| (path, Found::Directory(directory))))
}

/// The names on a path, the last first.
pub(crate) fn components(path: &Path) -> Vec<PathBuf> {
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
        let link = entry(&layers, "lib").unwrap().unwrap();
        assert_eq!(link.kind, EntryKind::Symlink("/usr/lib".into()));
        let high = entry(&layers, "lib/name").unwrap().unwrap();
        assert_eq!(high.kind, EntryKind::File(b"high".to_vec()));
        assert_eq!(names(&layers, "lib").unwrap(), ["deep", "name", "os-release"]);
        let real = |path: &str| super::real(&layers, path).unwrap();
        assert_eq!(real("/lib/deep/../deep/up").as_deref(), Some("usr/lib/name"), "by links on the way and at the end");
        assert_eq!((real("lib/deep").as_deref(), real("loop"), real("out")), (Some("usr/lib/deep"), None, None));
        assert_eq!(names(&layers, "lib/name").unwrap(), Vec::<String>::new());
        for nothing in ["loop", "out", "lib", "lib/os-release/x", "none", ""] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
