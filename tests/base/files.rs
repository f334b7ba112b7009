//! The files of a base: layers over layers, links, whiteouts, accounts.

use std::collections::BTreeSet;
use std::process::Command;

use dlpack::lock::FileKind;
use dlpack::lock::base::{FileList, NodeKind};

use super::{ALL, World, debian_layout, extracted, in_layout, named};
use crate::support::image::{self, Form, Packing, Tar};
use crate::support::registry::DebianRegistry;
use crate::support::{output, rootfs};

/// The files of an image with these layers, lowest first.
async fn files(layers: impl IntoIterator<Item = Tar>) -> FileList {
    let world = World::new();
    let layout = world.layout();
    layers.into_iter().fold(layout.image(), |image, tar| image.layer(Packing::Gzip, tar)).tagged("image");
    world.resolve(&in_layout("image"), ALL).await.unwrap().files.unwrap()
}

#[tokio::test]
async fn the_accounts_of_debian_are_what_its_files_say() {
    let registry = DebianRegistry::start();
    image::push_debian(&registry, "library/debian:12");
    let resolved = World::with(&registry).resolve(&named("debian:12"), ALL).await.unwrap();
    for path in ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/skel/.bashrc", "etc/skel/.profile"] {
        let file = resolved.locked.file(path).unwrap_or_else(|| panic!("{path} is not in the lock"));
        assert_eq!(file.content, extracted(path), "{path}");
        assert_eq!((file.kind, file.size), (FileKind::File, file.content.len() as u64));
    }
    let shadow = resolved.locked.file("etc/shadow").unwrap();
    assert_eq!((shadow.mode, shadow.uid, shadow.gid), (0o640, 0, 42));
}

#[tokio::test]
async fn every_path_of_debian_is_listed_whatever_the_packing() {
    let world = World::new();
    let mut tar = Command::new("tar");
    let listed = String::from_utf8(output(tar.arg("-tf").arg(rootfs::tar()), "tar").stdout).unwrap();
    let expected: BTreeSet<&str> = listed
        .lines()
        .map(|path| path.trim_start_matches("./").trim_end_matches('/'))
        .filter(|p| !p.is_empty())
        .collect();
    assert!(expected.len() > 5000);
    for tag in ["gzip", "zstd"] {
        let base = dlpack::recipe::Base::Layout { path: debian_layout().display().to_string(), tag: Some(tag.into()) };
        let files = world.resolve(&base, ALL).await.unwrap().files.unwrap();
        assert!(expected.iter().all(|path| files.contains(path)), "{tag}");
        assert_eq!(files.len(), expected.len(), "{tag}");
    }
}

