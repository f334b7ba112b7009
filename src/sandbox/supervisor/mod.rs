//! The emulation of root's ownership with one uid: seccomp(2) hands a step's calls to a
//! supervisor in process 1, which keeps a record of what one uid can't do, and answers
//! from the record what is asked later.
//!
//! ```text
//! the command ──a call of the tables──▶ kernel ──notification──▶ Supervisor
//!             ◀──the answer, or the kernel's own, if there is nothing to emulate──
//! ```
//!
//! # What is emulated, in [`Mode::Full`]
//!
//! | calls | how |
//! |---|---|
//! | chown, fchown, lchown, fchownat | the owner goes into the record; a real chown to the one uid checks, copies up, and clears set-user-ID, set-group-ID and file capabilities |
//! | stat, lstat, fstat, fstatat, statx and their older forms | answered from the record; without one, the kernel's answer is right |
//! | set\*uid, set\*gid, setgroups, get\*, capset, capget, prctl of capabilities | as credentials(7) and capabilities(7) have it, for each process |
//! | execve, execveat | set-user-ID, set-group-ID, file capabilities; no_new_privs is heeded |
//! | open and openat with O_CREAT or O_TMPFILE, openat2, creat, mkdir, symlink, mknod | made by the supervisor where the new file would not be root's: other credentials, or a set-group-ID directory; the opened file is handed over |
//! | mknod of a device | an empty file stands for it, whose stat is the device's |
//! | getxattr, setxattr, listxattr, removexattr | access control lists that name others, and file capabilities, are in the record; its own attributes are hidden |
//! | getsockopt of SO_PEERCRED | the peer's emulated ids |
//! | io_uring_setup, \*xattrat | ENOSYS: programs have another way, which is emulated |
//! | kexec, reboot, modules, swap | EPERM, as in a container |
//!
//! For x86-64 with i386 and x32, and for aarch64. A call of another ABI ends its process.
//!
//! # What is not
//!
//! - **Permission to use files.** A process that has become another user still reads and
//!   writes what root may; access(2) says so, too. Programs that try and expect to be
//!   refused are not.
//! - **What `/proc` says** (`Uid:` in `status`, the owner of `/proc/PID`), AT_UID and
//!   AT_SECURE in the auxiliary vector, `SCM_CREDENTIALS`, kill(2)'s and ptrace(2)'s checks.
//! - **Credentials of single threads**: they are a process'. See [`processes`].
//! - **Opening a device** that a step made opens the empty file; readdir(3) calls it a file.
//! - **Sockets made by bind(2)** are root's. A layer has no sockets.
//! - **Named entries of a default access control list** are not handed on to what is made in
//!   the directory; the permission bits that follow from it are.
//! - Writing to a file takes its capabilities away for the kernel, not in the record.
//! - The owner of a symbolic link that lies in a lower layer is lost when a step renames
//!   the link without chown.
//! - A set-user-ID interpreter of a script.
//!
//! # Races
//!
//! A path is read from the memory of a process that others may write to, and resolved here,
//! and then by the kernel again where the kernel is to answer. Whoever races with itself
//! gets an owner wrong, in its own root filesystem: the supervisor resolves in the root of the
//! process, and stands in the sandbox's own root itself. What was read of a process counts
//! only if its call still waits after it (seccomp_unotify(2)). Before Linux 5.19 a signal
//! may interrupt a call after it was done, and have it made again.

mod acl;
mod attach;
mod attributes;
mod call;
mod capabilities;
mod chown;
mod create;
mod credentials;
mod execute;
mod filter;
mod ids;
mod layouts;
mod ownership;
mod peer;
mod places;
mod processes;
mod stat;
mod tables;
mod tracee;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::owners::Inodes;
use super::sys::seccomp::{self, Notification};
pub(super) use attach::{Supervision, probe, submit};
use call::Call;
pub(super) use credentials::Credentials;
use filter::install;
use ownership::Ownership;
use places::Places;
use processes::Processes;
use tables::abis;
use tracee::Tracee;

/// How much is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    /// Everything.
    Full,
    /// Owners and devices are recorded, and what asks for them is answered by the kernel;
    /// changes of credentials succeed without any effect.
    Record,
    /// All of it succeeds without any effect.
    Fake,
}

/// Answers the calls of a step.
struct Supervisor {
    listener: Rc<OwnedFd>,
    calls: HashMap<(u32, u32), Call>,
    processes: Processes,
    ownership: Ownership,
    places: Places,
}

/// What a call gets.
enum Answer {
    /// The kernel does it.
    Continue,
    /// This value.
    Value(i64),
    /// It has been answered.
    Given,
}

