//! The sandbox's outer process: dlpack started anew with [`super::spec::VERB`], with one
//! thread. It holds the user and mount namespaces as long as the sandbox lives, and has
//! each step run by a process 1 of its own.
//!
//! ```text
//! dlpack (threads) ──socket──▶ helper ──clone──▶ process 1 ──clone──▶ the command
//!                              user and          pid, mount, ipc,
//!                              mount namespace   uts, net namespaces
//! ```
//!
//! The socket is the lifeline too: when dlpack is gone it hangs up, and the helper ends;
//! process 1 ends with the helper, and with process 1 whatever the command started.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};
use rustix::thread::UnshareFlags;

use super::containment::{Containment, Isolation};
use super::spec::{Opening, Reply, Request, Task, receive, send};
use super::step::Network;
use super::sys::process::{Cloned, clone};
use super::sys::signals::leave_signals_to_command;
use super::upper::{Upper, View};
use super::{Fallback, Identity, Refusal, changes, descendants, init, supervisor, upper};

/// Serves the dlpack that started this process, over its stdin, until that one hangs up.
pub fn main() -> ExitCode {
    leave_signals_to_command();
    match control().and_then(|control| serve(&control)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// stdin as a socket. In its place comes /dev/null, which steps may inherit.
fn control() -> io::Result<UnixStream> {
    let control = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(UnixStream::from(control))
}

fn serve(control: &UnixStream) -> io::Result<()> {
    // flock(2): a lock is held as long as any copy of its descriptor is open. If dlpack is killed,
    // nobody takes what the mounts of this process write to.
    let (opening, _locks) = match receive(control)? {
        Some((Request::Open(opening), locks)) => (opening, locks),
        Some((Request::Probe, _)) => return send(control, &probe(control)?, &[]),
        _ => return Ok(()),
    };
    let mut helper = match Helper::open(opening) {
        Ok(helper) => helper,
        Err(refusal) => return send(control, &Reply::Refused(refusal), &[]),
    };
    send(control, &Reply::Opened(helper.fallbacks.clone()), &[])?;
    while let Some((request, descriptors)) = receive(control)? {
        let Some(reply) = helper.answer(control, request, descriptors)? else { break };
        send(control, &reply, &[])?;
    }
    Ok(())
}

/// What an open sandbox is.
struct Helper {
    view: View,
    isolation: Isolation,
    fallbacks: Vec<Fallback>,
}

impl Helper {
    fn open(opening: Opening) -> Result<Self, Refusal> {
        let mut fallbacks = Vec::new();
        let identity = opening.identity;
        let containment = Containment::enter(identity, &mut fallbacks)?;
        let view = View::choose(opening, containment, &mut fallbacks)?;
        let isolation = Isolation::find(containment, identity, &mut fallbacks);
        if !isolation.processes {
            descendants::adopt();
        }
        Ok(Self { view, isolation, fallbacks })
    }

    /// Does what is asked; none if dlpack went away meanwhile.
    fn answer(
        &mut self,
        control: &UnixStream,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<Option<Reply>> {
        match request {
            Request::Run(task) => self.run(control, &task, descriptors),
            Request::Changes => {
                let Some(out) = descriptors.into_iter().next() else { return Ok(None) };
                let view = &self.view;
                // an overlay is mounted to read it
                let flags = match view.upper {
                    Upper::Overlay(_) => UnshareFlags::NEWNS,
                    Upper::Copy(_) => UnshareFlags::empty(),
                };
                let real = self.isolation.containment != Containment::UserNamespace;
                match Worker::start(flags, true)? {
                    Started::There(worker) => worker.wait(control),
                    Started::Here(report) => {
                        let written = changes::write(view, real, &UnixStream::from(out));
                        end_with(&report, &written.map_or_else(Reply::Refused, |()| Reply::Written))
                    }
                }
            }
            Request::Network => {
                self.isolation.try_network();
                Ok(Some(Reply::Opened(self.isolation.without(Network::None).into_iter().collect())))
            }
            Request::Open(_) | Request::Probe => Ok(None),
        }
    }

    fn run(&mut self, control: &UnixStream, task: &Task, streams: Vec<OwnedFd>) -> io::Result<Option<Reply>> {
        let mut streams = streams.into_iter();
        let (Some(input), Some(output), Some(error)) = (streams.next(), streams.next(), streams.next()) else {
            return Ok(None);
        };
        let streams =
            init::Streams { input, output, error, signals: streams.next().map(File::from), door: streams.next() };
        let view = &self.view;
        let mut reply = isolated(control, &mut self.isolation, task.network, |isolation, report| {
            init::run(view, isolation, task, streams, control, report)
        })?;
        if let Some(Reply::Ended(_, fallbacks)) = &mut reply {
            fallbacks.extend(self.isolation.without(task.network));
        }
        Ok(reply)
    }
}

/// What a step without network would do without, as far as that doesn't depend on where it writes.
fn probe(control: &UnixStream) -> io::Result<Reply> {
    let mut fallbacks = Vec::new();
    let containment = match Containment::enter(Identity::Root, &mut fallbacks) {
        Ok(containment) => containment,
        Err(refusal) => return Ok(Reply::Refused(refusal)),
    };
    let mut isolation = Isolation::find(containment, Identity::Root, &mut fallbacks);
    let mut reply = isolated(control, &mut isolation, Network::None, |isolation, _| match isolation.containment {
        Containment::UserNamespace => {
            // first: a supervisor's filter stays, and nobody answers it
            let overlay = upper::probe();
            supervisor::probe().map_or_else(
                |source| Reply::Refused(Refusal::call("set", "a seccomp filter", source)),
                |fallback| Reply::Opened(fallback.into_iter().chain(overlay).collect()),
            )
        }
        Containment::MountNamespace | Containment::Chroot => Reply::Opened(vec![Fallback::Copy]),
    })?;
    if let Some(Reply::Opened(found)) = &mut reply {
        found.extend(fallbacks.into_iter().chain(isolation.without(Network::None)));
    }
    Ok(reply.unwrap_or(Reply::Refused(Refusal::Killed)))
}

/// Runs `work` in a new process, in the namespaces of a step that reaches `network`: in its own
/// network namespace, if it is to have one and there is one. Returns its answer when it and all
/// that it started are gone; none if dlpack went away meanwhile.
fn isolated(
    control: &UnixStream,
    isolation: &mut Isolation,
    network: Network,
    work: impl FnOnce(&Isolation, &UnixStream) -> Reply,
) -> io::Result<Option<Reply>> {
    let worker = loop {
        match Worker::start(isolation.flags(network), isolation.processes) {
            Ok(Started::There(worker)) => break worker,
            Ok(Started::Here(report)) => end_with(&report, &work(isolation, &report)),
            // there may be no network namespace left, or none allowed
            Err(_) if isolation.without_network_namespace() => {}
            Err(source) => return Ok(Some(Reply::Refused(Refusal::call("make", "a process", source)))),
        }
    };
    // the descriptors that it works with are its own alone: others see when it has closed them
    drop(work);
    worker.wait(control)
}

/// On which side of clone(2) one is.
enum Started {
    /// In the new process, which answers over this.
    Here(UnixStream),
    /// Beside it.
    There(Worker),
}

/// A process that does one thing, and answers.
struct Worker {
    pid: Pid,
    ended: OwnedFd,
    answer: UnixStream,
    /// Whether what it started ends with it; if not, it is ended here.
    ends_all: bool,
}

impl Worker {
    /// Starts one in the namespaces of `flags`.
    fn start(flags: UnshareFlags, ends_all: bool) -> io::Result<Started> {
        let (answer, report) = UnixStream::pair()?;
        match clone(flags)? {
            Cloned::Parent(pid, ended) => Ok(Started::There(Self { pid, ended, answer, ends_all })),
            Cloned::Child => {
                drop(answer);
                if ends_all {
                    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                }
                Ok(Started::Here(report))
            }
        }
    }

    /// Its answer, when it and all that it started are gone; none if dlpack went away meanwhile.
    fn wait(self, control: &UnixStream) -> io::Result<Option<Reply>> {
        let alive = self.outlive(control)?;
        if !self.ends_all {
            descendants::kill();
        }
        if !alive {
            return Ok(None);
        }
        let reply = receive::<Reply>(&self.answer)?.map(|(reply, _)| reply);
        Ok(Some(reply.unwrap_or(Reply::Refused(Refusal::Killed))))
    }

    /// Waits for its end, and brings it about if dlpack hangs up: false then.
    fn outlive(&self, control: &UnixStream) -> io::Result<bool> {
        let alive = loop {
            let mut events = [PollFd::new(control, PollFlags::RDHUP), PollFd::new(&self.ended, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut events, None))?;
            if !events[1].revents().is_empty() {
                break true;
            }
            if !events[0].revents().is_empty() {
                if self.ends_all {
                    pidfd_send_signal(&self.ended, Signal::KILL)?;
                }
                break false;
            }
        };
        rustix::io::retry_on_intr(|| waitpid(Some(self.pid), WaitOptions::empty()))?;
        Ok(alive)
    }
}

/// Ends this process, a worker, with its `reply`.
fn end_with(report: &UnixStream, reply: &Reply) -> ! {
    std::process::exit(i32::from(send(report, reply, &[]).is_err()))
}
