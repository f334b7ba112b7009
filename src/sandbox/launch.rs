//! dlpack's side of a sandbox: starts the helper, asks it, and passes on what a command
//! prints.

use std::fs::File;
use std::io::{self, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::spec::{Opening, Reply, Request, Task, VERB, receive, send};
use super::step::Ending;
use super::terminal::{self, Relay};
use super::{Error, Fallback, Host, Refusal, attached};

/// What comes to a command while it runs.
pub(super) struct Beside<'a> {
    /// Bytes that are the numbers of signals for it.
    pub signals: BorrowedFd<'a>,
    /// Where such come from.
    pub signal: &'a PipeWriter,
    /// Where further commands come in, which is the step's alone once it has begun.
    pub door: Option<OwnedFd>,
}

impl Beside<'_> {
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.signals).chain(self.door.as_ref().map(AsFd::as_fd))
    }
}

/// A running helper. It ends when this is dropped.
pub(super) struct Helper {
    child: Child,
    control: UnixStream,
}

/// What steps on this machine take where it hasn't got what they want, found out by trial with
/// dlpack's own `program`. Where they write is not tried: nothing is written.
///
/// # Errors
/// If this machine can't run any; see [`Error`].
pub fn fallbacks(program: &Path) -> Result<Vec<Fallback>, Error> {
    Helper::asked(program, &Request::Probe, &[]).map(|(_, fallbacks)| fallbacks)
}

impl Helper {
    /// Starts `host.program` and has it open a sandbox. It holds `locks` until it ends.
    pub(super) fn start(
        host: &Host,
        opening: Opening,
        locks: &[BorrowedFd<'_>],
    ) -> Result<(Self, Vec<Fallback>), Error> {
        Self::asked(&host.program, &Request::Open(opening), locks)
    }

    fn asked(
        program: &Path,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Self, Vec<Fallback>), Error> {
        let failed = |source| Error::Io { doing: "start", path: program.to_owned(), source };
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg(VERB).stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(failed)?;
        let helper = Self { child, control };
        match helper.ask(request, descriptors)? {
            Reply::Opened(fallbacks) => Ok((helper, fallbacks)),
            other => Err(unexpected(other)),
        }
    }

    /// Runs `task`, with what it prints given to `output` as it comes.
    pub(super) fn run(
        &self,
        task: Task,
        input: OwnedFd,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<(Ending, Vec<Fallback>), Error> {
        let lost = |source| Error::Helper { source };
        let (mut printed, theirs) = io::pipe().map_err(lost)?;
        self.begin(task, &[input.as_fd(), theirs.as_fd(), theirs.as_fd()])?;
        drop(theirs);
        let mut buffer = [0; 16 << 10];
        // the pipe ends when the last of the step's processes does, which process 1 sees to
        loop {
            match printed.read(&mut buffer).map_err(lost)? {
                0 => break,
                length => output(&buffer[..length]),
            }
        }
        ended(self.reply()?)
    }

    /// Runs `task` with the streams of this process.
    pub(super) fn attach(&self, task: Task, beside: Beside<'_>) -> Result<(Ending, Vec<Fallback>), Error> {
        let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
        self.begin_beside(task, [input.as_fd(), output.as_fd(), error.as_fd()], &beside)?;
        self.wait(None, beside)
    }

    /// Runs `task` at a terminal which is `person`'s as long as it lasts.
    pub(super) fn interact(
        &self,
        task: Task,
        person: File,
        beside: Beside<'_>,
    ) -> Result<(Ending, Vec<Fallback>), Error> {
        let failed = |source| Error::Io { doing: "use the terminal", path: "/dev/tty".into(), source };
        let (relay, theirs) = Relay::start(person).map_err(failed)?;
        let streams = terminal::streams(&theirs).map_err(failed)?;
        self.begin_beside(task, streams.each_ref().map(AsFd::as_fd), &beside)?;
        drop((streams, theirs));
        self.wait(Some(relay), beside)
    }

    fn begin_beside(&self, task: Task, streams: [BorrowedFd<'_>; 3], beside: &Beside<'_>) -> Result<(), Error> {
        self.begin(task, &streams.into_iter().chain(beside.descriptors()).collect::<Vec<_>>())
    }

    /// The end of a command that began with what is `beside` it.
    fn wait(&self, relay: Option<Relay>, beside: Beside<'_>) -> Result<(Ending, Vec<Fallback>), Error> {
        let signal = beside.signal;
        // only its step is behind the door
        drop(beside);
        let lost = |source| Error::Helper { source };
        let gone = || lost(io::ErrorKind::UnexpectedEof.into());
        ended(attached::wait(&self.control, relay, signal).map_err(lost)?.ok_or_else(gone)?)
    }

    fn begin(&self, task: Task, streams: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let sent = send(&self.control, &Request::Run(Box::new(task)), streams);
        sent.map_err(|source| Error::Helper { source })
    }

    /// What a step without network would do without.
    pub(super) fn network(&self) -> Result<Vec<Fallback>, Error> {
        match self.ask(&Request::Network, &[])? {
            Reply::Opened(fallbacks) => Ok(fallbacks),
            other => Err(unexpected(other)),
        }
    }

    /// Has what changed written to the socket that is returned; [`Self::written`] tells
    /// whether all of it was.
    pub(super) fn changes(&self) -> Result<UnixStream, Error> {
        let lost = |source| Error::Helper { source };
        let (changes, theirs) = UnixStream::pair().map_err(lost)?;
        send(&self.control, &Request::Changes, &[theirs.as_fd()]).map_err(lost)?;
        Ok(changes)
    }

    /// The end of what [`Self::changes`] began.
    pub(super) fn written(&self) -> Result<(), Error> {
        match self.reply()? {
            Reply::Written => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn ask(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<Reply, Error> {
        send(&self.control, request, descriptors).map_err(|source| Error::Helper { source })?;
        self.reply()
    }

    fn reply(&self) -> Result<Reply, Error> {
        let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let reply = receive(&self.control).and_then(|reply| reply.ok_or_else(gone));
        reply.map(|(reply, _)| reply).map_err(|source| Error::Helper { source })
    }
}

fn ended(reply: Reply) -> Result<(Ending, Vec<Fallback>), Error> {
    match reply {
        Reply::Ended(ending, fallbacks) => Ok((ending, fallbacks)),
        other => Err(unexpected(other)),
    }
}

fn unexpected(reply: Reply) -> Error {
    match reply {
        Reply::Refused(refusal) => Error::Refused(refusal),
        _ => Error::Refused(Refusal::Killed),
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // the helper ends by itself when the socket does, and with it the sandbox
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}
