//! The terminal of whoever started dlpack, lent to a command in a sandbox by way of a
//! pseudoterminal: who controls a terminal can type on it (ioctl_tty(2), TIOCSTI), and a
//! sandbox must not on this machine's.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, Uid, fchown, fstat};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::init::Streams;
use super::spec::{Reply, send};
use super::sys::signals::notes;

/// How long a terminal in whose background this process is goes without a look at it.
const BACKGROUND: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// The most that is on its way from one end of a pseudoterminal to the other, in bytes.
const ON_ITS_WAY: usize = 128 << 10;

/// The terminal at which a person sits, if one does: tty(4).
pub(super) fn of_person() -> Option<File> {
    let terminal = || File::options().read(true).write(true).open("/dev/tty").ok();
    io::stdin().is_terminal().then(terminal).flatten()
}

/// What a command has of `terminal`, the other end of a relay: its stdin and stdout, and its
/// stderr unless that of this process goes elsewhere.
pub(super) fn streams(terminal: &OwnedFd) -> io::Result<[OwnedFd; 3]> {
    let error = io::stderr();
    let error = if error.is_terminal() { terminal.try_clone()? } else { error.as_fd().try_clone_to_owned()? };
    Ok([terminal.try_clone()?, terminal.try_clone()?, error])
}

/// A terminal of the root in which this process is: both of its ends.
///
/// # Errors
/// Where no devpts(5) is mounted.
fn inside() -> io::Result<(OwnedFd, OwnedFd)> {
    // pty(7): "each devpts filesystem has its own multiplexor"; ttyname(3) looks for a name in this one
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    peer(rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty())?)
}

