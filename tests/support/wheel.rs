//! Wheels: real ones from the machine's package index, and hand-made ones that are
//! unusual or wrong in one thing each.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use base64::Engine;
use sha2::{Digest, Sha256};

use super::uv::uv;

/// The Python that tests install for: `python3`'s, such as `3.11`.
pub fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let say = "import sys; print('%d.%d' % sys.version_info[:2])";
        let output = super::output(Command::new("python3").args(["-c", say]), "python3");
        String::from_utf8(output.stdout).expect("a version").trim().to_owned()
    })
}

/// A real wheel for [`python`], downloaded once: `numpy==2.2.1`.
#[track_caller]
pub fn real(requirement: &str) -> PathBuf {
    static DOWNLOADS: Mutex<()> = Mutex::new(());
    let _one_at_a_time = DOWNLOADS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let directory = super::parts().join("wheels").join(python()).join(requirement);
    if let Some(wheel) = wheel_in(&directory) {
        return wheel;
    }
    let pip = super::parts().join(format!("pip-{}", python()));
    if !pip.join("bin/pip").exists() {
        let mut venv = Command::new(uv());
        super::output(venv.args(["venv", "--quiet", "--clear", "--seed", "--python", "python3"]).arg(&pip), "python3");
    }
    let partial = directory.with_extension(format!("part-{}", std::process::id()));
    let mut download = Command::new(pip.join("bin/pip"));
    download.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]);
    super::output(download.arg("--dest").arg(&partial).arg(requirement), "python3-venv");
    let _ = fs::remove_dir_all(&directory);
    fs::rename(&partial, &directory).expect("renamed");
    wheel_in(&directory).expect("pip download leaves a wheel")
}

fn wheel_in(directory: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(directory).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    entries.find(|path| path.extension().is_some_and(|extension| extension == "whl"))
}

/// An entry of a hand-made zip. What is `None` is told truthfully.
#[derive(Clone)]
pub struct Entry {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    /// 8 for deflate, 0 for stored; another is only said.
    pub method: u16,
    pub mode: u32,
    pub flags: u16,
    pub descriptor: bool,
    pub zip64: bool,
    pub local_name: Option<Vec<u8>>,
    pub local_method: Option<u16>,
    pub local_size: Option<u32>,
    pub size: Option<u32>,
    pub compressed: Option<u32>,
    pub crc32: Option<u32>,
    /// Where the directory says that it begins.
    pub offset: Option<u32>,
}

impl Entry {
    pub fn new(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.into(),
            content: content.into(),
            method: 8,
            mode: 0o100_644,
            flags: 0,
            descriptor: false,
            zip64: false,
            local_name: None,
            local_method: None,
            local_size: None,
            size: None,
            compressed: None,
            crc32: None,
            offset: None,
        }
    }

    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn data(&self) -> Vec<u8> {
        if self.method != 8 {
            return self.content.clone();
        }
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(&self.content).expect("memory");
        encoder.finish().expect("memory")
    }
}

/// A zip with what may stand around its entries.
#[derive(Clone, Default)]
pub struct Zip {
    pub entries: Vec<Entry>,
    pub prefix: Vec<u8>,
    pub suffix: Vec<u8>,
    pub count: Option<u16>,
    /// Whether it ends with the records of zip64 (APPNOTE 4.3.14, 4.3.15).
    pub zip64: bool,
}

impl Zip {
    /// The bytes of the zip.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.prefix.clone();
        let mut directory = Vec::new();
        for entry in &self.entries {
            let offset = entry.offset.unwrap_or((out.len() - self.prefix.len()) as u32);
            let data = entry.data();
            write_local(&mut out, entry, &data);
            write_central(&mut directory, entry, data.len() as u32, offset);
        }
        let start = out.len() - self.prefix.len();
        out.extend_from_slice(&directory);
        let count = self.count.unwrap_or(self.entries.len() as u16);
        let (count, length, start) = (u64::from(count), directory.len() as u64, start as u64);
        if self.zip64 {
            let end = out.len() as u64;
            out.extend_from_slice(b"PK\x06\x06");
            put(&mut out, &[44], 8);
            put(&mut out, &[45, 45], 2);
            put(&mut out, &[0, 0], 4);
            put(&mut out, &[count, count, length, start], 8);
            out.extend_from_slice(b"PK\x06\x07\0\0\0\0");
            put(&mut out, &[end], 8);
            put(&mut out, &[1], 4);
        }
        let shown = if self.zip64 { (0xffff, 0xffff_ffff, 0xffff_ffff) } else { (count, length, start) };
        out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        put(&mut out, &[shown.0, shown.0], 2);
        put(&mut out, &[shown.1, shown.2], 4);
        put(&mut out, &[0], 2);
        out.extend_from_slice(&self.suffix);
        out
    }
}

