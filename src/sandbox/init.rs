//! Process 1 of a step: furnishes its root, starts the command, reaps what it leaves, and
//! ends all of it with itself.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

use super::chroot::Furniture;
use super::containment::{Containment, Isolation};
use super::places::{self, Root};
use super::spec::{Reply, Task, send};
use super::step::Ending;
use super::supervisor::Supervision;
use super::sys::process::{Cloned, clone};
use super::upper::View;
use super::user::{self, Credentials};
use super::watch::Watch;
use super::{Fallback, Refusal, descendants, enter, hosts, program, session, terminal};

/// What a command reads and writes.
pub(super) struct Streams {
    /// Its stdin.
    pub input: OwnedFd,
    /// Its stdout.
    pub output: OwnedFd,
    /// Its stderr.
    pub error: OwnedFd,
    /// Bytes that are the numbers of signals for it.
    pub signals: Option<File>,
    /// Where further commands come in.
    pub door: Option<OwnedFd>,
}

/// Runs `task` in `view`. `control` and `report` hang up when dlpack or the helper is gone.
pub(super) fn run(
    view: &View,
    isolation: &Isolation,
    task: &Task,
    mut streams: Streams,
    control: &UnixStream,
    report: &UnixStream,
) -> Reply {
    // ptrace(2): a step has this process' uid, and must not look through its descriptors
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let processes = isolation.processes;
    if !processes {
        descendants::adopt();
    }
    let mut work = move || {
        let attached = streams.signals.is_some();
        if attached {
            session::lead()?;
        }
        let task = &hosts::given(view, isolation, task)?;
        let mut room = Room::enter(view, isolation, task)?;
        if attached && task.interactive {
            room.furnish_terminal(&mut streams, control)?;
        }
        let (command, ended, fallback) = room.start(isolation, task, &streams)?;
        // who lets commands in is to learn that nobody is there to take them
        drop(streams.door.take());
        let watch = Watch::new(control, report, streams.signals.as_ref());
        let watch = watch.map_err(|source| Refusal::call("watch", "the step", source))?;
        let abandoned = watch.over(command, ended, processes);
        let ending = reap(command, processes, |signal| {
            if attached {
                // the helper says nothing before this process has ended
                let _ = send(control, &Reply::Stopped(signal), &[]);
            }
        });
        if abandoned.load(Ordering::SeqCst) {
            // its directory may be somebody's to remove by now, and its caches another step's
            return Err(Refusal::Killed);
        }
        room.leave()?;
        Ok(Reply::Ended(ending, fallback.into_iter().collect()))
    };
    work().unwrap_or_else(Reply::Refused)
}

/// A furnished root.
struct Room {
    root: Root,
    /// What lies in it, if it can't be mounted; the command alone goes in there.
    furniture: Option<Furniture>,
    user: Credentials,
    /// None for root in a container, who gives files to whom it wants, and for who is
    /// another user than root.
    supervision: Option<Supervision>,
}

impl Room {
    fn enter(view: &View, isolation: &Isolation, task: &Task) -> Result<Self, Refusal> {
        let supervision = isolation.emulates_owners().then(|| Supervision::open(&view.directory, &view.lower));
        let supervision = supervision.transpose().map_err(unrecorded)?;
        let mounts = isolation.containment != Containment::Chroot;
        places::prepare(view, task)?;
        let root = if mounts { enter::bare(view)? } else { Root::open(view)? };
        let user = task.user.as_deref().map(|user| user::look_up(user, &root)).transpose()?.unwrap_or_default();
        let mut furniture = None;
        if mounts {
            if task.machine.read_only {
                enter::scratch(&root)?;
            }
            enter::furnish(&root, isolation, task, &user)?;
            root.make_workdir(&task.workdir)?;
            if task.machine.read_only {
                enter::close(&root)?;
            }
            enter::pivot(&root)?;
        } else {
            furniture = Some(Furniture::put(&root, &view.directory, task, &user)?);
            root.make_workdir(&task.workdir)?;
        }
        Ok(Self { root, furniture, user, supervision })
    }

