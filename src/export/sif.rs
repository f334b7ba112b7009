//! A SIF (Singularity Image Format 1, sylabs/sif `pkg/sif`): a header, a table of descriptors, and
//! what they describe: how the image came to be, its labels, and its files in a squashfs.

use super::output::{Job, Output};
use super::tree::Tree;
use super::{Error, squashfs};
use crate::layer::Compression;

/// How many descriptors there is room for, and where they begin: sif's own defaults.
const DESCRIPTORS: usize = 48;
const DESCRIPTORS_AT: usize = 4096;
/// Of a descriptor, in bytes.
const DESCRIPTOR: usize = 585;
/// Where what they describe begins: sif's `DataStartOffset`.
const DATA_AT: u64 = 32768;

/// `HdrLaunch`: the kernel runs the file so.
const LAUNCH: &[u8] = b"#!/usr/bin/env run-singularity\n\0";
/// `DescrDefaultGroup`: `DescrGroupMask | 1`.
const GROUP: u32 = 0xf000_0001;
/// `DataDeffile`, `DataLabels`, `DataPartition`.
const DEFINITION: u32 = 0x4001;
const LABELS: u32 = 0x4003;
const PARTITION: u32 = 0x4004;
/// `FsSquash`, `PartPrimSys`.
const SQUASHFS: u32 = 1;
const PRIMARY_SYSTEM: u32 = 2;

/// Architectures as Go calls them, and as a SIF does (`HdrArch…`).
const ARCHITECTURES: [(&str, &[u8; 3]); 11] = [
    ("386", b"01\0"),
    ("amd64", b"02\0"),
    ("arm", b"03\0"),
    ("arm64", b"04\0"),
    ("ppc64", b"05\0"),
    ("ppc64le", b"06\0"),
    ("mips", b"07\0"),
    ("mipsle", b"08\0"),
    ("mips64", b"09\0"),
    ("mips64le", b"10\0"),
    ("s390x", b"11\0"),
];
/// `HdrArchUnknown`
const UNKNOWN: &[u8; 3] = b"00\0";

/// Something in a SIF.
struct Object {
    kind: u32,
    name: &'static str,
    /// Where it begins, how long it is, and how long with what was filled up before it.
    at: u64,
    length: u64,
    stored: u64,
    extra: Vec<u8>,
}

/// Writes the SIF whose files `tree` has.
pub(super) fn write(job: &Job<'_>, tree: &Tree, compression: Compression, out: &mut Output) -> Result<(), Error> {
    let image = job.image;
    let architecture = image.config.value.architecture.as_str();
    let known = ARCHITECTURES.iter().find(|(name, _)| *name == architecture);
    let architecture = known.map_or(UNKNOWN, |(_, code)| *code);
    out.pad_to(DATA_AT)?;

    // apptainer(1), "Definition files": the header says where the root filesystem is from
    let digest = image.manifest.descriptor.digest;
    let definition = format!("bootstrap: docker\nfrom: {}\n# its manifest is {digest}\n", image.name);
    let labels = image.labels()?;
    let mut objects = Vec::new();
    for (kind, name, bytes) in
        [(DEFINITION, "definition", definition.as_bytes()), (LABELS, "labels.json", labels.as_slice())]
    {
        let (at, length) = (out.written(), bytes.len() as u64);
        out.put(bytes)?;
        objects.push(Object { kind, name, at, length, stored: length, extra: Vec::new() });
    }
    let before = out.written();
    // a loop device begins at a page
    out.pad(squashfs::PAGE)?;
    let at = out.written();
    squashfs::write(job, tree, compression, out)?;
    let end = out.written();
    let extra = [&SQUASHFS.to_le_bytes()[..], &PRIMARY_SYSTEM.to_le_bytes(), architecture].concat();
    let (length, stored) = (end - at, end - before);
    objects.push(Object { kind: PARTITION, name: "rootfs.squashfs", at, length, stored, extra });

    let created = image.created();
    let table: Vec<u8> = objects.iter().zip(1..).flat_map(|(object, id)| descriptor(object, id, created)).collect();
    out.patch(DESCRIPTORS_AT as u64, &table)?;
    out.patch(0, &header(job, architecture, objects.len(), end))
}

fn header(job: &Job<'_>, architecture: &[u8; 3], objects: usize, end: u64) -> Vec<u8> {
    let mut header = LAUNCH.to_vec();
    header.extend(b"SIF_MAGIC\0");
    // `HdrVersion`
    header.extend(b"01\0");
    header.extend(architecture);
    header.extend(identity(job));
    let created = job.image.created();
    let free = DESCRIPTORS - objects;
    // ctime and mtime; descriptors free and in all, where they are and how long; the same of the data
    for number in [
        created,
        created,
        free as u64,
        DESCRIPTORS as u64,
        DESCRIPTORS_AT as u64,
        (DESCRIPTORS * DESCRIPTOR) as u64,
        DATA_AT,
        end - DATA_AT,
    ] {
        header.extend(number.to_le_bytes());
    }
    header
}

/// RFC 9562, 5.8: a UUID of version 8 is the application's own; here, of the manifest's digest.
fn identity(job: &Job<'_>) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&job.image.manifest.descriptor.digest.as_bytes()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

fn descriptor(object: &Object, id: u32, created: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(DESCRIPTOR);
    bytes.extend(object.kind.to_le_bytes());
    // used
    bytes.push(1);
    bytes.extend(id.to_le_bytes());
    bytes.extend(GROUP.to_le_bytes());
    // `DescrUnusedLink`
    bytes.extend(0u32.to_le_bytes());
    // ctime, mtime, and uid and gid, which mean nothing any more
    for number in [object.at, object.length, object.stored, created, created, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    for (text, room) in [(object.name.as_bytes(), 128), (&object.extra, 384)] {
        bytes.extend(text);
        bytes.resize(bytes.len() + room - text.len(), 0);
    }
    bytes
}
