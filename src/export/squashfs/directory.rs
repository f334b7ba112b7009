//! The entries of a directory, in runs that share what their inodes have in common.

use super::metadata::{Place, Table};

/// kernel: `SQUASHFS_DIR_COUNT`, the most that a run has.
const RUN: usize = 256;

/// A name in a directory, and the inode that it names.
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) place: Place,
    pub(super) number: u32,
    /// One of [`super::inode::kind`], of its shorter form.
    pub(super) kind: u16,
}

/// Writes entries, sorted by name, and returns how long they are in bytes.
pub(super) fn write(entries: &[Entry<'_>], table: &mut Table) -> u32 {
    let mut length = 0;
    let mut rest = entries;
    while let [first, ..] = rest {
        let common = rest.iter().take(RUN).take_while(|entry| shares(first, entry)).count();
        let (run, later) = rest.split_at(common);
        rest = later;
        let mut bytes = Vec::new();
        bytes.extend((run.len() as u32 - 1).to_le_bytes());
        bytes.extend((first.place.block as u32).to_le_bytes());
        bytes.extend(first.number.to_le_bytes());
        for entry in run {
            bytes.extend(entry.place.offset.to_le_bytes());
            bytes.extend(difference(first, entry).unwrap_or(0).to_le_bytes());
            bytes.extend(entry.kind.to_le_bytes());
            // a name has 1 to 255 bytes
            bytes.extend((entry.name.len() as u16 - 1).to_le_bytes());
            bytes.extend(entry.name);
        }
        table.put(&bytes);
        length += bytes.len() as u32;
    }
    length
}

/// Whether an inode is in the block of the run's first, and its number near.
fn shares(first: &Entry<'_>, entry: &Entry<'_>) -> bool {
    entry.place.block == first.place.block && difference(first, entry).is_some()
}

fn difference(first: &Entry<'_>, entry: &Entry<'_>) -> Option<i16> {
    i16::try_from(i64::from(entry.number) - i64::from(first.number)).ok()
}
