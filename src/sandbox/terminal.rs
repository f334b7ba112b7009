//! The terminal of whoever started dlpack, lent to a shell in a sandbox by way of a
//! pseudoterminal: who controls a terminal can type on it (ioctl_tty(2), TIOCSTI), and a
//! sandbox must not on this machine's.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// How often the terminal is asked for its size.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// The terminal at which a person sits, if one does: tty(4).
pub(super) fn of_person() -> Option<File> {
    let terminal = || File::options().read(true).write(true).open("/dev/tty").ok();
    io::stdin().is_terminal().then(terminal).flatten()
}

/// What a person types and sees, on its way from and to a pseudoterminal.
pub(super) struct Relay {
    person: File,
    /// What the person's terminal was set to.
    before: Termios,
    /// pty(7): what is written here, the other end reads as if it were typed.
    manager: File,
    size: Option<Winsize>,
}

impl Relay {
    /// Begins with the terminal `person`, and returns the other end, which is a terminal.
    pub(super) fn start(person: File) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let manager = openpt(flags)?;
        unlockpt(&manager)?;
        let subsidiary = ioctl_tiocgptpeer(&manager, flags)?;
        let before = tcgetattr(&person)?;
        tcsetattr(&subsidiary, OptionalActions::Now, &before)?;
        // termios(3), cfmakeraw(): from here on the other end edits lines and sends signals
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&person, OptionalActions::Drain, &raw)?;
        let mut relay = Self { person, before, manager: manager.into(), size: None };
        relay.resize();
        Ok((relay, subsidiary))
    }

    /// Passes bytes on, both ways, until nobody has the other end any more, or the person
    /// is gone: then whoever has it gets SIGHUP.
    pub(super) fn pass_on(mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let mut events = [PollFd::new(&self.manager, PollFlags::IN), PollFd::new(&self.person, PollFlags::IN)];
            match poll(&mut events, Some(&LOOK)) {
                Err(Errno::INTR) => continue,
                polled => polled?,
            };
            let [printed, typed] = events.map(|event| !event.revents().is_empty());
            self.resize();
            if printed {
                match self.manager.read(&mut buffer) {
                    Ok(length @ 1..) => self.person.write_all(&buffer[..length])?,
                    // pty(7): EIO, once nobody has the other end
                    Ok(0) | Err(_) => return Ok(()),
                }
            }
            if typed {
                match self.person.read(&mut buffer)? {
                    0 => return Ok(()),
                    length => self.manager.write_all(&buffer[..length])?,
                }
            }
        }
    }

    /// Makes the other end as large as the person's terminal; a new size is a SIGWINCH.
    fn resize(&mut self) {
        let Ok(size) = tcgetwinsize(&self.person) else { return };
        if self.size.replace(size) != Some(size) {
            let _ = tcsetwinsize(&self.manager, size);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.person, OptionalActions::Drain, &self.before);
    }
}
