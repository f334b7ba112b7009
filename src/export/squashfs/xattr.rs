//! Extended attributes: sets of them, each written once.

use std::collections::{BTreeMap, HashMap};

use super::inode::NO_XATTRS;
use super::metadata::Table;
use crate::layer::Compression;

/// What names begin with, and what stands for it (kernel: `SQUASHFS_XATTR_USER` …); there are no
/// others in a squashfs.
const PREFIXES: [(&[u8], u16); 2] = [(b"user.", 0), (b"security.", 2)];

/// The sets of attributes of a filesystem.
pub(super) struct Xattrs {
    /// Names and values.
    table: Table,
    /// Where each set is: its place, how many it has, and how long they are.
    sets: Vec<[u8; 16]>,
    known: HashMap<Vec<u8>, u32>,
}

impl Xattrs {
    pub(super) fn new(compression: Compression) -> Self {
        Self { table: Table::new(compression), sets: Vec::new(), known: HashMap::new() }
    }

    /// The set with these attributes; those that squashfs has no prefix for are left out.
    pub(super) fn set(&mut self, xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> u32 {
        let (mut bytes, mut count) = (Vec::new(), 0u32);
        for (name, value) in xattrs {
            let prefix = PREFIXES.iter().find_map(|(prefix, kind)| Some((name.strip_prefix(*prefix)?, kind)));
            let Some((rest, kind)) = prefix else { continue };
            // the limits of xattr(7), 255 bytes and 64 KiB, are those of a header's field, too
            let Ok(length) = u16::try_from(rest.len()) else { continue };
            bytes.extend(kind.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.extend(rest);
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(value);
            count += 1;
        }
        if count == 0 {
            return NO_XATTRS;
        }
        if let Some(known) = self.known.get(&bytes) {
            return *known;
        }
        let mut set = [0; 16];
        set[..8].copy_from_slice(&self.table.place().reference().to_le_bytes());
        set[8..12].copy_from_slice(&count.to_le_bytes());
        set[12..].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        let number = self.sets.len() as u32;
        self.sets.push(set);
        self.table.put(&bytes);
        self.known.insert(bytes, number);
        number
    }

    /// The names and values, and the sets; nothing if there are none.
    pub(super) fn finish(self) -> Option<(Vec<u8>, Vec<[u8; 16]>)> {
        (!self.sets.is_empty()).then(|| (self.table.finish().0, self.sets))
    }
}
