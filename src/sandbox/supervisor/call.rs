//! The system calls that the emulation is about, whatever their number in an ABI.

/// A system call by its manual page's name. Where an ABI has several forms of one,
/// the form stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Chown(Width),
    Lchown(Width),
    Fchown(Width),
    Fchownat,
    Setuid(Width),
    Setgid(Width),
    Setreuid(Width),
    Setregid(Width),
    Setresuid(Width),
    Setresgid(Width),
    Setfsuid(Width),
    Setfsgid(Width),
    Setgroups(Width),
    Getuid(Width),
    Geteuid(Width),
    Getgid(Width),
    Getegid(Width),
    Getresuid(Width),
    Getresgid(Width),
    Getgroups(Width),
    Capget,
    Capset,
    Prctl,
    Stat(Layout),
    Lstat(Layout),
    Fstat(Layout),
    Fstatat(Layout),
    Statx,
    Open,
    Openat,
    Openat2,
    Creat,
    Mkdir,
    Mkdirat,
    Symlink,
    Symlinkat,
    Mknod,
    Mknodat,
    Getxattr(Target),
    Setxattr(Target),
    Listxattr(Target),
    Removexattr(Target),
    Execve,
    Execveat,
    /// getsockopt(2) of `SO_PEERCRED`.
    Getsockopt,
    /// i386's socketcall(2), among whose functions is getsockopt.
    Socketcall,
    /// setrlimit(2) of the limit that carries the credentials.
    Setrlimit,
    /// prlimit(2) of it.
    Prlimit64,
    /// Calls that a kernel may lack, and that would go past the emulation.
    Absent,
    /// Calls for which even a container's root has no right.
    Forbidden,
}

/// How wide a uid or gid is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// `old_uid_t` of i386: 16 bits.
    Narrow,
    /// 32 bits.
    Wide,
}

/// The struct that a stat call fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `struct stat` of x86-64, also x32's.
    X86_64,
    /// `struct stat` of asm-generic/stat.h: aarch64.
    Generic,
    /// `struct __old_kernel_stat`: i386 before Linux 2.0.
    Old,
    /// `struct stat` of i386.
    I386,
    /// `struct stat64` of i386.
    I386Large,
}

/// What the first argument of a xattr call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A path, a symlink at its end followed.
    Path,
    /// A path, a symlink at its end not followed.
    Link,
    /// A descriptor.
    File,
}

/// When a call is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Always.
    Always,
    /// If argument `.0` has one of the bits `.1`.
    Bits(u8, u32),
    /// If the bits `.1` of argument `.0` are one of the values `.2`.
    Among(u8, u32, &'static [u32]),
}

/// Every bit of an argument's lower half.
const ALL: u32 = u32::MAX;

/// open(2) `O_CREAT` and the bit of `O_TMPFILE` that is its own; the same on all three
/// architectures.
pub(super) const CREATES: u32 = 0o100 | 0o20_000_000;

/// prctl(2): PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP,
/// PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_CAP_AMBIENT.
const OPTIONS: &[u32] = &[7, 8, 23, 24, 27, 28, 47];

/// mknod(2): `S_IFCHR` and `S_IFBLK` of `S_IFMT`.
const DEVICES: &[u32] = &[0o020_000, 0o060_000];

/// getrlimit(2) `RLIMIT_RTTIME`, the same on all three architectures.
const RTTIME: &[u32] = &[15];

/// getsockopt(2) `SO_PEERCRED`.
const PEERCRED: &[u32] = &[17];

/// socketcall(2) `SYS_GETSOCKOPT`.
const FUNCTIONS: &[u32] = &[15];

impl Call {
    /// When the emulation of everything is interested in it.
    pub(super) fn when(self) -> When {
        match self {
            Self::Open => When::Bits(1, CREATES),
            Self::Openat => When::Bits(2, CREATES),
            Self::Prctl => When::Among(0, ALL, OPTIONS),
            Self::Setrlimit => When::Among(0, ALL, RTTIME),
            Self::Prlimit64 => When::Among(1, ALL, RTTIME),
            Self::Getsockopt => When::Among(2, ALL, PEERCRED),
            Self::Socketcall => When::Among(0, ALL, FUNCTIONS),
            _ => When::Always,
        }
    }

    /// When it makes a device; never for most calls.
    pub(super) fn when_a_device(self) -> Option<When> {
        match self {
            Self::Mknod => Some(When::Among(1, 0o170_000, DEVICES)),
            Self::Mknodat => Some(When::Among(2, 0o170_000, DEVICES)),
            _ => None,
        }
    }

    /// Whether it gives a file another owner.
    pub(super) fn is_chown(self) -> bool {
        matches!(self, Self::Chown(_) | Self::Lchown(_) | Self::Fchown(_) | Self::Fchownat)
    }

    /// Whether it changes nothing, so that the kernel can do it after all.
    pub(super) fn only_asks(self) -> bool {
        matches!(
            self,
            Self::Stat(_)
                | Self::Lstat(_)
                | Self::Fstat(_)
                | Self::Fstatat(_)
                | Self::Statx
                | Self::Execve
                | Self::Execveat
                | Self::Getsockopt
                | Self::Socketcall
        )
    }

    /// Whether it changes what a process may do.
    pub(super) fn sets_credentials(self) -> bool {
        matches!(
            self,
            Self::Setuid(_)
                | Self::Setgid(_)
                | Self::Setreuid(_)
                | Self::Setregid(_)
                | Self::Setresuid(_)
                | Self::Setresgid(_)
                | Self::Setfsuid(_)
                | Self::Setfsgid(_)
                | Self::Setgroups(_)
                | Self::Capset
        )
    }
}
