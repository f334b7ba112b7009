//! A further command for a step that runs: how it is asked for, and how whoever asked is
//! told of its end.
//!
//! ```text
//! who asks ──Call, streams──▶ dlpack ──Exec, streams, socket──▶ porter ──fork──▶ the command
//!     ▲                                                             │
//!     └──────────────────────── Reply ◀─────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::spec::{Reply, receive, send};
use super::terminal::{self, Relay};
use super::{Ending, Error, Refusal, attached};
use crate::locked::locked;

/// What a dlpack whose step runs can be asked for by another process of its user.
#[derive(Debug, Serialize, Deserialize)]
pub enum Call {
    /// To run a command in it. With it come stdin, stdout and stderr; after it, bytes that
    /// are the numbers of signals for it.
    Exec(Exec),
    /// To end it, by force after so many seconds. The connection is closed when it is over.
    Stop {
        /// How long its command has to end by itself.
        seconds: u64,
    },
}

/// A further command for a step that runs. What it says nothing of is as the step's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// The program, looked up in `PATH`, and its arguments.
    pub command: Vec<String>,
    /// Variables over those of the step.
    pub env: BTreeMap<String, String>,
    /// Where it starts, absolute.
    pub workdir: Option<String>,
    /// Who it runs as, as the image config says it.
    pub user: Option<String>,
    /// Whether stdin is a terminal that the command is to control.
    pub interactive: bool,
}

/// What comes in by a door.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Entry {
    /// A command, with its streams and the socket over which its end is told.
    Exec(Exec),
    /// A connection to this port of the step's own loopback.
    Connection(u16),
}

/// Where commands, and connections from outside, come into a step that runs. Many threads may
/// use it: what one of them lets in is in one piece.
pub struct Door(Mutex<UnixStream>);

impl Door {
    /// A new one, and its other side, which a step is given.
    ///
    /// # Errors
    /// As socketpair(2).
    pub fn open() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self(Mutex::new(ours)), theirs.into()))
    }

    /// Lets `exec` in with `streams`; its end is told over `connection`, and so it is if nobody is
    /// behind the door.
    pub fn let_in(&self, exec: Exec, streams: &[OwnedFd], connection: &UnixStream) {
        let beside: Vec<_> = streams.iter().map(AsFd::as_fd).chain([connection.as_fd()]).collect();
        if let Err(source) = send(&locked(&self.0), &Entry::Exec(exec), &beside) {
            // who asked may be gone, too
            let _ = send(connection, &Reply::Refused(Refusal::Shut { source }), &[]);
        }
    }

    /// Hands `connection` in, to be joined with one to `port` of the step's own loopback.
    ///
    /// # Errors
    /// If nobody is behind the door.
    pub fn connect(&self, port: u16, connection: TcpStream) -> io::Result<()> {
        send(&locked(&self.0), &Entry::Connection(port), &[connection.as_fd()])
    }
}

/// The next call over `connection`, with the streams that came with it; none if the other
/// side is gone.
///
/// # Errors
/// If it is none.
pub fn hear(connection: &UnixStream) -> io::Result<Option<(Call, Vec<OwnedFd>)>> {
    receive(connection)
}

/// Has the dlpack on the other side of `connection` end its step, and waits until it has.
///
/// # Errors
/// If it can't be asked.
pub fn stop(connection: &UnixStream, seconds: u64) -> io::Result<()> {
    send(connection, &Call::Stop { seconds }, &[])?;
    // signal(7): who is stopped, as by Ctrl-Z, does nothing before SIGCONT
    if let Ok(owner) = socket_peercred(connection) {
        let _ = kill_process(owner.pid, Signal::CONT);
    }
    // it says nothing
    receive::<Reply>(connection).map(drop)
}

