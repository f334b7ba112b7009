//! Beside the reaper of a step, a thread that hears: of the end of those whom the step works
//! for, and of signals for its command.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process_group, pidfd_send_signal};

/// What a step's process 1 listens on.
pub(super) struct Watch {
    control: UnixStream,
    report: UnixStream,
    signals: Option<File>,
}

impl Watch {
    /// `control` and `report` hang up when dlpack or the helper is gone; from `signals` come
    /// the numbers of signals, a byte each.
    pub(super) fn new(control: &UnixStream, report: &UnixStream, signals: Option<&File>) -> io::Result<Self> {
        let signals = signals.map(File::try_clone).transpose()?;
        Ok(Self { control: control.try_clone()?, report: report.try_clone()?, signals })
    }

    /// Watches over the process `command`, which `descriptor` refers to. When one of the two
    /// that it works for is gone, this process ends, and with it all others of the step if
    /// `ends_all` says so; if not, `command` is ended, after which the others are killed;
    /// what is returned tells, from before that on.
    pub(super) fn over(mut self, command: Pid, descriptor: OwnedFd, ends_all: bool) -> Arc<AtomicBool> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&abandoned);
        std::thread::spawn(move || {
            while let Some(signal) = self.next_signal() {
                pass_on(signal, command, &descriptor);
            }
            told.store(true, Ordering::SeqCst);
            match ends_all {
                true => std::process::exit(1),
                // the other thread reaps: it alone knows when nobody is left
                false => drop(pidfd_send_signal(&descriptor, Signal::KILL)),
            }
        });
        abandoned
    }

    /// The next signal; none once somebody has hung up.
    fn next_signal(&mut self) -> Option<u8> {
        loop {
            let mut lines =
                vec![PollFd::new(&self.control, PollFlags::RDHUP), PollFd::new(&self.report, PollFlags::RDHUP)];
            lines.extend(self.signals.iter().map(|signals| PollFd::new(signals, PollFlags::IN)));
            // only EINTR can keep it from waiting
            if poll(&mut lines, None).is_err() {
                continue;
            }
            if lines.iter().take(2).any(|line| !line.revents().is_empty()) {
                return None;
            }
            let mut signal = [0];
            match self.signals.as_mut().map(|signals| signals.read(&mut signal)) {
                Some(Ok(1)) => return Some(signal[0]),
                // no more will come
                _ => self.signals = None,
            }
        }
    }
}

/// tty_ioctl(4), termios(3): what is typed at a terminal signals the whole foreground
/// process group; who calls kill(2) means one process.
pub(super) fn pass_on(signal: u8, command: Pid, descriptor: &OwnedFd) {
    const TYPED: [Signal; 5] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TSTP, Signal::CONT];
    let Some(signal) = Signal::from_named_raw(i32::from(signal)) else { return };
    let _ = match TYPED.contains(&signal) {
        true => kill_process_group(command, signal),
        false => pidfd_send_signal(descriptor, signal),
    };
}
