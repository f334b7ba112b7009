//! Wheels that lie: each is refused by name, nothing is left behind, and the next
//! honest run succeeds.

use std::fs;
use std::sync::Arc;

use dlpack::changeset::{Changeset, venv::changesets};
use dlpack::store::{Area, Store};

use crate::support::venv;
use crate::support::wheel::{Entry, FILE, Zip, made, with_record};

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::Builder::new().prefix("dlpack-bad-").tempdir().expect("a temporary directory");
    let store = Store::open(&directory.path().join("store")).expect("a store");
    (directory, store)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said += &format!(": {error}");
        cause = error.source();
    }
    said
}

fn layer_of(store: &Store, file: &str, bytes: &[u8]) -> Arc<dyn Changeset> {
    let locked = venv::venv(vec![venv::locked(store, file, bytes, None)]);
    let mut changesets =
        changesets(&venv::recipe("/opt/venv"), &locked, std::path::Path::new("."), store).expect("changesets");
    changesets.pop().expect("a layer of wheels").changeset
}

/// `bytes` are refused with an error that says `because`; nothing is left; an honest
/// wheel can be written right after.
#[track_caller]
fn refused_as(file: &str, bytes: &[u8], because: &str) {
    let (_directory, store) = store();
    let error = venv::write(&store, layer_of(&store, file, bytes).as_ref()).expect_err("refused");
    let said = chain(&error);
    assert!(said.contains(file) && said.contains(because), "{said:?} does not say {because:?}");
    assert_eq!(venv::leftovers(&store), [] as [std::path::PathBuf; 0]);
    let honest = made(vec![Entry::new("made.py", b"x = 1\n")]).bytes();
    venv::write(&store, layer_of(&store, FILE, &honest).as_ref()).expect("the next honest run succeeds");
}

#[track_caller]
fn refused(zip: &Zip, because: &str) {
    refused_as(FILE, &zip.bytes(), because);
}

fn module() -> Entry {
    Entry::new("made.py", b"x = 1\n")
}

