//! What signals do to this process: sigaction(2), raise(3).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::OnceLock;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, kill_current_process_group};

/// Ignores what a terminal sends, and whoever signals all of a process group or of a job: it is
/// for the command. This process ends when its parent does, and so do its children, which ignore
/// as much (fork(2), execve(2)) until [`reset_signals`].
pub(in crate::sandbox) fn leave_signals_to_command() {
    const SENT: [libc::c_int; 10] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGPIPE,
    ];
    for signal in SENT {
        // SAFETY: SIG_IGN is no handler that could run.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Gives every signal its default action, and blocks none: what a program expects at
/// its start.
pub(in crate::sandbox) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is no handler that could run; signals that can't be set fail.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero set is valid storage, and sigemptyset(3) makes it a set.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Has who ends as a child of this process be no zombie: wait(2), SIGCHLD.
pub(in crate::sandbox) fn leave_no_zombies() {
    // SAFETY: SIG_IGN is no handler that could run.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Undoes [`leave_no_zombies`]: a process waits for its children again.
pub(in crate::sandbox) fn wait_for_children() {
    // SAFETY: SIG_DFL is no handler that could run.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// From here on, what comes in whenever a child of this process ends or is stopped: signalfd(2),
/// SIGCHLD, which is blocked. A read takes all that came before, and returns at once.
///
/// # Errors
/// As signalfd(2).
pub(in crate::sandbox) fn children() -> io::Result<File> {
    // SAFETY: an all-zero set is valid storage, and sigemptyset(3) makes it a set; the new
    // descriptor is given to nobody else.
    unsafe {
        let mut child: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut child);
        libc::sigaddset(&raw mut child, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const child, std::ptr::null_mut());
        match libc::signalfd(-1, &raw const child, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(File::from_raw_fd(descriptor)),
        }
    }
}

/// Stops this process as Ctrl-Z does, and with it the others of its process group if
/// `with_group` says so. Returns when it is to go on: at once if nobody could make it, since
/// SIGTSTP does nothing to an orphaned process group (setpgid(2)).
pub(in crate::sandbox) fn stop(with_group: bool) {
    // SAFETY: all zeros is storage for what sigaction(2) writes, and a set that sigemptyset(3) makes
    // one. SIG_DFL is no handler that could run, and what is set last is what was set before.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGTSTP, std::ptr::null(), &raw mut before);
        let mut only: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, libc::SIGTSTP);
        libc::signal(libc::SIGTSTP, libc::SIG_DFL);
        // raise(3) is for this thread, which is stopped once it blocks it no more; signal(7), SIGCONT:
        // one that comes before, as from a shell that saw the others stop, takes it back
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const only, std::ptr::null_mut());
        libc::raise(libc::SIGTSTP);
        if with_group {
            let _ = kill_current_process_group(Signal::TSTP);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, std::ptr::null_mut());
        libc::sigaction(libc::SIGTSTP, &raw const before, std::ptr::null_mut());
    }
}

/// The pipe that [`note`] writes to.
static NOTES: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();

/// A pipe into which comes a byte whenever the terminal has another size (SIGWINCH), or this
/// process goes on after it was stopped (SIGCONT). There is one, whoever asks.
///
/// # Errors
/// As pipe(2).
pub(in crate::sandbox) fn notes() -> io::Result<&'static OwnedFd> {
    if NOTES.get().is_none() {
        let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let _ = NOTES.set(pipe);
        for signal in [libc::SIGWINCH, libc::SIGCONT] {
            // SAFETY: the handler does what signal-safety(7) allows, and leaves errno alone.
            unsafe { libc::signal(signal, note as *const () as libc::sighandler_t) };
        }
    }
    NOTES.get().map(|(from, _)| from).ok_or_else(|| io::ErrorKind::NotFound.into())
}

extern "C" fn note(_: libc::c_int) {
    if let Some((_, to)) = NOTES.get() {
        // a pipe that is full says as much
        let _ = rustix::io::write(to, &[0]);
    }
}
