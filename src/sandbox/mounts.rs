//! Mounts by descriptors: made detached, then attached to a place of the root that was
//! opened inside of it. No path is walked twice, and none leads out of the root.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, move_mount, open_tree,
};

use super::Refusal;

/// A new filesystem of `kind` with `options`, attached nowhere.
pub(super) fn fresh(kind: &str, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        fsconfig_set_string(&context, *name, *value)?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// What is at `path` of this machine, with all that is mounted under it, attached nowhere.
pub(super) fn existing(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

/// Attaches `mount` at `place`.
pub(super) fn attach(mount: impl AsFd, place: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", place, "", flags)?)
}

/// A root filesystem under which mounts go.
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn open(path: &Path) -> Result<Self, Refusal> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty());
        root.map(Self).map_err(|source| Refusal::call("open", path, source))
    }

    /// The directory itself.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// The directory at `path`, which no symbolic link may lead to.
    pub(super) fn directory(&self, path: &str) -> Result<OwnedFd, Refusal> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        openat2(&self.0, path, flags, Mode::empty(), resolve).map_err(|errno| self.refusal(path, errno))
    }

    /// The file at `path`, or the link that is there: a mount on a link hides it, and
    /// leads nowhere.
    pub(super) fn file(&self, path: &str) -> Result<OwnedFd, Refusal> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        openat2(&self.0, path, flags, Mode::empty(), resolve).map_err(|errno| self.refusal(path, errno))
    }

    fn refusal(&self, path: &str, errno: Errno) -> Refusal {
        let is = match errno {
            Errno::LOOP => "behind a symbolic link",
            Errno::NOTDIR => "no directory",
            Errno::NOENT => "not there",
            _ => return Refusal::call("open", format!("/{path}"), errno),
        };
        Refusal::MountPoint { path: path.to_owned(), is: is.to_owned() }
    }
}
