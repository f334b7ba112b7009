//! A SIF, taken apart as sylabs/sif `pkg/sif` has it: every field has the value that it must have,
//! and nothing lies over anything else.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::flat::listed;
use super::{Many, export};
use crate::support::command::Dlpack;
use crate::support::output;

/// Takes little-endian numbers and bytes off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (now, later) = self.0.split_at(length);
        self.0 = later;
        now
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().expect("4 bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes(8).try_into().expect("8 bytes"))
    }
}

/// What a descriptor describes.
struct Object<'a> {
    kind: u32,
    name: String,
    bytes: &'a [u8],
    at: usize,
    extra: &'a [u8],
}

/// The objects of a SIF.
fn objects(sif: &[u8]) -> Vec<Object<'_>> {
    let mut header = Fields(sif);
    assert_eq!(header.bytes(32), b"#!/usr/bin/env run-singularity\n\0");
    assert_eq!(header.bytes(10), b"SIF_MAGIC\0");
    assert_eq!(header.bytes(3), b"01\0", "the version");
    assert_eq!(header.bytes(3), b"02\0", "amd64");
    let id = header.bytes(16);
    assert_eq!((id[6] >> 4, id[8] >> 6), (8, 2), "a UUID of version 8");
    let (created, changed) = (header.u64(), header.u64());
    assert_eq!((created, changed), (315_532_800, 315_532_800));
    let [free, all, at, length, data_at, data_length] = std::array::from_fn(|_| header.u64() as usize);
    assert_eq!((all, at, length), (48, 4096, 48 * 585));
    assert_eq!(data_at + data_length, sif.len());
    assert!(at + length <= data_at);
    let mut end = data_at;
    let mut found = Vec::new();
    for (number, descriptor) in sif[at..at + length].chunks(585).enumerate() {
        if number >= all - free {
            assert!(descriptor.iter().all(|byte| *byte == 0), "descriptor {number} is not used");
            continue;
        }
        let mut fields = Fields(descriptor);
        let kind = fields.u32();
        assert_eq!(fields.bytes(1), [1], "used");
        assert_eq!(fields.u32(), number as u32 + 1, "the id");
        assert_eq!((fields.u32(), fields.u32()), (0xf000_0001, 0), "the group, and no link");
        let [at, length, stored] = std::array::from_fn(|_| fields.u64() as usize);
        assert_eq!(at + length, end + stored, "{number}: it follows what is before it");
        assert_eq!([fields.u64(), fields.u64(), fields.u64(), fields.u64()], [created, changed, 0, 0]);
        let name = fields.bytes(128);
        let name = &name[..name.iter().position(|byte| *byte == 0).expect("a NUL")];
        let name = String::from_utf8(name.to_vec()).expect("UTF-8");
        let extra = fields.bytes(384);
        assert!(fields.0.is_empty());
        end = at + length;
        found.push(Object { kind, name, bytes: &sif[at..end], at, extra });
    }
    assert_eq!(end, sif.len());
    found
}

/// A file of a squashfs.
fn cat(squashfs: &Path, path: &str) -> String {
    let cat = output(Command::new("unsquashfs").arg("-cat").arg(squashfs).arg(path), "squashfs-tools");
    String::from_utf8(cat.stdout).expect("UTF-8")
}

/// What a script prints with these arguments.
fn printed(script: &str, arguments: &[&str]) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "runscript"]).args(arguments).env_remove("GREETING");
    String::from_utf8(output(&mut shell, "dash").stdout).expect("UTF-8")
}

#[test]
fn a_sif_has_a_definition_labels_and_the_primary_system_in_a_squashfs() {
    let many = Many::new();
    let dlpack = Dlpack::new();
    let sif = fs::read(export(&dlpack, &many.name(), "sif", "many.sif")).expect("read");
    let objects = objects(&sif);
    let kinds: Vec<(u32, &str)> = objects.iter().map(|object| (object.kind, object.name.as_str())).collect();
    assert_eq!(kinds, [(0x4001, "definition"), (0x4003, "labels.json"), (0x4004, "rootfs.squashfs")]);
    let digest = dlpack.ok(["pull", &many.name()]);
    let definition = format!("bootstrap: docker\nfrom: {}\n# its manifest is {digest}\n", many.name());
    assert_eq!(String::from_utf8_lossy(objects[0].bytes), definition);
    assert_eq!(String::from_utf8_lossy(objects[1].bytes), "{\"org.example.note\":\"kept\"}");
    let partition = &objects[2];
    assert_eq!(partition.at % 4096, 0, "a loop device begins at a page");
    // FsSquash, PartPrimSys, amd64
    assert_eq!(&partition.extra[..12], b"\x01\0\0\0\x02\0\0\x0002\0\0");
    assert!(partition.extra[11..].iter().all(|byte| *byte == 0));

    // the reader that Apptainer and Singularity have in them
    let path = dlpack.work().join("many.sif");
    let siftool = |arguments: &[&str]| output(Command::new("siftool").args(arguments).arg(&path), "siftool").stdout;
    let told = |arguments: &[&str]| String::from_utf8(siftool(arguments)).expect("UTF-8");
    let (header, list) = (told(&["header"]), told(&["list"]));
    for (object, kind) in ["Def.FILE", "JSON.Labels", "FS (Squashfs/*System/amd64)"].iter().enumerate() {
        let is_it = |line: &str| line.starts_with(&format!("{}", object + 1)) && line.contains(kind);
        assert!(list.lines().any(is_it), "{kind}\n{header}\n{list}");
    }
    let squashfs = dlpack.work().join("partition.sqsh");
    fs::write(&squashfs, siftool(&["dump", "3"])).expect("written");
    assert_eq!(fs::read(&squashfs).expect("read"), partition.bytes);
    let files = listed(&squashfs);
    for file in [
        "-rwxr-xr-x 0/0 /.singularity.d/env/10-docker2singularity.sh",
        "-rw-r--r-- 0/0 /.singularity.d/labels.json",
        "-rwxr-xr-x 0/0 /.singularity.d/runscript",
        "-rw-r--r-- 0/0 /etc/hostname",
    ] {
        let (attributes, path) = file.rsplit_once(' ').expect("a path");
        let is_it = |line: &String| line.starts_with(attributes) && line.ends_with(&format!(" {path}"));
        assert!(files.iter().any(is_it), "{file} is not in {files:#?}");
    }
    let environment = cat(&squashfs, ".singularity.d/env/10-docker2singularity.sh");
    let shown = format!("{environment}\necho \"$GREETING\"");
    assert_eq!(printed(&shown, &[]), "it's $HOME\n");
    assert_eq!(printed(&format!("GREETING=mine\n{shown}"), &[]), "mine\n");
    let runscript = cat(&squashfs, ".singularity.d/runscript");
    assert_eq!(printed(&runscript, &[]), "it's me\n");
    assert_eq!(printed(&runscript, &["a  b", "c"]), "it's a  b c\n");
}
