//! Wheels that lie: each is refused by name, nothing is left behind, and the next
//! honest run succeeds.

use std::fs;
use std::sync::Arc;

use dlpack::assemble::Error;
use dlpack::changeset::{Changeset, venv::changesets};
use dlpack::lock::LockedWheel;
use dlpack::store::{Area, Store};

use crate::support::index;
use crate::support::shown::Shown;
use crate::support::venv;
use crate::support::wheel::{Entry, FILE, Zip, made, with_record};

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::Builder::new().prefix("dlpack-bad-").tempdir().expect("a temporary directory");
    let store = Store::open(&directory.path().join("store")).expect("a store");
    (directory, store)
}

fn layer_of(store: &Store, file: &str, bytes: &[u8]) -> Arc<dyn Changeset> {
    let locked = venv::venv(vec![venv::locked(store, file, bytes, None)]);
    let mut changesets =
        changesets(&venv::recipe("/opt/venv"), &locked, std::path::Path::new("."), store).expect("changesets");
    changesets.pop().expect("a layer of wheels").changeset
}

/// What a person is shown of each wheel that lies.
#[derive(Default)]
struct Lies(Shown);

impl Lies {
    /// `bytes` are refused with an error that says `because`; nothing is left; an honest
    /// wheel can be written right after.
    #[track_caller]
    fn refused_as(&mut self, file: &str, bytes: &[u8], because: &str) {
        let (_directory, store) = store();
        let source = venv::write(&store, layer_of(&store, file, bytes).as_ref()).expect_err("refused");
        let error = Error::Layer { layer: "python".into(), source };
        let said = venv::chain(&error);
        assert!(said.contains(file) && said.contains(because), "{said:?} does not say {because:?}");
        self.0.add(because, error);
        assert_eq!(venv::leftovers(&store), [] as [std::path::PathBuf; 0]);
        let honest = made(vec![Entry::new("made.py", b"x = 1\n")]).bytes();
        venv::write(&store, layer_of(&store, FILE, &honest).as_ref()).expect("the next honest run succeeds");
    }

    #[track_caller]
    fn refused(&mut self, zip: &Zip, because: &str) {
        self.refused_as(FILE, &zip.bytes(), because);
    }

    /// Compares what was shown with `tests/snapshots/wheels/NAME.txt`.
    #[track_caller]
    fn are(&self, name: &str) {
        self.0.is(&format!("wheels/{name}"));
    }
}

fn module() -> Entry {
    Entry::new("made.py", b"x = 1\n")
}

#[test]
fn a_path_that_leads_elsewhere_is_refused() {
    let mut lies = Lies::default();
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
        lies.refused(&made(vec![Entry::new(path, b"x")]), because);
    }
    lies.refused(&made(vec![Entry::new("", b"x").but(|e| e.name = b"a\xff.py".to_vec())]), "not UTF-8");
    lies.refused(&made(vec![Entry::new(&"a/".repeat(2000), b"")]), "too long");
    lies.are("a_path_that_leads_elsewhere_is_refused");
}

#[test]
fn links_and_devices_are_refused() {
    let mut lies = Lies::default();
    for mode in [0o120_777, 0o020_666, 0o010_644] {
        lies.refused(
            &made(vec![Entry::new("link", b"/etc/passwd").but(|e| e.mode = mode)]),
            "neither a file nor a directory",
        );
    }
    lies.refused(&made(vec![Entry::new("link/", b"").but(|e| e.mode = 0o120_777)]), "neither a file nor a directory");
    lies.are("links_and_devices_are_refused");
}

