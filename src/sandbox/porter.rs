//! Lets further commands, and connections, into a step while it runs: a process of the step's own, which was
//! there before its command and is under the same supervisor, so that all that it starts has
//! the same ids, and the same files belong to the same owners.
//!
//! ```text
//! process 1 ──▶ the command
//!           └─▶ porter ──▶ warden ──▶ a further command
//!                      └─▶ warden, which joins a connection from outside with one to a port in here
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};
use rustix::thread::UnshareFlags;

use super::containment::Containment;
use super::exec::Entry;
use super::init::{Streams, ending};
use super::program::{self, Place};
use super::spec::{Reply, Task, receive_text, send};
use super::step::Ending;
use super::sys::process::{Cloned, clone, close_all_but};
use super::sys::signals::{children, leave_no_zombies, wait_for_children};
use super::user::{self, Credentials};
use super::{Exec, Refusal, session, terminal, watch};

/// Starts the porter of the step `task` behind `door`, and returns in the process that
/// becomes the step's command: it has no child that it did not start, since process 1 gets
/// whose parent is gone.
pub(super) fn post(door: &OwnedFd, task: &Task, place: &Place<'_>) -> io::Result<()> {
    match clone(UnshareFlags::empty())? {
        Cloned::Parent(pid, _) => {
            rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()))?;
            Ok(())
        }
        Cloned::Child => {
            if let Ok(Cloned::Child) = clone(UnshareFlags::empty()) {
                let _ = serve(door, task, place);
            }
            std::process::exit(0)
        }
    }
}

/// Starts what comes in until dlpack is gone. What can't be started ends nothing else.
fn serve(door: &OwnedFd, task: &Task, place: &Place<'_>) -> io::Result<()> {
    let door = UnixStream::from(door.try_clone()?);
    // who reads what the command prints is to see its end, whoever else is in the step
    close_all_but(door.as_raw_fd())?;
    leave_no_zombies();
    while let Some((text, streams)) = receive_text(&door)? {
        let entry = match serde_json::from_slice(&text) {
            Ok(entry) => entry,
            Err(error) => {
                refuse(streams, Refusal::call("read", "what is to come in", io::Error::from(error)));
                continue;
            }
        };
        match clone(UnshareFlags::empty()) {
            Ok(Cloned::Parent(..)) => {}
            Ok(Cloned::Child) => {
                // once this process' parent is gone, nobody is behind the door
                drop(door);
                wait_for_children();
                match entry {
                    Entry::Exec(exec) => admit(task, exec, place, streams),
                    Entry::Connection(port) => drop(join(port, place, streams)),
                }
                std::process::exit(0);
            }
            // clone(2): EAGAIN, of which there may be less in a moment
            Err(source) => refuse(streams, Refusal::call("make", "a process", source)),
        }
    }
    Ok(())
}

/// Tells who asked for a command that it can't be started. A connection is hung up on.
fn refuse(streams: Vec<OwnedFd>, refusal: Refusal) {
    if let Ok([.., connection]) = <[OwnedFd; 4]>::try_from(streams) {
        let _ = send(&UnixStream::from(connection), &Reply::Refused(refusal), &[]);
    }
}

fn admit(task: &Task, exec: Exec, place: &Place<'_>, streams: Vec<OwnedFd>) {
    let Ok([input, output, error, connection]) = <[OwnedFd; 4]>::try_from(streams) else { return };
    let streams = Streams { input, output, error, signals: None, door: None };
    let connection = UnixStream::from(connection);
    let reply = attend(task, exec, place, streams, &connection);
    let _ = send(&connection, &reply.unwrap_or_else(Reply::Refused), &[]);
}

/// Copies what comes over a connection from outside to `port` of this step's loopback, and
/// what comes back, each way to its end. This machine's own loopback is nobody's to reach so.
fn join(port: u16, place: &Place<'_>, streams: Vec<OwnedFd>) -> io::Result<()> {
    if !place.own_network {
        return Ok(());
    }
    let Some(outside) = streams.into_iter().next().map(TcpStream::from) else { return Ok(()) };
    let loopback = [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))];
    let inside = TcpStream::connect(&loopback[..])?;
    let (mut from, mut to) = (outside.try_clone()?, inside.try_clone()?);
    let inwards = std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        // tcp(7): the other way may go on
        to.shutdown(Shutdown::Write)
    });
    let _ = io::copy(&mut { inside }, &mut { &outside });
    let _ = outside.shutdown(Shutdown::Write);
    drop(inwards.join());
    Ok(())
}

