//! On what a directory lies: the kind of its filesystem, what is left of it, and of its user's
//! quota there.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, access, getxattr, statfs, statvfs};
use rustix::io::Errno;
use serde::Serialize;

use crate::sandbox::{Quota, quota};

/// Where the bytes of a filesystem are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A disk of this machine.
    Local,
    /// Other machines, or a program that serves it.
    Remote,
    /// This machine's memory.
    Memory,
    /// An overlay, on which lies no other one's upper directory.
    Overlay,
}

/// Kinds of filesystems by `f_type` of statfs(2), with the names of /proc/filesystems.
const KINDS: [(u32, &str, Class); 25] = [
    (0xef53, "ext4", Class::Local),
    (0x5846_5342, "xfs", Class::Local),
    (0x9123_683e, "btrfs", Class::Local),
    (0x2fc1_2fc1, "zfs", Class::Local),
    (0xf2f5_2010, "f2fs", Class::Local),
    (0xca45_1a4e, "bcachefs", Class::Local),
    (0x0102_1994, "tmpfs", Class::Memory),
    (0x8584_58f6, "ramfs", Class::Memory),
    (0x794c_7630, "overlay", Class::Overlay),
    (0x6969, "nfs", Class::Remote),
    (0x0bd0_0bd0, "lustre", Class::Remote),
    (0x4750_4653, "gpfs", Class::Remote),
    (0x1983_0326, "beegfs", Class::Remote),
    (0x00c3_6400, "ceph", Class::Remote),
    (0x1803_1977, "wekafs", Class::Remote),
    (0x2003_0528, "orangefs", Class::Remote),
    (0xaad7_aaea, "panfs", Class::Remote),
    (0x0116_1970, "gfs2", Class::Local),
    (0x517b, "smb", Class::Remote),
    (0xff53_4d42, "cifs", Class::Remote),
    (0xfe53_4d42, "smb2", Class::Remote),
    (0x5346_414f, "afs", Class::Remote),
    (0x0102_1997, "9p", Class::Remote),
    // sshfs and gVisor's, and some clients of Gluster, BeeGFS and GPFS
    (0x6573_5546, "fuse", Class::Remote),
    (0x7371_7368, "squashfs", Class::Local),
];

/// On what a directory lies.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filesystem {
    /// The directory, or what is to be made.
    pub path: PathBuf,
    /// The nearest directory above that is there: itself, most often.
    pub exists: PathBuf,
    /// Its kind: `ext4`, `nfs4`, `fuse.sshfs`.
    pub kind: String,
    /// Where its bytes are.
    pub class: Class,
    /// Whether it is mounted to be read alone.
    pub read_only: bool,
    /// Whether this user may write there.
    pub writable: bool,
    /// Whether files there may have attributes `user.*`: none where that can't be told.
    pub user_attributes: Option<bool>,
    /// How many bytes this user may still write, as the filesystem counts.
    pub free: u64,
    /// How many bytes it has.
    pub size: u64,
    /// How many inodes are free; none where it makes them as needed.
    pub free_inodes: Option<u64>,
    /// This user's quota, where the kernel knows of one.
    pub quota: Option<Quota>,
}

impl Filesystem {
    /// What `path` is on, or would be; none if nothing of it can be looked at. `root` has the
    /// list of mounts.
    pub fn of(root: &Path, path: &Path) -> Option<Self> {
        let exists = path.ancestors().find(|path| path.is_dir())?.to_owned();
        let (kind, space) = (statfs(&exists).ok()?, statvfs(&exists).ok()?);
        let (name, class) = kind_of(kind.f_type as u32);
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
        let real = fs::canonicalize(&exists).ok()?;
        // the kernel has one number for all FUSE filesystems, and for all versions of NFS
        let named = mounted_as(&mounts, &real).filter(|kind| class == Class::Remote || kind == name);
        // getxattr(2): ENODATA is "the named attribute does not exist", ENOTSUP "not supported by the filesystem"
        let user_attributes = match getxattr(&exists, "user.overlay.dlpack", &mut [0u8; 1]) {
            Ok(_) | Err(Errno::NODATA | Errno::RANGE) => Some(true),
            Err(Errno::OPNOTSUPP) => Some(false),
            Err(_) => None,
        };
        Some(Self {
            path: path.to_owned(),
            kind: named.unwrap_or_else(|| name.to_owned()),
            class,
            read_only: space.f_flag.contains(StatVfsMountFlags::RDONLY),
            writable: access(&exists, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
            user_attributes,
            free: space.f_bavail.saturating_mul(space.f_frsize),
            size: space.f_blocks.saturating_mul(space.f_frsize),
            // statvfs(3): "total number of inodes" is 0 where there is no such number
            free_inodes: (space.f_files > 0).then_some(space.f_favail),
            quota: quota(&exists),
            exists,
        })
    }

    /// Whether steps can write here in an overlay's upper directory.
    pub fn takes_overlays(&self) -> bool {
        // overlayfs.rst: "The upper filesystem … must support the creation of trusted.* and/or
        // user.* extended attributes … NFS is not suitable."
        matches!(self.class, Class::Local | Class::Memory) && self.user_attributes != Some(false)
    }
}

/// The name and the class of what statfs(2) calls `f_type`; what is not known is a disk's.
pub fn kind_of(f_type: u32) -> (&'static str, Class) {
    let found = KINDS.iter().find(|(magic, ..)| *magic == f_type);
    found.map_or(("unknown", Class::Local), |(_, name, class)| (name, *class))
}

/// The kind of the mount that `path` is on, by proc(5)'s `mountinfo`.
pub fn mounted_as(mountinfo: &str, path: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        // proc_pid_mountinfo(5): the mount point is the fifth field; after " - " comes the kind
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?.replace("\\040", " ");
        path.starts_with(&point).then_some((point.len(), after.split(' ').next()?))
    });
    // of two on one place the later is seen
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind.to_owned())
}

/// A local directory that this user may write to and that overlays can lie on: of `candidates`
/// the one with the most space.
pub fn scratch_among(root: &Path, candidates: &[PathBuf]) -> Option<Filesystem> {
    let found = candidates.iter().filter(|path| path.is_dir()).filter_map(|path| Filesystem::of(root, path));
    let usable = found.filter(|place| place.writable && !place.read_only && place.takes_overlays());
    usable.filter(|place| place.class == Class::Local).max_by_key(|place| place.free)
}