/// Has the dlpack on the other side of `connection` run `exec` in its step, as if it were a
/// program of this machine's: with this process' stdin, stdout and stderr, or at a terminal
/// if a person sits there. Each byte that comes from `signals` is the number of a signal for it.
///
/// # Errors
/// If it can't be started; however it ends is no error.
pub fn call(connection: &UnixStream, exec: Exec, signals: io::PipeReader) -> Result<Ending, Error> {
    let failed = |source| Error::Io { doing: "use the terminal", path: "/dev/tty".into(), source };
    let lost = |source| Error::Helper { source };
    // a terminal is not lent to who can't hear what is typed
    if is_stopped(connection) {
        return Err(Error::Refused(Refusal::Stopped));
    }
    let forwarded = connection.try_clone().map_err(lost)?;
    let person = terminal::of_person().filter(|_| io::stdout().is_terminal());
    let exec = Exec { interactive: person.is_some(), ..exec };
    let relay = match person {
        Some(person) => {
            let (relay, theirs) = Relay::start(person).map_err(failed)?;
            let streams = terminal::streams(&theirs).map_err(failed)?;
            send(connection, &Call::Exec(exec), &streams.each_ref().map(AsFd::as_fd)).map_err(lost)?;
            Some(relay)
        }
        None => {
            let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
            let streams = [input.as_fd(), output.as_fd(), error.as_fd()];
            send(connection, &Call::Exec(exec), &streams).map_err(lost)?;
            None
        }
    };
    // a signal is a byte after the call, and none in it
    std::thread::spawn(move || io::copy(&mut { signals }, &mut { forwarded }));
    told(attached::wait(connection, relay, connection).map_err(lost)?)
}

/// Whether the dlpack on the other side of `connection` is stopped, as by Ctrl-Z: proc_pid_stat(5),
/// whose second field, which may hold anything, is in parentheses.
fn is_stopped(connection: &UnixStream) -> bool {
    let Ok(owner) = socket_peercred(connection) else { return false };
    let stat = std::fs::read(format!("/proc/{}/stat", owner.pid)).unwrap_or_default();
    let state = stat.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    state.starts_with(b" T")
}

/// What the last that was heard of a command says of it.
fn told(last: Option<Reply>) -> Result<Ending, Error> {
    match last {
        Some(Reply::Ended(ending, _)) => Ok(ending),
        Some(Reply::Refused(refusal)) => Err(Error::Refused(refusal)),
        // who was to start it ended with it in hand
        None => Err(Error::Refused(Refusal::Shut { source: Errno::CONNRESET.into() })),
        // the step ended, and all of its processes with it
        _ => Ok(Ending::Signal(Signal::KILL.as_raw())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_let_in_at_once_comes_in_one_piece_each() {
        const MANY: usize = 16;
        let (door, inside) = Door::open().unwrap();
        // longer than a socket's buffer takes at once
        let exec = |who: usize| Exec { command: vec![who.to_string(); 50_000], ..Exec::default() };
        let (connection, _theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            for who in 0..MANY {
                let (door, connection) = (&door, &connection);
                scope.spawn(move || door.let_in(exec(who), &[], connection));
            }
            let inside = UnixStream::from(inside);
            let mut came: Vec<usize> = (0..MANY)
                .map(|_| {
                    let (entry, beside) = receive::<Entry>(&inside).unwrap().unwrap();
                    let Entry::Exec(came) = entry else { panic!("{entry:?}") };
                    let who = came.command[0].parse().unwrap();
                    assert_eq!((&came, beside.len()), (&exec(who), 1));
                    who
                })
                .collect();
            came.sort_unstable();
            assert_eq!(came, (0..MANY).collect::<Vec<_>>());
        });
    }

    #[test]
    fn who_asks_is_told_that_nobody_is_behind_the_door() {
        let (door, inside) = Door::open().unwrap();
        drop(inside);
        let (ours, theirs) = UnixStream::pair().unwrap();
        door.let_in(Exec::default(), &[], &theirs);
        let told = receive::<Reply>(&ours).unwrap().map(|(reply, _)| reply);
        assert!(matches!(told, Some(Reply::Refused(Refusal::Shut { .. }))), "{told:?}");
    }

    #[test]
    fn a_command_that_nobody_began_is_none_that_was_killed() {
        let heard = |answers: &[Reply]| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            answers.iter().for_each(|reply| send(&theirs, reply, &[]).unwrap());
            drop(theirs);
            told(attached::wait(&ours, None, io::sink()).unwrap())
        };
        let lost = heard(&[]);
        assert!(matches!(lost, Err(Error::Refused(Refusal::Shut { .. }))), "{lost:?}");
        assert_eq!(heard(&[Reply::Begun]).unwrap(), Ending::Signal(9));
        assert_eq!(heard(&[Reply::Begun, Reply::Ended(Ending::Exit(3), Vec::new())]).unwrap(), Ending::Exit(3));
    }
}
