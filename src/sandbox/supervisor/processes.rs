//! Which credentials a process has. They are kept here, and each process carries a
//! number for its own in its limit on realtime CPU time (`RLIMIT_RTTIME`): fork(2) and
//! execve(2) hand a limit on, whoever is watching and whatever the parent does next,
//! which no book-keeping by process id could promise.
//!
//! A limit belongs to a process, as POSIX wants it of credentials: glibc has every thread
//! make the same call, and after the first one they change nothing. What threads do with
//! calls of their own (setfsuid(2) in a file server) is seen by the whole process.
//! The limit itself concerns no process but those of the realtime scheduling classes, and
//! is years away. Steps can't change it; the filter sees to that.

use std::rc::Rc;

use rustix::io::Errno;

use super::credentials::Credentials;
use crate::sandbox::sys::seccomp;

/// Number 0: microseconds, about three years and a half.
const FIRST: u64 = 0x6400_0000_0000;

/// The credentials of all processes.
pub(super) struct Processes {
    /// By number; 0 is what the step starts with.
    known: Vec<Rc<Credentials>>,
}

impl Processes {
    pub(super) fn new(first: Credentials) -> Self {
        Self { known: vec![Rc::new(first)] }
    }

    /// Whether this machine's limits let a process carry a number.
    pub(super) fn can_be_told_apart() -> bool {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        seccomp::realtime_limit(own).is_ok_and(|(_, hard)| hard == u64::MAX)
    }

    /// Those of process `pid`, or of the process that the thread `pid` is of.
    pub(super) fn credentials(&self, pid: i32) -> Result<Rc<Credentials>, Errno> {
        let (limit, _) = seccomp::realtime_limit(pid)?;
        let number = limit.checked_sub(FIRST).and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
        // a process that never changed them has no number, but the limit that it started with
        let known = self.known.get(number).or(self.known.first());
        known.cloned().ok_or(Errno::SRCH)
    }

    /// Gives `pid` other ones.
    pub(super) fn set(&mut self, pid: i32, credentials: Credentials) -> Result<(), Errno> {
        let number = match self.known.iter().position(|known| **known == credentials) {
            Some(number) => number,
            None => {
                self.known.push(Rc::new(credentials));
                self.known.len() - 1
            }
        };
        seccomp::set_realtime_limit(pid, (FIRST + number as u64, u64::MAX))
    }
}
