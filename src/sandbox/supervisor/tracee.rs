//! The thread whose call waits for an answer: its memory, its descriptors, and what
//! `/proc` says of it. All of it may change under us, or be gone; what was read counts
//! only if the call still waits after it.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::sandbox::sys::seccomp::{self, Notification};

/// limits.h `PATH_MAX`, the NUL included.
const PATH_MAX: usize = 4096;

/// The smallest page: a read that ends at a multiple of it faults only where it must.
const PAGE: u64 = 4096;

/// A thread whose call waits.
#[derive(Clone, Copy)]
pub(super) struct Tracee<'a> {
    pub(super) listener: BorrowedFd<'a>,
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) args: [u64; 6],
}

impl<'a> Tracee<'a> {
    pub(super) fn new(listener: BorrowedFd<'a>, call: &Notification) -> Self {
        Self { listener, id: call.id, pid: call.pid, args: call.args }
    }

    /// Argument `n` as a descriptor or another `int`.
    pub(super) fn int(&self, n: usize) -> i32 {
        self.args[n] as i32
    }

    /// Argument `n` as an `unsigned int`.
    pub(super) fn unsigned(&self, n: usize) -> u32 {
        self.args[n] as u32
    }

    /// seccomp_unotify(2): "the target's PID may have been reused": what was read of it
    /// before counts if this holds.
    pub(super) fn check(&self) -> Result<(), Errno> {
        if seccomp::is_waiting(self.listener, self.id) { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// Reads `N` bytes at `address`.
    pub(super) fn read<const N: usize>(&self, address: u64) -> Result<[u8; N], Errno> {
        let mut bytes = [0; N];
        self.read_into(address, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads as many bytes as `buffer` takes.
    pub(super) fn read_into(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        let length = if buffer.is_empty() { 0 } else { seccomp::read_memory(self.pid, address, buffer)? };
        self.check()?;
        if length == buffer.len() { Ok(()) } else { Err(Errno::FAULT) }
    }

    /// Reads the path at `address`.
    pub(super) fn path(&self, address: u64) -> Result<CString, Errno> {
        self.string(address, PATH_MAX, Errno::NAMETOOLONG)
    }

    /// Reads a string of at most `most` bytes with its NUL; `too_long` if it is longer.
    pub(super) fn string(&self, address: u64, most: usize, too_long: Errno) -> Result<CString, Errno> {
        let mut bytes = Vec::new();
        // most strings are short: a cache line or four at first
        let mut step = 256;
        let mut buffer = [0; PAGE as usize];
        while bytes.len() < most {
            let at = address.checked_add(bytes.len() as u64).ok_or(Errno::FAULT)?;
            let within_page = (PAGE - at % PAGE) as usize;
            let length = within_page.min(step).min(most - bytes.len());
            let got = seccomp::read_memory(self.pid, at, &mut buffer[..length])?;
            let end = buffer[..got].iter().position(|byte| *byte == 0);
            bytes.extend_from_slice(&buffer[..end.unwrap_or(got)]);
            if end.is_some() {
                self.check()?;
                return CString::new(bytes).map_err(|_| Errno::INVAL);
            }
            step = PAGE as usize;
        }
        Err(too_long)
    }

    /// Writes `bytes` at `address`. Between the check and the write the thread could be
    /// killed and its number be given away; numbers are given in turn, so it takes tens
    /// of thousands of new processes within microseconds.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.check()?;
        seccomp::write_memory(self.pid, address, bytes)
    }

    /// Its descriptor `fd`, without the right to read or write.
    pub(super) fn file(&self, fd: i32) -> Result<OwnedFd, Errno> {
        if fd < 0 {
            return Err(Errno::BADF);
        }
        let file = self.proc(&format!("fd/{fd}")).map_err(|error| match error {
            Errno::NOENT => Errno::BADF,
            error => error,
        })?;
        self.check()?;
        Ok(file)
    }

    /// Its working directory.
    pub(super) fn working_directory(&self) -> Result<OwnedFd, Errno> {
        let directory = self.proc("cwd")?;
        self.check()?;
        Ok(directory)
    }

    /// What is at `name` in its directory of `/proc`, where the supervisor works.
    fn proc(&self, name: &str) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(CWD, format!("{}/{name}", self.pid), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    /// The field `name` of its status, proc_pid_status(5).
    pub(super) fn status(&self, name: &str) -> Result<String, Errno> {
        let path = format!("{}/status", self.pid);
        let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = [0; 4096];
        let length = rustix::io::read(file.as_fd(), &mut text)?;
        self.check()?;
        let text = String::from_utf8_lossy(&text[..length]);
        let field = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
        text.lines().find_map(field).ok_or(Errno::SRCH)
    }

    /// Its umask.
    pub(super) fn umask(&self) -> Result<Mode, Errno> {
        let umask = self.status("Umask")?;
        Ok(Mode::from_raw_mode(u32::from_str_radix(&umask, 8).map_err(|_| Errno::SRCH)?))
    }

    /// The process that the thread is of.
    pub(super) fn process(&self) -> Result<i32, Errno> {
        self.status("Tgid")?.parse().map_err(|_| Errno::SRCH)
    }
}
