//! How much a user may still write to a filesystem: quotactl_fd(2).
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use serde::Serialize;

/// quotactl(2): `SUBCMDSHIFT`, by which the command stands beside the kind of quota.
const SUBCMDSHIFT: u32 = 8;
/// quotactl(2): the size of a block in which limits are counted, in bytes.
const BLOCK: u64 = 1024;

/// How much a user has used of a filesystem, and may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// How many bytes are used.
    pub used: u64,
    /// How many bytes may be; none if as many as there are.
    pub limit: Option<u64>,
    /// How many inodes are used.
    pub inodes: u64,
    /// How many inodes may be; none if as many as there are.
    pub inode_limit: Option<u64>,
}

/// The quota of this process's user on the filesystem of the directory `path`; none where there
/// is none, or the kernel doesn't know of it.
pub fn quota(path: &Path) -> Option<Quota> {
    let directory = File::open(path).ok()?;
    let command = (libc::Q_GETQUOTA as u32) << SUBCMDSHIFT | libc::USRQUOTA as u32;
    let uid = rustix::process::getuid().as_raw();
    // SAFETY: dqblk is plain data, for which zeros are valid.
    let mut found: libc::dqblk = unsafe { std::mem::zeroed() };
    // SAFETY: quotactl_fd writes one dqblk.
    let result = unsafe { libc::syscall(libc::SYS_quotactl_fd, directory.as_raw_fd(), command, uid, &raw mut found) };
    if result != 0 {
        return None;
    }
    // quotactl(2): the soft limit may be passed for a while, the hard one never; 0 is none
    let least = |soft: u64, hard: u64| [soft, hard].into_iter().filter(|limit| *limit > 0).min();
    Some(Quota {
        used: found.dqb_curspace,
        limit: least(found.dqb_bsoftlimit, found.dqb_bhardlimit).map(|blocks| blocks.saturating_mul(BLOCK)),
        inodes: found.dqb_curinodes,
        inode_limit: least(found.dqb_isoftlimit, found.dqb_ihardlimit),
    })
}
