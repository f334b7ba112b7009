//! Putting a file of the store into a venv without its bytes being there twice, where that can
//! be done.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::io::Errno;

use super::contents::Stat;
use crate::layer::EPOCH;

/// How files of the store come into a venv: as clones that share its blocks (`FICLONE`), else as
/// further names of them, else as copies. Each is tried until the filesystem has said once that
/// it can't do it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placer {
    may_clone: bool,
    may_link: bool,
}

/// How many files came in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// By sharing the store's blocks.
    pub cloned: usize,
    /// By being the store's file.
    pub linked: usize,
    /// By being written.
    pub copied: usize,
}

impl Placer {
    pub(super) fn new() -> Self {
        // A file that is the store's as well must not be written to. It says so by its mode, which
        // root is not held by (capabilities(7), CAP_DAC_OVERRIDE).
        Self { may_clone: true, may_link: !rustix::process::geteuid().is_root() }
    }

    /// Makes `to`, where nothing is, what `from` is, of the store.
    pub(super) fn place(&mut self, from: &Path, to: &Path, stat: &Stat, placed: &mut Placed) -> io::Result<()> {
        let source = File::open(from)?;
        if self.may_clone {
            let file = create(to)?;
            match rustix::fs::ioctl_ficlone(&file, &source) {
                Ok(()) => {
                    placed.cloned += 1;
                    return finish(&file, stat);
                }
                // ioctl_ficlone(2): EXDEV, EOPNOTSUPP, EINVAL (not this file), EPERM; ENOTTY where it is not known
                Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::PERM | Errno::NOTTY) => self.may_clone = false,
                Err(Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
            fs::remove_file(to)?;
        }
        if self.may_link {
            match fs::hard_link(from, to) {
                Ok(()) => {
                    placed.linked += 1;
                    return Ok(());
                }
                // link(2): "EPERM The filesystem … does not support the creation of hard links"
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP) => self.may_link = false,
                    Some(Errno::MLINK) => {}
                    _ => return Err(error),
                },
            }
        }
        let (mut source, mut file) = (source, create(to)?);
        io::copy(&mut source, &mut file)?;
        placed.copied += 1;
        finish(&file, stat)
    }
}

/// Makes `to`, where nothing is, a file with these bytes.
pub(super) fn write(bytes: &[u8], to: &Path, stat: &Stat) -> io::Result<()> {
    let mut file = create(to)?;
    io::Write::write_all(&mut file, bytes)?;
    finish(&file, stat)
}

fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn finish(file: &File, stat: &Stat) -> io::Result<()> {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH))?;
    file.set_permissions(Permissions::from_mode(stat.mode & 0o777))
}
