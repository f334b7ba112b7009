//! What can only be done when all layers are applied: directories' modes and times, and
//! the record of owners by path.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::kinds::times;
use super::names::split;
use super::root::Root;
use super::{ExtractError, ROOT, owners_beside};
use crate::sandbox::record::{OwnersByPath, write_by_path};
use crate::store::{Checksums, TreeContent};

impl Root {
    /// Ends the tree in `path`, and says what is in it.
    pub(super) fn finish(mut self, path: &Path) -> Result<(TreeContent, Checksums), ExtractError> {
        let owners = owners_beside(&path.join(ROOT));
        let written = self.owners().and_then(|by_path| std::fs::write(&owners, write_by_path(&by_path)));
        written.map_err(ExtractError::io("write", &owners))?;
        self.dress_directories().map_err(ExtractError::io("change the directories of", path))?;
        Ok((self.content, self.sums))
    }

    /// Owners by path, of what is still what it was.
    fn owners(&mut self) -> io::Result<OwnersByPath> {
        let mut owners = OwnersByPath::new();
        for (path, known) in std::mem::take(&mut self.by_path) {
            let (parent, name) = split(&path);
            let Ok(parent) = self.look_up(parent) else { continue };
            match rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if stat.st_ino == known.inode && has_no_xattrs(stat.st_mode) => {
                    owners.insert(path, known.owner);
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(owners)
    }

    /// From the lowest directories up: some may not be entered afterwards.
    fn dress_directories(&mut self) -> io::Result<()> {
        let mut pending: Vec<_> = self.pending.drain().collect();
        pending.sort_by(|(_, a), (_, b)| b.path.cmp(&a.path));
        for (inode, wanted) in pending {
            self.forget();
            // What was replaced by a later layer, or lay behind a link that was, is no more.
            let Ok(directory) = self.look_up(&wanted.path) else { continue };
            if directory.inode == inode {
                rustix::fs::futimens(&directory.fd, &times(wanted.mtime))?;
                rustix::fs::fchmod(&directory.fd, Mode::from_raw_mode(wanted.mode))?;
            }
        }
        Ok(())
    }
}

fn has_no_xattrs(mode: u32) -> bool {
    matches!(FileType::from_raw_mode(mode), FileType::Symlink | FileType::Fifo)
}
