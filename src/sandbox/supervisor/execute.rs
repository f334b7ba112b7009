//! execve(2): set-user-ID and set-group-ID programs, file capabilities, and what any
//! program does to saved ids. The kernel starts the program; only the credentials are ours.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes;
use super::capabilities::FileCapabilities;
use super::credentials::Program;
use super::ownership::{kind_and_mode, name};
use super::places::At;
use super::tracee::Tracee;
use super::{Answer, Supervisor};

impl Supervisor {
    /// execve(2): path.
    pub(super) fn execve(&mut self, tracee: &Tracee<'_>) -> Result<Answer, Errno> {
        let path = tracee.path(tracee.args[0])?;
        let file = self.places.open(tracee, At::new(libc::AT_FDCWD, &path, true))?;
        self.execute(tracee, &file)
    }

    /// execveat(2): directory, path, arguments, environment, flags.
    pub(super) fn execveat(&mut self, tracee: &Tracee<'_>) -> Result<Answer, Errno> {
        let file = self.named(tracee, 0, 1, AtFlags::from_bits_retain(tracee.unsigned(4)))?;
        self.execute(tracee, &file)
    }

    fn execute(&mut self, tracee: &Tracee<'_>, file: &OwnedFd) -> Result<Answer, Errno> {
        let (kind, mode) = kind_and_mode(file)?;
        // a program that the kernel won't start changes nothing
        if kind != FileType::RegularFile || mode & 0o111 == 0 {
            return Ok(Answer::Continue);
        }
        let old = self.processes.credentials(tracee.pid)?;
        let new = old.execute(&self.program(tracee, file, mode)?);
        if new != *old {
            self.processes.set(tracee.pid, new)?;
        }
        Ok(Answer::Continue)
    }

    fn program(&self, tracee: &Tracee<'_>, file: &OwnedFd, mode: u32) -> Result<Program, Errno> {
        let capabilities = attributes::capabilities(file)?.as_deref().and_then(FileCapabilities::parse);
        let set_ids = mode & (libc::S_ISUID | libc::S_ISGID) != 0;
        if !set_ids && capabilities.is_none() {
            return Ok(Program::default());
        }
        // execve(2): the bits and capabilities are ignored if "the no_new_privs attribute
        // is set", and "for scripts"
        if tracee.status("NoNewPrivs")? == "1" || is_script(file)? {
            return Ok(Program::default());
        }
        let owner = self.ownership.owner(file)?.unwrap_or_default();
        Ok(Program {
            uid: (mode & libc::S_ISUID != 0).then_some(owner.uid),
            // inode(7): without the group's execute bit it once meant mandatory locking
            gid: (mode & libc::S_ISGID != 0 && mode & libc::S_IXGRP != 0).then_some(owner.gid),
            capabilities,
        })
    }
}

fn is_script(file: &OwnedFd) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, name(file), flags, Mode::empty())?;
    let mut start = [0; 2];
    let length = rustix::io::pread(&file, &mut start, 0)?;
    Ok(start[..length] == *b"#!")
}
