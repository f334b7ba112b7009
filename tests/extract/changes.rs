//! What steps changed, as a layer: by other tools, and by a container that is made of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use dlpack::apt::scrub;
use dlpack::layer::{Attributes, Compression, Layer, LayerWriter};
use dlpack::oci::ChainId;
use dlpack::sandbox::{Change, ChangeKind, Error, Fallback, Sandbox, extract};
use dlpack::store::{Area, Store};

use super::tars::{DIRECTORY, FIFO, FILE, Place, Raw, SYMLINK};
use crate::support::output;
use crate::support::sandbox::{Bench, as_user, refusing, root, shell, under};

const MTIME: u64 = 1_700_000_000;

/// What a step changed; files with their content.
fn changes(sandbox: Sandbox) -> Vec<(Change, String)> {
    let mut changes = Vec::new();
    let each = &mut |change: Change, content: &mut dyn Read| {
        let mut text = String::new();
        content.read_to_string(&mut text).map_err(|source| Error::Helper { source })?;
        changes.push((change, text));
        Ok::<_, Error>(true)
    };
    sandbox.changes(each).unwrap();
    changes
}

/// A change as a line.
fn line((change, content): &(Change, String)) -> String {
    let Attributes { mode, uid, gid } = change.attributes;
    let what = match &change.kind {
        ChangeKind::Directory { opaque } => format!("{}directory", if *opaque { "opaque " } else { "" }),
        ChangeKind::File { .. } => format!("{content:?}"),
        ChangeKind::Symlink { target } => format!("-> {target}"),
        ChangeKind::HardLink { to } => format!("= {to}"),
        ChangeKind::Fifo => "fifo".into(),
        ChangeKind::Device { block, major, minor } => format!("device {block} {major}:{minor}"),
        ChangeKind::Whiteout => return format!("{} gone", change.path),
    };
    let xattrs: Vec<_> = change.xattrs.keys().cloned().collect();
    format!(
        "{} {mode:o} {uid}:{gid} {what}{}{}",
        change.path,
        if xattrs.is_empty() { "" } else { " " },
        xattrs.join(",")
    )
}

/// A small base, with owners that one uid can't give; the sandbox's is over all that a shell needs.
fn base(place: &Place) -> std::path::PathBuf {
    let layer = Raw::default()
        .directory("t")
        .file("t/kept", "kept")
        .file("t/rewritten", "same")
        .file("t/changed", "before")
        .file("t/gone", "x")
        .owned(FILE, "t/owned", "", 0o640, (7, 8))
        .directory("t/emptied")
        .file("t/emptied/1", "1")
        .file("t/emptied/2", "2")
        .directory("t/removed")
        .file("t/removed/in", "x")
        .directory("t/becomes-file")
        .file("t/becomes-file/in", "x")
        .owned(SYMLINK, "t/link", "kept", 0o777, (7, 8))
        .owned(SYMLINK, "t/link-again", "kept", 0o777, (0, 0))
        .owned(FIFO, "t/pipe", "", 0o600, (7, 8))
        .owned(DIRECTORY, "t/owned-dir", "", 0o750, (7, 8))
        .file("t/one", "linked")
        .link("t/two", "t/one");
    place.base([layer]).unwrap()
}

const SCRIPT: &str = "
cd /t
cat rewritten >x; mv x rewritten
echo -n after >changed
rm gone
rm -r emptied; mkdir emptied; echo -n 3 >emptied/3
rm -r removed
rm -r becomes-file; echo -n file >becomes-file
rm link-again; ln -s kept link-again
mkdir -p new/er; echo -n a >new/er/a; ln new/er/a new/er/b; ln new/er/a 0-first
echo -n between >new-
touch owned-dir/in
mkfifo fifo
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'
ln -s ../nowhere dangling
chmod 000 kept; chmod 644 kept
chmod 4711 changed
echo x >untouched; rm untouched
touch secret; chmod 000 secret
";

