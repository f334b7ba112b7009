//! What an extracted tree has: what a container of the layers would see, with the owners
//! beside it; made once, whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dlpack::oci::{ChainId, DiffId, Digest, media_type};
use dlpack::sandbox::{ExtractError, extract};
use dlpack::store::{Area, Kind, Policy};

use super::tars::{BLOCK, CHAR, DIRECTORY, FIFO, FILE, Header, Place, Raw, SYMLINK};
use crate::support::command::Dlpack;
use crate::support::image::{Layout, Packing, Tar};
use crate::support::output;
use crate::support::sandbox::as_user;

fn tar() -> Raw {
    Raw::default()
}

fn xattr(path: &Path, name: &str) -> Option<String> {
    let mut value = [0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    Some(String::from_utf8_lossy(&value[..length]).into_owned())
}

/// Kind, mode and content of all in a tree.
fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let (path, metadata) = (entry.path(), entry.path().symlink_metadata().unwrap());
        let what = match metadata.file_type() {
            kind if kind.is_dir() => "directory".to_owned(),
            kind if kind.is_symlink() => format!("-> {}", fs::read_link(path).unwrap().display()),
            kind if kind.is_fifo() => "fifo".to_owned(),
            _ => format!("{:?}", String::from_utf8_lossy(&fs::read(path).unwrap())),
        };
        let mode = if metadata.is_symlink() { 0 } else { metadata.mode() & 0o7777 };
        seen.insert(path.strip_prefix(root).unwrap().to_owned(), format!("{mode:o} {what}"));
    }
    seen
}

