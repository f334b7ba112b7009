//! seccomp(2) and seccomp_unotify(2): a filter with its listener, and the
//! conversation over it; and what the listener's side needs of the calling process.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::sandbox) struct Notification {
    /// Names the call until it is answered, or its thread dies.
    pub id: u64,
    /// The thread, as the listener's side numbers it.
    pub pid: i32,
    /// The `AUDIT_ARCH_*` value of the call's ABI.
    pub arch: u32,
    /// The call's number in that ABI.
    pub nr: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// One instruction of classic BPF.
pub(in crate::sandbox) type Instruction = libc::sock_filter;

/// Sets `program` as a filter of the calling thread, with a listener.
///
/// # Errors
/// EBUSY if the thread has a filter with a listener already; EINVAL if the kernel
/// knows no listeners.
pub(in crate::sandbox) fn listen(program: &mut [Instruction]) -> io::Result<OwnedFd> {
    // seccomp(2) WAIT_KILLABLE_RECV, since Linux 5.19: once a notification is
    // received, only a fatal signal interrupts the call
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let listener = match set(program, flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => set(program, flags)?,
        result => result?,
    };
    let listener = i32::try_from(listener).map_err(|_| Errno::BADF)?;
    // SAFETY: with NEW_LISTENER the call returns a descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

/// Sets `program` as a filter of the calling thread.
///
/// # Errors
/// If the kernel doesn't take it.
pub(in crate::sandbox) fn filter(program: &mut [Instruction]) -> io::Result<()> {
    set(program, 0).map(|_| ())
}

fn set(program: &mut [Instruction], flags: libc::c_ulong) -> io::Result<libc::c_long> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: `program` holds `len` instructions; the kernel copies them.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Waits for the next call. ENOENT if the thread died meanwhile.
///
/// # Errors
/// As the ioctl `SECCOMP_IOCTL_NOTIF_RECV`.
pub(in crate::sandbox) fn receive(listener: BorrowedFd<'_>) -> Result<Notification, Errno> {
    // SAFETY: all zeros is a value of this struct of integers, and what the ioctl wants.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification)?;
    let data = notification.data;
    Ok(Notification {
        id: notification.id,
        pid: notification.pid.cast_signed(),
        arch: data.arch,
        nr: data.nr.cast_unsigned(),
        args: data.args,
    })
}

/// Answers the call `id`: with a value, with an error, or by letting the kernel do it (none).
///
/// # Errors
/// ENOENT if its thread died.
pub(in crate::sandbox) fn answer(
    listener: BorrowedFd<'_>,
    id: u64,
    result: Option<Result<i64, Errno>>,
) -> Result<(), Errno> {
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags: 0 };
    match result {
        None => answer.flags = 1, // SECCOMP_USER_NOTIF_FLAG_CONTINUE
        Some(Ok(value)) => answer.val = value,
        Some(Err(error)) => answer.error = -error.raw_os_error(),
    }
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer)
}

/// Answers the call `id` with a descriptor for `file`, made in its process.
///
/// # Errors
/// ENOENT if its thread died; EMFILE if the process has too many.
pub(in crate::sandbox) fn answer_file(
    listener: BorrowedFd<'_>,
    id: u64,
    file: BorrowedFd<'_>,
    close_on_exec: bool,
) -> Result<(), Errno> {
    let newfd_flags = if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 };
    let srcfd = file.as_raw_fd().cast_unsigned();
    let mut add = libc::seccomp_notif_addfd { id, flags: 2, srcfd, newfd: 0, newfd_flags }; // SECCOMP_ADDFD_FLAG_SEND
    match ioctl_value(listener, libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw mut add) {
        // without ADDFD_FLAG_SEND, before Linux 5.14, in two steps
        Err(Errno::INVAL) => {
            add.flags = 0;
            let descriptor = ioctl_value(listener, libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw mut add)?;
            answer(listener, id, Some(Ok(descriptor.into())))
        }
        result => result.map(|_| ()),
    }
}