#[tokio::test]
async fn zstd_layers_come_from_a_registry_too() {
    let registry = DebianRegistry::start();
    image::debian().push("zstd", &registry, "library/debian:zstd", Form::Oci);
    let resolved = World::with(&registry).resolve(&named("debian:zstd"), ALL).await.unwrap();
    assert_eq!(resolved.image.unwrap().manifest.layers[0].media_type, "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(resolved.locked.file("etc/passwd").unwrap().content, extracted("etc/passwd"));
}

#[tokio::test]
async fn a_path_is_found_through_the_links_on_its_way() {
    let files = files([Tar::new()
        .symlink("bin", "usr/bin")
        .file("usr/bin/python3.10", "")
        .symlink("usr/bin/python3", "python3.10")
        .symlink("usr/local/bin/python", "/usr/bin/python3")
        .symlink("up", "../../../usr")
        .symlink("round", "about")
        .symlink("about", "round")
        .symlink("nowhere", "usr/bin/perl")])
    .await;
    for there in ["/usr/bin/python3.10", "/bin/python3", "usr/local/bin/python", "/up/bin/python3", "/bin", "//bin/./"]
    {
        assert!(files.contains(there), "{there}");
    }
    for missing in ["/usr/bin/python3.11", "/nowhere", "/round", "/round/x", "/usr/bin/python3/x"] {
        assert!(!files.contains(missing), "{missing}");
    }
}

#[tokio::test]
async fn an_entry_under_a_linked_directory_lands_where_the_link_leads() {
    let lower = Tar::new().directory("usr").directory("usr/bin").symlink("bin", "usr/bin");
    let files = files([lower, Tar::new().file("bin/python3.10", "")]).await;
    assert!(files.contains("/usr/bin/python3.10"));
    assert!(matches!(files.get("usr/bin").unwrap().kind, NodeKind::Directory));
}

#[tokio::test]
async fn a_whiteout_hides_what_lower_layers_have_and_nothing_else() {
    let lower = Tar::new().file("etc/passwd", "a").file("etc/passwd-", "b").file("opt/x/y", "c").file("opt.conf", "d");
    let upper = Tar::new().file("etc/.wh.passwd", "").file("opt/x/z", "new").file("opt/.wh.x", "");
    let files = files([lower, upper]).await;
    assert!(!files.contains("etc/passwd") && files.contains("etc/passwd-"));
    // image-spec layer.md: whiteouts only apply to lower layers
    assert!(!files.contains("opt/x/y") && files.contains("opt/x/z") && files.contains("opt.conf"));
}

#[tokio::test]
async fn an_opaque_whiteout_hides_all_that_lower_layers_have_in_a_directory() {
    let lower = Tar::new().file("data/a", "").file("data/b/c", "").file("data0", "").file("data-1", "");
    let upper = Tar::new().file("data/new", "").file("data/.wh..wh..opq", "");
    let files = files([lower, upper]).await;
    let data: Vec<&str> = files.under("data").map(|(path, _)| path).collect();
    assert_eq!(data, ["new"]);
    assert!(files.contains("data0") && files.contains("data-1"));
}

#[tokio::test]
async fn a_directory_keeps_its_files_and_a_file_replaces_a_directory() {
    let lower = Tar::new().file("a/file", "").file("b/file", "");
    let files = files([lower, Tar::new().directory("a").file("b", "")]).await;
    assert!(files.contains("a/file") && files.contains("b") && !files.contains("b/file"));
}

#[tokio::test]
async fn a_hard_link_is_the_file_that_it_names() {
    let world = World::new();
    let tar = Tar::new().owned_file("etc/skel/a", 0o600, (0, 7), "content").hard_link("etc/skel/b", "etc/skel/a");
    world.layout().image().layer(Packing::Plain, tar).tagged("image");
    let locked = world.resolve(&in_layout("image"), ALL).await.unwrap().locked;
    let link = locked.file("etc/skel/b").unwrap();
    assert_eq!((link.content.as_str(), link.mode, link.gid), ("content", 0o600, 7));
}

#[tokio::test]
async fn the_skeleton_is_locked_with_its_directories_and_links() {
    let world = World::new();
    let tar = Tar::new()
        .directory("etc/skel")
        .directory("etc/skel/.config")
        .file("etc/skel/.config/binary", [0xff, 0xfe])
        .symlink("etc/skel/link", ".config");
    world.layout().image().layer(Packing::Gzip, tar).tagged("image");
    let locked = world.resolve(&in_layout("image"), ALL).await.unwrap().locked;
    let found: Vec<_> = locked.files.iter().map(|f| (f.path.as_str(), f.kind, f.content.as_str(), f.base64)).collect();
    assert_eq!(
        found,
        [
            ("etc/skel/.config", FileKind::Directory, "", false),
            ("etc/skel/.config/binary", FileKind::File, "//4=", true),
            ("etc/skel/link", FileKind::Symlink, ".config", false),
        ]
    );
}

#[tokio::test]
async fn a_layer_may_be_compressed_otherwise_than_its_media_type_says() {
    let world = World::new();
    let swap = |layers: &mut Vec<serde_json::Value>, _: &mut Vec<String>| {
        layers[0]["mediaType"] = dlpack::oci::media_type::LAYER_GZIP.into();
    };
    let image =
        world.layout().image().layer(Packing::Zstd, Tar::new().file("etc/passwd", "root\n")).with_layers(swap).finish();
    image::Layout::create(world.layout().path()).tag("image", &image);
    assert!(world.resolve(&in_layout("image"), ALL).await.unwrap().files.unwrap().contains("etc/passwd"));
}

#[tokio::test]
async fn long_names_are_read_in_the_forms_of_gnu_and_pax() {
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(180));
    for format in ["gnu", "pax"] {
        let world = World::new();
        let tree = world.directory.path().join("tree");
        std::fs::create_dir_all(tree.join("d".repeat(90))).unwrap();
        std::fs::write(tree.join(&long), "x").unwrap();
        std::os::unix::fs::symlink(&long, tree.join("link")).unwrap();
        let mut tar = Command::new("tar");
        tar.args(["-c", "--format", format, "-C"]).arg(&tree).arg(".");
        let bytes = output(&mut tar, "tar").stdout;
        world.layout().image().layer_from(Packing::Gzip, &bytes[..]).tagged("image");
        let files = world.resolve(&in_layout("image"), ALL).await.unwrap().files.unwrap();
        assert!(files.contains(&long) && files.contains("link"), "{format}");
    }
}