#[test]
fn what_one_uid_cannot_give_stands_in_the_record() {
    as_user("extract::trees::what_one_uid_cannot_give_stands_in_the_record", || {
        let place = Place::new();
        let capability = [1u8, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let sgid =
            |path| Header { kind: FILE, path, target: b"", mode: 0o2755, owner: (0, 42), size: 0, device: (0, 0) };
        let layer = tar()
            .owned(DIRECTORY, "./", "", 0o755, (0, 0))
            .owned(DIRECTORY, "locked", "", 0o000, (33, 33))
            .file("locked/in", "x")
            .header(sgid(b"agent"))
            .owned(FILE, "su", "", 0o4755, (0, 0))
            .owned(SYMLINK, "link", "nowhere", 0o777, (5, 6))
            .owned(SYMLINK, "roots", "nowhere", 0o777, (0, 0))
            .owned(FIFO, "pipe", "", 0o620, (7, 8))
            .owned(CHAR, "null", "", 0o666, (0, 0))
            .owned(BLOCK, "disk", "", 0o660, (0, 6))
            .pax(&[("SCHILY.xattr.security.capability", &capability), ("SCHILY.xattr.user.note", b"a\nb")])
            .file("ping", "x")
            .pax(&[("SCHILY.xattr.user.dlpack.owner", b"9:9"), ("SCHILY.xattr.user.overlay.opaque", b"y")])
            .directory("forged")
            .pax(&[("uid", b"3000000"), ("gid", b"4294967294"), ("mtime", b"1234567890.5")])
            .file("far", "x")
            .link("far-too", "far");
        let root = place.base([layer]).unwrap();
        let owner = |name: &str| xattr(&root.join(name), "user.dlpack.owner");
        assert_eq!(owner("agent").as_deref(), Some("0:42"));
        assert_eq!(owner("far-too").as_deref(), Some("3000000:4294967294"));
        assert_eq!((owner("su"), owner("forged")), (None, None));
        assert_eq!(xattr(&root.join("forged"), "user.overlay.opaque"), None);
        assert_eq!(xattr(&root.join("null"), "user.dlpack.device").as_deref(), Some("c 1:3"));
        assert_eq!(xattr(&root.join("disk"), "user.dlpack.device").as_deref(), Some("b 1:3"));
        assert_eq!(xattr(&root.join("ping"), "user.note").as_deref(), Some("a\nb"));
        let mut kept = [0; 64];
        let length = rustix::fs::lgetxattr(root.join("ping"), "user.dlpack.xattr.security.capability", &mut kept);
        assert_eq!(&kept[..length.unwrap()], capability);
        let mode = |name: &str| root.join(name).symlink_metadata().unwrap().mode() & 0o7777;
        assert_eq!((mode("locked"), mode("agent"), mode("su"), mode("pipe")), (0, 0o2755, 0o4755, 0o620));
        let far = root.join("far").metadata().unwrap();
        assert_eq!((far.mtime(), far.mtime_nsec(), far.nlink()), (1_234_567_890, 500_000_000, 2));
        assert_eq!(fs::read(root.with_file_name("owners")).unwrap(), b"5:6 link\x007:8 pipe\0");
        let above = root.ancestors().nth(2).unwrap().metadata().unwrap();
        assert_eq!(above.mode() & 0o777, 0o700, "set-uid files are within nobody else's reach");

        // A directory that not even its owner may enter goes, too.
        let collected = place.store.gc(&Policy { ceiling: Some(0), unused_for: None }).unwrap();
        assert!(collected.removed.iter().any(|entry| entry.kind == Kind::Root));
        assert!(!root.exists());
        assert_eq!(fs::read_dir(place.store.root().join("tmp")).unwrap().count(), 0);
    });
}

#[test]
fn layers_are_flattened_as_a_container_would_see_them() {
    let place = Place::new();
    let lower = tar()
        .directory("usr")
        .directory("usr/lib")
        .symlink("lib", "usr/lib")
        .file("usr/lib/old", "old")
        .file("usr/lib/kept", "kept")
        .directory("etc")
        .directory("etc/a")
        .file("etc/a/1", "1")
        .file("etc/a/2", "2")
        .directory("etc/b")
        .file("etc/b/1", "1")
        .file("file", "file")
        .directory("dir")
        .file("dir/in", "in");
    let upper = tar()
        .file("lib/new", "through the link")
        .file("lib/.wh.old", "")
        .file("etc/a/3", "stands before the whiteout")
        .file("etc/a/.wh..wh..opq", "")
        .file("etc/a/4", "stands after it")
        .file("etc/.wh.b", "")
        .directory("file")
        .file("file/in", "a file became a directory")
        .file("dir", "a directory became a file")
        .file("again", "first")
        .file(".wh.again", "")
        .link("hard", "usr/lib/kept");
    let root = place.base([lower, upper]).unwrap();
    let names: Vec<_> = seen(&root).into_keys().map(|path| path.display().to_string()).collect();
    let expected = "again dir etc etc/a etc/a/3 etc/a/4 file file/in hard lib usr usr/lib usr/lib/kept usr/lib/new";
    assert_eq!(names.join(" "), expected);
    assert_eq!(root.join("hard").metadata().unwrap().ino(), root.join("usr/lib/kept").metadata().unwrap().ino());
    assert_eq!(root.join("usr/lib").metadata().unwrap().mtime(), 1_700_000_000, "as if nothing had been put in");
}

/// The same layers by umoci, which applies them as a runtime does.
#[test]
fn umoci_sees_the_same_tree() {
    let place = Place::new();
    let path = place.directory.path().join("layout");
    let layout = Layout::create(&path);
    let lower = || {
        Tar::new()
            .directory("usr/")
            .directory("usr/lib/")
            .symlink("lib", "usr/lib")
            .file("usr/lib/old", "old")
            .file("usr/lib/kept", "kept")
            .directory("d/")
            .file("d/1", "1")
            .directory("d/2/")
            .file("d/2/3", "3")
    };
    let upper = || {
        Tar::new()
            .file("lib/new", "new")
            .file("lib/.wh.old", "")
            .file("d/.wh..wh..opq", "")
            .file("d/4", "4")
            .hard_link("hard", "usr/lib/kept")
            .owned_file("odd", 0o1640, (0, 0), "odd")
            .entry(tar::EntryType::Fifo, "pipe", "", 0o600, (0, 0), b"")
    };
    layout.image().layer(Packing::Gzip, lower()).layer(Packing::Gzip, upper()).tagged("it");
    let bundle = place.directory.path().join("bundle");
    let image = format!("{}:it", path.display());
    output(Command::new("umoci").args(["unpack", "--rootless", "--image", &image]).arg(&bundle), "umoci");

    let blobs = [(Packing::Gzip, lower().finish()), (Packing::Zstd, upper().finish())];
    let layers: Vec<_> = blobs.map(|(packing, tar)| put_packed(&place, packing, &tar)).into();
    let root = extract::base(&place.store, &layers).unwrap();
    assert_eq!(seen(&root), seen(&bundle.join("rootfs")));
}

fn put_packed(place: &Place, packing: Packing, tar: &[u8]) -> (dlpack::oci::Descriptor, DiffId) {
    let blob = match packing {
        Packing::Zstd => zstd::encode_all(tar, 3).unwrap(),
        _ => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gzip, tar).unwrap();
            gzip.finish().unwrap()
        }
    };
    let digest = place.store.put(Area::Blobs, &blob).unwrap();
    // layers.md: how it is compressed, the bytes say
    let descriptor = dlpack::oci::Descriptor::new(media_type::LAYER_GZIP, digest, blob.len() as u64);
    (descriptor, DiffId(Digest::of(tar)))
}

