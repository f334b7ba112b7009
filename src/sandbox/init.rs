//! Process 1 of a step: mounts its root, starts the command, reaps what it leaves, and
//! ends all of it with itself.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, XattrFlags, setxattr};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus};

use super::containment::Isolation;
use super::record::{OWNER, Owner};
use super::spec::{Reply, Task};
use super::step::Ending;
use super::sys::process::{Cloned, clone};
use super::upper::View;
use super::user::{self, Credentials};
use super::{MountKind, Refusal, enter, program};

/// What a command reads and writes.
pub(super) struct Streams {
    /// Its stdin.
    pub input: OwnedFd,
    /// Its stdout and stderr.
    pub output: OwnedFd,
}

/// Runs `task` in `view`. `control` and `report` hang up when dlpack or the helper is gone.
pub(super) fn run(
    view: &View,
    isolation: &Isolation,
    task: &Task,
    streams: &Streams,
    control: &UnixStream,
    report: &UnixStream,
) -> Reply {
    match start(view, isolation, task, streams) {
        Ok(command) => {
            end_with(control, report);
            let ending = reap(command, isolation.processes);
            Reply::Ended(ending, Vec::new())
        }
        Err(refusal) => Reply::Refused(refusal),
    }
}

fn start(view: &View, isolation: &Isolation, task: &Task, streams: &Streams) -> Result<Pid, Refusal> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    enter::root(view, isolation, task)?;
    make_workdir(&task.workdir)?;
    let user = task.user.as_deref().map(user::look_up).transpose()?.unwrap_or_default();
    give_secrets(task, &user);
    // ptrace(2): a step has this process' uid, and must not look through its descriptors
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|source| Refusal::call("hide", "process 1", source))?;
    let (mut failure, theirs) = io::pipe().map_err(|source| Refusal::call("make", "a pipe", source))?;
    let command = match clone(rustix::thread::UnshareFlags::empty()) {
        Ok(Cloned::Parent(pid, _)) => pid,
        Ok(Cloned::Child) => {
            drop(failure);
            program::become_command(task, streams, theirs.into());
        }
        Err(source) => return Err(Refusal::call("make", "a process", source)),
    };
    drop(theirs);
    // what stays of the pipe after execve(2) is nothing: it closes on it
    let mut text = Vec::new();
    failure.read_to_end(&mut text).map_err(|source| Refusal::call("read", "a pipe", source))?;
    match serde_json::from_slice(&text) {
        Ok(refusal) => Err(refusal),
        Err(_) => Ok(command),
    }
}

/// image-spec `config.md`: WorkingDir is made if it is not there.
fn make_workdir(path: &str) -> Result<(), Refusal> {
    let refused = |source| Refusal::Workdir { path: path.to_owned(), source };
    match path.starts_with('/') {
        true => fs::create_dir_all(path).map_err(refused),
        false => Err(refused(Errno::INVAL.into())),
    }
}

/// Makes secrets the user's; who can't read them is refused by the supervisor, as it
/// would be by a kernel that knew of users.
fn give_secrets(task: &Task, user: &Credentials) {
    let owner = Owner { uid: user.uid, gid: user.gid };
    for secret in task.mounts.iter().filter(|mount| mount.kind == MountKind::Secret) {
        // tmpfs has such attributes since Linux 6.6; before, the owner is root, and all may read
        let _ = setxattr(&*secret.to, OWNER, owner.value().as_bytes(), XattrFlags::empty());
    }
}

/// Ends this process, and with it all others of the step, when one of the two that it
/// works for is gone.
fn end_with(control: &UnixStream, report: &UnixStream) {
    let (Ok(control), Ok(report)) = (control.try_clone(), report.try_clone()) else { return };
    std::thread::spawn(move || {
        let mut lines = [PollFd::new(&control, PollFlags::RDHUP), PollFd::new(&report, PollFlags::RDHUP)];
        while poll(&mut lines, None) == Err(Errno::INTR) {}
        std::process::exit(1);
    });
}

/// Reaps until `command` has ended, then kills and reaps what it left running.
fn reap(command: Pid, own_processes: bool) -> Ending {
    let ending = loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => break ending(status),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break Ending::Signal(Signal::KILL.as_raw()),
        }
    };
    if own_processes && rustix::process::getpid() == Pid::INIT {
        // kill(2): from process 1, all of its namespace but itself
        let _ = rustix::process::kill_process_group(Pid::INIT, Signal::KILL);
        while !matches!(rustix::process::wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
    }
    ending
}

fn ending(status: WaitStatus) -> Ending {
    match status.terminating_signal() {
        Some(signal) => Ending::Signal(signal),
        None => Ending::Exit(status.exit_status().unwrap_or_default()),
    }
}

/// Says over `to` why no program was started.
pub(super) fn tell(to: OwnedFd, refusal: &Refusal) {
    let _ = serde_json::to_writer(File::from(to), refusal);
}
