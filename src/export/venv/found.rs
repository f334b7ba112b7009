//! Packages as they lie installed in an image, one distribution a part: what is the same wherever
//! a venv is, and what of them is written for the venv that they come into.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::contents::Stat;
use super::error::Error;
use super::parts::{Item, Of, Source, Wanted, made};
use super::{sums, unpacked};
use crate::oci::Digest;
use crate::python::entry_points::rewritten;
use crate::python::record::{self, Hash, Line};
use crate::sandbox::Rootfs;
use crate::store::Store;

/// A directory of an image, and where its files come in a venv.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Without a leading slash.
    pub(super) from: String,
    /// Relative to the venv; empty for the venv itself.
    pub(super) to: String,
}

/// A file or a link of an image, for a venv.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Where it lies on this machine.
    pub(super) place: PathBuf,
    /// Permission bits.
    pub(super) mode: u32,
    /// In bytes.
    pub(super) size: u64,
    /// What is in a file.
    sum: Option<Digest>,
    /// Where a link leads, relative to itself.
    target: Option<String>,
}

/// Files by their paths relative to the venv.
pub(super) type Files = BTreeMap<String, File>;

/// What lies in `place`. `is_wanted` is asked of each path relative to the venv. The links that may lead
/// out of `place` are left out, and told by themselves.
pub(super) fn gather(
    store: &Store,
    rootfs: &Rootfs,
    place: &Place,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<(Files, Vec<String>), Error> {
    let (mut gathered, mut leading_out) = (Vec::new(), Vec::new());
    for found in rootfs.below(&place.from)? {
        // bytecode names the files of the image
        if found.path.split('/').any(|name| name == "__pycache__") {
            continue;
        }
        let path = join(&place.to, &found.path);
        if !is_wanted(&path) {
            continue;
        }
        let target = match found.metadata.is_symlink() {
            true => match kept_target(&found.place, &found.path, &place.from)? {
                Some(target) => Some(target),
                None => {
                    leading_out.push(path);
                    continue;
                }
            },
            false if found.metadata.is_file() => None,
            false => continue,
        };
        let (mode, size) = (found.metadata.mode() & 0o777, found.metadata.len());
        gathered.push((path, File { place: found.place, mode, size, sum: None, target }));
    }
    let contents = gathered.iter().filter(|(_, file)| file.target.is_none()).map(|(_, file)| file.place.clone());
    let sums = sums::of(store, contents.collect())?;
    let files = gathered.into_iter().map(|(path, file)| {
        let sum = sums.get(&file.place).copied();
        (path, File { sum, ..file })
    });
    Ok((files.collect(), leading_out))
}

/// Where the link at `link`, which is `path` of the directory `top` of the image, leads from itself;
/// nothing if that may be out of the directory. From a directory that is none by a link, `..` leads to
/// the one above, and names lead down, over links of which the same is true; after a name, `..` leads
/// up from wherever a link of that name leads to.
fn kept_target(link: &Path, path: &str, top: &str) -> Result<Option<String>, Error> {
    let target = fs::read_link(link).map_err(Error::io("read", link))?;
    let Some(target) = target.to_str() else { return Ok(None) };
    let depth = path.matches('/').count();
    Ok(match target.strip_prefix('/') {
        None => is_downward(target, depth).then(|| target.to_owned()),
        Some(absolute) => {
            let below = absolute.strip_prefix(top).and_then(|rest| rest.strip_prefix('/'));
            below.filter(|below| is_downward(below, 0)).map(|below| format!("{}{below}", "../".repeat(depth)))
        }
    })
}

/// Whether `target` has `..` at its beginning alone, and there at most `depth` times.
fn is_downward(target: &str, depth: usize) -> bool {
    let mut names = target.split('/').filter(|name| !matches!(*name, "" | ".")).peekable();
    let mut up = 0;
    while names.next_if_eq(&"..").is_some() {
        up += 1;
    }
    up <= depth && names.all(|name| name != "..")
}

/// `files` as a part called `name`, whose RECORD is at `record`.
pub(super) fn part(name: String, files: Files, record: Option<String>) -> Wanted {
    // The contents themselves: times say nothing of them, for an image's may all be one, and RECORD says
    // what they should be.
    let mut key = format!("found 2\n{name}\n");
    for (path, File { mode, sum, target, .. }) in &files {
        let content = sum.map(|sum| sum.to_string()).unwrap_or_default();
        let target = target.as_deref().unwrap_or_default();
        key += &format!("{path}\0{mode:o} {content} {target}\0");
    }
    Wanted { name, key: Digest::of(key.as_bytes()), of: Of::Found { files, record } }
}

/// The files of a distribution, with `interpreter` in its scripts.
pub(super) fn items(
    store: &Store,
    key: &Digest,
    files: &Files,
    record: Option<&String>,
    interpreter: &str,
) -> Result<Vec<(String, Item)>, Error> {
    let mut scripts: HashMap<&str, Vec<u8>> = HashMap::new();
    for (path, file) in files.iter().filter(|(path, file)| path.starts_with("bin/") && file.target.is_none()) {
        if let Some(script) = rewritten(&read(&file.place)?, interpreter) {
            scripts.insert(path, script);
        }
    }
    let is_stored = |path: &String, file: &File| {
        file.target.is_none() && !scripts.contains_key(path.as_str()) && record.is_none_or(|record| record != path)
    };
    let stored: Vec<(&String, &File)> = files.iter().filter(|(path, file)| is_stored(path, file)).collect();
    let root = unpacked::found(store, key, &stored)?;
    let mut items = Vec::new();
    for (path, file) in files {
        let item = match (&file.target, scripts.get(path.as_str())) {
            (Some(target), _) => Item::link(target.clone()),
            (None, Some(script)) => made(0o755, script.clone()),
            (None, None) if record == Some(path) => made(0o644, installed(&read(&file.place)?, path, files, &scripts)),
            (None, None) => {
                Item { stat: Stat::file(file.mode & 0o555, file.size), source: Source::Stored(root.join(path)) }
            }
        };
        items.push((path.clone(), item));
    }
    Ok(items)
}

/// The RECORD at `own` of what comes into the venv, with the hashes of what is written for it.
fn installed(text: &[u8], own: &str, files: &Files, scripts: &HashMap<&str, Vec<u8>>) -> Vec<u8> {
    // …/site-packages/NAME.dist-info/RECORD
    let site = own.rsplitn(3, '/').nth(2).unwrap_or_default();
    let mut record = String::new();
    for (path, line) in record::listed(&String::from_utf8_lossy(text)) {
        let Some(place) = normalised(site, &path).filter(|place| files.contains_key(place)) else { continue };
        match scripts.get(place.as_str()) {
            Some(script) => {
                let line = Line { hash: Some(Hash::of(script)), size: Some(script.len() as u64) };
                record::push(&mut record, &path, &line);
            }
            None => {
                record.push_str(line);
                record.push('\n');
            }
        }
    }
    record.into_bytes()
}

/// `path` of the directory `above`, without `.` and `..`; nothing if it leads out of the venv.
pub(super) fn normalised(above: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut names: Vec<&str> = Vec::new();
    for name in above.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." => _ = names.pop()?,
            name => names.push(name),
        }
    }
    Some(names.join("/"))
}

fn join(above: &str, path: &str) -> String {
    if above.is_empty() { path.to_owned() } else { format!("{above}/{path}") }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::io("read", path))
}