#[test]
fn a_layer_of_ours_gets_overlayfs_form() {
    as_user("extract::trees::a_layer_of_ours_gets_overlayfs_form", || {
        let place = Place::new();
        let base = tar()
            .owned(DIRECTORY, "srv", "", 0o2750, (33, 34))
            .file("srv/a", "a")
            .directory("d")
            .file("d/1", "1")
            .file("gone", "x");
        let (descriptor, diff_id) = place.put(base);
        let root = extract::base(&place.store, &[(descriptor, diff_id)]).unwrap();
        let under = ChainId::of(&[diff_id]);
        let upper =
            tar().directory("d").file("d/.wh..wh..opq", "").file("d/2", "2").file(".wh.gone", "").file("srv/b", "");
        let (descriptor, diff_id) = place.put(upper);
        let layer = extract::layer(&place.store, &descriptor, diff_id, under, &[root]).unwrap();
        let gone = layer.join("gone").symlink_metadata().unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        assert_eq!(xattr(&layer.join("d"), "user.overlay.opaque").as_deref(), Some("y"));
        // A directory that the layer does not name shows what the one below has.
        assert_eq!(xattr(&layer.join("srv"), "user.dlpack.owner").as_deref(), Some("33:34"));
        assert_eq!(layer.join("srv").metadata().unwrap().mode() & 0o7777, 0o2750);
        let again = extract::layer(&place.store, &descriptor, diff_id, under, &[]).unwrap();
        assert_eq!(again, layer, "made once");
    });
}

#[test]
fn a_layer_of_ours_does_not_go_through_links() {
    let place = Place::new();
    let (descriptor, diff_id) = place.put(tar().symlink("l", "d").directory("d").file("l/x", ""));
    let error = extract::layer(&place.store, &descriptor, diff_id, None, &[]).unwrap_err();
    assert!(matches!(error, ExtractError::Parent { .. }), "{error}");
}

