//! What LayerWriter promises: a canonical tar, one gzip member or zstd frame that
//! every tool reads, and nothing in the store until it is complete.

mod parts;
mod streams;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use dlpack::layer::{Attributes, Compression, Error, Layer, LayerWriter, Threads};
use dlpack::oci::{Digest, media_type};
use dlpack::store::{Area, Store};

const MTIME: u64 = 1_700_000_000;

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn blob(store: &Store, layer: &Layer) -> Vec<u8> {
    store.read(Area::Blobs, &layer.descriptor.digest).unwrap().unwrap()
}

/// Runs `command` on `input`; its output, or a failure that says what to install.
fn pipe(command: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs `{}` (scripts/test installs it): {error}", command[0]));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        let mut output = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
        output
    });
    assert!(child.wait().unwrap().success(), "{command:?} failed");
    output
}

/// The layer's tar, by gunzip; it must be what the DiffID and the length say.
fn unpacked(store: &Store, layer: &Layer) -> Vec<u8> {
    let tar = pipe(&["gunzip", "-c"], &blob(store, layer));
    assert_eq!(Digest::of(&tar), layer.diff_id.0);
    assert_eq!(tar.len() as u64, layer.unpacked);
    tar
}

fn root(mode: u32) -> Attributes {
    Attributes::root(mode)
}

fn deflated(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Repeatable bytes that no encoder makes smaller.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut noise = vec![0; length];
    random.fill(&mut noise);
    noise
}

/// A layer with an entry of each kind, and of each way that its bytes can come.
fn sample(store: &Store, compression: Compression, threads: Threads) -> Layer {
    let mut layer = LayerWriter::on(store, compression, MTIME, threads).unwrap();
    let text = "a line that comes again and again\n".repeat(9000).into_bytes();
    let raw = deflated(&text, 6);
    layer.directory("opt", root(0o755)).unwrap();
    layer.file("opt/empty", root(0o644), b"").unwrap();
    layer.symlink("opt/link", root(0o777), "../usr/bin/env").unwrap();
    layer.file("opt/noise", root(0o600), &noise(1, 200_000)).unwrap();
    layer
        .deflated("opt/spliced", root(0o644), text.len() as u64, crc32fast::hash(&text), &raw[..], &mut |_| {})
        .unwrap();
    layer
        .stream("opt/streamed", Attributes { mode: 0o4755, uid: 1001, gid: 100 }, text.len() as u64, &text[..])
        .unwrap();
    layer.file("opt/text", root(0o644), b"the last one").unwrap();
    layer.complete().unwrap()
}

#[test]
fn python_reads_the_member_and_its_tar() {
    let (_directory, store) = store();
    let layer = sample(&store, Compression::Gzip, Threads::Several);
    let script = "import gzip, hashlib, io, sys, tarfile\n\
        tar = gzip.decompress(sys.stdin.buffer.read())\n\
        print(hashlib.sha256(tar).hexdigest(), *tarfile.open(fileobj=io.BytesIO(tar)).getnames())";
    let printed = String::from_utf8(pipe(&["python3", "-c", script], &blob(&store, &layer))).unwrap();
    let names = "opt opt/empty opt/link opt/noise opt/spliced opt/streamed opt/text";
    assert_eq!(printed.trim(), format!("{} {names}", layer.diff_id.0.hex()));
}

#[test]
fn one_thread_and_several_write_the_same_bytes() {
    let (_directory, store) = store();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let one = sample(&store, compression, Threads::One);
        assert_eq!(one, sample(&store, compression, Threads::Several));
    }
}

#[test]
fn a_zstd_layer_is_one_frame_of_the_same_tar() {
    let (_directory, store) = store();
    let gzip = sample(&store, Compression::Gzip, Threads::Several);
    let zstd = sample(&store, Compression::Zstd, Threads::Several);
    assert_eq!(zstd.diff_id, gzip.diff_id);
    assert_eq!(zstd.descriptor.media_type, media_type::LAYER_ZSTD);
    assert_eq!(gzip.descriptor.media_type, media_type::LAYER_GZIP);
    let tar = pipe(&["zstd", "-dc"], &blob(&store, &zstd));
    assert_eq!(Digest::of(&tar), zstd.diff_id.0);
}

