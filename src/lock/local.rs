//! What a recipe takes from disk: the files of `files` layers, requirements files,
//! authorised keys. Hashed when the recipe is locked, and again to see whether the
//! lock still fits.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use walkdir::WalkDir;

use super::error::Error;
use super::model::{FileKind, LockedFile, LockedInput};
use crate::oci::{Digest, Hasher};
use crate::recipe::{Account, Apt, Files, FilesEntry, Loaded, Run};

/// The files of a layer, sorted by where they go. `layer` is its name, `directory`
/// the recipe's.
pub fn files(layer: &str, recipe: &Files, directory: &Path) -> Result<Vec<LockedFile>, Error> {
    let mut files = Vec::new();
    for entry in &recipe.files {
        let taker = Taker::new(layer, entry)?;
        match (&entry.from, &entry.content) {
            (Some(from), _) => taker.tree(&directory.join(from), from, &mut files)?,
            (None, content) => files.push(taker.content(content.as_deref().unwrap_or_default())),
        }
    }
    files.sort_by(|a, b| a.to.cmp(&b.to));
    match files.windows(2).find(|pair| pair[0].to == pair[1].to) {
        Some(pair) => Err(Error::Twice { layer: layer.to_owned(), to: pair[0].to.clone() }),
        None => Ok(files),
    }
}

/// Where the script of a `run` layer is while it runs, without a leading slash.
pub const SCRIPT: &str = "run/dlpack/script";

/// The script and the mounts of a `run` layer, sorted by where the step sees them.
pub fn run_files(layer: &str, run: &Run, directory: &Path) -> Result<Vec<LockedFile>, Error> {
    let entry = |from: &str, to: &str| FilesEntry {
        from: Some(from.to_owned()),
        content: None,
        to: to.to_owned(),
        mode: None,
        owner: None,
    };
    let script = run.script.iter().map(|script| entry(script, SCRIPT));
    let mounts = run.mounts.iter().map(|mount| entry(&mount.from, &mount.to));
    let entries: Vec<FilesEntry> = script.chain(mounts).collect();
    for path in entries.iter().filter_map(|entry| Some(directory.join(entry.from.as_ref()?))) {
        if path.is_symlink() {
            return Err(Error::NotAFile {
                layer: layer.to_owned(),
                path,
                what: "a symbolic link: name what it leads to",
            });
        }
    }
    files(layer, &Files { files: entries }, directory)
}

/// Takes files by the settings of one entry.
struct Taker<'a> {
    layer: &'a str,
    /// Without a leading slash.
    to: String,
    mode: Option<u32>,
    uid: u32,
    gid: u32,
    owned: bool,
}

impl<'a> Taker<'a> {
    fn new(layer: &'a str, entry: &FilesEntry) -> Result<Self, Error> {
        let wrong = |value: &str, what| Error::Setting { layer: layer.to_owned(), value: value.to_owned(), what };
        let octal = |mode: &String| {
            u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| wrong(mode, "an octal mode"))
        };
        let id = |owner: &str, id: &str| id.parse::<u32>().map_err(|_| wrong(owner, "UID or UID:GID, in numbers"));
        let (uid, gid) = match entry.owner.as_deref().map(|owner| (owner, owner.split_once(':'))) {
            None => (0, 0),
            Some((owner, None)) => (id(owner, owner)?, id(owner, owner)?),
            Some((owner, Some((uid, gid)))) => (id(owner, uid)?, id(owner, gid)?),
        };
        Ok(Self {
            layer,
            to: entry.to.trim_matches('/').to_owned(),
            mode: entry.mode.as_ref().map(octal).transpose()?,
            uid,
            gid,
            owned: entry.owner.is_some(),
        })
    }

    fn content(&self, content: &str) -> LockedFile {
        let (sha256, size) = (Digest::of(content.as_bytes()), content.len() as u64);
        let mode = self.mode.unwrap_or(0o644);
        self.file(String::new(), self.to.clone(), FileKind::File, mode, (sha256, size))
    }

    /// A file, or a directory with all that is in it. Links are kept as they are.
    ///
    /// A directory is an entry of its own where it is empty or has an owner: else it
    /// comes to be with its files, and a directory of the base keeps its attributes.
    fn tree(&self, path: &Path, from: &str, files: &mut Vec<LockedFile>) -> Result<(), Error> {
        let unreadable =
            |path: &Path, source| Error::File { layer: self.layer.to_owned(), path: path.to_owned(), source };
        for entry in WalkDir::new(path).follow_root_links(false).sort_by_file_name() {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(path).to_owned();
                unreadable(&path, error.into())
            })?;
            let inside = entry.path().strip_prefix(path).unwrap_or(Path::new(""));
            let not = |what| Error::NotAFile { layer: self.layer.to_owned(), path: entry.path().to_owned(), what };
            let inside = inside.to_str().ok_or_else(|| not("not named in UTF-8"))?;
            let join = |base: &str| {
                [base, inside].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/")
            };
            let (from, to) = (join(from.trim_end_matches('/')), join(&self.to));
            let kind = entry.file_type();
            let found = if kind.is_symlink() {
                let target = fs::read_link(entry.path()).map_err(|source| unreadable(entry.path(), source))?;
                let target = target.as_os_str().as_bytes();
                Some((FileKind::Symlink, 0o777, (Digest::of(target), target.len() as u64)))
            } else if kind.is_file() {
                let hash = hash(entry.path()).map_err(|source| unreadable(entry.path(), source))?;
                let mode = self.mode.map_or_else(|| plain_mode(entry.path()), Ok);
                Some((FileKind::File, mode.map_err(|source| unreadable(entry.path(), source))?, hash))
            } else if kind.is_dir() {
                let empty = fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none());
                (!to.is_empty() && (empty || self.owned)).then(|| (FileKind::Directory, 0o755, (Digest::of(b""), 0)))
            } else {
                return Err(not("neither a file, a directory nor a symbolic link"));
            };
            files.extend(found.map(|(kind, mode, hash)| self.file(from, to, kind, mode, hash)));
        }
        Ok(())
    }

    fn file(&self, from: String, to: String, kind: FileKind, mode: u32, (sha256, size): (Digest, u64)) -> LockedFile {
        LockedFile { from, to, kind, mode, uid: self.uid, gid: self.gid, sha256, size }
    }
}