impl Supervisor {
    /// Answers what comes over `listener`, until the last process behind it is gone. The
    /// calling thread works in `/proc` from then on, with a root of its own. `credentials`
    /// are what the step starts with.
    ///
    /// # Errors
    /// If this thread can't be set apart, or the listener fails.
    fn serve(listener: OwnedFd, credentials: Credentials, inodes: Inodes) -> io::Result<()> {
        seccomp::own_filesystem_context()?;
        seccomp::wake_on_same_cpu(listener.as_fd());
        let calls =
            abis().into_iter().flat_map(|abi| abi.calls.into_iter().map(move |(nr, call)| ((abi.arch, nr), call)));
        let supervisor = Self {
            calls: calls.collect(),
            processes: Processes::new(credentials),
            ownership: Ownership::new(inodes),
            places: Places::new()?,
            listener: Rc::new(listener),
        };
        Ok(supervisor.answer_all()?)
    }

    /// Whether processes can be told apart by their credentials on this machine, as
    /// [`Mode::Full`] needs it.
    fn can_tell_processes_apart() -> bool {
        Processes::can_be_told_apart()
    }

    fn answer_all(mut self) -> Result<(), Errno> {
        loop {
            let mut events = [PollFd::new(&*self.listener, PollFlags::IN)];
            match poll(&mut events, None) {
                Ok(_) if events[0].revents().contains(PollFlags::IN) => {}
                // seccomp_unotify(2): "POLLHUP: the last thread using the filter has terminated"
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            }
            match seccomp::receive(self.listener.as_fd()) {
                Ok(call) => self.answer(&call),
                // ENOENT: the caller was killed meanwhile
                Err(Errno::INTR | Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn answer(&mut self, notification: &Notification) {
        let listener = Rc::clone(&self.listener);
        let call = self.calls.get(&(notification.arch, notification.nr)).copied().unwrap_or(Call::Absent);
        let tracee = Tracee::new(listener.as_fd(), notification);
        let answer = match self.handle(&tracee, call) {
            Ok(Answer::Given) => return,
            Ok(Answer::Continue) => None,
            // what could not be looked up the kernel can't find either, and says why
            Err(_) if call.only_asks() => None,
            Ok(Answer::Value(value)) => Some(Ok(value)),
            Err(error) => Some(Err(error)),
        };
        // it fails if the caller was killed meanwhile
        let _ = seccomp::answer(listener.as_fd(), notification.id, answer);
    }

    fn handle(&mut self, tracee: &Tracee<'_>, call: Call) -> Result<Answer, Errno> {
        match call {
            Call::Chown(width) => self.chown(tracee, true, width),
            Call::Lchown(width) => self.chown(tracee, false, width),
            Call::Fchown(width) => self.fchown(tracee, width),
            Call::Fchownat => self.fchownat(tracee),
            Call::Getuid(width) => self.get(tracee, width, |credentials| credentials.uid.real),
            Call::Geteuid(width) => self.get(tracee, width, |credentials| credentials.uid.effective),
            Call::Getgid(width) => self.get(tracee, width, |credentials| credentials.gid.real),
            Call::Getegid(width) => self.get(tracee, width, |credentials| credentials.gid.effective),
            Call::Getresuid(width) => {
                let uid = self.processes.credentials(tracee.pid)?.uid;
                self.get_three(tracee, width, uid)
            }
            Call::Getresgid(width) => {
                let gid = self.processes.credentials(tracee.pid)?.gid;
                self.get_three(tracee, width, gid)
            }
            Call::Getgroups(width) => self.getgroups(tracee, width),
            Call::Capget => self.capget(tracee),
            Call::Prctl => self.prctl(tracee),
            Call::Stat(layout) => self.stat(tracee, true, layout),
            Call::Lstat(layout) => self.stat(tracee, false, layout),
            Call::Fstat(layout) => self.fstat(tracee, layout),
            Call::Fstatat(layout) => self.fstatat(tracee, layout),
            Call::Statx => self.statx(tracee),
            Call::Getxattr(target) => self.getxattr(tracee, target),
            Call::Setxattr(target) => self.setxattr(tracee, target),
            Call::Listxattr(target) => self.listxattr(tracee, target),
            Call::Removexattr(target) => self.removexattr(tracee, target),
            Call::Execve => self.execve(tracee),
            Call::Execveat => self.execveat(tracee),
            Call::Getsockopt => self.getsockopt(tracee),
            Call::Socketcall => self.socketcall(tracee),
            Call::Prlimit64 => prlimit(tracee),
            call if call.sets_credentials() => self.set(tracee, call),
            Call::Setrlimit | Call::Absent | Call::Forbidden => Err(Errno::NOSYS),
            call => self.create(tracee, call),
        }
    }
}

/// prlimit(2) of the limit that carries the credentials: it may be asked for, and setting
/// it succeeds without any effect.
fn prlimit(tracee: &Tracee<'_>) -> Result<Answer, Errno> {
    let old = tracee.args[3];
    if old != 0 {
        // getrlimit(2): RLIM_INFINITY, soft and hard
        tracee.write(old, &[u8::MAX; 16])?;
    }
    Ok(Answer::Value(0))
}