#[test]
fn a_path_that_stands_twice_is_refused() {
    let mut lies = Lies::default();
    lies.refused(&made(vec![module(), module()]), "`made.py` is in the zip twice");
    lies.refused(&made(vec![Entry::new("d/", b""), Entry::new("d/", b"")]), "`d` is in the zip twice");
    lies.refused(&made(vec![Entry::new("d", b""), Entry::new("d/x", b"")]), "`d` is a file");
    lies.refused(&made(vec![Entry::new("d", b""), Entry::new("d/", b"")]), "`d` is a file");
    lies.refused(&made(vec![Entry::new("d", b""), Entry::new("d/e/", b"")]), "`d` is a file");
    let elsewhere = Entry::new("made-1.0.data/purelib/made.py", b"x = 2\n");
    lies.refused(&made(vec![module(), elsewhere]), "two of its files would become");
    let below = Entry::new("made-1.0.data/purelib/made.py/x", b"x = 2\n");
    lies.refused(&made(vec![module(), below]), "is a file");
    lies.are("a_path_that_stands_twice_is_refused");
}

#[test]
fn what_is_no_plain_zip_is_refused() {
    let mut lies = Lies::default();
    lies.refused_as(FILE, b"not a zip", "zip directory can't be read");
    let whole = made(vec![module()]).bytes();
    lies.refused_as(FILE, &whole[..whole.len() - 30], "zip directory can't be read");
    lies.refused(&Zip { suffix: b"more".to_vec(), ..made(vec![module()]) }, "the zip ends at byte");
    lies.refused(&Zip { count: Some(3), ..made(vec![module()]) }, "says 3 entries and has 4");
    lies.refused(&made(vec![module().but(|e| e.flags = 1)]), "is encrypted");
    lies.refused(&made(vec![module().but(|e| e.method = 12)]), "method 12");
    lies.are("what_is_no_plain_zip_is_refused");
}

#[test]
fn headers_that_disagree_are_refused() {
    let mut lies = Lies::default();
    let other = |change: fn(&mut Entry)| made(vec![module().but(change)]);
    lies.refused(&other(|e| e.local_name = Some(b"evil.py".to_vec())), "disagree on its name");
    lies.refused(&other(|e| e.local_method = Some(0)), "disagree on its compression");
    lies.refused(&other(|e| e.local_size = Some(7)), "disagree on its size");
    lies.are("headers_that_disagree_are_refused");
}

#[test]
fn a_directory_that_lies_about_contents_is_refused() {
    let mut lies = Lies::default();
    let other = |change: fn(&mut Entry)| made(vec![module().but(change)]);
    lies.refused(&other(|e| e.crc32 = Some(1)), "another length or CRC-32");
    lies.refused(&other(|e| (e.size, e.descriptor) = (Some(5), true)), "its size differs");
    lies.refused(&other(|e| (e.method, e.size) = (0, Some(5))), "lies about `made.py`");
    lies.refused(&other(|e| (e.method, e.crc32) = (0, Some(1))), "another length or CRC-32");
    lies.refused(&other(|e| e.offset = Some(0x00ff_ffff)), "overlaps");
    let cut = with_record(other(|e| e.compressed = Some(4)), |record| record);
    lies.refused(&cut, "made.py");
    lies.are("a_directory_that_lies_about_contents_is_refused");
}

#[test]
fn bombs_are_refused_before_anything_is_inflated() {
    let mut lies = Lies::default();
    let small = |name: &str| Entry::new(name, &[0; 1000]);
    lies.refused(&made(vec![small("bomb").but(|e| e.size = Some(0xffff_0000))]), "lies about `bomb`");
    // within what deflate can do, far beyond any wheel
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(1_200_000).collect();
    lies.refused(
        &made(vec![Entry::new("bomb", &noise).but(|e| e.size = Some(1_150_000_000))]),
        "more than any wheel does",
    );
    let shared = vec![module(), Entry::new("again.py", b"x = 1\n").but(|e| e.offset = Some(0))];
    lies.refused(&made(shared), "overlaps");
    let many: Vec<Entry> = (0..60_000).map(|number| Entry::new(&format!("f{number}"), b"")).collect();
    let mut many = made(many);
    many.entries.extend((0..41_000).map(|number| Entry::new(&format!("g{number}"), b"")));
    lies.refused(&many, "100000 entries");
    lies.are("bombs_are_refused_before_anything_is_inflated");
}