const EXPECTED: [&str; 16] = [
    "t/0-first 644 0:0 \"a\"",
    "t/becomes-file 644 0:0 \"file\"",
    "t/changed 4711 0:0 \"after\"",
    "t/dangling 777 0:0 -> ../nowhere",
    "t/emptied 755 0:0 opaque directory",
    "t/emptied/3 644 0:0 \"3\"",
    "t/fifo 644 0:0 fifo",
    "t/gone gone",
    "t/new 755 0:0 directory",
    "t/new- 644 0:0 \"between\"",
    "t/new/er 755 0:0 directory",
    "t/new/er/a 644 0:0 = t/0-first",
    "t/new/er/b 644 0:0 = t/0-first",
    "t/owned-dir/in 644 0:0 \"\"",
    "t/removed gone",
    "t/secret 0 0:0 \"\"",
];

fn is_as_expected(sandbox: Sandbox) {
    let lines: Vec<String> = changes(sandbox).iter().map(line).filter(|line| !line.starts_with("root")).collect();
    assert_eq!(lines, EXPECTED);
}

#[test]
fn changes_are_what_differs_and_nothing_else() {
    as_user("extract::changes::changes_are_what_differs_and_nothing_else", || {
        let (bench, place) = (Bench::new(), Place::new());
        let base = base(&place);
        let mut sandbox = bench.open_on(&[&root(), &base]);
        shell(&mut sandbox, SCRIPT);
        is_as_expected(sandbox);
        let mut sandbox = bench.open_on(&[&root(), &base]);
        shell(&mut sandbox, "cat /t/owned >/dev/null; chmod 600 /t/one; chmod 644 /t/one");
        assert_eq!(changes(sandbox).iter().map(line).collect::<Vec<_>>(), Vec::<String>::new());
    });
}

#[test]
fn changes_have_the_owners_devices_and_capabilities_that_steps_gave() {
    as_user("extract::changes::changes_have_the_owners_devices_and_capabilities_that_steps_gave", || {
        let (bench, place) = (Bench::new(), Place::new());
        let base = base(&place);
        let mut sandbox = bench.open_on(&[&root(), &base]);
        let script = "cd /t; mkdir d; echo -n x >d/f; ln -s f d/l; mkfifo d/p; mknod d/n c 1 3; mknod d/b b 8 1
            chown -h 101:102 d d/f d/l d/p d/n; chmod 640 d/f; chgrp 5 kept; chown -h 9:9 link
            cp d/f d/cap; setfattr -n user.note -v x d/f || python3 -c 'import os; os.setxattr(\"d/f\", \"user.note\", b\"x\")'
            python3 -c 'import os; os.setxattr(\"d/cap\", \"security.capability\", bytes([1, 0, 0, 2, 0, 32] + [0] * 14))'";
        shell(&mut sandbox, script);
        let lines: Vec<String> = changes(sandbox).iter().map(line).collect();
        let expected = [
            "t/d 755 101:102 directory",
            "t/d/b 644 0:0 device true 8:1",
            "t/d/cap 640 0:0 \"x\" security.capability",
            "t/d/f 640 101:102 \"x\" user.note",
            "t/d/l 777 101:102 -> f",
            "t/d/n 644 101:102 device false 1:3",
            "t/d/p 644 101:102 fifo",
            "t/kept 644 0:5 \"kept\"",
            "t/link 777 9:9 -> kept",
        ];
        assert_eq!(lines, expected);
    });
}

#[test]
fn a_copy_gives_the_same_changes_as_an_overlay() {
    let name = "extract::changes::a_copy_gives_the_same_changes_as_an_overlay";
    under(name, &refusing(&["mount-new=EPERM"]), || {
        let (bench, place) = (Bench::new(), Place::new());
        let base = base(&place);
        let mut sandbox = bench.open_on(&[&root(), &base]);
        assert!(sandbox.fallbacks().contains(&Fallback::Copy));
        shell(&mut sandbox, SCRIPT);
        is_as_expected(sandbox);
    });
}

#[test]
fn a_name_that_is_no_text_is_refused_with_its_path() {
    as_user("extract::changes::a_name_that_is_no_text_is_refused_with_its_path", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        shell(&mut sandbox, "mkdir /odd; touch \"/odd/$(printf 'x\\377')\"");
        let error = sandbox.changes(&mut |_, _| Ok::<_, Error>(true)).unwrap_err();
        assert_eq!(error.to_string(), "`odd/x\u{fffd}` is not UTF-8");
    });
}