/// Fails when anything changes what a layer's bytes are: raise `layer::FORMAT` then.
#[test]
fn a_layer_of_these_entries_has_this_digest_for_ever() {
    let (_directory, store) = store();
    let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    layer.directory("etc", root(0o755)).unwrap();
    let lines: String = (0..3000).map(|line| format!("{line} squared is {}\n", line * line)).collect();
    layer.file("etc/squares", root(0o644), lines.as_bytes()).unwrap();
    // "hello, hello, hello\n": a fixed block of zlib's, ending on its bit 2 of 8.
    let raw = [0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7, 0x51, 0xc8, 0x40, 0xa2, 0xb8, 0x00];
    let content = b"hello, hello, hello\n";
    let crc = crc32fast::hash(content);
    layer.deflated("greeting", root(0o644), content.len() as u64, crc, &raw[..], &mut |_| {}).unwrap();
    layer.file("greeting.bin", Attributes { mode: 0o755, uid: 7, gid: 8 }, &noise_by_squares()).unwrap();
    layer.file(&format!("long/{}", "p".repeat(120)), root(0o644), b"").unwrap();
    layer.symlink("z", root(0o777), "greeting").unwrap();
    let layer = layer.complete().unwrap();
    unpacked(&store, &layer);
    assert_eq!(layer.diff_id.to_string(), "sha256:34621dca0ab010c51ba8c67dc2ad8de4ed4e7bcc91bc9ef6eff5b3e05ca5956f");
    assert_eq!(
        layer.descriptor.digest.to_string(),
        "sha256:9b431804723392e2c123f43025cbd84510b6452229962c17ab02af2661cc588e"
    );
}

/// Noise that depends on no crate.
fn noise_by_squares() -> Vec<u8> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(1), next).map(|state| (state >> 56) as u8).take(70_000).collect()
}

#[test]
fn a_half_written_layer_leaves_nothing_in_the_store() {
    let (directory, store) = store();
    let files = || {
        walkdir::WalkDir::new(directory.path())
            .into_iter()
            .filter(|f| f.as_ref().unwrap().file_type().is_file())
            .count()
    };
    let before = files();
    for threads in [Threads::One, Threads::Several] {
        let mut layer = LayerWriter::on(&store, Compression::Gzip, MTIME, threads).unwrap();
        layer.file("a", root(0o644), &noise(2, 3_000_000)).unwrap();
        drop(layer);
        assert_eq!(files(), before, "{threads:?}");
    }
}

#[test]
fn a_layer_with_a_failed_entry_cannot_be_completed() {
    let (directory, store) = store();
    let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    let error = layer.stream("short", root(0o644), 10, &b"123"[..]).unwrap_err();
    assert_eq!(error.to_string(), "`short` is not what was announced: it has 3 bytes, not 10");
    let next = layer.file("tall", root(0o644), b"").unwrap_err();
    assert_eq!(next.to_string(), "the layer broke off at `short`");
    assert!(matches!(layer.complete(), Err(Error::Unfinished { .. })));
    assert_eq!(fs::read_dir(directory.path().join("blobs/sha256")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0);

    let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    let error = layer.stream("long", root(0o644), 2, &b"123"[..]).unwrap_err();
    assert_eq!(error.to_string(), "`long` is not what was announced: it has more than 2 bytes");
}

#[test]
fn a_content_that_cannot_be_read_is_named() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let (_directory, store) = store();
    for spliced in [false, true] {
        let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
        let result = match spliced {
            true => layer.deflated("a", root(0o644), 5, 0, Broken, &mut |_| {}),
            false => layer.stream("a", root(0o644), 5, Broken),
        };
        assert!(matches!(result, Err(Error::Io { path, .. }) if path == "a"));
    }
}