#[test]
fn a_wheel_that_is_not_what_its_name_says_is_refused() {
    let mut lies = Lies::default();
    let bytes = made(vec![module()]).bytes();
    lies.refused_as("made-2.0-py3-none-any.whl", &bytes, "`made-1.0.dist-info`, which is not what its file name says");
    lies.refused_as("fake-1.0-py3-none-any.whl", &bytes, "not what its file name says");
    lies.refused(&Zip { entries: vec![module()], ..Zip::default() }, "no .dist-info");
    lies.refused(&made(vec![Entry::new("made-1.1.dist-info/METADATA", b"")]), "two .dist-info");
    let without = |name: &str| {
        let mut zip = made(vec![module()]);
        zip.entries.retain(|entry| !entry.name.ends_with(name.as_bytes()));
        zip
    };
    for name in ["WHEEL", "METADATA", "RECORD"] {
        lies.refused(&without(name), &format!("it has no `made-1.0.dist-info/{name}`"));
    }
    for version in ["2.0", "", "x"] {
        let mut zip = without("WHEEL");
        let text = format!("Wheel-Version: {version}\n");
        zip.entries.push(Entry::new("made-1.0.dist-info/WHEEL", text.as_bytes()));
        lies.refused(&zip, &format!("its Wheel-Version is `{version}`"));
    }
    lies.are("a_wheel_that_is_not_what_its_name_says_is_refused");
}

#[test]
fn a_record_that_lies_is_refused() {
    let mut lies = Lies::default();
    let honest = || made(vec![module(), Entry::new("b.py", b"")]);
    let edited = |from: &'static str, to: &'static str| with_record(honest(), move |text| text.replace(from, to));
    let without = |name: &'static str| {
        with_record(honest(), move |text| {
            text.lines().filter(|line| !line.contains(name)).map(|line| format!("{line}\n")).collect()
        })
    };
    lies.refused(&without("b.py"), "`b.py` is not listed in RECORD");
    lies.refused(&edited("\"b.py\"", "c.py"), "RECORD lists `c.py`, which is not in the wheel");
    lies.refused(&edited("\"b.py\",sha256=47DEQ", "b.py,sha256=57DEQ"), "its sha256 differs");
    lies.refused(&edited("\"b.py\",sha256=47DEQ", "b.py,sha256="), "sha256, sha384 or sha512 is needed");
    lies.refused(
        &edited("\"b.py\",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0", "b.py,,0"),
        "no hash for `b.py`",
    );
    lies.refused(&edited("\"b.py\",sha256=47DEQ", "b.py,md5=47DEQ"), "sha256, sha384 or sha512 is needed");
    lies.refused(&edited(",0\n", ",1\n"), "its size differs");
    lies.refused(&edited("\"b.py\",", "b.py;"), "line 2 of RECORD");
    lies.refused(&edited("\"b.py\",", "\"b.py,"), "line 2 of RECORD");
    lies.refused(
        &with_record(honest(), |text| text.clone() + "b.py,sha256=57DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n"),
        "twice",
    );
    let script = Entry::new("made-1.0.data/scripts/run", b"#!python\n");
    let lying = with_record(made(vec![script]), |text| text.replacen("sha256=", "sha256=A", 1));
    lies.refused(&lying, "sha256, sha384 or sha512 is needed");
    let stored = Entry::new("b.py", b"12345").but(|e| e.method = 0);
    let mut stored = made(vec![stored]);
    stored.entries[0].content = b"54321".to_vec();
    lies.refused(&stored, "its sha256 differs");
    lies.are("a_record_that_lies_is_refused");
}

