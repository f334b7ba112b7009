//! The store under several processes, kills, a full disk and a read-only mount,
//! and what collection takes and leaves.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime};

use dlpack::oci::{Descriptor, DiffId, Digest, Manifest, media_type};
use dlpack::store::{Area, Checksums, Error, Kind, LayerKey, LayerPart, Link, Policy, Store, Tree, TreeContent};
use tempfile::TempDir;

use crate::support::command::Dlpack;
use crate::support::image::{Layout, Packing, Tar};
use crate::support::output;

fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    (directory, store)
}

/// Puts an image of one layer under `tag`, and returns the layer's digest.
fn put_image(store: &Store, tag: &str, layer: &[u8]) -> Digest {
    let config = b"{}";
    store.put(Area::Blobs, config).unwrap();
    let digest = store.put(Area::Blobs, layer).unwrap();
    let manifest =
        Manifest::new(Descriptor::of(media_type::CONFIG, config), vec![Descriptor::of(media_type::LAYER_TAR, layer)]);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    store.put(Area::Blobs, &bytes).unwrap();
    store.tag(tag, &Descriptor::of(media_type::MANIFEST, &bytes)).unwrap();
    digest
}

fn put_record(store: &Store, name: &str, layer: &[u8]) -> LayerKey {
    let key = LayerKey(Digest::of(name.as_bytes()));
    let descriptor = Descriptor::of(media_type::LAYER_TAR, layer);
    let record = LayerPart { diff_id: DiffId(descriptor.digest), unpacked: descriptor.size, descriptor };
    store.put_record(&key, &record.into()).unwrap();
    key
}

fn record_path(store: &Store, key: &LayerKey) -> std::path::PathBuf {
    let hex = key.0.hex();
    store.root().join("keys").join(&hex[..2]).join(format!("{hex}.json"))
}

/// As if the file had last been used so many days ago.
fn age(path: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    File::open(path).unwrap().set_modified(then).unwrap();
}

fn files_in(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

/// This test binary in another process, playing `role` on `store`.
fn child(wrapper: &[&str], role: &str, store: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(this),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this);
            command
        }
    };
    command.args(["--exact", "store::child_process", "--ignored", "--nocapture"]);
    command.env("DLPACK_TEST_ROLE", role).env("DLPACK_TEST_STORE", store);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Reads the child's lines until it says `said`.
fn wait_for(child: &mut Child, said: &str) -> BufReader<ChildStdout> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // the test harness does not end the line that it prints before a test
        if line.trim_end().ends_with(said) {
            return lines;
        }
        line.clear();
    }
    panic!("the child ended before it said `{said}`");
}

#[test]
#[ignore = "the other process of the tests below"]
fn child_process() {
    let role = std::env::var("DLPACK_TEST_ROLE").expect("started by another test");
    let root = std::env::var_os("DLPACK_TEST_STORE").unwrap();
    let store = Store::open(Path::new(&root));
    match role.as_str() {
        "tag" => {
            let store = store.unwrap();
            for number in 0..20 {
                put_image(&store, &format!("tag-{}-{number}", std::process::id()), b"layer");
            }
        }
        "write for ever" => {
            let store = store.unwrap();
            for number in 0_u64.. {
                put_image(&store, &format!("tag-{}", number % 10), &number.to_le_bytes());
                put_record(&store, &number.to_string(), &number.to_le_bytes());
                println!("wrote {number}");
            }
        }
        "write half" => {
            let mut writer = store.unwrap().writer().unwrap();
            writer.write_all(b"half a lay").unwrap();
            println!("half");
            std::thread::park();
        }
        "fill" => {
            let store = store.unwrap();
            let error = (0_u64..)
                .find_map(|number| store.put(Area::Blobs, &[number.to_le_bytes(); 8192].concat()).err())
                .unwrap();
            assert!(error.hint().unwrap().contains("cache gc"), "{error:?}");
            assert_eq!(files_in(&store.root().join("tmp")), 0);
            assert_eq!(store.verify(&|_| {}).unwrap().damaged, Vec::<std::path::PathBuf>::new());
            let collected = store.gc(&Policy { ceiling: Some(0), unused_for: None }).unwrap();
            assert!(collected.freed > 0);
            store.put(Area::Blobs, b"there is room again").unwrap();
        }
        "only read" => {
            let store = store.unwrap();
            let _lease = store.lease().unwrap();
            let (_, manifest) = store.tags().unwrap().remove(0);
            assert!(store.read(Area::Blobs, &manifest.digest).unwrap().is_some());
            assert!(store.record(&LayerKey(Digest::of(b"key"))).unwrap().is_some());
            assert_eq!(store.verify(&|_| {}).unwrap().damaged.len(), 0);
            assert_eq!(store.entries().unwrap().len(), 4);
            let error = store.put(Area::Blobs, b"new").unwrap_err();
            assert!(error.hint().unwrap().contains("--store"), "{error:?}");
        }
        other => panic!("no such role: {other}"),
    }
}

