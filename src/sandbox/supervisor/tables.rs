//! Which number each call has in each ABI that a process can use on this architecture.

use super::call::Call::{self, *};
use super::call::Layout;
use super::call::Target::{File, Link, Path};
use super::call::Width::{Narrow, Wide};

/// The calls of one ABI.
pub(super) struct Abi {
    /// `AUDIT_ARCH_*` (linux/audit.h), which the kernel gives with each call.
    pub(super) arch: u32,
    /// Number and call.
    pub(super) calls: Vec<(u32, Call)>,
}

/// The ABIs of the architecture that this program is built for. A call of any other
/// ABI ends its process, since none of it could be emulated.
pub(super) fn abis() -> Vec<Abi> {
    if cfg!(target_arch = "x86_64") { vec![x86_64(), i386()] } else { vec![aarch64()] }
}

/// asm/unistd.h: `__X32_SYSCALL_BIT`.
const X32: u32 = 0x4000_0000;

/// asm/unistd_64.h, and with [`X32`] asm/unistd_x32.h, which differ in the calls that
/// take pointers to pointers or lengths.
fn x86_64() -> Abi {
    let differ = [(X32 + 520, Execve), (X32 + 545, Execveat), (X32 + 542, Getsockopt), (X32 + 528, Forbidden)];
    let same = |call: &Call| !matches!(call, Execve | Execveat | Getsockopt);
    let x32 = X86_64.iter().filter(|(_, call)| same(call)).map(|(nr, call)| (X32 + nr, *call));
    Abi { arch: 0xc000_003e, calls: X86_64.iter().copied().chain(x32).chain(differ).collect() }
}

/// asm/unistd_32.h on x86.
fn i386() -> Abi {
    Abi { arch: 0x4000_0003, calls: I386.to_vec() }
}

/// asm-generic/unistd.h.
fn aarch64() -> Abi {
    Abi { arch: 0xc000_00b7, calls: AARCH64.to_vec() }
}

const X86_64: &[(u32, Call)] = &[
    (92, Chown(Wide)),
    (94, Lchown(Wide)),
    (93, Fchown(Wide)),
    (260, Fchownat),
    (105, Setuid(Wide)),
    (106, Setgid(Wide)),
    (113, Setreuid(Wide)),
    (114, Setregid(Wide)),
    (117, Setresuid(Wide)),
    (119, Setresgid(Wide)),
    (122, Setfsuid(Wide)),
    (123, Setfsgid(Wide)),
    (116, Setgroups(Wide)),
    (102, Getuid(Wide)),
    (107, Geteuid(Wide)),
    (104, Getgid(Wide)),
    (108, Getegid(Wide)),
    (118, Getresuid(Wide)),
    (120, Getresgid(Wide)),
    (115, Getgroups(Wide)),
    (125, Capget),
    (126, Capset),
    (157, Prctl),
    (4, Stat(Layout::X86_64)),
    (6, Lstat(Layout::X86_64)),
    (5, Fstat(Layout::X86_64)),
    (262, Fstatat(Layout::X86_64)),
    (332, Statx),
    (2, Open),
    (257, Openat),
    (437, Openat2),
    (85, Creat),
    (83, Mkdir),
    (258, Mkdirat),
    (88, Symlink),
    (266, Symlinkat),
    (133, Mknod),
    (259, Mknodat),
    (191, Getxattr(Path)),
    (192, Getxattr(Link)),
    (193, Getxattr(File)),
    (188, Setxattr(Path)),
    (189, Setxattr(Link)),
    (190, Setxattr(File)),
    (194, Listxattr(Path)),
    (195, Listxattr(Link)),
    (196, Listxattr(File)),
    (197, Removexattr(Path)),
    (198, Removexattr(Link)),
    (199, Removexattr(File)),
    (59, Execve),
    (322, Execveat),
    (55, Getsockopt),
    (160, Setrlimit),
    (302, Prlimit64),
    (425, Absent),    // io_uring_setup: opens and creates without system calls
    (463, Absent),    // setxattrat
    (464, Absent),    // getxattrat
    (465, Absent),    // listxattrat
    (466, Absent),    // removexattrat
    (246, Forbidden), // kexec_load
    (320, Forbidden), // kexec_file_load
    (169, Forbidden), // reboot
    (175, Forbidden), // init_module
    (313, Forbidden), // finit_module
    (176, Forbidden), // delete_module
    (167, Forbidden), // swapon
    (168, Forbidden), // swapoff
];

