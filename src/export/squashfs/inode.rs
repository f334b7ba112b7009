//! Inodes, in the shorter of their two forms where that says enough (kernel:
//! `fs/squashfs/squashfs_fs.h`).

use super::data::Extent;
use super::metadata::Place;

/// The kinds of inodes as directories have them; the longer form of each is 7 more.
pub(super) mod kind {
    pub const DIRECTORY: u16 = 1;
    pub const FILE: u16 = 2;
    pub const SYMLINK: u16 = 3;
    pub const BLOCK_DEVICE: u16 = 4;
    pub const CHARACTER_DEVICE: u16 = 5;
    pub const FIFO: u16 = 6;
    pub const EXTENDED: u16 = 7;
}

/// kernel: `SQUASHFS_INVALID_XATTR`
pub(super) const NO_XATTRS: u32 = u32::MAX;

/// What every inode has.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) mode: u32,
    /// Where owner and group stand in the table of ids.
    pub(super) uid: u16,
    pub(super) gid: u16,
    pub(super) mtime: u32,
    pub(super) number: u32,
    pub(super) links: u32,
    /// Its set of attributes, or [`NO_XATTRS`].
    pub(super) xattrs: u32,
}

/// Where a directory's entries are.
#[derive(Clone, Copy)]
pub(super) struct Listing {
    pub(super) place: Place,
    /// How long they are in bytes.
    pub(super) length: u32,
    pub(super) parent: u32,
}

impl Head {
    /// The header: type, mode, uid, gid, mtime and number.
    fn begin(&self, kind: u16) -> Vec<u8> {
        let mut inode = Vec::with_capacity(64);
        inode.extend(kind.to_le_bytes());
        // 12 bits
        inode.extend((self.mode as u16 & 0o7777).to_le_bytes());
        inode.extend(self.uid.to_le_bytes());
        inode.extend(self.gid.to_le_bytes());
        inode.extend(self.mtime.to_le_bytes());
        inode.extend(self.number.to_le_bytes());
        inode
    }

    fn has_xattrs(&self) -> bool {
        self.xattrs != NO_XATTRS
    }

    pub(super) fn directory(&self, listing: Listing) -> Vec<u8> {
        // squashfs counts 3 more than there are: for `.` and `..`
        let size = listing.length + 3;
        // what is written of a table that is long fits 32 bits: they are offsets in it
        let block = listing.place.block as u32;
        match u16::try_from(size) {
            Ok(size) if !self.has_xattrs() => {
                let mut inode = self.begin(kind::DIRECTORY);
                inode.extend(block.to_le_bytes());
                inode.extend(self.links.to_le_bytes());
                inode.extend(size.to_le_bytes());
                inode.extend(listing.place.offset.to_le_bytes());
                inode.extend(listing.parent.to_le_bytes());
                inode
            }
            _ => {
                let mut inode = self.begin(kind::DIRECTORY + kind::EXTENDED);
                inode.extend(self.links.to_le_bytes());
                inode.extend(size.to_le_bytes());
                inode.extend(block.to_le_bytes());
                inode.extend(listing.parent.to_le_bytes());
                // no index of its blocks: they are read one after the other
                inode.extend(0u16.to_le_bytes());
                inode.extend(listing.place.offset.to_le_bytes());
                inode.extend(self.xattrs.to_le_bytes());
                inode
            }
        }
    }

    pub(super) fn file(&self, size: u64, extent: &Extent) -> Vec<u8> {
        let start = extent.start.unwrap_or(0);
        let mut inode = match (u32::try_from(start), u32::try_from(size)) {
            (Ok(start), Ok(size)) if self.links == 1 && !self.has_xattrs() && extent.holes == 0 => {
                let mut inode = self.begin(kind::FILE);
                inode.extend(start.to_le_bytes());
                inode.extend(extent.fragment.to_le_bytes());
                inode.extend(extent.offset.to_le_bytes());
                inode.extend(size.to_le_bytes());
                inode
            }
            _ => {
                let mut inode = self.begin(kind::FILE + kind::EXTENDED);
                inode.extend(start.to_le_bytes());
                inode.extend(size.to_le_bytes());
                inode.extend(extent.holes.to_le_bytes());
                inode.extend(self.links.to_le_bytes());
                inode.extend(extent.fragment.to_le_bytes());
                inode.extend(extent.offset.to_le_bytes());
                inode.extend(self.xattrs.to_le_bytes());
                inode
            }
        };
        extent.blocks.iter().for_each(|length| inode.extend(length.to_le_bytes()));
        inode
    }

    pub(super) fn symlink(&self, target: &[u8]) -> Vec<u8> {
        let mut inode = self.other(kind::SYMLINK);
        inode.extend((target.len() as u32).to_le_bytes());
        inode.extend(target);
        self.end(inode)
    }

    pub(super) fn fifo(&self) -> Vec<u8> {
        self.end(self.other(kind::FIFO))
    }

    pub(super) fn device(&self, block: bool, major: u32, minor: u32) -> Vec<u8> {
        let mut inode = self.other(if block { kind::BLOCK_DEVICE } else { kind::CHARACTER_DEVICE });
        // kernel: new_encode_dev()
        let number = (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12;
        inode.extend(number.to_le_bytes());
        self.end(inode)
    }

    /// What has no other fields in its longer form than its attributes, at the end.
    fn other(&self, kind: u16) -> Vec<u8> {
        let mut inode = self.begin(if self.has_xattrs() { kind + kind::EXTENDED } else { kind });
        inode.extend(self.links.to_le_bytes());
        inode
    }

    fn end(&self, mut inode: Vec<u8>) -> Vec<u8> {
        if self.has_xattrs() {
            inode.extend(self.xattrs.to_le_bytes());
        }
        inode
    }
}
