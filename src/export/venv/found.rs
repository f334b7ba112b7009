//! Packages as they lie installed in an image, one distribution a part: what is the same wherever
//! a venv is, and what of them is written for the venv that they come into.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::contents::Stat;
use super::error::Error;
use super::parts::{Item, Of, Source, Wanted, made};
use super::unpacked;
use crate::oci::Digest;
use crate::python::entry_points::rewritten;
use crate::python::record::{self, Hash, Line};
use crate::python::wheel::normalize;
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
    /// In seconds since 1970.
    mtime: i64,
    /// Where a link leads, relative to itself.
    target: Option<String>,
}

/// Files by their paths relative to the venv.
pub(super) type Files = BTreeMap<String, File>;

/// Adds what lies in `place` to `files`, unless something has its path already. `is_wanted` is asked
/// of each path relative to the venv. Returns the links that lead out of `place`, which are left out.
pub(super) fn gather(
    rootfs: &Rootfs,
    place: &Place,
    is_wanted: impl Fn(&str) -> bool,
    files: &mut Files,
) -> Result<Vec<String>, Error> {
    let mut leading_out = Vec::new();
    for found in rootfs.below(&place.from)? {
        // bytecode names the files of the image
        if found.path.split('/').any(|name| name == "__pycache__") {
            continue;
        }
        let path = join(&place.to, &found.path);
        if !is_wanted(&path) || files.contains_key(&path) {
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
        let (mode, size, mtime) = (found.metadata.mode() & 0o777, found.metadata.len(), found.metadata.mtime());
        files.insert(path, File { place: found.place, mode, size, mtime, target });
    }
    Ok(leading_out)
}

/// Where the link at `link`, which is `path` of the directory `top` of the image, leads from itself;
/// nothing if that is out of the directory.
fn kept_target(link: &Path, path: &str, top: &str) -> Result<Option<String>, Error> {
    let target = fs::read_link(link).map_err(Error::io("read", link))?;
    let Some(target) = target.to_str() else { return Ok(None) };
    let depth = path.matches('/').count();
    let Some(absolute) = target.strip_prefix('/') else {
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        return Ok(normalised(above, target).map(|_| target.to_owned()));
    };
    let below = absolute.strip_prefix(top).and_then(|rest| rest.strip_prefix('/'));
    Ok(below.filter(|below| normalised("", below).is_some()).map(|below| format!("{}{below}", "../".repeat(depth))))
}

/// The distributions among `files`, whose site-packages are `site`, relative to the venv, and what is
/// none, as `others`. Those that `is_wanted` by their normalised names does not take are left out.
pub(super) fn distributions(
    mut files: Files,
    site: &str,
    others: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Wanted>, Error> {
    let is_record = |path: &&String| {
        let below = path.strip_prefix(site).and_then(|rest| rest.strip_prefix('/'));
        below.and_then(|rest| rest.strip_suffix(".dist-info/RECORD")).is_some_and(|name| !name.contains('/'))
    };
    let records: Vec<String> = files.keys().filter(is_record).cloned().collect();
    let mut parts = Vec::new();
    for record in records {
        // PyPA, "Recording installed projects": "{name}-{version}.dist-info"
        let directory = record.strip_suffix("RECORD").unwrap_or(&record);
        let stem = directory.rsplit('/').nth(1).and_then(|name| name.strip_suffix(".dist-info")).unwrap_or_default();
        let (name, version) = stem.rsplit_once('-').unwrap_or((stem, ""));
        let Some(text) = files.get(&record).map(|file| read(&file.place)).transpose()? else { continue };
        let text = String::from_utf8_lossy(&text).into_owned();
        let listed = record::listed(&text).filter_map(|(path, _)| normalised(site, &path));
        let own = files.range(directory.to_owned()..).map(|(path, _)| path.clone());
        let own = own.take_while(|path| path.starts_with(directory));
        let paths: Vec<String> = listed.chain(own).collect();
        let own: Files = paths.into_iter().filter_map(|path| files.remove_entry(&path)).collect();
        let name = normalize(name);
        if is_wanted(&name) {
            parts.push(part(format!("{name} {version}"), own, Some(record)));
        }
    }
    if !files.is_empty() {
        parts.push(part(others.to_owned(), files, None));
    }
    Ok(parts)
}

/// `files` as a part called `name`, whose RECORD is at `record`.
pub(super) fn part(name: String, files: Files, record: Option<String>) -> Wanted {
    // A file that has changed in an image has another length or time there, or is listed with
    // another hash in a RECORD of other content.
    let mut key = format!("found 1\n{name}\n");
    for (path, File { mode, size, mtime, target, place }) in &files {
        let target = target.as_deref().unwrap_or_default();
        let content = record.as_ref().filter(|record| *record == path).and_then(|_| fs::read(place).ok());
        let content = content.map(|bytes| Digest::of(&bytes).to_string()).unwrap_or_default();
        key += &format!("{path}\0{mode:o} {size} {mtime} {content} {target}\n");
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

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::io("read", path))
}