    /// Gives the command a terminal of this root, and this process' session.
    fn furnish_terminal(&self, streams: &mut Streams, control: &UnixStream) -> Result<(), Refusal> {
        let owner = self.supervision.is_none().then_some(self.user.uid);
        let furnished = match self.furniture {
            None => terminal::furnish(streams, owner, control),
            // the root is not this process', and has no devpts
            Some(_) => send(control, &Reply::Terminal, &[]),
        };
        furnished.map_err(|source| Refusal::call("make", "a terminal", source))?;
        session::control(&streams.input)
    }

    /// Starts the command; returns when it runs, with what its supervisor fell back to.
    fn start(
        &mut self,
        isolation: &Isolation,
        task: &Task,
        streams: &Streams,
    ) -> Result<(Pid, OwnedFd, Option<Fallback>), Refusal> {
        let (mut failure, theirs) = io::pipe().map_err(|source| Refusal::call("make", "a pipe", source))?;
        let (ours, supervisor) = UnixStream::pair().map_err(|source| Refusal::call("make", "a socket", source))?;
        let (command, ended) = match clone(UnshareFlags::empty()) {
            Ok(Cloned::Parent(pid, ended)) => (pid, ended),
            Ok(Cloned::Child) => {
                drop((failure, ours));
                let root = self.furniture.is_some().then_some(&self.root);
                let place = program::Place {
                    containment: isolation.containment,
                    supervised: self.supervision.is_some(),
                    own_network: isolation.own_network(task.network),
                    chroot: root,
                    user: &self.user,
                };
                let supervisor = self.supervision.is_some().then_some(supervisor);
                program::become_command(task, &place, streams, supervisor, theirs.into());
            }
            Err(source) => return Err(Refusal::call("make", "a process", source)),
        };
        drop((theirs, supervisor));
        let fallback = match self.supervision.take() {
            Some(supervision) => supervision.serve(&ours, self.user.clone().into()).map_err(unrecorded)?,
            None => None,
        };
        // execve(2) closes the pipe, and there is nothing in it
        let mut text = Vec::new();
        failure.read_to_end(&mut text).map_err(|source| Refusal::call("read", "a pipe", source))?;
        match serde_json::from_slice(&text) {
            Ok(refusal) => Err(refusal),
            Err(_) => Ok((command, ended, fallback)),
        }
    }

    fn leave(self) -> Result<(), Refusal> {
        self.furniture.map_or(Ok(()), Furniture::remove)
    }
}

fn unrecorded(source: io::Error) -> Refusal {
    Refusal::call("read", "the record of owners", source)
}

/// Reaps until `command` has ended, then kills and reaps what it left running. `stopped` is told
/// whenever the command is, and by which signal.
fn reap(command: Pid, own_processes: bool, mut stopped: impl FnMut(i32)) -> Ending {
    let ending = loop {
        match rustix::process::wait(WaitOptions::UNTRACED) {
            Ok(Some((pid, status))) if pid == command => match status.stopping_signal() {
                Some(signal) => stopped(signal),
                None => break ending(status),
            },
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break Ending::Signal(Signal::KILL.as_raw()),
        }
    };
    if own_processes && rustix::process::getpid() == Pid::INIT {
        // kill(2): from process 1, all of its namespace but itself
        let _ = rustix::process::kill_process_group(Pid::INIT, Signal::KILL);
        while !matches!(rustix::process::wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
    } else {
        descendants::kill();
    }
    ending
}

pub(super) fn ending(status: WaitStatus) -> Ending {
    match status.terminating_signal() {
        Some(signal) => Ending::Signal(signal),
        None => Ending::Exit(status.exit_status().unwrap_or_default()),
    }
}

/// Says over `to` why no program was started.
pub(super) fn tell(to: OwnedFd, refusal: &Refusal) {
    let _ = serde_json::to_writer(File::from(to), refusal);
}