#[test]
fn processes_that_make_and_tag_one_store_at_once_all_succeed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("new/store");
    let children: Vec<Child> = (0..8).map(|_| child(&[], "tag", &root).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(Store::open(&root).unwrap().tags().unwrap().len(), 8 * 20);
}

#[test]
fn a_store_whose_making_was_killed_is_made_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
    fs::create_dir_all(directory.path().join("tmp")).unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.tags().unwrap(), []);
}

#[test]
fn a_directory_with_other_things_in_it_is_no_store() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("blobs")).unwrap();
    fs::write(directory.path().join("thesis.tex"), "").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }), "{error}");
    assert_eq!(files_in(directory.path()), 2);
}

#[test]
fn a_layout_that_skopeo_made_becomes_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path().join("made by hand"));
    layout.image().layer(Packing::Gzip, Tar::new().file("hello", "hello\n")).tagged("v1");
    let root = directory.path().join("made-by-skopeo");
    let (from, to) = (format!("oci:{}:v1", layout.path().display()), format!("oci:{}:v1", root.display()));
    output(Command::new("skopeo").args(["--insecure-policy", "copy", &from, &to]), "skopeo");
    let store = Store::open(&root).unwrap();
    put_image(&store, "v2", b"layer");
    let names: Vec<String> = store.tags().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["v1", "v2"]);
    let listed = output(Command::new("umoci").args(["ls", "--layout"]).arg(&root), "umoci");
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "v1\nv2\n");
}