/// `RLIMIT_FSIZE` stands for a full disk; the shell sets it for the test's own child.
#[test]
fn a_disk_that_takes_no_more_is_an_error_of_the_store() {
    const CHILD: &str = "DLPACK_TEST_FULL_DISK";
    if std::env::var_os(CHILD).is_some() {
        let (_directory, store) = store();
        for threads in [Threads::One, Threads::Several] {
            let mut layer = LayerWriter::on(&store, Compression::Gzip, MTIME, threads).unwrap();
            let result = (0..40).try_for_each(|n| layer.file(&format!("{n:02}"), root(0o644), &noise(n, 300_000)));
            let error = result.and_then(|()| layer.complete()).unwrap_err();
            assert!(matches!(error, Error::Store(dlpack::store::Error::Io { .. })), "{error:?}");
        }
        return;
    }
    let test = "layers::a_disk_that_takes_no_more_is_an_error_of_the_store";
    let limited = format!("trap '' XFSZ; ulimit -f 2000; exec \"$0\" --exact {test}");
    let child = Command::new("sh")
        .arg("-c")
        .arg(limited)
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[test]
fn entries_are_sorted_and_no_path_stands_twice_or_under_a_file() {
    let (_directory, store) = store();
    let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    layer.directory("a", root(0o755)).unwrap();
    layer.file("a/b", root(0o644), b"").unwrap();
    assert!(matches!(layer.file("a/b", root(0o644), b""), Err(Error::Order { .. })));
    assert!(matches!(layer.file("a/a", root(0o644), b""), Err(Error::Order { .. })));
    layer.file("a/b-", root(0o644), b"").unwrap();
    let under = layer.file("a/b/c", root(0o644), b"").unwrap_err();
    assert_eq!(under.to_string(), "`a/b/c` lies under `a/b`, which is no directory");
    layer.symlink("l", root(0o777), "/etc").unwrap();
    assert!(matches!(layer.file("l/passwd", root(0o644), b""), Err(Error::Parent { .. })));
    for path in ["", "/", "/z", "z/", "z//z", "z/./z", "z/../z", "..", "z\0", "z/.wh.z", ".wh..wh..opq"] {
        assert!(matches!(layer.file(path, root(0o644), b""), Err(Error::Path { .. })), "{path:?}");
    }
    assert!(matches!(layer.symlink("z", root(0o777), ""), Err(Error::Path { .. })));
    layer.file("z", root(0o644), b"").unwrap();
    let names = pipe(&["tar", "-tf", "-"], &unpacked(&store, &layer.complete().unwrap()));
    assert_eq!(String::from_utf8(names).unwrap(), "a/\na/b\na/b-\nl\nz\n");
}

/// Paths at ustar's limits and beyond them.
fn names() -> Vec<String> {
    let mut names = vec![
        "d".repeat(100),
        "d".repeat(101),
        format!("{}/{}", "e".repeat(155), "f".repeat(100)),
        format!("{}/{}", "e".repeat(156), "f".repeat(90)),
        format!("{}/{}", "e".repeat(150), "f".repeat(101)),
        format!("{}/{}", "g/".repeat(200), "h".repeat(60)).replace("//", "/"),
        "µ/straße.py".to_owned(),
        format!("{}/ü", "i".repeat(180)),
        "new\nline = 3".to_owned(),
    ];
    names.sort();
    names
}

#[test]
fn python_and_gnu_tar_read_long_and_foreign_paths() {
    let (_directory, store) = store();
    let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    let big = Attributes { mode: 0o640, uid: 3_000_000, gid: u32::MAX };
    for name in names() {
        layer.file(&name, big, name.as_bytes()).unwrap();
    }
    layer.directory(&format!("ç{}", "/t".repeat(80)), root(0o750)).unwrap();
    layer.symlink("ý", root(0o777), &"../".repeat(60)).unwrap();
    layer.symlink("ÿ", root(0o777), "ünde").unwrap();
    let tar = unpacked(&store, &layer.complete().unwrap());

    let script = "import sys, tarfile, io, json\n\
        t = tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))\n\
        print(json.dumps([[m.name, m.type.decode(), m.mode, m.uid, m.gid, m.mtime, m.uname, m.linkname,\n\
          t.extractfile(m).read().decode() if m.isfile() else ''] for m in t]))";
    let seen: serde_json::Value = serde_json::from_slice(&pipe(&["python3", "-c", script], &tar)).unwrap();
    let mut expected: Vec<_> = names()
        .iter()
        .map(|name| serde_json::json!([name, "0", 0o640, 3_000_000, u32::MAX, MTIME, "", "", name]))
        .collect();
    expected.push(serde_json::json!([format!("ç{}", "/t".repeat(80)), "5", 0o750, 0, 0, MTIME, "", "", ""]));
    expected.push(serde_json::json!(["ý", "2", 0o777, 0, 0, MTIME, "", "../".repeat(60), ""]));
    expected.push(serde_json::json!(["ÿ", "2", 0o777, 0, 0, MTIME, "", "ünde", ""]));
    expected.sort_by_key(|entry| entry[0].as_str().unwrap().to_owned());
    assert_eq!(seen, serde_json::json!(expected));

    let listed =
        String::from_utf8(pipe(&["tar", "--quoting-style=literal", "--numeric-owner", "-tf", "-"], &tar)).unwrap();
    for name in names() {
        assert!(listed.contains(&name), "GNU tar does not show {name}");
    }
}

#[test]
fn only_what_ustar_cannot_say_costs_a_pax_header() {
    let (_directory, store) = store();
    let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    layer.file(&format!("{}/{}", "e".repeat(155), "f".repeat(100)), root(0o644), b"x").unwrap();
    layer.symlink("link", root(0o777), &"t".repeat(100)).unwrap();
    // Header and content; header; two zero blocks.
    assert_eq!(layer.complete().unwrap().unpacked, 512 + 512 + 512 + 1024);
}

/// A file over 8 GiB, as far as its header: its length stands in a pax record.
#[test]
fn a_length_over_8_gib_stands_in_a_pax_record() {
    let (_directory, store) = store();
    let mut layer = LayerWriter::on(&store, Compression::Gzip, MTIME, Threads::One).unwrap();
    let size = 9 * 1024 * 1024 * 1024;
    let zeros = io::repeat(0).take(1000);
    let error = layer.stream("huge", root(0o644), size, zeros).unwrap_err();
    assert_eq!(error.to_string(), format!("`huge` is not what was announced: it has 1000 bytes, not {size}"));
}

#[test]
fn skopeo_and_umoci_take_the_layer() {
    let (directory, store) = store();
    let layer = sample(&store, Compression::Gzip, Threads::Several);
    unpacked(&store, &layer);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    })
    .to_string();
    let config_digest = store.put(Area::Blobs, config.as_bytes()).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": {"mediaType": media_type::CONFIG, "digest": config_digest, "size": config.len()},
        "layers": [layer.descriptor],
    })
    .to_string();
    let digest = store.put(Area::Blobs, manifest.as_bytes()).unwrap();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::INDEX,
        "manifests": [{"mediaType": media_type::MANIFEST, "digest": digest, "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": "it"}}],
    });
    fs::write(directory.path().join("index.json"), index.to_string()).unwrap();

    let image = format!("{}:it", directory.path().display());
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = format!("dir:{}", elsewhere.path().join("copy").display());
    pipe(&["skopeo", "--insecure-policy", "copy", "-q", &format!("oci:{image}"), &copy], b"");
    let bundle = elsewhere.path().join("bundle");
    pipe(&["umoci", "unpack", "--rootless", "--image", &image, bundle.to_str().unwrap()], b"");
    let opt = bundle.join("rootfs/opt");
    assert_eq!(fs::read(opt.join("noise")).unwrap(), noise(1, 200_000));
    assert_eq!(fs::read(opt.join("spliced")).unwrap(), fs::read(opt.join("streamed")).unwrap());
    assert_eq!(fs::read_link(opt.join("link")).unwrap(), Path::new("../usr/bin/env"));
}

#[test]
fn headers_and_padding_cost_little() {
    let (_directory, store) = store();
    let mut layer = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    let mut own = 0;
    for number in 0..2000 {
        let path = format!("opt/venv/lib/python3.12/site-packages/package/module_{number:04}.py");
        let content = noise(number, 300);
        let raw = deflated(&content, 6);
        own += raw.len() as u64;
        let crc = crc32fast::hash(&content);
        layer.deflated(&path, root(0o644), content.len() as u64, crc, &raw[..], &mut |_| {}).unwrap();
    }
    let layer = layer.complete().unwrap();
    unpacked(&store, &layer);
    let overhead = (layer.descriptor.size - own) / 2000;
    assert!(overhead < 80, "{overhead} bytes an entry");
}
