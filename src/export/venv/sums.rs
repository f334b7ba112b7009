//! What is in the files of an image, by sha256: read once, and kept in the store.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::error::Error;
use super::unpacked;
use crate::oci::{Digest, Hasher};
use crate::store::Store;

/// The version of the form in which they are kept.
const FORM: u32 = 1;
/// The file that has them, in the order of the files.
const SUMS: &str = "sums.json";

/// The sha256 of each of `files`, of trees of `store`.
pub(super) fn of(store: &Store, files: Vec<PathBuf>) -> Result<HashMap<PathBuf, Digest>, Error> {
    let mut trees: BTreeMap<Option<PathBuf>, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        // STORE/overlays/sha256/CHAINID/root/…
        let below = file.strip_prefix(store.root()).ok();
        trees.entry(below.map(|below| below.components().take(3).collect())).or_default().push(file);
    }
    let mut all = HashMap::new();
    for (tree, files) in trees {
        let sums = if tree.is_some() { kept(store, &files)? } else { read(&files)? };
        all.extend(files.into_iter().zip(sums));
    }
    Ok(all)
}

/// Those of `files`, all of one tree: its ChainID is in their paths, and stands for what is in them.
fn kept(store: &Store, files: &[PathBuf]) -> Result<Vec<Digest>, Error> {
    let mut key = Hasher::new();
    key.update(format!("sums {FORM}\n").as_bytes());
    for file in files {
        key.update(file.strip_prefix(store.root()).unwrap_or(file).as_os_str().as_encoded_bytes());
        key.update(b"\0");
    }
    let root = unpacked::made_once(store, &key.finish().0, |folder| {
        let sums = read(files)?;
        let failed = || Error::io("write", Path::new(SUMS));
        let text = serde_json::to_vec(&sums).map_err(io::Error::from).map_err(failed())?;
        folder.file(SUMS, 0o444, &text[..], |_| {}, failed()).map(drop)
    })?;
    let path = root.join(SUMS);
    let text = fs::read(&path).map_err(Error::io("read", &path))?;
    let sums: Option<Vec<Digest>> = serde_json::from_slice(&text).ok();
    sums.filter(|sums| sums.len() == files.len()).map_or_else(|| read(files), Ok)
}

/// Reads them, as many at a time as there are cores.
fn read(files: &[PathBuf]) -> Result<Vec<Digest>, Error> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Digest)>, Error> {
        let mut sums = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = files.get(at) else { return Ok(sums) };
            let mut hasher = Hasher::new();
            let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hasher));
            copied.map_err(Error::io("read", path))?;
            sums.push((at, hasher.finish().0));
        }
    };
    let mut sums = thread::scope(|scope| -> Result<Vec<(usize, Digest)>, Error> {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })?;
    sums.sort_unstable();
    Ok(sums.into_iter().map(|(_, sum)| sum).collect())
}
