//! mount_setattr(2).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Makes the detached or attached mount at `mount`, and all under it, read-only.
pub(in crate::sandbox) fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_read_only(mount, libc::AT_RECURSIVE)
}

/// Makes the mount at `mount` read-only, and none that is under it.
pub(in crate::sandbox) fn make_only_this_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_read_only(mount, 0)
}

fn set_read_only(mount: BorrowedFd<'_>, depth: libc::c_int) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | depth;
    // SAFETY: the path is a C string, and the kernel reads `size_of(mount_attr)` bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
