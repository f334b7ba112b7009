//! Whiteouts: what a layer takes away of those below it.

use std::ffi::CString;
use std::io;

use rustix::fs::{AtFlags, Dir, FileType, Mode, XattrFlags};
use rustix::io::Errno;

use super::root::{Directory, Root};
use crate::sandbox::record::OPAQUE;

impl Root {
    /// Takes away what the layers below have as `name` of `directory`.
    pub(super) fn white_out(&mut self, directory: &Directory, name: &[u8]) -> io::Result<()> {
        match self.under {
            None => self.hide(directory, name),
            Some(_) => self.mark_whiteout(directory, name),
        }
    }

    /// Takes away all that the layers below have in `directory`.
    pub(super) fn make_opaque(&mut self, directory: &Directory) -> io::Result<()> {
        if self.under.is_some() {
            return Ok(rustix::fs::fsetxattr(&directory.fd, OPAQUE, b"y", XattrFlags::empty())?);
        }
        names(directory)?.iter().try_for_each(|name| self.hide(directory, name.as_bytes()))
    }

    // layer.md: whiteouts "MUST only apply to resources in lower/parent layers", wherever in the tar they stand
    fn hide(&mut self, directory: &Directory, name: &[u8]) -> io::Result<()> {
        let stat = match rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat?,
        };
        let is_named = self.named.contains(&(directory.inode, name.to_owned()));
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if !is_named {
                self.forget();
                rustix::fs::unlinkat(&directory.fd, name, AtFlags::empty())?;
            }
            return Ok(());
        }
        if !is_named && !self.touched.contains_key(&stat.st_ino) {
            return self.discard(directory, name);
        }
        let directory = Directory::below(directory, name)?;
        names(&directory)?.iter().try_for_each(|name| self.hide(&directory, name.as_bytes()))
    }

    fn mark_whiteout(&mut self, directory: &Directory, name: &[u8]) -> io::Result<()> {
        match rustix::fs::mknodat(&directory.fd, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => {
                self.content.entries += 1;
                Ok(())
            }
            // The layer has something else in its place, which hides what is below unless both are directories.
            Err(Errno::EXIST) => match Directory::below(directory, name) {
                Ok(own) => self.make_opaque(&own),
                Err(_) => Ok(()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// The names in a directory.
fn names(directory: &Directory) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory.fd)? {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    Ok(names)
}