fn peer(manager: OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    unlockpt(&manager)?;
    let subsidiary = ioctl_tiocgptpeer(&manager, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok((manager, subsidiary))
}

/// Puts a terminal that has a name in this root, which `owner` may open by it, in the place of
/// the one that `streams` has; tells `attached`, who passes on what a person types, of it. Where
/// there is no such terminal, the lent one stays.
pub(super) fn furnish(streams: &mut Streams, owner: Option<u32>, attached: &UnixStream) -> io::Result<()> {
    let Ok((manager, subsidiary)) = inside() else { return send(attached, &Reply::Terminal, &[]) };
    // pts(4): the first owner is who opened the multiplexor
    if let Some(owner) = owner {
        let _ = fchown(&subsidiary, Some(Uid::from_raw(owner)), None);
    }
    let device = |file: &OwnedFd| fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    if device(&streams.error)? == device(&streams.input)? {
        streams.error = subsidiary.try_clone()?;
    }
    streams.output = subsidiary.try_clone()?;
    streams.input = subsidiary;
    send(attached, &Reply::Terminal, &[manager.as_fd()])
}

/// What a person types and sees, on its way from and to a pseudoterminal.
pub(super) struct Relay {
    person: File,
    /// What the person's terminal was set to, while what is typed goes through it as it is.
    before: Option<Termios>,
    /// pty(7): what is written here, the other end reads as if it were typed.
    manager: File,
    /// Whether anybody has the other end.
    open: bool,
    /// Whether the terminal is the one that the command is at: until then nothing is read that is typed.
    furnished: bool,
    notes: &'static OwnedFd,
}

impl Relay {
    /// Begins with the terminal `person`, and returns the other end, which is a terminal.
    pub(super) fn start(person: File) -> io::Result<(Self, OwnedFd)> {
        let notes = notes()?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let (manager, subsidiary) = peer(openpt(flags)?)?;
        let mut relay = Self { person, before: None, manager: manager.into(), open: true, furnished: false, notes };
        relay.look()?;
        if let Some(before) = &relay.before {
            tcsetattr(&subsidiary, OptionalActions::Now, before)?;
        }
        Ok((relay, subsidiary))
    }

    /// Goes on with `manager`, if the command has a terminal of its own, as with the one that was lent.
    pub(super) fn furnish(&mut self, manager: Option<OwnedFd>) {
        self.furnished = true;
        let Some(manager) = manager else { return };
        self.manager = manager.into();
        self.open = true;
        // ioctl_tty(2): what is set at the one end is so at the other
        if let Some(before) = &self.before {
            let _ = tcsetattr(&self.manager, OptionalActions::Now, before);
        }
        if let Ok(size) = tcgetwinsize(&self.person) {
            let _ = tcsetwinsize(&self.manager, size);
        }
    }

    /// Passes bytes on, both ways, until there is something to read `from` elsewhere.
    ///
    /// # Errors
    /// If the person is gone.
    pub(super) fn pass_on(&mut self, from: &UnixStream) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let mut events = [
                PollFd::new(from, PollFlags::IN),
                PollFd::new(self.notes, PollFlags::IN),
                PollFd::new(&self.manager, PollFlags::IN),
                PollFd::new(&self.person, PollFlags::IN),
            ];
            if !self.open {
                events[2] = PollFd::new(from, PollFlags::empty());
            }
            // tty_ioctl(4), SIGTTIN: who reads from a terminal in its background is stopped
            if self.before.is_none() || !self.furnished {
                events[3] = PollFd::new(from, PollFlags::empty());
            }
            // bash(1), `fg`: a job that runs comes to the foreground without a signal
            let timeout = self.before.is_none().then_some(&BACKGROUND);
            let came = match poll(&mut events, timeout) {
                Err(Errno::INTR) => continue,
                polled => polled?,
            };
            let [told, noted, printed, typed] = events.map(|event| !event.revents().is_empty());
            if came == 0 {
                // who has no terminal any more stays in the background
                let _ = self.look();
            }
            if told {
                return Ok(());
            }
            if noted {
                let _ = rustix::io::read(self.notes, &mut buffer);
                self.look()?;
            } else if printed && self.open {
                self.show(&mut buffer)?;
            } else if typed && self.before.is_some() {
                match self.person.read(&mut buffer)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    length => self.manager.write_all(&buffer[..length])?,
                }
            }
        }
    }

    /// Shows the person what is still on its way.
    pub(super) fn drain(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..ON_ITS_WAY / buffer.len() {
            let mut events = [PollFd::new(&self.manager, PollFlags::IN)];
            let printed = poll(&mut events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
            if !self.open || !matches!(printed, Ok(1..)) || self.show(&mut buffer).is_err() {
                return;
            }
        }
    }

    /// Shows the person what was printed.
    fn show(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.manager.read(buffer) {
            Ok(length @ 1..) => self.person.write_all(&buffer[..length]).map(|()| length),
            // pty(7): EIO, once nobody has the other end
            Ok(_) | Err(_) => {
                self.open = false;
                Ok(0)
            }
        }
    }

    /// Takes the person's terminal if this process is in its foreground, where a shell's `fg`
    /// brings it, and makes the other end as large; a new size is a SIGWINCH there.
    pub(super) fn look(&mut self) -> io::Result<()> {
        // who has the foreground can't be told from another process namespace
        if tcgetpgrp(&self.person).is_ok_and(|foreground| foreground != getpgrp()) {
            self.before = None;
            return Ok(());
        }
        let before = match &self.before {
            Some(before) => before.clone(),
            None => tcgetattr(&self.person)?,
        };
        // termios(3), cfmakeraw(): from here on the other end edits lines and sends signals
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&self.person, OptionalActions::Drain, &raw)?;
        self.before = Some(before);
        if let Ok(size) = tcgetwinsize(&self.person) {
            let _ = tcsetwinsize(&self.manager, size);
        }
        Ok(())
    }

    /// Gives the person's terminal back as it was.
    pub(super) fn let_go(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = tcsetattr(&self.person, OptionalActions::Drain, &before);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.let_go();
    }
}