fn put(out: &mut Vec<u8>, numbers: &[u64], width: usize) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes()[..width]);
    }
}

// APPNOTE 4.3.7
fn write_local(out: &mut Vec<u8>, entry: &Entry, data: &[u8]) {
    let name = entry.local_name.as_ref().unwrap_or(&entry.name);
    let crc = u64::from(entry.crc32.unwrap_or_else(|| crc32fast::hash(&entry.content)));
    let (size, compressed) = (entry.content.len() as u64, data.len() as u64);
    let said = u64::from(entry.local_size.or(entry.size).unwrap_or(size as u32));
    out.extend_from_slice(b"PK\x03\x04");
    put(out, &[45, u64::from(flags(entry)), u64::from(entry.local_method.unwrap_or(entry.method)), 0, 0x21], 2);
    let said_compressed = u64::from(entry.compressed.unwrap_or(compressed as u32));
    let shown = match (entry.descriptor, entry.zip64) {
        (true, _) => [0, 0, 0],
        (false, true) => [crc, 0xffff_ffff, 0xffff_ffff],
        (false, false) => [crc, said_compressed, said],
    };
    put(out, &shown, 4);
    put(out, &[name.len() as u64, if entry.zip64 { 20 } else { 0 }], 2);
    out.extend_from_slice(name);
    if entry.zip64 {
        put(out, &[1, 16], 2);
        put(out, &[size, compressed], 8);
    }
    out.extend_from_slice(data);
    if entry.descriptor {
        out.extend_from_slice(b"PK\x07\x08");
        put(out, &[crc], 4);
        put(out, &[compressed, size], if entry.zip64 { 8 } else { 4 });
    }
}

// APPNOTE 4.3.12
fn write_central(out: &mut Vec<u8>, entry: &Entry, data: u32, offset: u32) {
    let crc = u64::from(entry.crc32.unwrap_or_else(|| crc32fast::hash(&entry.content)));
    let size = u64::from(entry.size.unwrap_or(entry.content.len() as u32));
    let compressed = u64::from(entry.compressed.unwrap_or(data));
    out.extend_from_slice(b"PK\x01\x02");
    put(out, &[3 << 8 | 45, 45, u64::from(flags(entry)), u64::from(entry.method), 0, 0x21], 2);
    put(out, &[crc], 4);
    put(out, &if entry.zip64 { [0xffff_ffff; 2] } else { [compressed, size] }, 4);
    put(out, &[entry.name.len() as u64, if entry.zip64 { 20 } else { 0 }, 0, 0, 0], 2);
    put(out, &[u64::from(entry.mode) << 16, u64::from(offset)], 4);
    out.extend_from_slice(&entry.name);
    if entry.zip64 {
        put(out, &[1, 16], 2);
        put(out, &[size, compressed], 8);
    }
}

fn flags(entry: &Entry) -> u16 {
    // bit 11: the name is UTF-8
    entry.flags | 1 << 11 | if entry.descriptor { 1 << 3 } else { 0 }
}

/// The name of every hand-made wheel.
pub const FILE: &str = "made-1.0-py3-none-any.whl";

/// A wheel of `entries`, with METADATA, WHEEL and a true RECORD beside them.
pub fn made(entries: Vec<Entry>) -> Zip {
    let mut zip = Zip { entries, ..Zip::default() };
    for (name, content) in [
        ("METADATA", "Metadata-Version: 2.1\nName: made\nVersion: 1.0\n"),
        ("WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    ] {
        zip.entries.push(Entry::new(&format!("made-1.0.dist-info/{name}"), content.as_bytes()));
    }
    let record = record(&zip.entries);
    zip.entries.push(Entry::new("made-1.0.dist-info/RECORD", record.as_bytes()));
    zip
}

/// The lines of a true RECORD.
fn record(entries: &[Entry]) -> String {
    let lines = entries.iter().filter(|entry| !entry.name.ends_with(b"/")).map(|entry| {
        let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(&entry.content));
        let name = String::from_utf8_lossy(&entry.name).replace('"', "\"\"");
        format!("\"{name}\",sha256={hash},{}\n", entry.content.len())
    });
    lines.collect::<String>() + "made-1.0.dist-info/RECORD,,\n"
}

/// `zip` with another RECORD.
pub fn with_record(mut zip: Zip, change: impl FnOnce(String) -> String) -> Zip {
    let record = zip.entries.last_mut().expect("RECORD is last");
    let text = String::from_utf8(record.content.clone()).expect("text");
    record.content = change(text).into_bytes();
    zip
}