#[test]
fn a_tree_is_made_once_by_however_many_ask_for_it() {
    let place = Place::new();
    let files = (0..300).fold(tar(), |tar, n| tar.file(format!("f{n}"), vec![7; 3000]));
    let layer = place.put(files);
    let roots: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| extract::base(&place.store, std::slice::from_ref(&layer)).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(roots.iter().all(|root| root == &roots[0]));
    assert_eq!(fs::read_dir(&roots[0]).unwrap().count(), 300);
    assert_eq!(fs::read_dir(place.store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_tree_that_was_half_made_by_a_killed_process_is_swept_away() {
    let place = Place::new();
    let half = place.store.root().join("tmp/1-0123456789abcdef");
    fs::create_dir_all(half.join("root/locked/in")).unwrap();
    fs::write(half.join("root/locked/in/file"), "x").unwrap();
    fs::set_permissions(half.join("root/locked"), fs::Permissions::from_mode(0o000)).unwrap();
    let collected = place.store.gc(&Policy::default()).unwrap();
    assert_eq!(collected.leftovers, 1);
    assert!(!half.exists());
}

#[test]
fn a_tree_is_removed_however_deep_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().join("tree");
    // deeper than PATH_MAX, which links in a layer could lead to
    fs::create_dir(&top).unwrap();
    let mut here: std::os::fd::OwnedFd = fs::File::open(&top).unwrap().into();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&here, "d", rustix::fs::Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    dlpack::store::remove_tree(&top).unwrap();
    assert!(!top.exists());
}

#[test]
fn what_is_wrong_with_a_blob_is_said_and_nothing_is_kept() {
    let place = Place::new();
    let (descriptor, diff_id) = place.put(tar().file("a", "b"));
    let other = DiffId(Digest::of(b"other"));
    let error = extract::base(&place.store, &[(descriptor.clone(), other)]).unwrap_err();
    assert!(error.to_string().contains("the image's config says"), "{error}");

    let path = place.store.path(Area::Blobs, &descriptor.digest);
    let mut bytes = fs::read(&path).unwrap();
    bytes[600] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = extract::base(&place.store, &[(descriptor.clone(), diff_id)]).unwrap_err();
    assert!(matches!(&error, ExtractError::Store(dlpack::store::Error::Damaged { .. })), "{error}");
    let error = extract::base(&place.store, &[(descriptor, diff_id)]).unwrap_err();
    assert!(matches!(error, ExtractError::Missing { .. }), "{error}");

    let bomb = vec![0; 300 << 20];
    let (descriptor, diff_id) = put_packed(&place, Packing::Zstd, &[&big_header()[..], &bomb].concat());
    let error = extract::base(&place.store, &[(descriptor, diff_id)]).unwrap_err();
    assert!(error.to_string().contains("inflates to more than"), "{error}");
    assert!(!place.store.root().join("rootfs").exists());
    assert_eq!(fs::read_dir(place.store.root().join("tmp")).unwrap().count(), 0);
}

fn big_header() -> Vec<u8> {
    let header =
        Header { kind: FILE, path: b"a", target: b"", mode: 0o644, owner: (0, 0), size: 300 << 20, device: (0, 0) };
    tar().header(header).finish()[..512].to_vec()
}

/// Writes `content` to a file of a tree with the time that it had.
fn rewrite(path: &Path, content: &str) {
    let before = path.metadata().unwrap().modified().unwrap();
    fs::write(path, content).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
}

#[test]
fn a_tree_that_was_written_to_is_made_again_and_one_that_was_copied_is_not() {
    let place = Place::new();
    let layer = place.put(tar().directory("d").file("d/a", "12345").symlink("l", "d").file("locked", "x"));
    let made = || extract::base(&place.store, std::slice::from_ref(&layer)).unwrap();
    let root = made();
    let inode = || root.metadata().unwrap().ino();
    let first = inode();
    made();
    assert_eq!(inode(), first, "it is as it was made");

    let copy = root.with_file_name("copy");
    output(Command::new("cp").arg("-a").arg(&root).arg(&copy), "coreutils");
    fs::remove_dir_all(&root).unwrap();
    fs::rename(copy, &root).unwrap();
    let copied = inode();
    made();
    assert_eq!(inode(), copied, "each file is what it was");

    let changes: [(&str, &dyn Fn()); 6] = [
        ("a bit of a file", &|| rewrite(&root.join("d/a"), "12344")),
        ("a file's mode", &|| fs::set_permissions(root.join("locked"), fs::Permissions::from_mode(0o600)).unwrap()),
        ("a file that is gone", &|| fs::remove_file(root.join("locked")).unwrap()),
        ("a file more", &|| fs::write(root.join("d/b"), "").unwrap()),
        ("another link", &|| {
            fs::remove_file(root.join("l")).unwrap();
            std::os::unix::fs::symlink("e", root.join("l")).unwrap();
        }),
        ("the record of owners", &|| fs::write(root.with_file_name("owners"), "x").unwrap()),
    ];
    let sound = seen(&root);
    for (what, change) in changes {
        let before = inode();
        change();
        // whoever is at work on the tree keeps it
        let used = fs::File::open(&root).unwrap();
        made();
        assert_ne!(inode(), before, "{what}");
        assert_eq!(seen(&root), sound, "{what}");
        assert!(used.metadata().unwrap().nlink() > 0, "{what}");
    }
    let attribute = |name: &str| rustix::fs::setxattr(root.join("d/a"), name, b"1:1", rustix::fs::XattrFlags::empty());
    let before = inode();
    attribute("user.dlpack.owner").unwrap();
    made();
    assert_ne!(inode(), before, "an owner");
    place.store.gc(&Policy::default()).unwrap();
    assert_eq!(fs::read_dir(place.store.root().join("tmp")).unwrap().count(), 0, "what was set aside is gone");
}

#[test]
fn bits_that_a_disk_lost_by_itself_are_found_by_reading() {
    let place = Place::new();
    let root = extract::base(&place.store, &[place.put(tar().file("a", "12345"))]).unwrap();
    assert_eq!(place.store.verify(&|_| {}).unwrap().damaged, Vec::<PathBuf>::new());
    rewrite(&root.join("a"), "12344");
    // no time tells of it: as if it had been written so
    let metadata = root.join("a").metadata().unwrap();
    let noted = root.with_file_name("files");
    let text = fs::read_to_string(&noted).unwrap();
    let (lines, _) = text.rsplit_once('\n').unwrap();
    let line = lines.lines().find(|line| line.starts_with("root/a\0")).unwrap();
    let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
    (fields[4], fields[5]) = (metadata.ctime().to_string(), metadata.ctime_nsec().to_string());
    let lines = format!("{}\n", lines.replace(line, &fields.join(" ")));
    fs::write(&noted, format!("{lines}{}", Digest::of(lines.as_bytes()))).unwrap();
    assert_eq!(place.store.verify(&|_| {}).unwrap().damaged, [root.parent().unwrap()]);
    assert!(!root.exists());
}

#[test]
fn cache_list_shows_trees_and_verify_drops_broken_ones() {
    let home = Dlpack::new();
    let store = dlpack::store::Store::open(&home.store()).unwrap();
    let bytes = tar().file("a", "12345").finish();
    let digest = store.put(Area::Blobs, &bytes).unwrap();
    let descriptor = dlpack::oci::Descriptor::new(media_type::LAYER_TAR, digest, bytes.len() as u64);
    let root = extract::base(&store, &[(descriptor, DiffId(digest))]).unwrap();
    let listed = home.run(["cache", "list", "--json"]);
    let entries: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let entries = entries["entries"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["kind"] == "rootfs" && entry["size"] == 5), "{entries:?}");
    assert_eq!(home.run(["cache", "verify"]).status, 0);
    fs::remove_file(root.with_file_name("content.json")).unwrap();
    assert_ne!(home.run(["cache", "verify"]).status, 0);
    assert!(!root.exists());
    let age = Policy { ceiling: None, unused_for: Some(Duration::ZERO) };
    assert!(store.gc(&age).unwrap().removed.iter().all(|entry| entry.kind != Kind::Root));
}
