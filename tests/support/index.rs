//! A package index on loopback (PEP 503 or PEP 691), and wheels small enough to make
//! on the spot.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// How an index answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// HTML pages with hashes, and parts of files.
    Html,
    /// JSON pages, and parts of files.
    Json,
    /// HTML pages, and whole files alone.
    WithoutRanges,
    /// Breaks the first answer with a file off, half-way.
    BreaksOff,
    /// Changes the last byte of every file.
    Corrupts,
    /// Breaks every answer with a file off before its first byte.
    AlwaysBreaksOff,
    /// HTML pages without hashes.
    WithoutHashes,
    /// HTML pages, and files whose length nothing tells.
    WithoutLengths,
    /// Answers 503 to the first request for a file, and 405 to HEAD.
    Busy,
}

/// An index with the files that it was given. It ends when dropped.
pub struct SimpleIndex {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

struct Served {
    files: BTreeMap<String, Vec<u8>>,
    manner: Manner,
    broken: AtomicBool,
}

impl SimpleIndex {
    pub fn start(manner: Manner, files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let served = Arc::new(Served { files, manner, broken: AtomicBool::new(false) });
        let (log, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (served, log) = (Arc::clone(&served), Arc::clone(&log));
                std::thread::spawn(move || served.answer(stream, &log));
            }
        });
        Self { address, requests, stop }
    }

    /// Its URL, without credentials.
    pub fn url(&self) -> String {
        format!("http://{}/simple/", self.address)
    }

    /// The same with a name and a password.
    pub fn url_with_password(&self) -> String {
        format!("http://user:secret@{}/simple/", self.address)
    }

    /// The requests so far, each with its headers.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for SimpleIndex {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
    }
}

impl Served {
    fn answer(&self, mut stream: TcpStream, log: &Mutex<Vec<String>>) {
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        log.lock().unwrap().push(head.clone());
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let wheel = path.ends_with(".whl");
        let (status, headers, body) = match self.manner {
            Manner::Busy if method == "HEAD" => ("405 Method Not Allowed", String::new(), Vec::new()),
            Manner::Busy if wheel && !self.broken.swap(true, Ordering::SeqCst) => {
                ("503 Service Unavailable", "retry-after: 0\r\n".into(), Vec::new())
            }
            _ => self.response(path, header("range").as_deref()),
        };
        let length = match self.manner == Manner::WithoutLengths && wheel {
            true => String::new(),
            false => format!("content-length: {}\r\n", body.len()),
        };
        let announced = format!("HTTP/1.1 {status}\r\n{headers}{length}connection: close\r\n\r\n");
        let _ = stream.write_all(announced.as_bytes());
        let breaks = self.manner == Manner::BreaksOff && wheel && method == "GET";
        let body = match breaks && !self.broken.swap(true, Ordering::SeqCst) {
            true => &body[..body.len() / 2],
            false if self.manner == Manner::AlwaysBreaksOff && wheel => &[],
            false => &body[..],
        };
        if method == "GET" {
            let _ = stream.write_all(body);
        }
    }

    fn response(&self, path: &str, range: Option<&str>) -> (&'static str, String, Vec<u8>) {
        if let Some(bytes) = path.strip_prefix("/files/").and_then(|name| self.files.get(name)) {
            return self.file(bytes.clone(), range);
        }
        let project = path.strip_prefix("/simple/").unwrap_or_default().trim_matches('/');
        let normal = |name: &str| name.split('-').next().unwrap_or_default().replace(['_', '.'], "-").to_lowercase();
        let files: Vec<_> = self.files.iter().filter(|(name, _)| normal(name) == project).collect();
        if files.is_empty() {
            return ("404 Not Found", String::new(), Vec::new());
        }
        let hash = |bytes: &[u8]| dlpack::oci::Digest::of(bytes).hex();
        if self.manner == Manner::Json {
            let file = |(name, bytes): &(&String, &Vec<u8>)| {
                serde_json::json!({ "filename": name, "url": format!("../../files/{name}"),
                    "hashes": { "sha256": hash(bytes) }, "size": bytes.len() })
            };
            let files: Vec<_> = files.iter().map(file).collect();
            let page = serde_json::json!({ "meta": { "api-version": "1.1" }, "name": project, "files": files });
            let kind = "content-type: application/vnd.pypi.simple.v1+json\r\n".to_owned();
            return ("200 OK", kind, page.to_string().into_bytes());
        }
        let link = |(name, bytes): &(&String, &Vec<u8>)| {
            let hash = match self.manner {
                Manner::WithoutHashes => String::new(),
                _ => format!("#sha256={}", hash(bytes)),
            };
            format!("<a href=\"../../files/{name}{hash}\">{name}</a>\n")
        };
        let page = format!("<!DOCTYPE html><html><body>\n{}</body></html>", files.iter().map(link).collect::<String>());
        ("200 OK", "content-type: text/html\r\n".into(), page.into_bytes())
    }

    fn file(&self, mut bytes: Vec<u8>, range: Option<&str>) -> (&'static str, String, Vec<u8>) {
        if self.manner == Manner::Corrupts {
            *bytes.last_mut().unwrap() ^= 1;
        }
        let whole = [Manner::WithoutRanges, Manner::WithoutLengths].contains(&self.manner);
        let range = range.filter(|_| !whole);
        let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
            return ("200 OK", String::new(), bytes);
        };
        let size = bytes.len();
        let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first, last.min(size - 1)),
            (Ok(first), Err(_)) => (first, size - 1),
            (Err(_), Ok(suffix)) => (size.saturating_sub(suffix), size - 1),
            (Err(_), Err(_)) => (0, size - 1),
        };
        let part = bytes[first..=last].to_vec();
        ("206 Partial Content", format!("content-range: bytes {first}-{last}/{size}\r\n"), part)
    }
}

/// A wheel `name`-1.0 for any platform with these files, stored and not deflated.
pub fn wheel(name: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let info = format!("{name}-1.0.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let mut all: Vec<(String, Vec<u8>)> =
        files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
    all.push((format!("{info}/METADATA"), metadata.into_bytes()));
    all.push((format!("{info}/WHEEL"), tags.as_bytes().to_vec()));
    let mut record: String =
        all.iter().map(|(path, bytes)| format!("{path},{},{}\n", hash(bytes), bytes.len())).collect();
    record.push_str(&format!("{info}/RECORD,,\n"));
    all.push((format!("{info}/RECORD"), record.into_bytes()));
    stored_zip(&all)
}

fn hash(bytes: &[u8]) -> String {
    use base64::Engine;
    let digest = dlpack::oci::Digest::of(bytes);
    format!("sha256={}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest.as_bytes()))
}

/// A zip of stored entries (APPNOTE 4.3.7, 4.3.12, 4.3.16).
fn stored_zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (path, bytes) in files {
        let offset = zip.len() as u32;
        let mut common = Vec::new();
        for word in [20u16, 0, 0, 0, 0x21] {
            common.extend(word.to_le_bytes());
        }
        for word in [crc32fast::hash(bytes), bytes.len() as u32, bytes.len() as u32] {
            common.extend(word.to_le_bytes());
        }
        common.extend((path.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        zip.extend(b"PK\x03\x04");
        zip.extend(&common);
        zip.extend(path.as_bytes());
        zip.extend(bytes);
        directory.extend(b"PK\x01\x02");
        directory.extend((3u16 << 8 | 20).to_le_bytes());
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((0o100644u32 << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(path.as_bytes());
    }
    let (count, start) = (files.len() as u16, zip.len() as u32);
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend(count.to_le_bytes());
    zip.extend(count.to_le_bytes());
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend([0; 2]);
    zip
}