/// Writes what a step changed as a layer.
fn layer(store: &Store, sandbox: Sandbox) -> Layer {
    let mut writer = LayerWriter::new(store, Compression::Gzip, MTIME).unwrap();
    let each = &mut |change: Change, content: &mut dyn Read| {
        change.write_to(&mut writer, content).unwrap();
        Ok::<_, Error>(true)
    };
    sandbox.changes(each).unwrap();
    writer.complete().unwrap()
}

#[test]
fn a_container_of_the_layer_sees_what_the_steps_left() {
    as_user("extract::changes::a_container_of_the_layer_sees_what_the_steps_left", || {
        let (bench, place) = (Bench::new(), Place::new());
        let base = base(&place);
        let mut sandbox = bench.open_on(&[&root(), &base]);
        shell(&mut sandbox, SCRIPT);
        let list = "cd /t; rm -f socket; find . ! -type d -printf '%P %y %m %n %l\\n' | sort; \
                    find . -type d -printf '%P %m\\n' | sort; cat $(find . -type f ! -name secret | sort)";
        let left = shell(&mut sandbox, list);
        let layer = layer(&place.store, sandbox);
        let lower = [root(), base.clone()];
        let under = ChainId::of(&[layer.diff_id]);
        let upper = extract::layer(&place.store, &layer.descriptor, layer.diff_id, under, &lower).unwrap();
        let mut again = bench.open_on(&[&root(), &base, &upper]);
        assert_eq!(shell(&mut again, list), left);
        assert!(changes(again).is_empty(), "nothing differs from what was just seen");
    });
}

#[test]
fn gnu_tar_umoci_and_skopeo_take_a_layer_with_all_that_there_is() {
    let place = Place::new();
    let layer = all_there_is(&place.store);
    let blob = place.store.read(Area::Blobs, &layer.descriptor.digest).unwrap().unwrap();
    let file = place.directory.path().join("layer.tar.gz");
    fs::write(&file, blob).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--utc", "-tvzf"]).arg(&file);
    let listed = String::from_utf8(output(&mut tar, "tar").stdout).unwrap();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let listed: Vec<String> = listed.lines().map(words).collect();
    let date = "2023-11-14 22:13";
    let expected = [
        format!("drwxr-xr-x 0/0 0 {date} d/"),
        format!("---------- 0/0 0 {date} d/.wh..wh..opq"),
        format!("prw------- 5/6 0 {date} d/fifo"),
        format!("crw-rw-rw- 0/0 1,3 {date} d/null"),
        format!("-rwxr-xr-x 0/0 4 {date} d/ping"),
        format!("hrwxr-xr-x 0/0 0 {date} d/ping-too link to d/ping"),
        format!("brw-rw---- 0/6 259,300 {date} d/sda"),
        format!("---------- 0/0 0 {date} .wh.gone"),
    ];
    assert_eq!(listed, expected);

    // The layer over one that has what it hides.
    let (below, diff_id) = place.put(Raw::default().directory("d").file("d/hidden", "x").file("gone", "x"));
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id, layer.diff_id]}});
    let config = config.to_string();
    let digest = place.store.put(Area::Blobs, config.as_bytes()).unwrap();
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": dlpack::oci::media_type::MANIFEST,
        "config": {"mediaType": dlpack::oci::media_type::CONFIG, "digest": digest, "size": config.len()},
        "layers": [below, layer.descriptor]})
    .to_string();
    let digest = place.store.put(Area::Blobs, manifest.as_bytes()).unwrap();
    let descriptor = dlpack::oci::Descriptor::new(dlpack::oci::media_type::MANIFEST, digest, manifest.len() as u64);
    place.store.tag("it", &descriptor).unwrap();
    let image = format!("{}:it", place.store.root().display());
    let copy = format!("dir:{}", place.directory.path().join("copy").display());
    output(Command::new("skopeo").args(["--insecure-policy", "copy", "-q", &format!("oci:{image}"), &copy]), "skopeo");
    // As root, since only root can make devices and capabilities.
    let bundle = place.directory.path().join("bundle");
    output(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle), "umoci");
    let rootfs = bundle.join("rootfs");
    assert_eq!(unpacked(&rootfs), ["d", "d/fifo", "d/null", "d/ping", "d/ping-too", "d/sda"]);
    let capability = output(Command::new("getcap").arg(rootfs.join("d/ping")), "libcap2-bin");
    assert!(String::from_utf8_lossy(&capability.stdout).ends_with("/ping cap_net_raw=ep\n"));
}

