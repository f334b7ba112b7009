//! Wheels to layers: splicing beside recompression, and beside inflating and
//! hashing alone, in one run.
//!
//! ```sh
//! cargo bench --bench wheel_layer [-- DIRECTORY]
//! ```
//!
//! Takes every wheel in DIRECTORY. Without one it fetches torch 2.6.0 and a few
//! others by `pip download --no-deps`, once, into `target/wheels`. It prints ratios,
//! since seconds are of one machine; those of CPU time hold on a busy one too.
//!
//! - *splice*: what a build does. Each content is checked against its CRC-32 and
//!   hashed for RECORD, and the blob gets its digest, its DiffID and its place in
//!   the store.
//! - *zlib 6*: the same, but the tar is compressed anew at level 6 by zlib-rs, the
//!   fastest zlib in Rust.
//! - *floor*: each content inflated by zlib-rs and hashed for RECORD and for the
//!   DiffID, each compressed stream hashed for the digest; nothing is written.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench ends by panicking")]
#![allow(missing_docs, reason = "a program")]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use dlpack::layer::{Attributes, Compression, LayerWriter, Threads};
use dlpack::oci::Hasher;
use dlpack::python::install::{Content, Installed};
use dlpack::python::scheme::Scheme;
use dlpack::python::wheel::Wheel;
use dlpack::store::{Area, BlobWriter, Store};
use rawzip::FileReader;

const PREFIX: &str = "opt/venv";
const FETCHED: [&str; 5] = ["torch==2.6.0", "numpy", "scipy", "pandas", "jupyterlab"];
const PIECE: usize = 128 * 1024;

fn main() {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let directory = given.map_or_else(fetched, PathBuf::from);
    let mut wheels: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    wheels.retain(|path| path.extension().is_some_and(|extension| extension == "whl"));
    // The longest first, so that no core waits for one that began late.
    wheels.sort_by_key(|path| (std::cmp::Reverse(fs::metadata(path).unwrap().len()), path.clone()));
    assert!(!wheels.is_empty(), "no wheels in {}", directory.display());
    let cores = std::thread::available_parallelism().unwrap().get();
    println!("{} wheels, {cores} cores\n", wheels.len());
    println!("{:22} {:>8} {:>8} {:>9} {:>9}", "", "wall s", "CPU s", "in MB", "out MB");

    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path()).unwrap();
    // Once through all of them, so that nobody waits for the disk that they come from.
    for wheel in &wheels {
        io::copy(&mut File::open(wheel).unwrap(), &mut io::sink()).unwrap();
    }
    // One wheel can't keep all cores busy by itself, unless its layer has several threads.
    let threads = if wheels.len() < cores { Threads::Several } else { Threads::One };
    let splice_all = measure("splice, all cores", || across(&wheels, cores, &|wheel| splice(wheel, &store, threads)));
    println!("{:22} {:>8} MB", "  peak memory", peak_memory());
    let floor_all = measure("floor, all cores", || across(&wheels, cores, &floor));
    let splice_one = measure("splice, one thread", || across(&wheels, 1, &|wheel| splice(wheel, &store, Threads::One)));
    let floor_one = measure("floor, one thread", || across(&wheels, 1, &floor));
    let zlib_one = measure("zlib 6, one thread", || across(&wheels, 1, &|wheel| recompress(wheel, &store)));

    println!("\n{:40} {:>6} {:>6}   target", "", "wall", "CPU");
    let ratio = |name: &str, a: &Figures, b: &Figures, target: &str| {
        println!("{name:40} {:6.2} {:6.2}   {target}", a.wall / b.wall, a.cpu / b.cpu);
    };
    ratio("zlib 6 / splice, one thread", &zlib_one, &splice_one, "at least 5");
    ratio("splice / floor, all cores", &splice_all, &floor_all, "at most 1.3");
    ratio("splice / floor, one thread", &splice_one, &floor_one, "");
}

fn fetched() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/wheels");
    if !directory.exists() {
        let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"];
        let status = Command::new("python3").args(pip).arg(&directory).args(FETCHED).status();
        assert!(status.is_ok_and(|status| status.success()), "pip can't fetch the wheels: name a directory of some");
    }
    directory
}

struct Figures {
    wall: f64,
    cpu: f64,
}

/// Runs `work`, which returns how many bytes went in and came out.
fn measure(name: &str, work: impl FnOnce() -> (u64, u64)) -> Figures {
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let (unpacked, made) = work();
    let figures = Figures { wall: begun.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu };
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!("{name:22} {:8.2} {:8.2} {:9.1} {:9.1}", figures.wall, figures.cpu, megabytes(unpacked), megabytes(made));
    figures
}