const I386: &[(u32, Call)] = &[
    (182, Chown(Narrow)),
    (16, Lchown(Narrow)),
    (95, Fchown(Narrow)),
    (212, Chown(Wide)),
    (198, Lchown(Wide)),
    (207, Fchown(Wide)),
    (298, Fchownat),
    (23, Setuid(Narrow)),
    (46, Setgid(Narrow)),
    (70, Setreuid(Narrow)),
    (71, Setregid(Narrow)),
    (164, Setresuid(Narrow)),
    (170, Setresgid(Narrow)),
    (138, Setfsuid(Narrow)),
    (139, Setfsgid(Narrow)),
    (81, Setgroups(Narrow)),
    (213, Setuid(Wide)),
    (214, Setgid(Wide)),
    (203, Setreuid(Wide)),
    (204, Setregid(Wide)),
    (208, Setresuid(Wide)),
    (210, Setresgid(Wide)),
    (215, Setfsuid(Wide)),
    (216, Setfsgid(Wide)),
    (206, Setgroups(Wide)),
    (24, Getuid(Narrow)),
    (49, Geteuid(Narrow)),
    (47, Getgid(Narrow)),
    (50, Getegid(Narrow)),
    (165, Getresuid(Narrow)),
    (171, Getresgid(Narrow)),
    (80, Getgroups(Narrow)),
    (199, Getuid(Wide)),
    (201, Geteuid(Wide)),
    (200, Getgid(Wide)),
    (202, Getegid(Wide)),
    (209, Getresuid(Wide)),
    (211, Getresgid(Wide)),
    (205, Getgroups(Wide)),
    (184, Capget),
    (185, Capset),
    (172, Prctl),
    (18, Stat(Layout::Old)),
    (84, Lstat(Layout::Old)),
    (28, Fstat(Layout::Old)),
    (106, Stat(Layout::I386)),
    (107, Lstat(Layout::I386)),
    (108, Fstat(Layout::I386)),
    (195, Stat(Layout::I386Large)),
    (196, Lstat(Layout::I386Large)),
    (197, Fstat(Layout::I386Large)),
    (300, Fstatat(Layout::I386Large)),
    (383, Statx),
    (5, Open),
    (295, Openat),
    (437, Openat2),
    (8, Creat),
    (39, Mkdir),
    (296, Mkdirat),
    (83, Symlink),
    (304, Symlinkat),
    (14, Mknod),
    (297, Mknodat),
    (229, Getxattr(Path)),
    (230, Getxattr(Link)),
    (231, Getxattr(File)),
    (226, Setxattr(Path)),
    (227, Setxattr(Link)),
    (228, Setxattr(File)),
    (232, Listxattr(Path)),
    (233, Listxattr(Link)),
    (234, Listxattr(File)),
    (235, Removexattr(Path)),
    (236, Removexattr(Link)),
    (237, Removexattr(File)),
    (11, Execve),
    (358, Execveat),
    (365, Getsockopt),
    (102, Socketcall),
    (75, Setrlimit),
    (340, Prlimit64),
    (425, Absent),    // io_uring_setup
    (463, Absent),    // setxattrat
    (464, Absent),    // getxattrat
    (465, Absent),    // listxattrat
    (466, Absent),    // removexattrat
    (283, Forbidden), // kexec_load
    (88, Forbidden),  // reboot
    (128, Forbidden), // init_module
    (350, Forbidden), // finit_module
    (129, Forbidden), // delete_module
    (87, Forbidden),  // swapon
    (115, Forbidden), // swapoff
];

const AARCH64: &[(u32, Call)] = &[
    (55, Fchown(Wide)),
    (54, Fchownat),
    (146, Setuid(Wide)),
    (144, Setgid(Wide)),
    (145, Setreuid(Wide)),
    (143, Setregid(Wide)),
    (147, Setresuid(Wide)),
    (149, Setresgid(Wide)),
    (151, Setfsuid(Wide)),
    (152, Setfsgid(Wide)),
    (159, Setgroups(Wide)),
    (174, Getuid(Wide)),
    (175, Geteuid(Wide)),
    (176, Getgid(Wide)),
    (177, Getegid(Wide)),
    (148, Getresuid(Wide)),
    (150, Getresgid(Wide)),
    (158, Getgroups(Wide)),
    (90, Capget),
    (91, Capset),
    (167, Prctl),
    (80, Fstat(Layout::Generic)),
    (79, Fstatat(Layout::Generic)),
    (291, Statx),
    (56, Openat),
    (437, Openat2),
    (34, Mkdirat),
    (36, Symlinkat),
    (33, Mknodat),
    (8, Getxattr(Path)),
    (9, Getxattr(Link)),
    (10, Getxattr(File)),
    (5, Setxattr(Path)),
    (6, Setxattr(Link)),
    (7, Setxattr(File)),
    (11, Listxattr(Path)),
    (12, Listxattr(Link)),
    (13, Listxattr(File)),
    (14, Removexattr(Path)),
    (15, Removexattr(Link)),
    (16, Removexattr(File)),
    (221, Execve),
    (281, Execveat),
    (209, Getsockopt),
    (164, Setrlimit),
    (261, Prlimit64),
    (425, Absent),    // io_uring_setup
    (463, Absent),    // setxattrat
    (464, Absent),    // getxattrat
    (465, Absent),    // listxattrat
    (466, Absent),    // removexattrat
    (104, Forbidden), // kexec_load
    (294, Forbidden), // kexec_file_load
    (142, Forbidden), // reboot
    (105, Forbidden), // init_module
    (273, Forbidden), // finit_module
    (106, Forbidden), // delete_module
    (224, Forbidden), // swapon
    (225, Forbidden), // swapoff
];

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Every ABI, also those of other architectures.
    pub(in super::super) fn all() -> [Abi; 3] {
        [x86_64(), i386(), aarch64()]
    }

    #[test]
    fn no_number_stands_twice_in_an_abi() {
        for abi in all() {
            let numbers: HashSet<u32> = abi.calls.iter().map(|(nr, _)| *nr).collect();
            assert_eq!(numbers.len(), abi.calls.len(), "{:#x}", abi.arch);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn numbers_are_those_of_the_kernels_headers() {
        for (nr, call) in [
            (libc::SYS_chown, Chown(Wide)),
            (libc::SYS_fchownat, Fchownat),
            (libc::SYS_setresgid, Setresgid(Wide)),
            (libc::SYS_getgroups, Getgroups(Wide)),
            (libc::SYS_newfstatat, Fstatat(Layout::X86_64)),
            (libc::SYS_statx, Statx),
            (libc::SYS_openat2, Openat2),
            (libc::SYS_fremovexattr, Removexattr(File)),
            (libc::SYS_prlimit64, Prlimit64),
        ] {
            assert!(X86_64.contains(&(nr as u32, call)), "{call:?}");
        }
    }
}