#[test]
fn a_process_killed_at_any_instant_leaves_a_sound_store() {
    let (_directory, store) = store();
    for round in [0, 1, 2, 3, 5, 8, 13, 21] {
        let mut child = child(&[], "write for ever", store.root()).spawn().unwrap();
        let _stdout = wait_for(&mut child, &format!("wrote {round}"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(store.verify(&|_| {}).unwrap().damaged, Vec::<std::path::PathBuf>::new());
        for (_, manifest) in store.tags().unwrap() {
            for needed in store.closure(&manifest).unwrap() {
                assert_eq!(store.size(Area::Blobs, &needed.digest), Some(needed.size));
            }
        }
    }
    store.gc(&Policy::default()).unwrap();
    assert_eq!(files_in(&store.root().join("tmp")), 0);
}

#[test]
fn collection_removes_what_a_dead_writer_left_and_nothing_of_a_live_one() {
    let (_directory, store) = store();
    let mut child = child(&[], "write half", store.root()).spawn().unwrap();
    let _stdout = wait_for(&mut child, "half");
    assert_eq!(store.gc(&Policy::default()).unwrap().leftovers, 0);
    child.kill().unwrap();
    child.wait().unwrap();
    let collected = store.gc(&Policy::default()).unwrap();
    assert_eq!((collected.leftovers, collected.freed), (1, 10));
    assert_eq!(files_in(&store.root().join("tmp")), 0);
}

/// Runs `role` as root of a user namespace of its own, after `mount`.
fn in_namespace(mount: &str, role: &str, store: &Path) {
    let script = format!("{mount} && exec \"$@\"");
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", &script, "sh"];
    let mut command = child(&wrapper, role, store);
    output(command.env("DIRECTORY", store), "util-linux");
}

#[test]
fn a_full_disk_leaves_a_sound_store_that_collection_makes_room_in() {
    let directory = tempfile::tempdir().unwrap();
    in_namespace("mount -t tmpfs -o size=1m tmpfs \"$DIRECTORY\"", "fill", directory.path());
}

#[test]
fn a_store_on_a_read_only_mount_can_be_read() {
    let (_directory, store) = store();
    put_image(&store, "tag", b"layer");
    put_record(&store, "key", b"layer");
    let mount = "mount --bind \"$DIRECTORY\" \"$DIRECTORY\" && mount -o remount,ro,bind \"$DIRECTORY\"";
    in_namespace(mount, "only read", store.root());
}

#[test]
fn a_damaged_file_is_dropped_when_it_is_read_and_can_be_made_again() {
    let (_directory, store) = store();
    let digest = store.put(Area::Downloads, b"a wheel").unwrap();
    let path = store.path(Area::Downloads, &digest);
    fs::write(&path, b"a whale").unwrap();
    let error = store.read(Area::Downloads, &digest).unwrap_err();
    assert!(matches!(error, Error::Damaged { found, .. } if found == Digest::of(b"a whale")), "{error}");
    assert!(!path.exists());
    store.put(Area::Downloads, b"a wheel").unwrap();
    let mut bytes = Vec::new();
    store.open_blob(Area::Downloads, &digest).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"a wheel");
}

#[test]
fn other_bytes_than_announced_are_not_kept() {
    let (_directory, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"other").unwrap();
    let announced = Digest::of(b"bytes");
    let error = store.keep_as(Area::Blobs, writer, &announced, 5).unwrap_err();
    assert!(matches!(error, Error::Mismatch { expected, .. } if expected == announced), "{error}");
    assert_eq!(files_in(&store.root().join("blobs/sha256")), 0);
    assert_eq!(files_in(&store.root().join("tmp")), 0);
}

#[test]
fn verification_drops_what_is_damaged_and_leaves_the_rest() {
    let (_directory, store) = store();
    let layer = put_image(&store, "tag", b"layer");
    let wheel = store.put(Area::Downloads, b"a wheel").unwrap();
    let (sound, damaged) = (put_record(&store, "sound", b"layer"), put_record(&store, "damaged", b"layer"));
    fs::write(store.path(Area::Blobs, &layer), b"lair").unwrap();
    fs::write(store.path(Area::Downloads, &wheel), b"").unwrap();
    fs::write(record_path(&store, &damaged), b"{").unwrap();
    let seen = std::cell::Cell::new(0);
    let verified = store.verify(&|bytes| seen.set(seen.get() + bytes)).unwrap();
    assert_eq!((verified.files, verified.bytes), (6, seen.get()));
    assert_eq!(
        verified.damaged,
        [store.path(Area::Blobs, &layer), store.path(Area::Downloads, &wheel), record_path(&store, &damaged)]
    );
    assert!(store.record(&sound).unwrap().is_some());
    assert!(verified.damaged.iter().all(|path| !path.exists()));
    assert_eq!(store.verify(&|_| {}).unwrap().damaged.len(), 0);
}

#[test]
fn entries_say_which_tags_need_them() {
    let (_directory, store) = store();
    let layer = put_image(&store, "a", b"layer");
    put_image(&store, "b", b"layer");
    let loose = store.put(Area::Blobs, b"loose").unwrap();
    let entries = store.entries().unwrap();
    let needed_by = |digest| &entries.iter().find(|entry| entry.digest == digest).unwrap().needed_by;
    assert_eq!(*needed_by(layer), ["a", "b"]);
    assert_eq!(*needed_by(loose), Vec::<String>::new());
}

#[test]
fn collection_to_a_ceiling_takes_the_least_recently_used_and_never_what_a_tag_needs() {
    let (_directory, store) = store();
    let tagged = put_image(&store, "tag", &[1; 1000]);
    age(&store.path(Area::Blobs, &tagged), 900);
    let old = store.put(Area::Blobs, &[2; 1000]).unwrap();
    let wheel = store.put(Area::Downloads, &[3; 1000]).unwrap();
    let fresh = store.put(Area::Blobs, &[4; 1000]).unwrap();
    let by_record = store.put(Area::Blobs, &[5; 1000]).unwrap();
    put_record(&store, "hit today", &[5; 1000]);
    for (path, days) in [
        (store.path(Area::Blobs, &old), 3),
        (store.path(Area::Downloads, &wheel), 2),
        (store.path(Area::Blobs, &fresh), 1),
        (store.path(Area::Blobs, &by_record), 9),
    ] {
        age(&path, days);
    }
    let total: u64 = store.entries().unwrap().iter().map(|entry| entry.size).sum();
    let collected = store.gc(&Policy { ceiling: Some(total - 2000), unused_for: None }).unwrap();
    let removed: Vec<(Kind, Digest)> = collected.removed.iter().map(|entry| (entry.kind, entry.digest)).collect();
    assert_eq!(removed, [(Kind::Blob, old), (Kind::Download, wheel)]);
    assert_eq!((collected.freed, collected.kept), (2000, total - 2000));

    store.gc(&Policy { ceiling: Some(0), unused_for: None }).unwrap();
    let left = store.entries().unwrap();
    assert!(left.iter().all(|entry| entry.needed_by == ["tag"]), "{left:?}");
    assert_eq!(left.len(), 3);
}

#[test]
fn collection_by_age_takes_what_was_not_used_for_so_long() {
    let (_directory, store) = store();
    let wheel = store.put(Area::Downloads, b"old").unwrap();
    let read = store.put(Area::Downloads, b"old and read").unwrap();
    store.put(Area::Downloads, b"new").unwrap();
    age(&store.path(Area::Downloads, &wheel), 40);
    age(&store.path(Area::Downloads, &read), 40);
    store.read(Area::Downloads, &read).unwrap();
    let key = put_record(&store, "hit", b"layer");
    age(&record_path(&store, &key), 40);
    store.record(&key).unwrap();
    let month = Some(Duration::from_secs(30 * 24 * 3600));
    let collected = store.gc(&Policy { ceiling: None, unused_for: month }).unwrap();
    let removed: Vec<Digest> = collected.removed.iter().map(|entry| entry.digest).collect();
    assert_eq!(removed, [wheel]);
}

#[test]
fn collection_does_not_begin_while_somebody_has_a_lease() {
    let (_directory, store) = store();
    let lease = store.lease().unwrap();
    let error = store.gc(&Policy::default()).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    drop(lease);
    store.gc(&Policy::default()).unwrap();
}

#[test]
fn links_to_collected_blobs_go_with_them() {
    let (_directory, store) = store();
    let digest = store.put(Area::Blobs, b"pushed and not tagged").unwrap();
    store.link("team/x", Link::Blob, &digest, "").unwrap();
    assert_eq!(store.links("team/x", Link::Blob).unwrap(), [digest]);
    store.gc(&Policy { ceiling: Some(0), unused_for: None }).unwrap();
    assert_eq!(store.links("team/x", Link::Blob).unwrap(), []);
}

#[test]
fn a_verification_ends_when_it_is_interrupted() {
    let dlpack = Dlpack::new();
    let downloads = dlpack.store().join("downloads/sha256");
    assert!(dlpack.ok(["cache", "list"]).contains("0 files"));
    // All holes: hours to read, and nothing on the disk.
    fs::File::create(downloads.join("0".repeat(64))).unwrap().set_len(1 << 42).unwrap();
    let mut verifying = dlpack.command(["cache", "verify", "-v"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(verifying.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().starts_with("verify"));
    output(Command::new("kill").args(["-INT", &verifying.id().to_string()]), "kill");
    assert_eq!(verifying.wait().unwrap().code(), Some(130));
    assert_eq!(said.next().unwrap().unwrap(), "error: interrupted");
}

#[test]
fn a_name_that_is_forgotten_keeps_nothing_from_collection() {
    let dlpack = Dlpack::new();
    dlpack.write("dlpack.toml", "base = \"scratch\"\n[[layer]]\nkind = \"timezone\"\nzone = \"Etc/UTC\"\n");
    dlpack.ok(["build", "example.com/forgotten:1"]);
    let kept = dlpack.json(["cache", "gc", "--max-size", "0"]);
    assert_ne!(kept["kept"], 0, "what a name needs stays");
    let other = dlpack.fails(["cache", "gc", "--forget", "example.com/other:1"]);
    assert!(other.contains("the store has no example.com/other:1"), "{other}");
    let freed = dlpack.json(["cache", "gc", "--forget", "example.com/forgotten:1", "--max-size", "0"]);
    assert_eq!(freed["kept"], 0, "{freed}");
}

#[test]
fn a_store_apart_waits_for_whoever_extracts_the_same_base() {
    let (_directory, store) = store();
    let chain = Digest::of(b"a base");
    let writer = store.tree_writer(Tree::Flattened, &chain).unwrap();
    let apart = store.apart().unwrap();
    let found = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let _turn = apart.store().tree_writer(Tree::Flattened, &chain).unwrap();
            apart.store().tree(Tree::Flattened, &chain).is_some()
        });
        fs::create_dir(writer.path().join("root")).unwrap();
        writer.keep(TreeContent::default(), &Checksums::default()).unwrap();
        waiting.join().unwrap()
    });
    assert!(found, "it is extracted once");
    drop(apart);
    assert!(store.tree(Tree::Flattened, &chain).is_some());
    assert_eq!(files_in(&store.root().join("tmp")), 0);
}
