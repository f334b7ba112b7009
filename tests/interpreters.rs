//! A standalone build of Python becomes a layer; an archive that lies doesn't.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use dlpack::assemble::Error;
use dlpack::changeset::{Changeset, venv::changesets};
use dlpack::lock::{FileKind, LockedFile};
use dlpack::oci::Digest;
use dlpack::store::{Area, Store};
use tempfile::TempDir;

use crate::support::shown::Shown;
use crate::support::{output, venv};

fn place() -> (TempDir, Store) {
    let directory = tempfile::Builder::new().prefix("dlpack-interpreter-").tempdir().expect("a temporary directory");
    let store = Store::open(&directory.path().join("store")).expect("a store");
    (directory, store)
}

/// The changeset of an interpreter whose archive is said to be `sha256`.
fn interpreter(store: &Store, sha256: Digest, size: u64) -> Arc<dyn Changeset> {
    let mut locked = venv::venv(Vec::new());
    locked.interpreter.path = "/opt/python/bin/python3".into();
    locked.interpreter.archive = Some(LockedFile {
        from: "python.tar".into(),
        to: "opt/python".into(),
        kind: FileKind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        sha256,
        size,
    });
    changesets(&venv::recipe("/opt/venv"), &locked, std::path::Path::new("."), store)
        .expect("changesets")
        .remove(0)
        .changeset
}

fn kept(store: &Store, archive: &[u8]) -> Arc<dyn Changeset> {
    let sha256 = store.put(Area::Downloads, archive).expect("stored");
    interpreter(store, sha256, archive.len() as u64)
}

#[test]
fn the_layer_of_a_build_is_the_tree_that_tar_unpacks() {
    let (directory, store) = place();
    let build = directory.path().join("python");
    fs::create_dir_all(build.join("bin")).expect("created");
    fs::create_dir_all(build.join("lib/python3.12")).expect("created");
    let write = |path: &str, mode: u32, content: &[u8]| {
        fs::write(build.join(path), content).expect("written");
        fs::set_permissions(build.join(path), fs::Permissions::from_mode(mode)).expect("set");
    };
    write("bin/python3.12", 0o755, &vec![7; 300_000]);
    write(&format!("lib/python3.12/{}.py", "long".repeat(40)), 0o644, b"x = 1\n");
    write("lib/empty", 0o444, b"");
    symlink("python3.12", build.join("bin/python3")).expect("linked");
    symlink("../lib/empty", build.join("bin/up")).expect("linked");
    fs::hard_link(build.join("bin/python3.12"), build.join("bin/python")).expect("linked");

    let mut digests = Vec::new();
    for (compress, order) in [("gzip", "--sort=name"), ("zstd", "--sort=none")] {
        let archive = directory.path().join(compress);
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(directory.path()).args([&format!("--{compress}"), order, "-cf"]).arg(&archive).arg("python");
        output(&mut tar, "tar");
        let changeset = kept(&store, &fs::read(&archive).expect("an archive"));
        let layer = venv::write(&store, changeset.as_ref()).expect("a layer");
        let root = directory.path().join(format!("root-{compress}"));
        venv::unpack(&store, std::slice::from_ref(&layer), &root);
        assert_eq!(venv::tree(&root.join("opt/python")), venv::tree(&build), "{compress}");
        digests.push(layer.diff_id);
    }
    assert_eq!(digests[0], digests[1], "neither the archive's order nor its compression counts");
}

/// A tar of entries `(type, path, target)`, compressed.
fn tar_of(entries: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    let mut builder = tar::Builder::new(encoder);
    for (kind, path, target) in entries {
        let mut header = tar::Header::new_gnu();
        // written raw: the crate's own setters refuse what is tested here
        let fields = header.as_gnu_mut().expect("gnu");
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o4755);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, std::io::empty()).expect("memory");
    }
    builder.into_inner().and_then(flate2::write::GzEncoder::finish).expect("memory")
}

