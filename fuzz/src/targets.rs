//! One function for each kind of file or header that others wrote and dlpack reads. None of
//! them may panic, hang, take memory without bound or reach out of its directory, whatever
//! the bytes are; where something was read, it says the same when it is written and read again.

use std::fs;
use std::path::Path;

use dlpack::apt::openpgp::Keyring;
use dlpack::apt::packages::Packages;
use dlpack::apt::release::Release;
use dlpack::apt::unpacked::Unpacked;
use dlpack::layer::{Compression, LayerWriter};
use dlpack::lock;
use dlpack::oci::{ChainId, Descriptor, DiffId, Digest, ImageConfig, ManifestOrIndex, media_type, parse_manifest};
use dlpack::python::entry_points;
use dlpack::python::record::Record;
use dlpack::python::scheme::PythonVersion;
use dlpack::python::wheel::Wheel;
use dlpack::recipe::Recipe;
use dlpack::registry::{Challenge, Reference};
use dlpack::sandbox::extract;
use dlpack::store::{Area, Policy, Store};
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

/// A target: a corpus is under its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 13] = [
    ("auth_challenge", auth_challenge),
    ("deb", deb),
    ("entry_points", entry_points),
    ("index", index),
    ("lock", lock),
    ("manifest", manifest),
    ("recipe", recipe),
    ("record", record),
    ("reference", reference),
    ("release", release),
    ("tar_apply", tar_apply),
    ("wheel", wheel),
    ("whiteouts", whiteouts),
];

/// Where files are made that are read; memory where there is a file system in it.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// `WWW-Authenticate` of a registry.
pub fn auth_challenge(data: &[u8]) {
    let registry = "https://registry.example/v2/".parse().expect("an address");
    let mut headers = HeaderMap::new();
    for value in data.split(|byte| *byte == b'\n').filter_map(|value| HeaderValue::from_bytes(value).ok()) {
        headers.append(WWW_AUTHENTICATE, value);
    }
    let _ = Challenge::of(&registry, &headers);
}

/// A package of Debian, unpacked into a layer.
pub fn deb(data: &[u8]) {
    let directory = directory();
    let Ok(mut unpacked) = Unpacked::new(directory.path()) else { return };
    if unpacked.add("a.deb", data).is_err() {
        return;
    }
    let store = Store::open(&directory.path().join("store")).expect("a store");
    let mut out = LayerWriter::new(&store, Compression::Gzip, 0).expect("a layer");
    if unpacked.write(&mut out).is_ok() {
        let _ = out.complete();
    }
}

/// A wheel's `entry_points.txt`.
pub fn entry_points(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let python = PythonVersion { major: 3, minor: 12, free_threaded: false };
    for (name, target) in entry_points::scripts(text, python).into_iter().flatten() {
        assert!(!name.contains('/') && name != "..", "{name:?}");
        let _ = target.script("/opt/venv/bin/python");
    }
}

/// An index: of an image or of a layout.
pub fn index(data: &[u8]) {
    parsed(data, media_type::INDEX);
    parsed(data, "application/vnd.docker.distribution.manifest.list.v2+json");
}

/// A lock.
pub fn lock(data: &[u8]) {
    let directory = directory();
    let path = directory.path().join("dlpack.lock");
    fs::write(&path, data).expect("written");
    if let Ok(Some(lock)) = lock::read(&path) {
        lock::write(&path, &lock).expect("what was read can be written");
        assert!(lock::read(&path).expect("what was written can be read") == Some(lock));
    }
}

/// A manifest and a config.
pub fn manifest(data: &[u8]) {
    parsed(data, media_type::MANIFEST);
    parsed(data, "application/vnd.docker.distribution.manifest.v2+json");
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(data) {
        let again = serde_json::to_vec(&config).expect("what was read can be written");
        assert!(serde_json::from_slice::<ImageConfig>(&again).expect("what was written can be read") == config);
    }
}

fn parsed(data: &[u8], media_type: &str) {
    let Ok(ManifestOrIndex::Manifest(manifest)) = parse_manifest(data, media_type) else { return };
    let again = manifest.encode().expect("what was read can be written");
    match parse_manifest(&again, media_type) {
        Ok(ManifestOrIndex::Manifest(read)) => assert!(read == manifest),
        other => panic!("what was written is {other:?}"),
    }
}

/// A recipe.
pub fn recipe(data: &[u8]) {
    let directory = directory();
    let path = directory.path().join("dlpack.toml");
    fs::write(&path, data).expect("written");
    match Recipe::load(&path, &[]) {
        Ok(loaded) => _ = loaded.check_files(),
        Err(error) => _ = (error.to_string(), error.hint()),
    }
}