/// Whether the call `id` still waits, so that its thread's number still means that thread.
pub(in crate::sandbox) fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    let mut id = id;
    ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw mut id).is_ok()
}

/// Lets the kernel switch to the listener, and back, on the same CPU, where it can (Linux 6.6).
pub(in crate::sandbox) fn wake_on_same_cpu(listener: BorrowedFd<'_>) {
    // SAFETY: SECCOMP_IOCTL_NOTIF_SET_FLAGS takes its flags by value.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, 1_u64) };
}

fn ioctl<T>(listener: BorrowedFd<'_>, request: libc::Ioctl, argument: *mut T) -> Result<(), Errno> {
    ioctl_value(listener, request, argument).map(|_| ())
}

fn ioctl_value<T>(listener: BorrowedFd<'_>, request: libc::Ioctl, argument: *mut T) -> Result<i32, Errno> {
    // SAFETY: each caller passes the struct that its request reads and writes.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), request, argument) };
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// Gives the calling thread a root, a working directory and a umask of its own.
///
/// # Errors
/// As unshare(2) with `CLONE_FS`.
pub(in crate::sandbox) fn own_filesystem_context() -> Result<(), Errno> {
    // SAFETY: CLONE_FS touches no memory; nothing here relies on threads sharing their root.
    if unsafe { libc::unshare(libc::CLONE_FS) } < 0 { Err(errno()) } else { Ok(()) }
}

/// Reads from the memory of process `pid`; short if what follows isn't mapped.
///
/// # Errors
/// EFAULT if `address` isn't mapped.
pub(in crate::sandbox) fn read_memory(pid: i32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: `local` is `buffer`; `remote` is no memory of ours, and the kernel checks it.
    let result = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(result).map_err(|_| errno())
}

/// Writes into the memory of process `pid`.
///
/// # Errors
/// EFAULT if not all of it can be written.
pub(in crate::sandbox) fn write_memory(pid: i32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: `local` is `bytes`, which is only read; `remote` is no memory of ours.
    let result = unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(result) {
        Ok(length) if length == bytes.len() => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(_) => Err(errno()),
    }
}

/// The soft and the hard limit of process `pid` on realtime CPU time without a pause.
///
/// # Errors
/// As prlimit(2).
pub(in crate::sandbox) fn realtime_limit(pid: i32) -> Result<(u64, u64), Errno> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: only `limit` is written.
    let result = unsafe { libc::prlimit64(pid, libc::RLIMIT_RTTIME, std::ptr::null(), &raw mut limit) };
    if result < 0 { Err(errno()) } else { Ok((limit.rlim_cur, limit.rlim_max)) }
}

/// Sets what [`realtime_limit`] reads.
///
/// # Errors
/// As prlimit(2).
pub(in crate::sandbox) fn set_realtime_limit(pid: i32, (soft, hard): (u64, u64)) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: only `limit` is read.
    let result = unsafe { libc::prlimit64(pid, libc::RLIMIT_RTTIME, &raw const limit, std::ptr::null_mut()) };
    if result < 0 { Err(errno()) } else { Ok(()) }
}

/// The length of a `struct statx`, in bytes.
pub(in crate::sandbox) const STATX: usize = size_of::<libc::statx>();

/// statx(2) of an open file, as the bytes that the kernel writes.
///
/// # Errors
/// As statx(2).
pub(in crate::sandbox) fn statx(file: BorrowedFd<'_>, flags: i32, mask: u32) -> Result<[u8; STATX], Errno> {
    let mut bytes = [0_u8; STATX];
    let flags = flags | libc::AT_EMPTY_PATH;
    // SAFETY: the kernel writes at most a `struct statx`, byte by byte, into `bytes`, which is as long.
    let result =
        unsafe { libc::syscall(libc::SYS_statx, file.as_raw_fd(), c"".as_ptr(), flags, mask, bytes.as_mut_ptr()) };
    if result < 0 { Err(errno()) } else { Ok(bytes) }
}

fn errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