/// The command of `exec` with all that it has from the step `task`, and who it is to run as.
/// Where the kernel knows one id, it can be no other.
fn joined(task: &Task, exec: Exec, place: &Place<'_>) -> Result<(Task, Credentials), Refusal> {
    let Exec { command, env, workdir, user, interactive } = exec;
    let mut task = Task { command, interactive, ..task.clone() };
    task.workdir = workdir.unwrap_or(task.workdir);
    let mut credentials = place.user.clone();
    if let Some(wanted) = user {
        let (found, account) = user::here(&wanted)?;
        let one_id = place.containment == Containment::UserNamespace && !place.supervised;
        if one_id && (found.uid, found.gid) != (credentials.uid, credentials.gid) {
            return Err(Refusal::OneUser { wanted, uid: credentials.uid });
        }
        credentials = found;
        for (name, value) in [("HOME", account.home), ("USER", account.name.clone()), ("LOGNAME", account.name)] {
            task.env.insert(name.to_owned(), value);
        }
    }
    task.env.extend(env);
    Ok((task, credentials))
}

/// Runs the command of `exec` to its end. What comes over `connection` is signals for it; when nobody is
/// there any more, it is killed.
fn attend(
    task: &Task,
    exec: Exec,
    place: &Place<'_>,
    mut streams: Streams,
    connection: &UnixStream,
) -> Result<Reply, Refusal> {
    let (task, user) = joined(task, exec, place)?;
    session::lead()?;
    if task.interactive {
        let owner = (!place.supervised).then_some(user.uid);
        let furnished = terminal::furnish(&mut streams, owner, connection);
        furnished.map_err(|source| Refusal::call("make", "a terminal", source))?;
        session::control(&streams.input)?;
    }
    let (mut failure, theirs) = io::pipe().map_err(|source| Refusal::call("make", "a pipe", source))?;
    let children = children().map_err(|source| Refusal::call("make", "a signalfd", source))?;
    let (command, ended) = match clone(UnshareFlags::empty()) {
        Ok(Cloned::Parent(pid, ended)) => (pid, ended),
        Ok(Cloned::Child) => {
            drop(failure);
            let place = Place { user: &user, ..*place };
            program::become_further(&task, &place, &streams, theirs.into());
        }
        Err(source) => return Err(Refusal::call("make", "a process", source)),
    };
    drop((theirs, streams));
    let mut text = Vec::new();
    failure.read_to_end(&mut text).map_err(|source| Refusal::call("read", "a pipe", source))?;
    if let Ok(refusal) = serde_json::from_slice(&text) {
        return Err(refusal);
    }
    // who asked may be gone by now
    let _ = send(connection, &Reply::Begun, &[]);
    let ending = watch_over(command, &ended, children, connection);
    Ok(Reply::Ended(ending.map_err(|source| Refusal::call("wait for", "the command", source))?, Vec::new()))
}

/// Passes on what comes over `connection` to `command`, which `descriptor` refers to, until it has
/// ended, which `children` tells of. One thread does both: who signals it knows that its number is
/// nobody else's yet, and what it leaves in the background is left alone.
fn watch_over(
    command: Pid,
    descriptor: &OwnedFd,
    mut children: File,
    mut connection: &UnixStream,
) -> io::Result<Ending> {
    let mut attached = true;
    loop {
        // signalfd(2): what comes after this is told anew
        let _ = children.read(&mut [0; 1024]);
        while let Some((_, status)) = waitpid(Some(command), WaitOptions::UNTRACED | WaitOptions::NOHANG)? {
            match status.stopping_signal() {
                // nobody may be there any more
                Some(signal) => drop(send(connection, &Reply::Stopped(signal), &[])),
                None => return Ok(ending(status)),
            }
        }
        let mut events = [PollFd::new(&children, PollFlags::IN), PollFd::new(connection, PollFlags::IN)];
        // who has hung up does so for ever
        let events = &mut events[..1 + usize::from(attached)];
        rustix::io::retry_on_intr(|| poll(events, None))?;
        // its end comes before what else is to be done
        if !events[0].revents().is_empty() {
            continue;
        }
        let mut signal = [0];
        if connection.read_exact(&mut signal).is_ok() {
            watch::pass_on(signal[0], command, descriptor);
        } else {
            attached = false;
            let _ = kill_process_group(command, Signal::KILL);
        }
    }
}
