//! Metadata: tables of blocks of 8 KiB, each compressed by itself behind its length.

use super::compress::pack;
use crate::layer::Compression;

/// What a block of metadata holds, in bytes (kernel: `SQUASHFS_METADATA_SIZE`).
const BLOCK: usize = 8192;
/// kernel: `SQUASHFS_COMPRESSED_BIT`, set in the length of a block that is not compressed.
const STORED: u16 = 1 << 15;

/// Where something stands in a table: its block's beginning, and how far behind it inflated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u64,
    pub(super) offset: u16,
}

impl Place {
    /// As the superblock and the tables have it: 48 bits of block and 16 of offset.
    pub(super) fn reference(self) -> u64 {
        self.block << 16 | u64::from(self.offset)
    }
}

/// A table in the making.
pub(super) struct Table {
    compression: Compression,
    pending: Vec<u8>,
    written: Vec<u8>,
    /// Where each block begins.
    starts: Vec<u64>,
}

impl Table {
    pub(super) fn new(compression: Compression) -> Self {
        Self { compression, pending: Vec::with_capacity(BLOCK), written: Vec::new(), starts: Vec::new() }
    }

    /// Where the next bytes will stand.
    pub(super) fn place(&self) -> Place {
        // a block of 8 KiB is written when it is full
        Place { block: self.written.len() as u64, offset: self.pending.len() as u16 }
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() == BLOCK {
                self.write();
            }
        }
    }

    /// The table's bytes, and where its blocks begin in them.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<u64>) {
        if !self.pending.is_empty() {
            self.write();
        }
        (self.written, self.starts)
    }

    fn write(&mut self) {
        self.starts.push(self.written.len() as u64);
        let packed = pack(std::mem::take(&mut self.pending), self.compression);
        let stored = if packed.is_compressed { 0 } else { STORED };
        // 8 KiB at most
        self.written.extend((packed.bytes.len() as u16 | stored).to_le_bytes());
        self.written.extend(packed.bytes);
    }
}