#[test]
fn a_path_that_leads_elsewhere_is_refused() {
    for (path, because) in [
        ("../made.py", "leads out"),
        ("a/../../made.py", "leads out"),
        ("a/..", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:/made.py", "absolute"),
        ("a\\b.py", "backslash"),
        ("a\0b.py", "control character"),
        ("a\nb.py", "control character"),
        ("a//b.py", "empty component"),
        ("./a.py", "empty component"),
        ("", "empty component"),
        ("made-1.0.data/scripts/../../../x", "leads out"),
    ] {
        refused(&made(vec![Entry::new(path, b"x")]), because);
    }
    refused(&made(vec![Entry::new("", b"x").but(|e| e.name = b"a\xff.py".to_vec())]), "not UTF-8");
    refused(&made(vec![Entry::new(&"a/".repeat(2000), b"")]), "too long");
}

#[test]
fn links_and_devices_are_refused() {
    for mode in [0o120_777, 0o020_666, 0o010_644] {
        refused(
            &made(vec![Entry::new("link", b"/etc/passwd").but(|e| e.mode = mode)]),
            "neither a file nor a directory",
        );
    }
    refused(&made(vec![Entry::new("link/", b"").but(|e| e.mode = 0o120_777)]), "neither a file nor a directory");
}

#[test]
fn a_path_that_stands_twice_is_refused() {
    refused(&made(vec![module(), module()]), "`made.py` is in the zip twice");
    refused(&made(vec![Entry::new("d/", b""), Entry::new("d/", b"")]), "`d` is in the zip twice");
    refused(&made(vec![Entry::new("d", b""), Entry::new("d/x", b"")]), "`d` is a file");
    refused(&made(vec![Entry::new("d", b""), Entry::new("d/", b"")]), "`d` is a file");
    refused(&made(vec![Entry::new("d", b""), Entry::new("d/e/", b"")]), "`d` is a file");
    let elsewhere = Entry::new("made-1.0.data/purelib/made.py", b"x = 2\n");
    refused(&made(vec![module(), elsewhere]), "two of its files would become");
    let below = Entry::new("made-1.0.data/purelib/made.py/x", b"x = 2\n");
    refused(&made(vec![module(), below]), "is a file");
}

#[test]
fn what_is_no_plain_zip_is_refused() {
    refused_as(FILE, b"not a zip", "zip directory can't be read");
    let whole = made(vec![module()]).bytes();
    refused_as(FILE, &whole[..whole.len() - 30], "zip directory can't be read");
    refused(&Zip { suffix: b"more".to_vec(), ..made(vec![module()]) }, "the zip ends at byte");
    refused(&Zip { count: Some(3), ..made(vec![module()]) }, "says 3 entries and has 4");
    refused(&made(vec![module().but(|e| e.flags = 1)]), "is encrypted");
    refused(&made(vec![module().but(|e| e.method = 12)]), "method 12");
}

#[test]
fn headers_that_disagree_are_refused() {
    let other = |change: fn(&mut Entry)| made(vec![module().but(change)]);
    refused(&other(|e| e.local_name = Some(b"evil.py".to_vec())), "disagree on its name");
    refused(&other(|e| e.local_method = Some(0)), "disagree on its compression");
    refused(&other(|e| e.local_size = Some(7)), "disagree on its size");
}

#[test]
fn a_directory_that_lies_about_contents_is_refused() {
    let other = |change: fn(&mut Entry)| made(vec![module().but(change)]);
    refused(&other(|e| e.crc32 = Some(1)), "another length or CRC-32");
    refused(&other(|e| (e.size, e.descriptor) = (Some(5), true)), "its size differs");
    refused(&other(|e| (e.method, e.size) = (0, Some(5))), "lies about `made.py`");
    refused(&other(|e| (e.method, e.crc32) = (0, Some(1))), "another length or CRC-32");
    refused(&other(|e| e.offset = Some(0x00ff_ffff)), "overlaps");
    let cut = with_record(other(|e| e.compressed = Some(4)), |record| record);
    refused(&cut, "made.py");
}

#[test]
fn bombs_are_refused_before_anything_is_inflated() {
    let small = |name: &str| Entry::new(name, &[0; 1000]);
    refused(&made(vec![small("bomb").but(|e| e.size = Some(0xffff_0000))]), "lies about `bomb`");
    // within what deflate can do, far beyond any wheel
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(1_200_000).collect();
    refused(&made(vec![Entry::new("bomb", &noise).but(|e| e.size = Some(1_150_000_000))]), "more than any wheel does");
    let shared = vec![module(), Entry::new("again.py", b"x = 1\n").but(|e| e.offset = Some(0))];
    refused(&made(shared), "overlaps");
    let many: Vec<Entry> = (0..60_000).map(|number| Entry::new(&format!("f{number}"), b"")).collect();
    let mut many = made(many);
    many.entries.extend((0..41_000).map(|number| Entry::new(&format!("g{number}"), b"")));
    refused(&many, "100000 entries");
}

#[test]
fn a_wheel_that_is_not_what_its_name_says_is_refused() {
    let bytes = made(vec![module()]).bytes();
    refused_as("made-2.0-py3-none-any.whl", &bytes, "`made-1.0.dist-info`, which is not what its file name says");
    refused_as("fake-1.0-py3-none-any.whl", &bytes, "not what its file name says");
    refused(&Zip { entries: vec![module()], ..Zip::default() }, "no .dist-info");
    refused(&made(vec![Entry::new("made-1.1.dist-info/METADATA", b"")]), "two .dist-info");
    let without = |name: &str| {
        let mut zip = made(vec![module()]);
        zip.entries.retain(|entry| !entry.name.ends_with(name.as_bytes()));
        zip
    };
    for name in ["WHEEL", "METADATA", "RECORD"] {
        refused(&without(name), &format!("it has no `made-1.0.dist-info/{name}`"));
    }
    for version in ["2.0", "", "x"] {
        let mut zip = without("WHEEL");
        let text = format!("Wheel-Version: {version}\n");
        zip.entries.push(Entry::new("made-1.0.dist-info/WHEEL", text.as_bytes()));
        refused(&zip, &format!("its Wheel-Version is `{version}`"));
    }
}

#[test]
fn a_record_that_lies_is_refused() {
    let honest = || made(vec![module(), Entry::new("b.py", b"")]);
    let edited = |from: &'static str, to: &'static str| with_record(honest(), move |text| text.replace(from, to));
    let without = |name: &'static str| {
        with_record(honest(), move |text| {
            text.lines().filter(|line| !line.contains(name)).map(|line| format!("{line}\n")).collect()
        })
    };
    refused(&without("b.py"), "`b.py` is not listed in RECORD");
    refused(&edited("\"b.py\"", "c.py"), "RECORD lists `c.py`, which is not in the wheel");
    refused(&edited("\"b.py\",sha256=47DEQ", "b.py,sha256=57DEQ"), "its sha256 differs");
    refused(&edited("\"b.py\",sha256=47DEQ", "b.py,sha256="), "sha256, sha384 or sha512 is needed");
    refused(&edited("\"b.py\",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0", "b.py,,0"), "no hash for `b.py`");
    refused(&edited("\"b.py\",sha256=47DEQ", "b.py,md5=47DEQ"), "sha256, sha384 or sha512 is needed");
    refused(&edited(",0\n", ",1\n"), "its size differs");
    refused(&edited("\"b.py\",", "b.py;"), "line 2 of RECORD");
    refused(&edited("\"b.py\",", "\"b.py,"), "line 2 of RECORD");
    refused(
        &with_record(honest(), |text| text.clone() + "b.py,sha256=57DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n"),
        "twice",
    );
    let script = Entry::new("made-1.0.data/scripts/run", b"#!python\n");
    let lying = with_record(made(vec![script]), |text| text.replacen("sha256=", "sha256=A", 1));
    refused(&lying, "sha256, sha384 or sha512 is needed");
    let stored = Entry::new("b.py", b"12345").but(|e| e.method = 0);
    let mut stored = made(vec![stored]);
    stored.entries[0].content = b"54321".to_vec();
    refused(&stored, "its sha256 differs");
}

