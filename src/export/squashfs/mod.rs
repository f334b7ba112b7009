//! A squashfs 4.0 of an image's files (kernel: `Documentation/filesystems/squashfs.rst`), which
//! the kernel, squashfuse, Apptainer and enroot mount, and unsquashfs unpacks.
//!
//! ```text
//! superblock │ contents, as layers have them │ inodes │ directories │ fragments │ ids │ attributes
//! ```
//!
//! Everything is written once, in this order, but for the superblock, which comes last into the
//! room that it has at the beginning: it says where the rest is.

mod compress;
mod data;
mod directory;
mod inode;
mod metadata;
mod nodes;
mod xattr;

use super::Error;
use super::output::{Job, Output};
use super::tree::Tree;
use crate::layer::Compression;
use metadata::Table;
use nodes::Nodes;

/// Of the superblock, in bytes.
const SUPERBLOCK: usize = 96;
/// What a filesystem's length is a multiple of, so that a loop device shows all of it.
pub(super) const PAGE: u64 = 4096;
/// kernel: `SQUASHFS_INVALID_BLK`, for a table that is not there.
const NONE: u64 = u64::MAX;
/// Superblock flag: no file has extended attributes.
const NO_XATTRS: u16 = 1 << 9;

/// Writes `tree` at the end of `out`.
pub(super) fn write(job: &Job<'_>, tree: &Tree, compression: Compression, out: &mut Output) -> Result<(), Error> {
    let origin = out.written();
    out.put(&[0; SUPERBLOCK])?;
    let mut writer = data::Writer::new(job, out, origin, compression)?;
    tree.contents(job, &mut |id, content| writer.file(id, content))?;
    let contents = writer.finish()?;
    let fragments = contents.fragments.iter().map(|(start, length)| {
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&start.to_le_bytes());
        entry[8..12].copy_from_slice(&length.to_le_bytes());
        entry
    });
    let fragments: Vec<[u8; 16]> = fragments.collect();
    let nodes = Nodes::write(tree, &contents, compression, job)?;
    let here = |out: &Output| out.written() - origin;

    let inodes_at = here(out);
    out.put(&nodes.inodes)?;
    let directories_at = here(out);
    out.put(&nodes.directories)?;
    let fragments_at = indexed(out, origin, compression, &fragments, &[])?;
    let ids: Vec<[u8; 4]> = nodes.ids.iter().map(|id| id.to_le_bytes()).collect();
    let ids_at = indexed(out, origin, compression, &ids, &[])?;
    let xattrs_at = match &nodes.xattrs {
        None => NONE,
        Some((values, sets)) => {
            let mut header = here(out).to_le_bytes().to_vec();
            out.put(values)?;
            header.extend((sets.len() as u32).to_le_bytes());
            header.extend(0u32.to_le_bytes());
            indexed(out, origin, compression, sets, &header)?
        }
    };
    let used = here(out);
    out.pad(PAGE)?;

    let mut superblock = Vec::with_capacity(SUPERBLOCK);
    superblock.extend(b"hsqs");
    superblock.extend(nodes.count.to_le_bytes());
    superblock.extend(u32::try_from(job.image.created()).unwrap_or(u32::MAX).to_le_bytes());
    superblock.extend((data::BLOCK as u32).to_le_bytes());
    superblock.extend((fragments.len() as u32).to_le_bytes());
    // kernel: ZLIB_COMPRESSION, ZSTD_COMPRESSION
    superblock.extend(match compression {
        Compression::Gzip => 1u16.to_le_bytes(),
        Compression::Zstd => 6u16.to_le_bytes(),
    });
    superblock.extend((data::BLOCK.ilog2() as u16).to_le_bytes());
    superblock.extend(if nodes.xattrs.is_none() { NO_XATTRS } else { 0 }.to_le_bytes());
    superblock.extend((nodes.ids.len() as u16).to_le_bytes());
    // version 4.0
    superblock.extend([4u16.to_le_bytes(), 0u16.to_le_bytes()].concat());
    superblock.extend(nodes.root.reference().to_le_bytes());
    for number in [used, ids_at, xattrs_at, inodes_at, directories_at, fragments_at, NONE] {
        superblock.extend(number.to_le_bytes());
    }
    out.patch(origin, &superblock)
}

/// Writes a table whose blocks are found by an index behind them, and `header` before the index.
/// Returns where that begins.
fn indexed<const N: usize>(
    out: &mut Output,
    origin: u64,
    compression: Compression,
    entries: &[[u8; N]],
    header: &[u8],
) -> Result<u64, Error> {
    let mut table = Table::new(compression);
    entries.iter().for_each(|entry| table.put(entry));
    let (bytes, starts) = table.finish();
    let begin = out.written() - origin;
    out.put(&bytes)?;
    let at = out.written() - origin;
    out.put(header)?;
    starts.iter().try_for_each(|start| out.put(&(begin + start).to_le_bytes()))?;
    Ok(at)
}
