//! The stream that is being written: whole bytes, and the bits after them.

use std::io;

use super::code::{Code, Symbol};

/// Takes bits, lowest first (RFC 1951, 3.1.1).
#[derive(Default)]
pub(super) struct Stream {
    bytes: Vec<u8>,
    held: u64,
    /// Less than 32 between two calls.
    count: u32,
}

impl Stream {
    /// Adds `count` bits, 32 at most.
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.held |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Adds a symbol of the alphabet that has `codes`, and its extra bits.
    pub(super) fn symbol(&mut self, codes: &[Code], symbol: Symbol) {
        let code = codes[symbol.number];
        self.put(code.bits, code.length.into());
        self.put(symbol.value, symbol.extra);
    }

    /// Whether it ends at a byte's end.
    pub(super) fn is_aligned(&self) -> bool {
        self.count.is_multiple_of(8)
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
    }

    /// 3.2.4: a block that is not compressed. It ends at a byte's end.
    pub(super) fn stored(&mut self, text: &[u8], is_last: bool) {
        self.put(is_last.into(), 3);
        self.align();
        let length = text.len() as u16;
        self.put(length.into(), 16);
        self.put((!length).into(), 16);
        self.release();
        self.bytes.extend_from_slice(text);
    }

    /// Hands on the whole bytes that there are.
    pub(super) fn take(&mut self, with: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.release();
        let result = if self.bytes.is_empty() { Ok(()) } else { with(&self.bytes) };
        self.bytes.clear();
        result
    }

    /// Moves the whole bytes among the held bits to the others.
    fn release(&mut self) {
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }
}