/// A wheel's RECORD.
pub fn record(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let own = "made-1.0.dist-info/RECORD";
    let Ok(record) = Record::parse(text, own) else { return };
    let mut written = String::new();
    for path in record.paths() {
        let line = record.get(path).expect("a line");
        dlpack::python::record::push(&mut written, path, line);
    }
    let again = Record::parse(&written, own).expect("what was written can be read");
    assert!(record.paths().eq(again.paths()));
}

/// The name of an image.
pub fn reference(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(reference) = text.parse::<Reference>() else { return };
    // accepted by the parser, and refused wherever a person writes one
    if reference.repository().contains(|letter: char| letter.is_ascii_uppercase()) {
        return;
    }
    let again: Reference = reference.whole().parse().expect("a reference's whole name is one");
    assert!(again == reference, "{reference} and {again}");
}

/// An archive's Release, its index of packages, and a text that was signed.
pub fn release(data: &[u8]) {
    let keyring = Keyring::parse(data).unwrap_or_default();
    let _ = keyring.verify_cleartext(data, 1_700_000_000);
    let Ok(text) = str::from_utf8(data) else { return };
    let now = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    if let Ok(release) = Release::parse(text, String::new(), "bookworm", "archive", now) {
        let _ = release.index("main/binary-amd64/Packages.xz");
    }
    let mut packages = Packages::default();
    packages.add(text, 0);
    assert!(packages.iter().all(|package| packages.get(package.name).is_some()));
}

/// A layer of a base, applied to an empty directory.
pub fn tar_apply(data: &[u8]) {
    applied(&[data]);
}

/// A layer over one that has what it may hide and be led astray by.
pub fn whiteouts(data: &[u8]) {
    static UNDER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(under);
    applied(&[&UNDER, data]);
}

/// Files, directories, and links that lead out.
fn under() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut entry = |kind, path: &str, target: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        if target.is_empty() {
            tar.append_data(&mut header, path, content).expect("memory");
        } else {
            tar.append_link(&mut header, path, target).expect("memory");
        }
    };
    entry(tar::EntryType::Directory, "a/", "", b"");
    entry(tar::EntryType::Regular, "a/f", "", b"below\n");
    entry(tar::EntryType::Directory, "a/d/", "", b"");
    entry(tar::EntryType::Regular, "a/d/g", "", b"deep\n");
    entry(tar::EntryType::Symlink, "out", "../../../../outside", b"");
    entry(tar::EntryType::Symlink, "up", "..", b"");
    entry(tar::EntryType::Symlink, "l", "a/d", b"");
    entry(tar::EntryType::Link, "h", "a/f", b"");
    tar.into_inner().expect("memory")
}

/// Extracts `layers`, flattened and each in overlayfs's form; nothing beside them changes.
fn applied(layers: &[&[u8]]) {
    let directory = directory();
    let outside = directory.path().join("outside");
    fs::write(&outside, "outside\n").expect("written");
    let store = Store::open(&directory.path().join("store")).expect("a store");
    let mut stack = Vec::new();
    for layer in layers {
        let digest = store.put(Area::Blobs, layer).expect("stored");
        let descriptor = Descriptor::new(media_type::LAYER_TAR, digest, layer.len() as u64);
        stack.push((descriptor, DiffId(Digest::of(layer))));
    }
    let _ = extract::base(&store, &stack);
    let (mut under, mut lower): (Option<ChainId>, _) = (None, Vec::new());
    for (descriptor, diff_id) in &stack {
        let Ok(tree) = extract::layer(&store, descriptor, *diff_id, under, &lower) else { break };
        under = Some(ChainId::on(under, diff_id));
        lower.push(tree);
    }
    assert_eq!(fs::read(&outside).expect("it is there"), b"outside\n");
    let beside: Vec<_> = fs::read_dir(directory.path()).expect("read").filter_map(Result::ok).collect();
    assert_eq!(beside.len(), 2, "{beside:?}");
    store.gc(&Policy { ceiling: Some(0), unused_for: None }).expect("all of it can be removed");
    assert_eq!(fs::read_dir(store.root().join("tmp")).expect("read").count(), 0, "nothing is left");
}

/// A wheel, entry by entry.
pub fn wheel(data: &[u8]) {
    let Ok(wheel) = Wheel::open(data, data.len() as u64, "made-1.0-py3-none-any.whl") else { return };
    for entry in wheel.directory().entries() {
        assert!(!entry.path.starts_with('/') && !entry.path.split('/').any(|part| part == ".."), "{}", entry.path);
        assert!(wheel.directory().find(&entry.path).is_some());
        if let Ok(content) = wheel.read(entry) {
            assert_eq!(content.len() as u64, entry.size);
        }
        let _ = wheel.raw(entry);
    }
}
