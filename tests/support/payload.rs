//! Locks made by hand for changesets, and what they write into a layer.

use std::io::Read;
use std::path::Path;

use dlpack::changeset::{Changeset, Error};
use dlpack::layer::{Compression, LayerWriter};
use dlpack::lock::{
    BaseFile, FileKind, Lock, LockedApt, LockedBase, LockedDeb, LockedInterpreter, LockedLayer, LockedVenv, LockedWheel,
};
use dlpack::oci::{Digest, Platform};
use dlpack::recipe::{LayerKind, Recipe};
use dlpack::sandbox::Rootfs;
use dlpack::store::{Area, Store};

/// What a layer says of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    pub kind: tar::EntryType,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: u64,
    /// Content, or a link's target.
    pub content: Vec<u8>,
}

impl Entry {
    pub fn text(&self) -> String {
        String::from_utf8(self.content.clone()).expect("UTF-8")
    }

    /// Mode in octal and owner: `0644 0:0`.
    pub fn attributes(&self) -> String {
        format!("{:04o} {}:{}", self.mode, self.uid, self.gid)
    }
}

/// The tar that `changeset` writes.
pub fn tar_of(changeset: &dyn Changeset) -> Result<Vec<u8>, Error> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path()).expect("a store");
    let mut writer = LayerWriter::new(&store, Compression::Gzip, 1_700_000_000)?;
    changeset.write(&Rootfs::default(), &mut writer)?;
    let layer = writer.complete()?;
    let blob = store.read(Area::Blobs, &layer.descriptor.digest).expect("read").expect("there");
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(blob.as_slice()).read_to_end(&mut tar).expect("gzip");
    Ok(tar)
}

/// What `changeset` writes, in the layer's order.
pub fn entries_of(changeset: &dyn Changeset) -> Vec<Entry> {
    let tar = tar_of(changeset).expect("a layer");
    let mut archive = tar::Archive::new(tar.as_slice());
    archive.entries().expect("a tar").map(|entry| read(entry.expect("an entry"))).collect()
}

/// The entry of `changeset` at `path`.
#[track_caller]
pub fn entry(changeset: &dyn Changeset, path: &str) -> Entry {
    let entries = entries_of(changeset);
    let paths: Vec<_> = entries.iter().map(|entry| entry.path.clone()).collect();
    entries.into_iter().find(|entry| entry.path == path).unwrap_or_else(|| panic!("no {path} among {paths:#?}"))
}

fn read(mut entry: tar::Entry<'_, impl Read>) -> Entry {
    let header = entry.header().clone();
    let mut content = Vec::new();
    match entry.link_name_bytes() {
        Some(target) => content = target.into_owned(),
        None => {
            entry.read_to_end(&mut content).expect("content");
        }
    }
    Entry {
        path: String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8").trim_end_matches('/').to_owned(),
        kind: header.entry_type(),
        mode: header.mode().expect("a mode"),
        uid: header.uid().expect("a uid"),
        gid: header.gid().expect("a gid"),
        mtime: header.mtime().expect("an mtime"),
        content,
    }
}

/// A recipe from its TOML, as it stands in a lock.
pub fn recipe(text: &str) -> Recipe {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The lock of `recipe` on a base with `files`. A venv has the wheels `wheels` and
/// runs on `/usr/bin/python3.11`.
pub fn lock(recipe: Recipe, files: Vec<BaseFile>, wheels: &[&str]) -> Lock {
    let layers = recipe.layers.iter().map(|layer| locked(&layer.kind, wheels)).collect();
    let base = LockedBase { index: None, manifest: None, config: None, diff_ids: Vec::new(), archive: None, files };
    let platform: Platform = "linux/amd64".parse().expect("a platform");
    Lock { version: 1, platform, settings: Default::default(), base, layers, recipe }
}

fn locked(kind: &LayerKind, wheels: &[&str]) -> LockedLayer {
    match kind {
        LayerKind::Venv(_) => LockedLayer::Venv(LockedVenv {
            inputs: Vec::new(),
            sources: Vec::new(),
            shadowed: Default::default(),
            interpreter: LockedInterpreter { path: "/usr/bin/python3.11".into(), archive: None },
            user: None,
            python: "3.11".into(),
            wheels: wheels.iter().map(|name| wheel(name)).collect(),
            bins: 1,
        }),
        LayerKind::Account(account) => {
            let id = |setting| match setting {
                Some(dlpack::recipe::IdSetting::Id(id)) => Some(id),
                _ => None,
            };
            let uid = id(account.uid).unwrap_or(1000);
            let gid = id(account.gid).unwrap_or(uid);
            LockedLayer::Account { uid, gid, authorized_keys: account.authorized_keys.clone(), inputs: vec![] }
        }
        LayerKind::Sshd(_) => LockedLayer::Sshd,
        LayerKind::Jupyter(_) => LockedLayer::Jupyter,
        LayerKind::Timezone(_) => LockedLayer::Timezone,
        LayerKind::Apt(apt) => LockedLayer::Apt(LockedApt {
            manual: apt.packages.clone(),
            sources: vec!["http://archive.example/debian".into()],
            inputs: Vec::new(),
            debs: apt.packages.iter().map(|name| deb(name)).collect(),
        }),
        LayerKind::Run(_) => LockedLayer::Run { files: Vec::new() },
        LayerKind::Files(_) => LockedLayer::Files { files: Vec::new() },
    }
}

fn deb(name: &str) -> LockedDeb {
    LockedDeb {
        name: name.into(),
        version: "1:2.0-1".into(),
        architecture: "amd64".into(),
        source: 0,
        path: format!("pool/{name}_2.0-1_amd64.deb"),
        sha256: Digest::of(name.as_bytes()),
        size: 1,
    }
}

fn wheel(name: &str) -> LockedWheel {
    LockedWheel {
        name: name.into(),
        version: "1".into(),
        file: format!("{name}-1-py3-none-any.whl"),
        sha256: Digest::of(name.as_bytes()),
        size: 1,
        index: "default".into(),
        bin: Some(0),
        without: Vec::new(),
    }
}

/// A file of a base.
pub fn base_file(path: &str, (mode, uid, gid): (u32, u32, u32), content: &str) -> BaseFile {
    BaseFile {
        path: path.into(),
        kind: FileKind::File,
        mode,
        uid,
        gid,
        sha256: Digest::of(content.as_bytes()),
        size: content.len() as u64,
        content: content.into(),
        base64: false,
    }
}

/// The account files and the skeleton of the root filesystem in the tar at `path`.
pub fn base_files_of(path: &Path) -> Vec<BaseFile> {
    let mut archive = tar::Archive::new(std::fs::File::open(path).expect("a tar"));
    let mut files = Vec::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        let amended = ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"].contains(&name.as_str());
        if entry.header().entry_type().is_file() && (amended || name.starts_with("etc/skel/")) {
            let mut content = String::new();
            entry.read_to_string(&mut content).expect("UTF-8");
            let header = entry.header();
            let id = |id: std::io::Result<u64>| u32::try_from(id.expect("an id")).expect("32 bits");
            files.push(base_file(
                &name,
                (header.mode().expect("a mode"), id(header.uid()), id(header.gid())),
                &content,
            ));
        }
    }
    files
}
