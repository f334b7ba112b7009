//! unix(7) `SO_PEERCRED`: who is at the other end of a socket.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::tracee::Tracee;
use super::{Answer, Supervisor};

/// socket(7): `SOL_SOCKET` and `SO_PEERCRED`, the same on all three architectures.
const SOCKET: u32 = 1;
const PEERCRED: u32 = 17;

/// `struct ucred`: pid, uid, gid.
const UCRED: usize = 12;

impl Supervisor {
    /// getsockopt(2): socket, level, option, value, length.
    pub(super) fn getsockopt(&self, tracee: &Tracee<'_>) -> Result<Answer, Errno> {
        let level = tracee.unsigned(1);
        self.peer(tracee, tracee.int(0), level, tracee.args[3], tracee.args[4])
    }

    /// i386's socketcall(2): function, and an array of its arguments.
    pub(super) fn socketcall(&self, tracee: &Tracee<'_>) -> Result<Answer, Errno> {
        let words = tracee.read::<20>(tracee.args[1])?;
        let word = |n: usize| u32::from_ne_bytes(std::array::from_fn(|byte| words[4 * n + byte]));
        if word(2) != PEERCRED {
            return Ok(Answer::Continue);
        }
        self.peer(tracee, word(0).cast_signed(), word(1), word(3).into(), word(4).into())
    }

    fn peer(&self, tracee: &Tracee<'_>, socket: i32, level: u32, value: u64, length: u64) -> Result<Answer, Errno> {
        if level != SOCKET {
            return Ok(Answer::Continue);
        }
        let socket = descriptor(tracee, socket)?;
        let peer = rustix::net::sockopt::socket_peercred(&socket)?;
        // its ids are those that it has now; the kernel's would be of the time of
        // connect(2). Outside of the sandbox, or gone, it is the kernel's to say.
        let pid = peer.pid.as_raw_nonzero().get();
        let Ok(credentials) = self.processes.credentials(pid) else { return Ok(Answer::Continue) };
        let ids = [pid.cast_unsigned(), credentials.uid.effective, credentials.gid.effective];
        let bytes: Vec<u8> = ids.into_iter().flat_map(u32::to_ne_bytes).collect();
        let size = u32::from_ne_bytes(tracee.read(length)?).min(UCRED as u32);
        tracee.write(value, &bytes[..size as usize])?;
        tracee.write(length, &size.to_ne_bytes())?;
        Ok(Answer::Value(0))
    }
}

/// A copy of a process' descriptor: a socket can't be opened through `/proc`.
fn descriptor(tracee: &Tracee<'_>, fd: i32) -> Result<OwnedFd, Errno> {
    let process = Pid::from_raw(tracee.process()?).ok_or(Errno::SRCH)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    tracee.check()?;
    pidfd_getfd(process, fd, PidfdGetfdFlags::empty())
}
