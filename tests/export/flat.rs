//! The files of an image, its layers one over the other: in a squashfs, as unsquashfs reads it, and
//! in a directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::{Many, export, noise};
use crate::support::command::Dlpack;
use crate::support::image::{Form, debian};
use crate::support::output;
use crate::support::registry::DebianRegistry;

/// What [`Many`] comes to: mode, owner, length and name of each file, as unsquashfs and ls list them.
const FILES: [&str; 15] = [
    "drwxr-xr-x 0/0 ",
    "drwxr-xr-x 0/0 /etc",
    "-rw-r--r-- 0/0 6 /etc/hostname",
    "-rw-r--r-- 0/0 6 /etc/hostname-too",
    "lrwxrwxrwx 0/0 /lib -> usr/lib",
    "drwx------ 3/4 /opt",
    "-rw-r--r-- 0/0 4 /opt/new",
    "prw-r----- 5/6 /run-fifo",
    "drwxr-xr-x 0/0 /usr",
    "drwxr-xr-x 0/0 /usr/lib",
    "-rwsr-xr-x 1000/70000 700000 /usr/lib/big",
    "-rwsr-xr-x 1000/70000 700000 /usr/lib/big-too",
    "-rw-r--r-- 0/0 6 /usr/lib/noted",
    "-rw-r--r-- 0/0 5 /usr/lib/through-a-link",
    "-rw-r--r-- 0/0 300000 /usr/lib/zeros",
];

/// The files of a squashfs, in the form of [`FILES`].
pub fn listed(squashfs: &Path) -> Vec<String> {
    let listed = output(Command::new("unsquashfs").args(["-lln"]).arg(squashfs), "squashfs-tools");
    let text = String::from_utf8(listed.stdout).expect("UTF-8");
    let lines = text.lines().filter_map(|line| {
        let (attributes, name) = line.split_once("squashfs-root")?;
        let words: Vec<&str> = attributes.split_whitespace().collect();
        let [mode, owner, length, ..] = words[..] else { panic!("{line}") };
        let length = if mode.starts_with('-') { format!("{length} ") } else { String::new() };
        Some(format!("{mode} {owner} {length}{name}"))
    });
    lines.collect()
}

/// Unpacks a squashfs.
fn unpacked(squashfs: &Path, to: &Path) {
    output(Command::new("unsquashfs").args(["-n", "-q", "-d"]).arg(to).arg(squashfs), "squashfs-tools");
}

/// The same of a directory. `find` sorts nothing.
fn found(directory: &Path) -> Vec<String> {
    let mut found = Command::new("find");
    found.arg(directory).args(["-printf", "%M %U/%G %s %y %P -> %l\n"]);
    let text = String::from_utf8(output(&mut found, "findutils").stdout).expect("UTF-8");
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        let (path, target) = words[4].split_once(" -> ").expect("a name");
        let length = if words[3] == "f" { format!("{} ", words[2]) } else { String::new() };
        let target = if words[3] == "l" { format!(" -> {target}") } else { String::new() };
        let slash = if path.is_empty() { "" } else { "/" };
        (path.to_owned(), format!("{} {} {length}{slash}{path}{target}", words[0], words[1]))
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Sees that the files have their contents, links and attributes.
fn assert_contents(root: &Path) {
    let read = |path: &str| fs::read(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(read("etc/hostname"), b"above\n");
    assert_eq!(read("opt/new"), b"new\n");
    assert_eq!(read("usr/lib/through-a-link"), b"here\n");
    assert!(read("usr/lib/big") == noise(700_000) && read("usr/lib/zeros") == vec![0; 300_000]);
    let inode = |path: &str| root.join(path).metadata().expect("metadata").ino();
    assert_eq!(inode("usr/lib/big"), inode("usr/lib/big-too"));
    assert_eq!(inode("etc/hostname"), inode("etc/hostname-too"));
    assert_eq!(root.join("etc/hostname").metadata().expect("metadata").mtime(), 1_700_000_000);
    let mut note = [0; 16];
    let length = rustix::fs::getxattr(root.join("usr/lib/noted"), "user.note", &mut note[..]).expect("an attribute");
    assert_eq!(&note[..length], b"kept");
}

#[test]
fn unsquashfs_finds_the_files_of_all_layers_with_owners_modes_links_and_attributes() {
    let many = Many::new();
    let dlpack = Dlpack::new();
    for compression in ["gzip", "zstd"] {
        let file = dlpack.work().join(format!("{compression}.sqsh"));
        dlpack.ok(["export", &many.name(), "--compression", compression, "-o", file.to_str().expect("UTF-8")]);
        assert_eq!(listed(&file), FILES, "{compression}");
        let to = dlpack.work().join(compression);
        unpacked(&file, &to);
        assert_contents(&to);
        assert_eq!(found(&to), FILES, "{compression}");
    }
}

#[test]
fn a_directory_has_the_files_of_all_layers_as_root_would_make_them() {
    let many = Many::new();
    let dlpack = Dlpack::new();
    let root = export(&dlpack, &many.name(), "rootfs", "root");
    assert_contents(&root);
    assert_eq!(found(&root), FILES);
}

#[test]
fn one_uid_is_told_once_what_it_cannot_give() {
    let many = Many::new();
    let dlpack = Dlpack::unprivileged();
    let ran = dlpack.run(["export", &many.name(), "--format", "rootfs", "-o", "root"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 1, "{}", ran.stderr);
    assert!(warnings[0].contains("the owners and set-user-ID bits of "), "{warnings:?}");
    let root = dlpack.work().join("root");
    assert_contents(&root);
    // nobody becomes whoever exported it
    assert_eq!(root.join("usr/lib/big").metadata().expect("metadata").permissions().mode() & 0o7777, 0o755);
}

#[test]
fn a_whole_debian_is_the_same_in_a_squashfs_and_in_a_directory() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    debian().push("gzip", &registry, "team/debian:1", Form::Oci);
    let name = registry.reference("team/debian:1");
    dlpack.ok(["export", &name, "--compression", "zstd", "-o", "debian.sqsh"]);
    let squashfs = dlpack.work().join("debian.sqsh");
    let root = export(&dlpack, &name, "rootfs", "debian");
    let to = dlpack.work().join("unpacked");
    unpacked(&squashfs, &to);
    assert_eq!(found(&to), found(&root));
    output(Command::new("diff").args(["-r", "--no-dereference"]).arg(&to).arg(&root), "diffutils");
}
