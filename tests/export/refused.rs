//! What is in an export's way is named, and nothing is left of it.

use std::fs;
use std::process::Stdio;

use dlpack::export::{Destination, Document, Error, Format, Image, Options, Stop, export};
use dlpack::oci::{Descriptor, ManifestOrIndex, parse_manifest};
use dlpack::progress::Progress;
use dlpack::store::{Area, Store};

use super::{MANY, Many, leftovers};
use crate::support::command::{Dlpack, Ran};
use crate::support::image::{Form, Layout, Packing, Tar};
use crate::support::shown::Shown;

/// A home with the image in its store.
fn home(many: &Many) -> Dlpack {
    let dlpack = Dlpack::new();
    dlpack.ok(["pull", &many.name()]);
    dlpack
}

#[test]
fn what_an_export_refuses() {
    let many = Many::new();
    let dlpack = home(&many);
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    shown.replace(many.registry.reference(MANY), "IMAGE");
    let name = many.name();
    dlpack.write("there.tar", "mine");
    dlpack.write("directory/file", "mine");
    let mut refused = |case: &str, arguments: &[&str]| {
        let mut all = vec!["export", name.as_str()];
        all.extend(arguments);
        shown.run(case, &mut dlpack.command(all));
    };
    refused("a name without a format", &["-o", "it"]);
    refused("a file that is there", &["-o", "there.tar"]);
    refused("a directory that is there", &["-o", "directory", "--format", "oci"]);
    refused("a directory that is there, with --force", &["-o", "directory", "--format", "oci", "--force"]);
    refused("a directory in place of a file", &["-o", "directory", "--format", "oci-archive", "--force"]);
    refused("a directory that is not there", &["-o", "nowhere/it.tar"]);
    refused("a directory to stdout", &["-o", "-", "--format", "oci"]);
    refused("a squashfs to stdout", &["-o", "-", "--format", "squashfs"]);
    let layout = Layout::create(dlpack.home().join("broken"));
    let image = |tar: Tar| layout.image().layer(Packing::Gzip, tar);
    image(Tar::new().file("a", "a")).with_layers(|_, diff_ids| diff_ids.clear()).tagged("broken");
    image(Tar::new().file(".singularity.d", "mine")).tagged("taken");
    let owned = |tar: Tar, uid| tar.owned_file(&format!("{uid}"), 0o644, (uid, 0), "");
    image((0..65_536).fold(Tar::new(), owned)).tagged("owners");
    for (case, tag, file) in [
        ("a config without DiffIDs", "broken", "broken.tar"),
        ("a file where Apptainer has a directory", "taken", "taken.sif"),
        ("an owner for each file", "owners", "owners.sqsh"),
    ] {
        let name = format!("team/broken:{tag}");
        layout.push(tag, &many.registry, &name, Form::Oci);
        let name = many.registry.reference(&name);
        shown.run(case, &mut dlpack.command(["export", &name, "-o", file]));
    }
    assert_eq!(fs::read_to_string(dlpack.work().join("there.tar")).unwrap(), "mine");
    assert_eq!(leftovers(&dlpack.work()), ["directory", "there.tar"]);
    shown.is("export/refused");
    dlpack.ok(["export", &name, "-o", "there.tar", "--force"]);
    assert!(fs::metadata(dlpack.work().join("there.tar")).unwrap().len() > 4);
    assert_eq!(leftovers(&dlpack.work()), ["directory", "there.tar"]);
}

#[test]
fn a_terminal_gets_no_archive() {
    let many = Many::new();
    let dlpack = home(&many);
    let program = dlpack.command(["export"]);
    let line = format!("{} export {} --format oci-archive -o -", program.get_program().display(), many.name());
    // script(1): a terminal for it
    let mut command = dlpack.command_as_user("script", ["-q", "-e", "-c", &line, "/dev/null"]);
    command.env("SHELL", "/bin/sh").stdin(Stdio::null());
    let ran = Ran::from(command.output().expect("script(1) of bsdutils"));
    assert_eq!(ran.status, 2, "{}", ran.stdout);
    // As every error has a snapshot:
    let expected = "\
error: stdout is a terminal";
    assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    assert!(ran.stdout.len() < 1000, "nothing of the archive");
}

#[test]
fn a_damaged_blob_is_not_exported() {
    let many = Many::new();
    for (format, file) in [("oci", "it"), ("docker-archive", "it.tar"), ("squashfs", "it.sqsh"), ("rootfs", "it")] {
        let dlpack = home(&many);
        let digest = dlpack.ok(["pull", &many.name()]);
        for layer in dlpack.layers_of(&digest) {
            let mut bytes = fs::read(dlpack.blob(&layer)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(dlpack.blob(&layer), bytes).unwrap();
            let said = dlpack.refuses(6, ["export", &many.name(), "--format", format, "-o", file]);
            assert!(said.contains("was damaged: its bytes hash to"), "{format}: {said}");
            assert_eq!(leftovers(&dlpack.work()), [""; 0], "{format}");
            // it was dropped, and is fetched again
            dlpack.ok(["pull", &many.name()]);
        }
    }
}

#[test]
fn a_full_disk_keeps_nothing_of_an_export() {
    let many = Many::new();
    let dlpack = home(&many);
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    fs::create_dir(dlpack.work().join("small")).unwrap();
    // what is left is listed where the small disk is mounted
    let script = "mount -t tmpfs -o size=64k none small && { \"$@\"; status=$?; ls -A small >&2; exit $status; }";
    let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"];
    for (case, format) in [
        ("a full disk, an archive", "docker-archive"),
        ("a full disk, a directory", "oci"),
        ("a full disk, a squashfs", "squashfs"),
        ("a full disk, a SIF", "sif"),
        ("a full disk, files", "rootfs"),
    ] {
        let arguments = ["export", &many.name(), "--format", format, "-o", "small/it"];
        shown.run(case, &mut dlpack.command_in(&namespace, arguments));
    }
    shown.is("export/full");
}

#[test]
fn an_export_that_nobody_wants_any_more_leaves_nothing() {
    let many = Many::new();
    let dlpack = home(&many);
    let store = Store::open(&dlpack.store()).unwrap();
    let image = image(&store, &dlpack.ok(["pull", &many.name()]));
    for format in Format::ALL {
        let destination = Destination::Path { path: dlpack.work().join("it"), force: false };
        let stop = Stop::default();
        stop.tell();
        let ended = export(&image, format, Options::default(), &destination, &Progress::silent(), &stop);
        assert!(matches!(ended, Err(Error::Stopped { .. })), "{}: {ended:?}", format.name());
        assert_eq!(leftovers(&dlpack.work()), [""; 0], "{}", format.name());
    }
}

/// The image with the manifest `digest` of `store`.
fn image(store: &Store, digest: &str) -> Image {
    let read = |descriptor: &Descriptor| store.read(Area::Blobs, &descriptor.digest).unwrap().unwrap();
    let (_, manifest) =
        store.tags().unwrap().into_iter().find(|(_, tagged)| tagged.digest.to_string() == digest).unwrap();
    let bytes = read(&manifest);
    let ManifestOrIndex::Manifest(value) = parse_manifest(&bytes, &manifest.media_type).unwrap() else { panic!() };
    let config = value.config.clone();
    let config_bytes = read(&config);
    let config =
        Document { descriptor: config, value: serde_json::from_slice(&config_bytes).unwrap(), bytes: config_bytes };
    Image::new(store.clone(), "a/b:1".to_owned(), Document { descriptor: manifest, bytes, value }, config).unwrap()
}