/// `archive` is refused with an error that says `because`; nothing is left; an honest
/// one can be written right after.
#[track_caller]
fn refused(shown: &mut Shown, archive: &[u8], because: &str) {
    let (_directory, store) = place();
    let source = venv::write(&store, kept(&store, archive).as_ref()).expect_err("refused");
    let error = Error::Layer { layer: "python".into(), source };
    let said = venv::chain(&error);
    assert!(said.contains("python.tar") && said.contains(because), "{said:?} does not say {because:?}");
    shown.add(because, error);
    assert_eq!(venv::leftovers(&store), [] as [std::path::PathBuf; 0]);
    let honest = tar_of(&[(tar::EntryType::Regular, "python/bin/python3", "")]);
    venv::write(&store, kept(&store, &honest).as_ref()).expect("the next honest run succeeds");
}

#[test]
fn entries_that_lead_out_of_the_build_are_refused() {
    let mut shown = Shown::new();
    use tar::EntryType::{Block, Char, Fifo, Link, Regular, Symlink};
    for path in ["bin/python", "/python/x", "python/../x", "python/a/../../x", "pythonx/y", "python//x"] {
        refused(&mut shown, &tar_of(&[(Regular, path, "")]), "not a plain path below `python/`");
    }
    for (path, target) in
        [("python/x", "/etc/passwd"), ("python/x", ".."), ("python/bin/x", "../../x"), ("python/bin/x", "a/../../../x")]
    {
        refused(&mut shown, &tar_of(&[(Symlink, path, target)]), "outside");
    }
    refused(&mut shown, &tar_of(&[(Symlink, "python/x", "")]), "missing");
    refused(&mut shown, &tar_of(&[(Link, "python/x", "/etc/passwd")]), "outside");
    refused(&mut shown, &tar_of(&[(Link, "python/x", "python/missing")]), "no file");
    let under_link = [(Symlink, "python/d", "e"), (Regular, "python/d/x", "")];
    refused(&mut shown, &tar_of(&under_link), "lies in something that is not a directory");
    refused(&mut shown, &tar_of(&[(Symlink, "python", "etc")]), "the root is not a directory");
    for kind in [Char, Block, Fifo] {
        refused(&mut shown, &tar_of(&[(kind, "python/x", "")]), "neither a file, a directory nor a link");
    }
    shown.is("interpreters/entries_that_lead_out_of_the_build_are_refused");
}

#[test]
fn what_is_no_archive_is_refused() {
    let mut shown = Shown::new();
    refused(&mut shown, b"", "not a tar.gz or tar.zst");
    refused(&mut shown, b"not an archive", "not a tar.gz or tar.zst");
    let whole = tar_of(&[(tar::EntryType::Regular, "python/x", "")]);
    refused(&mut shown, &whole[..whole.len() / 2], "not a tar.gz or tar.zst");
    let many: Vec<String> = (0..=200_000).map(|at| format!("python/{at}")).collect();
    let many: Vec<_> = many.iter().map(|path| (tar::EntryType::Regular, path.as_str(), "")).collect();
    refused(&mut shown, &tar_of(&many), "has more than");
    shown.is("interpreters/what_is_no_archive_is_refused");
}

#[test]
fn an_archive_that_was_damaged_is_dropped_and_set_uid_is_not_kept() {
    let (directory, store) = place();
    let archive = tar_of(&[(tar::EntryType::Regular, "python/bin/python3", "")]);
    let changeset = kept(&store, &archive);
    let layer = venv::write(&store, changeset.as_ref()).expect("a layer");
    venv::unpack(&store, &[layer], directory.path());
    let mode = fs::metadata(directory.path().join("opt/python/bin/python3")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);

    let path = store.path(Area::Downloads, &Digest::of(&archive));
    fs::write(&path, tar_of(&[(tar::EntryType::Regular, "python/bin/evil", "")])).expect("written");
    let error = venv::write(&store, changeset.as_ref()).expect_err("refused").to_string();
    assert!(error.contains("was damaged"), "{error}");
    assert!(!Path::new(&path).exists());
}
