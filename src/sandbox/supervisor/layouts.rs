//! A file's status in the structs that the stat calls of each ABI fill in, all made
//! from the one that statx(2) fills in.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::call::Layout;
use super::call::Width::Narrow;
use super::ids::narrow;
use crate::sandbox::record::{DeviceNumber, Owner};
use crate::sandbox::sys::seccomp;

/// A `struct statx`, with its fields by their offset (linux/stat.h). Fields that are newer
/// than this code pass through untouched.
pub(super) struct Status([u8; seccomp::STATX]);

const MASK: usize = 0;
const BLKSIZE: usize = 4;
const NLINK: usize = 16;
const UID: usize = 20;
const GID: usize = 24;
const MODE: usize = 28;
const INO: usize = 32;
const SIZE: usize = 40;
const BLOCKS: usize = 48;
const ATIME: usize = 64;
const CTIME: usize = 96;
const MTIME: usize = 112;
const RDEV: usize = 128;
const DEV: usize = 136;

impl Status {
    pub(super) fn of(file: BorrowedFd<'_>, flags: i32, mask: u32) -> Result<Self, Errno> {
        seccomp::statx(file, flags, mask).map(Self)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn set_owner(&mut self, owner: Owner) {
        self.set_u32(UID, owner.uid);
        self.set_u32(GID, owner.gid);
    }

    /// Makes an empty file the device that it stands for.
    pub(super) fn set_device(&mut self, device: DeviceNumber) {
        let kind = if device.block { libc::S_IFBLK } else { libc::S_IFCHR };
        let mode = kind | self.mode() & !libc::S_IFMT;
        self.0[MODE..MODE + 2].copy_from_slice(&(mode as u16).to_ne_bytes());
        self.set_u32(RDEV, device.major);
        self.set_u32(RDEV + 4, device.minor);
    }

    fn set_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|n| self.0[at + n])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.field(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.field(at))
    }

    fn mode(&self) -> u32 {
        u16::from_ne_bytes(self.field(MODE)).into()
    }

    /// A time: seconds and nanoseconds.
    fn time(&self, at: usize) -> (u64, u32) {
        (self.u64(at), self.u32(at + 8))
    }

    /// A device's number as the kernel hands it out (`new_encode_dev`, linux/kdev_t.h).
    fn device(&self, at: usize) -> u32 {
        let (major, minor) = (self.u32(at), self.u32(at + 4));
        minor & 0xff | major << 8 | (minor & !0xff) << 12
    }

    /// The struct of `layout`.
    ///
    /// # Errors
    /// EOVERFLOW where a field is too narrow, as stat(2) has it.
    pub(super) fn layout(&self, layout: Layout) -> Result<Vec<u8>, Errno> {
        debug_assert!(self.u32(MASK) & libc::STATX_BASIC_STATS == libc::STATX_BASIC_STATS);
        match layout {
            Layout::X86_64 => Ok(self.x86_64()),
            Layout::Generic => Ok(self.generic()),
            Layout::Old => self.old(),
            Layout::I386 => self.i386(),
            Layout::I386Large => Ok(self.i386_large()),
        }
    }

    /// asm/stat.h on x86, `struct stat` outside of i386.
    fn x86_64(&self) -> Vec<u8> {
        let mut out = Fields::default();
        out.u64(self.device(DEV).into()).u64(self.u64(INO)).u64(self.u32(NLINK).into());
        out.u32(self.mode()).u32(self.u32(UID)).u32(self.u32(GID)).u32(0);
        out.u64(self.device(RDEV).into()).u64(self.u64(SIZE)).u64(self.u32(BLKSIZE).into()).u64(self.u64(BLOCKS));
        for (seconds, nanoseconds) in [ATIME, MTIME, CTIME].map(|at| self.time(at)) {
            out.u64(seconds).u64(nanoseconds.into());
        }
        out.u64(0).u64(0).u64(0);
        out.0
    }

    /// asm-generic/stat.h: `struct stat`.
    fn generic(&self) -> Vec<u8> {
        let mut out = Fields::default();
        out.u64(self.device(DEV).into()).u64(self.u64(INO));
        out.u32(self.mode()).u32(self.u32(NLINK)).u32(self.u32(UID)).u32(self.u32(GID));
        out.u64(self.device(RDEV).into()).u64(0).u64(self.u64(SIZE));
        out.u32(self.u32(BLKSIZE)).u32(0).u64(self.u64(BLOCKS));
        for (seconds, nanoseconds) in [ATIME, MTIME, CTIME].map(|at| self.time(at)) {
            out.u64(seconds).u64(nanoseconds.into());
        }
        out.u32(0).u32(0);
        out.0
    }

    /// asm/stat.h on x86: `struct __old_kernel_stat`.
    fn old(&self) -> Result<Vec<u8>, Errno> {
        let size = i32::try_from(self.u64(SIZE)).map_err(|_| Errno::OVERFLOW)?;
        let mut out = Fields::default();
        out.u16(self.device(DEV)).u16(self.u64(INO) as u32).u16(self.mode()).u16(self.u32(NLINK));
        out.u16(narrow(self.u32(UID), Narrow)).u16(narrow(self.u32(GID), Narrow)).u16(self.device(RDEV)).u16(0);
        out.u32(size.cast_unsigned());
        for (seconds, _) in [ATIME, MTIME, CTIME].map(|at| self.time(at)) {
            out.u32(seconds as u32);
        }
        Ok(out.0)
    }

    /// asm/stat.h on x86: `struct stat` of i386.
    fn i386(&self) -> Result<Vec<u8>, Errno> {
        let number = u32::try_from(self.u64(INO)).map_err(|_| Errno::OVERFLOW)?;
        let size = i32::try_from(self.u64(SIZE)).map_err(|_| Errno::OVERFLOW)?;
        let mut out = Fields::default();
        out.u32(self.device(DEV)).u32(number).u16(self.mode()).u16(self.u32(NLINK));
        out.u16(narrow(self.u32(UID), Narrow)).u16(narrow(self.u32(GID), Narrow));
        out.u32(self.device(RDEV)).u32(size.cast_unsigned()).u32(self.u32(BLKSIZE)).u32(self.u64(BLOCKS) as u32);
        for (seconds, nanoseconds) in [ATIME, MTIME, CTIME].map(|at| self.time(at)) {
            out.u32(seconds as u32).u32(nanoseconds);
        }
        out.u32(0).u32(0);
        Ok(out.0)
    }

    /// asm/stat.h on x86: `struct stat64` of i386.
    fn i386_large(&self) -> Vec<u8> {
        let mut out = Fields::default();
        out.u64(self.device(DEV).into()).u32(0).u32(self.u64(INO) as u32);
        out.u32(self.mode()).u32(self.u32(NLINK)).u32(self.u32(UID)).u32(self.u32(GID));
        out.u64(self.device(RDEV).into()).u32(0).u64(self.u64(SIZE)).u32(self.u32(BLKSIZE)).u64(self.u64(BLOCKS));
        for (seconds, nanoseconds) in [ATIME, MTIME, CTIME].map(|at| self.time(at)) {
            out.u32(seconds as u32).u32(nanoseconds);
        }
        out.u64(self.u64(INO));
        out.0
    }
}

