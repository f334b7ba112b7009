//! The system calls that need `unsafe`: what rustix does not wrap, or wraps unsafely.

pub(super) mod mount;
pub(super) mod network;
pub(super) mod process;
pub(super) mod quota;
pub(super) mod seccomp;
pub(super) mod signals;
