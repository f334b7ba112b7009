//! How long a command takes to which this process is attached: until it has ended, and stopped
//! whenever it is.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use super::spec::{Reply, receive};
use super::sys::signals::stop;
use super::terminal::Relay;

/// Waits for what `from` says of the end of a command. If the other side is gone before, it is what
/// it said last: that the command had begun, or nothing. At a terminal, `relay` goes on meanwhile. When
/// the command is stopped, so is this process; once it goes on, it says so over `resume`, by the number
/// of a signal for the command, and so it does once the person is gone.
pub(super) fn wait(from: &UnixStream, mut relay: Option<Relay>, mut resume: impl Write) -> io::Result<Option<Reply>> {
    let mut begun = None;
    loop {
        if relay.as_mut().is_some_and(|relay| relay.pass_on(from).is_err()) {
            // termios(3), "Modem disconnect"
            let _ = resume.write_all(&[Signal::HUP.as_raw() as u8]);
            relay = None;
        }
        match receive::<Reply>(from)? {
            // who stops itself without a terminal is somebody's to let go on
            Some((Reply::Stopped(signal), _)) if relay.is_none() && signal == Signal::STOP.as_raw() => {}
            Some((Reply::Stopped(_), _)) => {
                relay.iter_mut().for_each(Relay::drain);
                relay.iter_mut().for_each(Relay::let_go);
                // what is typed at a terminal is for all of a process group; else it has had it
                stop(relay.is_some());
                // in an orphaned process group it was not stopped, and gets no SIGCONT that tells it to look
                relay = relay.and_then(|mut relay| relay.look().is_ok().then_some(relay));
                // it may have ended meanwhile
                let _ = resume.write_all(&[Signal::CONT.as_raw() as u8]);
            }
            Some((Reply::Terminal, manager)) => {
                if let Some(relay) = relay.as_mut() {
                    relay.furnish(manager.into_iter().next());
                }
            }
            Some((Reply::Begun, _)) => begun = Some(Reply::Begun),
            other => {
                relay.iter_mut().for_each(Relay::drain);
                return Ok(other.map(|(reply, _)| reply).or(begun));
            }
        }
    }
}