/// Fields one after the other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn u16(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&(value as u16).to_ne_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn status(path: &str) -> Status {
        let file = std::fs::File::open(path).unwrap();
        Status::of(file.as_fd(), 0, libc::STATX_BASIC_STATS).unwrap()
    }

    #[test]
    fn each_layout_is_as_long_as_the_kernels_struct() {
        let status = status("/etc/passwd");
        let lengths = [Layout::X86_64, Layout::Generic, Layout::Old, Layout::I386, Layout::I386Large]
            .map(|layout| status.layout(layout).unwrap().len());
        assert_eq!(lengths, [144, 128, 32, 64, 96]);
    }

    #[test]
    fn the_layout_of_this_machine_is_that_of_stat() {
        for path in ["/etc/passwd", "/dev/null"] {
            let (ours, theirs) = (status(path), std::fs::metadata(path).unwrap());
            let layout = if cfg!(target_arch = "x86_64") { Layout::X86_64 } else { Layout::Generic };
            let bytes = ours.layout(layout).unwrap();
            let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
            let rdev = if cfg!(target_arch = "x86_64") { 40 } else { 32 };
            assert_eq!((word(0), word(8)), (theirs.dev(), theirs.ino()), "{path}");
            assert_eq!((word(rdev), word(48)), (theirs.rdev(), theirs.size()), "{path}");
            assert_eq!(word(88) as i64, theirs.mtime(), "{path}");
        }
    }

    #[test]
    fn a_record_takes_the_place_of_owner_and_kind() {
        let mut status = status("/etc/passwd");
        status.set_owner(Owner { uid: 100_000, gid: 7 });
        status.set_device(DeviceNumber { block: true, major: 8, minor: 0x101 });
        assert_eq!(status.mode(), libc::S_IFBLK | 0o644);
        assert_eq!(u64::from(status.device(RDEV)), libc::makedev(8, 0x101));
        let i386 = status.layout(Layout::I386).unwrap();
        assert_eq!(u16::from_ne_bytes([i386[12], i386[13]]), 65_534, "too large for 16 bits");
        assert_eq!(u16::from_ne_bytes([i386[14], i386[15]]), 7);
    }
}
