//! chown(2) and its family.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Gid, Uid};
use rustix::io::Errno;

use super::call::Width;
use super::capabilities::capability;
use super::credentials::{Credentials, UNCHANGED};
use super::ids::widen;
use super::ownership::{kind_and_mode, name};
use super::places::At;
use super::tracee::Tracee;
use super::{Answer, Supervisor};
use crate::sandbox::record::{Owner, XATTR};

impl Supervisor {
    /// chown(2), lchown(2): path, owner, group.
    pub(super) fn chown(&mut self, tracee: &Tracee<'_>, follow: bool, width: Width) -> Result<Answer, Errno> {
        let path = tracee.path(tracee.args[0])?;
        let file = self.places.open(tracee, At::new(libc::AT_FDCWD, &path, follow))?;
        self.change_owner(tracee, &file, widen(tracee.unsigned(1), width), widen(tracee.unsigned(2), width))
    }

    /// fchown(2): descriptor, owner, group.
    pub(super) fn fchown(&mut self, tracee: &Tracee<'_>, width: Width) -> Result<Answer, Errno> {
        let file = tracee.file(tracee.int(0))?;
        self.change_owner(tracee, &file, widen(tracee.unsigned(1), width), widen(tracee.unsigned(2), width))
    }

    /// fchownat(2): directory, path, owner, group, flags.
    pub(super) fn fchownat(&mut self, tracee: &Tracee<'_>) -> Result<Answer, Errno> {
        let flags = AtFlags::from_bits_retain(tracee.unsigned(4));
        if !(AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW).contains(flags) {
            return Err(Errno::INVAL);
        }
        let file = self.named(tracee, 0, 1, flags)?;
        self.change_owner(tracee, &file, tracee.unsigned(2), tracee.unsigned(3))
    }

    /// Opens what a call of the `…at` kind names with arguments `directory` and `path`.
    pub(super) fn named(
        &mut self,
        tracee: &Tracee<'_>,
        directory: usize,
        path: usize,
        flags: AtFlags,
    ) -> Result<OwnedFd, Errno> {
        let empty = flags.contains(AtFlags::EMPTY_PATH);
        // Linux 6.11: with AT_EMPTY_PATH a null pointer is an empty path
        let path = if empty && tracee.args[path] == 0 { c"".to_owned() } else { tracee.path(tracee.args[path])? };
        match (path.is_empty(), empty) {
            (true, false) => Err(Errno::NOENT),
            (true, true) if tracee.int(directory) == libc::AT_FDCWD => tracee.working_directory(),
            (true, true) => tracee.file(tracee.int(directory)),
            (false, _) => {
                let follow = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
                self.places.open(tracee, At::new(tracee.int(directory), &path, follow))
            }
        }
    }

    fn change_owner(&mut self, tracee: &Tracee<'_>, file: &OwnedFd, uid: u32, gid: u32) -> Result<Answer, Errno> {
        let old = self.ownership.owner(file)?.unwrap_or_default();
        let keep = |id, old| if id == UNCHANGED { old } else { id };
        let new = Owner { uid: keep(uid, old.uid), gid: keep(gid, old.gid) };
        if !may_chown(&*self.processes.credentials(tracee.pid)?, old, new) {
            return Err(Errno::PERM);
        }
        let (kind, _) = kind_and_mode(file)?;
        // to the one id that there is, for all that goes with it: the check that the mount
        // can be written, copy-up, ctime, and that set-user-ID and set-group-ID go
        let (real_uid, real_gid) = ((uid != UNCHANGED).then_some(Uid::ROOT), (gid != UNCHANGED).then_some(Gid::ROOT));
        let changed = rustix::fs::chownat(file, c"", real_uid, real_gid, AtFlags::EMPTY_PATH);
        match changed {
            // a device of the host's, whose owner has no name here
            Err(Errno::PERM) if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) => {}
            result => result?,
        }
        if kind == FileType::RegularFile {
            // chown(2): "the kernel … clears … file capabilities"
            let _ = rustix::fs::removexattr(name(file), format!("{XATTR}security.capability"));
        }
        if new != old {
            self.ownership.give(file, new)?;
        }
        Ok(Answer::Value(0))
    }
}

/// chown(2): "Only a privileged process … may change the owner of a file. The owner of a
/// file may change the group of the file to any group of which that owner is a member."
fn may_chown(credentials: &Credentials, old: Owner, new: Owner) -> bool {
    let owns = credentials.uid.filesystem == old.uid;
    credentials.may(capability::CHOWN)
        || owns && new.uid == old.uid && (new.gid == old.gid || credentials.in_group(new.gid))
}