#[test]
fn scripts_that_would_replace_the_venvs_own_are_refused() {
    let mut lies = Lies::default();
    let entry_points = |line: &str| {
        let text = format!("[console_scripts]\n{line}\n");
        made(vec![Entry::new("made-1.0.dist-info/entry_points.txt", text.as_bytes())])
    };
    for name in ["python", "python3", "python3.9", "activate"] {
        lies.refused(&entry_points(&format!("{name} = a:b")), &format!("`bin/{name}`, which is the venv's own"));
    }
    lies.refused(&entry_points("../../evil = a:b"), "not a file name");
    lies.refused(&entry_points("evil = a:b() or c"), "not MODULE:OBJECT");
    for path in
        ["data/pyvenv.cfg", "data/bin/python", "scripts/activate", "data/bin", "data/lib64", "data/bin/python/x"]
    {
        lies.refused(&made(vec![Entry::new(&format!("made-1.0.data/{path}"), b"")]), "the venv's own");
    }
    for path in ["other/x", "scripts/a/b", "x"] {
        lies.refused(&made(vec![Entry::new(&format!("made-1.0.data/{path}"), b"")]), "no install scheme");
    }
    lies.are("scripts_that_would_replace_the_venvs_own_are_refused");
}

#[test]
fn metadata_that_cannot_be_read_is_refused() {
    let mut lies = Lies::default();
    let wheel_file = |content: &[u8]| {
        let mut zip = made(vec![module()]);
        let file = zip.entries.iter_mut().find(|entry| entry.name.ends_with(b"/WHEEL")).expect("it is there");
        file.content = content.to_vec();
        zip
    };
    lies.refused(&wheel_file(b"Wheel-Version: \xff\n"), "is not UTF-8");
    lies.refused(&wheel_file(&vec![b'\n'; (64 << 20) + 1]), "at most");
    let mut bytes = made(vec![module()]).bytes();
    let name = b"made-1.0.dist-info/WHEEL";
    let at = bytes.windows(name.len()).position(|window| window == name).expect("its local header");
    // RFC 1951 3.2.3: BTYPE 11 is reserved
    bytes[at + name.len()] = 0xff;
    lies.refused_as(FILE, &bytes, "can't be read");

    lies.are("metadata_that_cannot_be_read_is_refused");
}

/// A lock that somebody edited: its wheels are not what they were when it was made.
#[test]
fn wheels_that_a_lock_names_wrong_are_refused() {
    let (_directory, store) = store();
    let mut shown = Shown::new();
    let mut refused = |case: &str, wheels: Vec<LockedWheel>| {
        let layers = changesets(&venv::recipe("/opt/venv"), &venv::venv(wheels), std::path::Path::new("."), &store)
            .expect("changesets");
        let layer = layers.last().expect("a layer of wheels").changeset.as_ref();
        let source = venv::write(&store, layer).expect_err("refused");
        shown.add(case, Error::Layer { layer: "python".into(), source });
    };
    let honest = |name: &str, path: &str, content: &[u8]| {
        let bytes = index::wheel(name, &[(path, content)]);
        venv::locked(&store, &format!("{name}-1.0-py3-none-any.whl"), &bytes, Some(0))
    };
    let renamed = LockedWheel { file: "made.whl".into(), bin: None, ..honest("made", "made.py", b"") };
    refused("no name of a wheel", vec![renamed]);
    refused("two contents of one file", vec![honest("one", "both.py", b"1"), honest("two", "both.py", b"2")]);
    refused("a file and a directory", vec![honest("one", "both", b"1"), honest("two", "both/x.py", b"2")]);
    shown.is("wheels/wheels_that_a_lock_names_wrong_are_refused");
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
    let mut shown = Shown::new();
    shown.replace(store.root().display().to_string(), "STORE");
    shown.add("damaged", venv::write(&store, layer.as_ref()).expect_err("refused"));
    assert!(!path.exists());
    shown.add("dropped", venv::write(&store, layer.as_ref()).expect_err("refused"));
    shown.is("wheels/a_wheel_that_was_damaged_in_the_store_is_dropped");
    store.put(Area::Downloads, &bytes).expect("downloaded again");
    venv::write(&store, layer.as_ref()).expect("the next honest run succeeds");
}
