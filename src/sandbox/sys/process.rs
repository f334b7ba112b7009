//! Namespaces, new processes and programs: unshare(2), clone(2), execve(2).
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::process::{Pid, Resource, getrlimit};
use rustix::thread::UnshareFlags;

/// The most descriptors that are looked for by their numbers: fs.nr_open of proc_sys_fs(5), if nobody
/// changed it.
const MOST_OPEN: u64 = 1 << 20;

/// What [`clone`] returns, on either side.
pub(in crate::sandbox) enum Cloned {
    /// In the caller: the child, and a descriptor that becomes readable when it ends.
    Parent(Pid, OwnedFd),
    /// In the child.
    Child,
}

/// unshare(2). The caller has one thread.
pub(in crate::sandbox) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: CLONE_FILES, which could close descriptors under others, is never among `flags`.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// fork(2), with the child in the new namespaces of `flags`. The caller has one thread.
///
/// clone(2), since the clone3(2) of rustix' kind is hidden by containers' seccomp profiles.
pub(in crate::sandbox) fn clone(flags: UnshareFlags) -> io::Result<Cloned> {
    let mut descriptor: libc::c_int = -1;
    let namespaces = libc::c_long::from(flags.bits() as libc::c_int);
    let flags = namespaces | libc::c_long::from(libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: without CLONE_VM the child has its own copy of this single thread's memory and
    // stack, as after fork(2); the kernel writes one descriptor to `descriptor`.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut descriptor, 0, 0) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: CLONE_PIDFD gave this new descriptor to nobody else.
            let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
            let pid = Pid::from_raw(pid as i32).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
            Ok(Cloned::Parent(pid, descriptor))
        }
    }
}

/// execve(2): returns only if it fails.
pub(in crate::sandbox) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer, and what they point to outlives the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Closes all descriptors but stdin, stdout, stderr and `kept`. Whatever owned the others is
/// dropped no more: the process ends with exit(3).
pub(in crate::sandbox) fn close_all_but(kept: RawFd) -> io::Result<()> {
    match close_ranges_but(kept.cast_unsigned()) {
        // before Linux 5.9
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => close_each_but(kept),
        closed => closed,
    }
}

fn close_ranges_but(kept: libc::c_uint) -> io::Result<()> {
    for (first, last) in [(3, kept.saturating_sub(1)), (kept.saturating_add(1).max(3), libc::c_uint::MAX)] {
        // close_range(2): EINVAL where the last comes before the first
        // SAFETY: closing touches no memory; who owned these descriptors uses them no more.
        if first <= last && unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// proc_pid_fd(5); where there is no /proc, whatever number a descriptor may have: getrlimit(2).
fn close_each_but(kept: RawFd) -> io::Result<()> {
    let open: Vec<RawFd> = match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect(),
        Err(_) => {
            let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).min(MOST_OPEN);
            (0..most as RawFd).collect()
        }
    };
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2 && *descriptor != kept) {
        // SAFETY: closing touches no memory; who owned this descriptor uses it no more.
        unsafe { libc::close(descriptor) };
    }
    Ok(())
}
