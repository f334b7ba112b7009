//! Sessions and their terminals: credentials(7). Who waits for a command that is attached leads
//! its session, and the command is a process group in it. So it can be stopped as at a
//! terminal of its own: were it the leader itself, its group would be orphaned (setpgid(2)),
//! and SIGTSTP do nothing to it.
//!
//! ```text
//! session:  leader, which waits ──▶ the command, in the foreground ──▶ what it starts
//! ```

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{getpid, ioctl_tiocsctty, setpgid, setsid};
use rustix::termios::tcsetpgrp;

use super::Refusal;

/// How a command stands to who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It leads a session, and nobody stops it.
    Alone,
    /// It is a process group in the session of who waits for it.
    Led,
}

/// Makes this process the leader of a session, which has no terminal yet.
pub(super) fn lead() -> Result<(), Refusal> {
    setsid().map(drop).map_err(failed("a session"))
}

/// Gives the session that this process leads its `terminal`.
pub(super) fn control(terminal: &OwnedFd) -> Result<(), Refusal> {
    ioctl_tiocsctty(terminal).map_err(failed("a controlling terminal"))
}

/// Gives this process, which is to become a command, its place; in the foreground of the
/// terminal `controlling`, if any. SIGTTOU is ignored: tcsetpgrp(3) stops who is in the background.
pub(super) fn take(standing: Standing, controlling: Option<&OwnedFd>) -> Result<(), Refusal> {
    if standing == Standing::Alone {
        return lead().and_then(|()| controlling.map_or(Ok(()), control));
    }
    setpgid(None, None).map_err(failed("a process group"))?;
    controlling.map_or(Ok(()), |terminal| tcsetpgrp(terminal, getpid()).map_err(failed("the foreground")))
}

fn failed(what: &'static str) -> impl FnOnce(Errno) -> Refusal {
    move |source| Refusal::call("set", what, source)
}