#[test]
fn scripts_that_would_replace_the_venvs_own_are_refused() {
    let entry_points = |line: &str| {
        let text = format!("[console_scripts]\n{line}\n");
        made(vec![Entry::new("made-1.0.dist-info/entry_points.txt", text.as_bytes())])
    };
    for name in ["python", "python3", "python3.9", "activate"] {
        refused(&entry_points(&format!("{name} = a:b")), &format!("`bin/{name}`, which is the venv's own"));
    }
    refused(&entry_points("../../evil = a:b"), "not a file name");
    refused(&entry_points("evil = a:b() or c"), "not MODULE:OBJECT");
    for path in
        ["data/pyvenv.cfg", "data/bin/python", "scripts/activate", "data/bin", "data/lib64", "data/bin/python/x"]
    {
        refused(&made(vec![Entry::new(&format!("made-1.0.data/{path}"), b"")]), "the venv's own");
    }
    for path in ["other/x", "scripts/a/b", "x"] {
        refused(&made(vec![Entry::new(&format!("made-1.0.data/{path}"), b"")]), "no install scheme");
    }
}

#[test]
fn a_wheel_that_was_damaged_in_the_store_is_dropped() {
    let (_directory, store) = store();
    let bytes = made(vec![module()]).bytes();
    let layer = layer_of(&store, FILE, &bytes);
    let path = store.path(Area::Downloads, &dlpack::oci::Digest::of(&bytes));
    let mut damaged = bytes.clone();
    damaged[60] ^= 0x10;
    fs::write(&path, &damaged).expect("written");
    let said = chain(&venv::write(&store, layer.as_ref()).expect_err("refused"));
    assert!(said.contains("was damaged"), "{said}");
    assert!(!path.exists());
    let said = chain(&venv::write(&store, layer.as_ref()).expect_err("refused"));
    assert!(said.contains("is not in the store"), "{said}");
    store.put(Area::Downloads, &bytes).expect("downloaded again");
    venv::write(&store, layer.as_ref()).expect("the next honest run succeeds");
}