/// User and system time of this process: fields 14 and 15 of proc_pid_stat(5), in
/// hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// The most memory that was ever resident, in MB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Does `work` on each wheel, so many at a time.
fn across(wheels: &[PathBuf], at_a_time: usize, work: &(dyn Fn(&Path) -> (u64, u64) + Sync)) -> (u64, u64) {
    let next = AtomicUsize::new(0);
    let one_after_the_other = || {
        let mut sum = (0, 0);
        while let Some(wheel) = wheels.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (unpacked, made) = work(wheel);
            sum = (sum.0 + unpacked, sum.1 + made);
        }
        sum
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(one_after_the_other)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    })
}

fn open(path: &Path) -> (Wheel<FileReader>, Installed) {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let name = path.file_name().unwrap().to_str().unwrap();
    let wheel = Wheel::open(FileReader::from(file), size, name).unwrap();
    let scheme = Scheme::new(&format!("/{PREFIX}"), "3.12".parse().unwrap());
    let installed = Installed::of(&wheel, &scheme).unwrap();
    (wheel, installed)
}

fn splice(path: &Path, store: &Store, threads: Threads) -> (u64, u64) {
    let (wheel, installed) = open(path);
    let mut layer = LayerWriter::on(store, Compression::Gzip, 0, threads).unwrap();
    for file in installed.files() {
        let path = format!("{PREFIX}/{}", file.path);
        let attributes = Attributes::root(file.mode);
        match &file.content {
            Content::Bytes(bytes) => layer.file(&path, attributes, bytes).unwrap(),
            Content::Entry { path: source, .. } => {
                let entry = wheel.directory().find(source).unwrap();
                let raw = wheel.raw(entry).unwrap();
                let mut record = Hasher::new();
                match entry.deflated {
                    true => {
                        let mut inspect = |bytes: &[u8]| record.update(bytes);
                        layer.deflated(&path, attributes, file.size, file.crc32, raw, &mut inspect).unwrap();
                    }
                    false => {
                        let inspected = Inspected { source: raw, hasher: &mut record };
                        layer.stream(&path, attributes, file.size, inspected).unwrap();
                    }
                }
                black_box(record.finish());
            }
        }
    }
    let layer = layer.complete().unwrap();
    fs::remove_file(store.path(Area::Blobs, &layer.descriptor.digest)).unwrap();
    (layer.unpacked, layer.descriptor.size)
}

/// The content of every file, inflated by zlib-rs: `each` gets its path, mode and length, and reads it.
fn inflated(path: &Path, raw_hasher: &mut Hasher, mut each: impl FnMut(&str, u32, u64, &mut dyn Read)) {
    let (wheel, installed) = open(path);
    for file in installed.files() {
        match &file.content {
            Content::Bytes(bytes) => each(&file.path, file.mode, file.size, &mut bytes.as_slice()),
            Content::Entry { path: source, .. } => {
                let entry = wheel.directory().find(source).unwrap();
                let raw = Inspected { source: wheel.raw(entry).unwrap(), hasher: raw_hasher };
                let raw = io::BufReader::with_capacity(PIECE, raw);
                match entry.deflated {
                    true => each(&file.path, file.mode, file.size, &mut flate2::bufread::DeflateDecoder::new(raw)),
                    false => each(&file.path, file.mode, file.size, &mut { raw }),
                }
            }
        }
    }
}

fn floor(path: &Path) -> (u64, u64) {
    let (mut digest, mut diff_id) = (Hasher::new(), Hasher::new());
    let mut buffer = vec![0; PIECE];
    inflated(path, &mut digest, |_, _, _, content| {
        let (mut record, mut crc) = (Hasher::new(), crc32fast::Hasher::new());
        loop {
            let read = content.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            crc.update(&buffer[..read]);
            record.update(&buffer[..read]);
            diff_id.update(&buffer[..read]);
        }
        black_box((record.finish(), crc.finalize()));
    });
    (diff_id.finish().1, digest.finish().1)
}

fn recompress(path: &Path, store: &Store) -> (u64, u64) {
    let blob = flate2::write::GzEncoder::new(store.writer().unwrap(), flate2::Compression::new(6));
    let mut tar = tar::Builder::new(Tee { diff_id: Hasher::new(), blob });
    inflated(path, &mut Hasher::new(), |path, mode, size, content| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_size(size);
        let mut record = Hasher::new();
        let content = Inspected { source: content, hasher: &mut record };
        tar.append_data(&mut header, format!("{PREFIX}/{path}"), io::BufReader::with_capacity(PIECE, content)).unwrap();
        black_box(record.finish());
    });
    let tee = tar.into_inner().unwrap();
    let (digest, size) = store.keep(Area::Blobs, tee.blob.finish().unwrap()).unwrap();
    fs::remove_file(store.path(Area::Blobs, &digest)).unwrap();
    (tee.diff_id.finish().1, size)
}

struct Tee {
    diff_id: Hasher,
    blob: flate2::write::GzEncoder<BlobWriter>,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.blob.write(bytes)?;
        self.diff_id.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

/// Hashes what is read.
struct Inspected<'a, R> {
    source: R,
    hasher: &'a mut Hasher,
}

impl<R: Read> Read for Inspected<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