fn unpacked(root: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter();
    entries.map(|entry| entry.unwrap().path().strip_prefix(root).unwrap().display().to_string()).collect()
}

fn all_there_is(store: &Store) -> Layer {
    let mut layer = LayerWriter::new(store, Compression::Gzip, MTIME).unwrap();
    let capability = vec![1u8, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let device = |block, major, minor| dlpack::layer::Device { block, major, minor };
    let owned = |mode, uid, gid| Attributes { mode, uid, gid };
    layer.opaque_directory("d", Attributes::root(0o755)).unwrap();
    layer.fifo("d/fifo", owned(0o600, 5, 6)).unwrap();
    layer.device("d/null", Attributes::root(0o666), device(false, 1, 3)).unwrap();
    layer.with_xattrs(&BTreeMap::from([("security.capability".to_owned(), capability)]));
    layer.file("d/ping", Attributes::root(0o755), b"ping").unwrap();
    layer.hard_link("d/ping-too", Attributes::root(0o755), "d/ping").unwrap();
    layer.device("d/sda", owned(0o660, 0, 6), device(true, 259, 300)).unwrap();
    layer.whiteout("gone").unwrap();
    layer.complete().unwrap()
}

#[test]
fn a_layer_refuses_what_would_mislead() {
    let place = Place::new();
    let mut layer = LayerWriter::new(&place.store, Compression::Gzip, MTIME).unwrap();
    let root = Attributes::root(0o644);
    layer.file("b", root, b"").unwrap();
    for wrong in ["c", "d", "../b", "/b", ""] {
        assert!(layer.hard_link("c", root, wrong).is_err(), "{wrong}");
    }
    for wrong in ["", "..", "c/..", ".wh.c", "/c", "b"] {
        assert!(layer.whiteout(wrong).is_err(), "{wrong}");
    }
    layer.whiteout("c").unwrap();
    assert!(layer.file("c", root, b"").is_err(), "it can't be both");
    assert!(layer.file("c/d", root, b"").is_err(), "nothing is under what is gone");
    let odd = BTreeMap::from([("user.a=b".to_owned(), vec![])]);
    assert!(layer.with_xattrs(&odd).file("d", root, b"").is_err());
    layer.with_xattrs(&BTreeMap::new()).file("d", root, b"").unwrap();
    layer.complete().unwrap();
}

#[test]
fn what_is_left_out_of_a_layer_takes_no_other_name_of_its_file_with_it() {
    as_user("extract::changes::what_is_left_out_of_a_layer_takes_no_other_name_of_its_file_with_it", || {
        let (bench, place) = (Bench::new(), Place::new());
        let mut sandbox = bench.open();
        // one is left out, one is emptied; of either the name that comes first
        shell(&mut sandbox, "echo one >/tmp/one; ln /tmp/one /usr/one; echo two >/var/log/two; ln /var/log/two /zz");
        let mut writer = LayerWriter::new(&place.store, Compression::Gzip, MTIME).unwrap();
        sandbox
            .changes(&mut |change, content| Ok::<_, Error>(scrub::write(change, content, &mut writer).unwrap()))
            .unwrap();
        let layer = writer.complete().unwrap();
        let blob = fs::File::open(place.store.path(Area::Blobs, &layer.descriptor.digest)).unwrap();
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(blob));
        let files = archive.entries().unwrap().filter_map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let path = entry.path().unwrap().display().to_string();
            entry.header().entry_type().is_file().then_some((path, content))
        });
        let expected = [("usr/one", "one\n"), ("var/log/two", ""), ("zz", "two\n")];
        assert_eq!(files.collect::<Vec<_>>(), expected.map(|(path, content)| (path.to_owned(), content.to_owned())));
    });
}
