//! Tars by hand, with what a builder would not write, and a store that has them.

use std::path::PathBuf;

use dlpack::oci::{Descriptor, DiffId, Digest, media_type};
use dlpack::sandbox::{ExtractError, extract};
use dlpack::store::{Area, Store};
use tempfile::TempDir;

pub const FILE: u8 = b'0';
pub const LINK: u8 = b'1';
pub const SYMLINK: u8 = b'2';
pub const CHAR: u8 = b'3';
pub const BLOCK: u8 = b'4';
pub const DIRECTORY: u8 = b'5';
pub const FIFO: u8 = b'6';

/// A header as it is given, however wrong.
pub struct Header<'a> {
    pub kind: u8,
    pub path: &'a [u8],
    pub target: &'a [u8],
    pub mode: u32,
    pub owner: (u32, u32),
    pub size: u64,
    pub device: (u32, u32),
}

/// A tar, block by block.
#[derive(Clone, Default)]
pub struct Raw(Vec<u8>);

impl Raw {
    pub fn header(mut self, header: Header<'_>) -> Self {
        let mut block = [0; 512];
        let mut text = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        text(0, header.path);
        text(100, format!("{:07o}", header.mode).as_bytes());
        text(108, format!("{:07o}", header.owner.0).as_bytes());
        text(116, format!("{:07o}", header.owner.1).as_bytes());
        text(124, format!("{:011o}", header.size).as_bytes());
        text(136, format!("{:011o}", 1_700_000_000).as_bytes());
        text(148, b"        ");
        text(156, &[header.kind]);
        text(157, header.target);
        text(257, b"ustar\x0000");
        text(329, format!("{:07o}", header.device.0).as_bytes());
        text(337, format!("{:07o}", header.device.1).as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    pub fn content(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn entry(self, kind: u8, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let (path, target) = (path.as_ref(), target.as_ref());
        self.header(Header { kind, path, target, mode: 0o755, owner: (0, 0), size: 0, device: (1, 3) })
    }

    pub fn owned(self, kind: u8, path: &str, target: &str, mode: u32, owner: (u32, u32)) -> Self {
        let (path, target) = (path.as_bytes(), target.as_bytes());
        self.header(Header { kind, path, target, mode, owner, size: 0, device: (1, 3) })
    }

    pub fn file(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let (path, content) = (path.as_ref(), content.as_ref());
        let size = content.len() as u64;
        self.header(Header { kind: FILE, path, target: b"", mode: 0o644, owner: (0, 0), size, device: (0, 0) })
            .content(content)
    }

    pub fn directory(self, path: impl AsRef<[u8]>) -> Self {
        self.entry(DIRECTORY, path, "")
    }

    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(SYMLINK, path, target)
    }

    pub fn link(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(LINK, path, target)
    }

    /// A pax header with these records for what follows.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.extended(b'x', &records.iter().flat_map(|(keyword, value)| record(keyword, value)).collect::<Vec<_>>())
    }

    /// GNU's long name (`L`) or long link target (`K`) for what follows.
    pub fn gnu(self, kind: u8, name: &str) -> Self {
        self.extended(kind, format!("{name}\0").as_bytes())
    }

    pub fn extended(self, kind: u8, bytes: &[u8]) -> Self {
        let header = Header {
            kind,
            path: b"././@Extended",
            target: b"",
            mode: 0o644,
            owner: (0, 0),
            size: bytes.len() as u64,
            device: (0, 0),
        };
        self.header(header).content(bytes)
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A pax record.
pub fn record(keyword: &str, value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let length = (1..).find(|length: &usize| *length == rest + length.to_string().len()).unwrap();
    [format!("{length} {keyword}=").as_bytes(), value, b"\n"].concat()
}

/// A store, and around it a directory with what must not be touched.
pub struct Place {
    pub directory: TempDir,
    pub store: Store,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-extract-").tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self { directory, store }
    }

    /// Keeps a tar as a layer.
    pub fn put(&self, tar: Raw) -> (Descriptor, DiffId) {
        let bytes = tar.finish();
        let digest = self.store.put(Area::Blobs, &bytes).unwrap();
        (Descriptor::new(media_type::LAYER_TAR, digest, bytes.len() as u64), DiffId(Digest::of(&bytes)))
    }

    pub fn base(&self, layers: impl IntoIterator<Item = Raw>) -> Result<PathBuf, ExtractError> {
        let layers: Vec<_> = layers.into_iter().map(|tar| self.put(tar)).collect();
        extract::base(&self.store, &layers)
    }
}
