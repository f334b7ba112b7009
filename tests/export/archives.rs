//! Layouts and archives, read by skopeo and by Docker.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Many, debian, export};
use crate::support::command::Dlpack;
use crate::support::image::Form;
use crate::support::output;
use crate::support::registry::DebianRegistry;
use crate::support::runtime::{Docker, Runtime};

/// What skopeo has to say of an image.
fn inspected(image: &str) -> Value {
    let inspected = output(Command::new("skopeo").args(["--override-os", "linux", "inspect", image]), "skopeo");
    serde_json::from_slice(&inspected.stdout).expect("JSON")
}

/// The files of the layers of an OCI layout's image, as umoci unpacks them.
fn copied(from: &str, to: &Path) {
    let copy = format!("oci:{}:it", to.display());
    output(Command::new("skopeo").args(["--insecure-policy", "copy", "--quiet", from, &copy]), "skopeo");
}

#[test]
fn skopeo_reads_layouts_and_archives_and_finds_the_image_that_was_exported() {
    let many = Many::new();
    let dlpack = Dlpack::new();
    let pulled = dlpack.ok(["pull", &many.name()]);
    let layers = dlpack.layers_of(&pulled);
    for (format, file) in [("oci", "layout"), ("oci-archive", "many.oci.tar")] {
        let path = export(&dlpack, &many.name(), format, file);
        let found = inspected(&format!("{format}:{}", path.display()));
        assert_eq!(found["Digest"], pulled.as_str(), "{format}");
        assert_eq!(found["Layers"], serde_json::json!(layers), "{format}");
        copied(&format!("{format}:{}:{}", path.display(), many.name()), &dlpack.work().join(format!("copy-{format}")));
    }
    let path = export(&dlpack, &many.name(), "docker-archive", "many.tar");
    let found = inspected(&format!("docker-archive:{}", path.display()));
    assert_eq!(found["Layers"].as_array().map(Vec::len), Some(2));
    // it reads every layer, and sees that each is what the config says
    copied(&format!("docker-archive:{}", path.display()), &dlpack.work().join("copy-docker"));
}

#[test]
fn docker_loads_an_archive_and_runs_it() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    // zstd, which Debian's docker does not read: the archive has it unpacked
    debian().push("zstd", &registry, "team/debian:zstd", Form::Oci);
    let name = registry.reference("team/debian:zstd");
    let archive = export(&dlpack, &name, "docker-archive", "debian.tar");
    let (docker, said) = Docker::load(&archive, &name);
    assert_eq!(said.trim(), format!("Loaded image: {name}"));
    let ran = docker.run("", &[], &["cat", "/etc/debian_version"]);
    assert!(!ran.stdout.is_empty());
}

#[test]
fn the_format_is_told_by_the_name_or_by_the_option() {
    let many = Many::new();
    let dlpack = Dlpack::new();
    for (file, format) in [
        ("a.tar", "docker-archive"),
        ("a.oci.tar", "oci-archive"),
        ("a.sqsh", "squashfs"),
        ("a.squashfs", "squashfs"),
        ("a.sif", "sif"),
    ] {
        let written = dlpack.json(["export", &many.name(), "-o", file]);
        assert_eq!(written["format"], format);
        assert_eq!(written["bytes"], dlpack.work().join(file).metadata().expect("a file").len());
    }
    let said = dlpack.refuses(2, ["export", &many.name(), "-o", "a"]);
    assert!(said.contains("error: the name a says nothing of its format"), "{said}");
    assert!(said.contains("hint: give --format: oci, oci-archive, docker-archive, squashfs, sif, rootfs"), "{said}");
}

#[test]
fn an_archive_goes_through_a_pipe() {
    let many = Many::new();
    let dlpack = Dlpack::new();
    let path = export(&dlpack, &many.name(), "oci-archive", "a.oci.tar");
    let piped = dlpack.work().join("piped");
    let mut command = dlpack.command(["export", &many.name(), "--format", "oci-archive", "-o", "-"]);
    let ended = command.stdout(File::create(&piped).expect("created")).stderr(Stdio::inherit()).status();
    assert!(ended.expect("it runs").success());
    assert_eq!(super::digest(&piped), super::digest(&path));
}

#[test]
fn layers_that_only_registries_have_are_fetched_from_the_base_and_from_the_image() {
    let many = Many::new();
    let dlpack = Dlpack::new();
    let files = "[[layer]]\nkind = \"files\"\nfiles = [{ content = \"Welcome.\\n\", to = \"/etc/motd\" }]\n";
    dlpack.write("dlpack.toml", &format!("base = \"{}\"\n{files}", many.name()));
    // built here and never pushed: nobody has pulled the base
    let built = dlpack.ok(["build", "mine"]);
    assert_eq!(dlpack.layers_of(&built).iter().filter(|layer| dlpack.blob(layer).exists()).count(), 1);
    assert_eq!(dlpack.ok(["export", "mine", "-o", "mine.oci.tar"]), built);
    let found = inspected(&format!("oci-archive:{}", dlpack.work().join("mine.oci.tar").display()));
    assert_eq!(found["Digest"], built.as_str());
    // pushed while it was made: our layer is at its registry alone
    let (dlpack, name) = (Dlpack::new(), many.registry.reference("team/mine:1"));
    dlpack.write("dlpack.toml", &format!("base = \"{}\"\n{files}", many.name()));
    let pushed = dlpack.ok(["push", &name]);
    assert!(dlpack.layers_of(&pushed).iter().all(|layer| !dlpack.blob(layer).exists()));
    assert_eq!(dlpack.ok(["export", &name, "-o", "mine.oci.tar"]), pushed);
}
