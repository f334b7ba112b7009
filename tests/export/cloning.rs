//! A venv on a filesystem that clones files: no byte of a package is there twice.

use std::fs::{self, File};
use std::process::Command;

use serde_json::{Value, json};

use super::venv::recipe;
use crate::support::command::Dlpack;
use crate::support::index::wheel;
use crate::support::{noise, output};

/// Mounts the filesystem in the file `btrfs` for one command; it goes with the namespace.
const MOUNTED: &str = "mount -o loop btrfs disk && exec \"$@\"";

/// What it takes.
const HINT: &str = "hint: it takes root, /dev/loop-control and btrfs in the kernel (`modprobe loop btrfs`); in a container, \
                    --privileged -v /dev:/dev";

#[test]
fn where_files_can_be_cloned_a_venv_shares_the_blocks_of_the_store() {
    let dlpack = Dlpack::new();
    let bytes = noise(4 << 20);
    let big = wheel("big", &[("big/__init__.py", b"BIG = True\n"), ("big/noise.bin", &bytes)]);
    fs::write(dlpack.work().join("big-1.0-py3-none-any.whl"), big).expect("written");
    recipe(&dlpack, "");
    dlpack.edit("dlpack.toml", "requirements = []", "wheels = [\"big-1.0-py3-none-any.whl\"]");
    fs::create_dir(dlpack.work().join("disk")).expect("created");
    let disk = dlpack.work().join("btrfs");
    File::create(&disk).and_then(|file| file.set_len(128 << 20)).expect("created");
    output(Command::new("mkfs.btrfs").arg("--quiet").arg(&disk), "btrfs-progs");
    let namespace = ["unshare", "--mount", "sh", "-c", MOUNTED, "sh"];
    let export = || {
        let arguments = ["--store", "disk/store", "export", "venv", "disk/venv", "--json"];
        let ran = dlpack.command_in(&namespace, arguments).output().expect("util-linux");
        assert!(ran.status.success(), "{}\n{HINT}", String::from_utf8_lossy(&ran.stderr));
        serde_json::from_slice::<Value>(&ran.stdout).expect("JSON")
    };
    let told = export();
    let placed = [&told["cloned"], &told["linked"], &told["copied"]];
    assert_eq!(placed, [&json!(4), &json!(0), &json!(0)], "{told}");
    // fiemap.rst: "FIEMAP_EXTENT_SHARED This will be set when an extent shares space with multiple files"
    let mut mapped = Command::new(namespace[0]);
    mapped.args(&namespace[1..]).args(["filefrag", "-v", "disk/venv/lib/python3.11/site-packages/big/noise.bin"]);
    let said = String::from_utf8(output(mapped.current_dir(dlpack.work()), "e2fsprogs").stdout).expect("UTF-8");
    let is_extent = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let extents: Vec<&str> = said.lines().filter(is_extent).collect();
    assert!(!extents.is_empty() && extents.iter().all(|extent| extent.contains("shared")), "{said}");
    assert_eq!(export()["written"], json!([]));
}
