//! A layer that is longer than one may be is in parts: the same each time, none too long, and
//! each whole for a runtime that unpacks it by itself.

use std::collections::BTreeMap;
use std::io;

use dlpack::layer::{Attributes, Compression, Error, Layer, LayerWriter, Sink, Threads};
use dlpack::store::Store;

use super::{MTIME, blob, pipe, root, store};

/// How long a part may be, in bytes.
const CEILING: u64 = 200_000;
/// How long most files are.
const FILE: usize = 70_000;

/// What no compressor makes less of.
fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; FILE];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Writes a layer of several parts; returns which of two hard links were written.
fn write(out: &mut LayerWriter) -> Result<[bool; 2], Error> {
    out.directory("a", root(0o755))?;
    for number in 0..3 {
        out.file(&format!("a-{number}"), root(0o644), &noise(number))?;
    }
    out.file("a/first", root(0o640), &noise(3))?;
    out.with_xattrs(&BTreeMap::from([("user.kept".to_owned(), b"yes".to_vec())]));
    out.opaque_directory("a/private", Attributes { mode: 0o700, uid: 7, gid: 8 })?;
    for number in 0..5 {
        out.file(&format!("a/private/{number}"), root(0o600), &noise(10 + number))?;
    }
    let near = out.hard_link("a/private/near", root(0o600), "a/private/4")?;
    let far = out.hard_link("a/private/no", root(0o640), "a/first")?;
    if !far {
        out.file("a/private/no", root(0o640), &noise(3))?;
    }
    out.whiteout("a/taken")?;
    out.file("z", root(0o644), b"after all")?;
    Ok([near, far])
}

fn parts(store: &Store, compression: Compression, threads: Threads) -> Vec<Layer> {
    let mut out = LayerWriter::on(store, compression, MTIME, threads).unwrap().in_parts_of(CEILING);
    assert_eq!(write(&mut out).unwrap(), [true, false], "a link stands in the part of its file");
    let (mut parts, last) = out.complete_parts().unwrap();
    parts.push(last);
    parts
}

/// The entries of a part, with type and mode.
fn entries(store: &Store, part: &Layer, unpack: &str) -> Vec<String> {
    let tar = pipe(&[unpack, "-dc"], &blob(store, part));
    let listed = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let kept = entry.pax_extensions().unwrap().is_some_and(|mut pax| pax.any(|it| it.is_ok()));
        let header = entry.header();
        let (kind, mode) = (header.entry_type(), header.mode().unwrap());
        let path = entry.path().unwrap().display().to_string();
        let extended = if kept { " pax" } else { "" };
        format!("{} {mode:o} {path}{extended}", char::from(kind.as_byte()))
    };
    tar::Archive::new(tar.as_slice()).entries().unwrap().map(listed).collect()
}

const EXPECTED: [&[&str]; 5] = [
    &["5 755 a/", "0 644 a-0", "0 644 a-1"],
    // `a` has paths below it that are still to come, and so stands again
    &["5 755 a/", "0 644 a-2", "0 640 a/first", "5 700 a/private/ pax", "0 0 a/private/.wh..wh..opq"],
    &["5 755 a/", "5 700 a/private/ pax", "0 600 a/private/0", "0 600 a/private/1"],
    &["5 755 a/", "5 700 a/private/ pax", "0 600 a/private/2", "0 600 a/private/3"],
    &[
        "5 755 a/",
        "5 700 a/private/ pax",
        "0 600 a/private/4",
        "1 600 a/private/near",
        "0 640 a/private/no",
        "0 0 a/.wh.taken",
        "0 644 z",
    ],
];

#[test]
fn a_layer_is_cut_between_entries_and_each_part_has_the_directories_that_it_needs() {
    let (_directory, store) = store();
    for (compression, unpack) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
        let cut = parts(&store, compression, Threads::One);
        let listed: Vec<Vec<String>> = cut.iter().map(|part| entries(&store, part, unpack)).collect();
        assert_eq!(listed, EXPECTED);
        assert!(cut.iter().all(|part| part.descriptor.size <= CEILING), "{cut:?}");
        assert_eq!(cut, parts(&store, compression, Threads::Several), "threads have no part in it");
    }
}

#[test]
fn a_layer_that_is_short_enough_has_one_part_and_the_bytes_of_one_without_a_ceiling() {
    let (_directory, store) = store();
    let mut free = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap();
    write(&mut free).unwrap();
    let free = free.complete().unwrap();
    let mut bounded = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap().in_parts_of(1 << 20);
    assert_eq!(write(&mut bounded).unwrap(), [true, true]);
    assert_eq!(bounded.complete_parts().unwrap(), (Vec::new(), free));
}

#[test]
fn a_file_that_is_longer_than_a_part_has_one_of_its_own() {
    let (_directory, store) = store();
    let mut out = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap().in_parts_of(CEILING);
    out.file("a", root(0o644), b"short").unwrap();
    out.file("b", root(0o644), &[noise(1), noise(2), noise(3)].concat()).unwrap();
    out.file("c", root(0o644), b"short, too").unwrap();
    let (earlier, last) = out.complete_parts().unwrap();
    let long: Vec<bool> = earlier.iter().chain([&last]).map(|part| part.descriptor.size > CEILING).collect();
    assert_eq!(long, [false, true, false]);
}

#[test]
fn a_stream_has_one_part() {
    let stream = Sink::Stream(Box::new(io::sink()));
    let mut out = LayerWriter::to(stream, Compression::Gzip, MTIME, Threads::One).unwrap().in_parts_of(CEILING);
    assert!(matches!(write(&mut out), Err(Error::Parts { path }) if path == "a-2"));
    let (_directory, store) = store();
    let mut out = LayerWriter::new(&store, Compression::Gzip, MTIME).unwrap().in_parts_of(CEILING);
    write(&mut out).unwrap();
    assert!(matches!(out.complete(), Err(Error::Parts { .. })), "who wants one layer does not get the last of several");
}
