//! stat(2) and its family, and statx(2), of files that have a record. Of others the
//! kernel's own answer is right.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::call::Layout;
use super::layouts::Status;
use super::places::At;
use super::tracee::Tracee;
use super::{Answer, Supervisor};

impl Supervisor {
    /// stat(2), lstat(2): path, buffer.
    pub(super) fn stat(&mut self, tracee: &Tracee<'_>, follow: bool, layout: Layout) -> Result<Answer, Errno> {
        let path = tracee.path(tracee.args[0])?;
        let file = self.places.open(tracee, At::new(libc::AT_FDCWD, &path, follow))?;
        self.status(tracee, &file, tracee.args[1], layout)
    }

    /// fstat(2): descriptor, buffer.
    pub(super) fn fstat(&mut self, tracee: &Tracee<'_>, layout: Layout) -> Result<Answer, Errno> {
        let file = tracee.file(tracee.int(0))?;
        self.status(tracee, &file, tracee.args[1], layout)
    }

    /// fstatat(2): directory, path, buffer, flags.
    pub(super) fn fstatat(&mut self, tracee: &Tracee<'_>, layout: Layout) -> Result<Answer, Errno> {
        let file = self.named(tracee, 0, 1, AtFlags::from_bits_retain(tracee.unsigned(3)))?;
        self.status(tracee, &file, tracee.args[2], layout)
    }

    /// statx(2): directory, path, flags, mask, buffer.
    pub(super) fn statx(&mut self, tracee: &Tracee<'_>) -> Result<Answer, Errno> {
        let flags = AtFlags::from_bits_retain(tracee.unsigned(2));
        let file = self.named(tracee, 0, 1, flags)?;
        // AT_STATX_SYNC_TYPE says how much a network filesystem has to find out
        let synchronize = tracee.int(2) & 0x6000;
        match self.recorded(&file, synchronize, tracee.unsigned(3))? {
            None => Ok(Answer::Continue),
            Some(status) => {
                tracee.write(tracee.args[4], status.bytes())?;
                Ok(Answer::Value(0))
            }
        }
    }

    fn status(&self, tracee: &Tracee<'_>, file: &OwnedFd, buffer: u64, layout: Layout) -> Result<Answer, Errno> {
        match self.recorded(file, 0, libc::STATX_BASIC_STATS)? {
            None => Ok(Answer::Continue),
            Some(status) => {
                tracee.write(buffer, &status.layout(layout)?)?;
                Ok(Answer::Value(0))
            }
        }
    }

    /// The status of `file` as its record has it; none if there is no record.
    fn recorded(&self, file: &OwnedFd, flags: i32, mask: u32) -> Result<Option<Status>, Errno> {
        let (owner, device) = (self.ownership.owner(file)?, self.ownership.device(file)?);
        if owner.is_none() && device.is_none() {
            return Ok(None);
        }
        let mut status = Status::of(file.as_fd(), flags, mask)?;
        if let Some(owner) = owner {
            status.set_owner(owner);
        }
        if let Some(device) = device {
            status.set_device(device);
        }
        Ok(Some(status))
    }
}