/// 0755 if anybody may execute it, else 0644: what a version control system keeps,
/// whatever the umask.
fn plain_mode(path: &Path) -> io::Result<u32> {
    Ok(if fs::metadata(path)?.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 })
}

/// The sha256 and length of the file at `path`.
pub fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finish())
}

/// `paths` and the requirements and constraints files that they include, with their
/// hashes.
pub fn inputs(layer: &str, paths: &[String], directory: &Path) -> Result<Vec<LockedInput>, Error> {
    let mut inputs: Vec<LockedInput> = Vec::new();
    let mut waiting: Vec<String> = paths.iter().rev().cloned().collect();
    while let Some(path) = waiting.pop() {
        if inputs.iter().any(|known| known.path == path) {
            continue;
        }
        let disk = directory.join(&path);
        let text = fs::read(&disk).map_err(|source| Error::File { layer: layer.to_owned(), path: disk, source })?;
        let beside = Path::new(&path).parent().unwrap_or(Path::new(""));
        for included in String::from_utf8_lossy(&text).lines().filter_map(included) {
            waiting.push(beside.join(included).to_string_lossy().into_owned());
        }
        inputs.push(LockedInput { path, sha256: Digest::of(&text) });
    }
    inputs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(inputs)
}

/// pip's requirements file format: `-r FILE`, `--requirement=FILE`, `-c`, `--constraint`.
fn included(line: &str) -> Option<&str> {
    let line = line.trim();
    let long = ["--requirement", "--constraint"].iter().find_map(|option| line.strip_prefix(option));
    let rest = long.or_else(|| ["-r", "-c"].iter().find_map(|option| line.strip_prefix(option)))?;
    let path = rest.trim_start_matches([' ', '\t', '=']).split(" #").next()?.trim();
    (!path.is_empty() && !path.contains("://")).then_some(path)
}

/// The files of authorised keys with their hashes, without those in a home (`~/`),
/// which is another one on another machine.
pub fn key_files(layer: &str, account: &Account, loaded: &Loaded) -> Result<Vec<LockedInput>, Error> {
    let beside = account.authorized_keys_files.iter().filter(|file| !file.starts_with("~/"));
    beside.map(|file| input(layer, file, loaded)).collect()
}

/// The keys of an apt layer's own archives with their hashes.
pub fn apt_keys(layer: &str, apt: &Apt, loaded: &Loaded) -> Result<Vec<LockedInput>, Error> {
    let keys: BTreeSet<&String> = apt.sources.iter().filter_map(|source| source.key.as_ref()).collect();
    keys.into_iter().map(|key| input(layer, key, loaded)).collect()
}

fn input(layer: &str, file: &str, loaded: &Loaded) -> Result<LockedInput, Error> {
    let path = loaded.file(file);
    let (sha256, _) = hash(&path).map_err(|source| Error::File { layer: layer.to_owned(), path, source })?;
    Ok(LockedInput { path: file.to_owned(), sha256 })
}

/// The lines of `authorized_keys`: the recipe's, then those of its files.
pub fn authorized_keys(layer: &str, account: &Account, loaded: &Loaded) -> Result<Vec<String>, Error> {
    let mut lines = account.authorized_keys.clone();
    for file in &account.authorized_keys_files {
        let path = loaded.file(file);
        let text = fs::read_to_string(&path).map_err(|source| Error::File {
            layer: layer.to_owned(),
            path: path.clone(),
            source,
        })?;
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.extend(keys.map(str::to_owned));
    }
    Ok(lines)
}
