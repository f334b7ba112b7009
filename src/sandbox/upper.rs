//! What a sandbox shows as its root: the lower directories under an upper directory that
//! takes what steps write, or a copy of them.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::containment::Containment;
use super::places::BELOW;
use super::spec::Opening;
use super::{Fallback, Refusal};

/// What a sandbox shows as its root, and where what steps write goes.
#[derive(Debug)]
pub(super) struct View {
    /// Directories in overlayfs's form, lowest first.
    pub lower: Vec<PathBuf>,
    /// Where what steps write goes.
    pub upper: Upper,
    /// The sandbox's own directory.
    pub directory: PathBuf,
    /// What keeps it apart.
    #[allow(dead_code, reason = "chroot comes next")]
    pub containment: Containment,
}

/// Where what steps write goes.
#[derive(Debug)]
pub(super) enum Upper {
    /// overlayfs's upper directory; `work` lies beside it.
    Overlay(PathBuf),
    /// A copy of all that is below.
    #[allow(dead_code, reason = "copies come next")]
    Copy(PathBuf),
}

impl View {
    /// Finds the best that this machine has.
    pub(super) fn choose(
        opening: Opening,
        containment: Containment,
        fallbacks: &mut Vec<Fallback>,
    ) -> Result<Self, Refusal> {
        let Opening { lower, directory } = opening;
        let view = Self { lower, upper: Upper::Overlay(directory.join("upper")), directory, containment };
        for path in ["upper", BELOW, "root"].map(|name| view.directory.join(name)) {
            fs::create_dir(&path).map_err(|source| Refusal::call("create", path, source))?;
        }
        let _ = fallbacks;
        view.mount()?;
        view.unmount()?;
        Ok(view)
    }

    /// Where the root is mounted.
    pub(super) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Mounts the root in this mount namespace.
    pub(super) fn mount(&self) -> Result<(), Refusal> {
        match &self.upper {
            Upper::Overlay(upper) => self.mount_overlay(upper),
            Upper::Copy(_) => Ok(()),
        }
    }

    fn unmount(&self) -> Result<(), Refusal> {
        let root = self.root();
        unmount(&root, UnmountFlags::DETACH).map_err(|source| Refusal::call("unmount", root, source))
    }

    fn mount_overlay(&self, upper: &Path) -> Result<(), Refusal> {
        let work = upper.with_file_name("work");
        // overlayfs.rst: a volatile mount leaves a mark in the work directory, and the next is refused
        remove_work(&work)?;
        fs::create_dir(&work).map_err(|source| Refusal::call("create", &work, source))?;
        let mut open = Vec::new();
        let mut path = |path: &Path| -> Result<String, Refusal> {
            // a path of its own may hold `:` or `,`, and many of them don't fit into a page
            let directory = File::open(path).map_err(|source| Refusal::call("open", path, source))?;
            open.push(OwnedFd::from(directory));
            Ok(open.last().map(|fd| format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).unwrap_or_default())
        };
        let mut lower = self.lower.iter().rev().map(|lower| path(lower)).collect::<Result<Vec<_>, _>>()?;
        lower.push(path(&self.directory.join(BELOW))?);
        let (upper, work) = (path(upper)?, path(&work)?);
        let data = format!("userxattr,volatile,lowerdir={},upperdir={upper},workdir={work}", lower.join(":"));
        let data = std::ffi::CString::new(data).map_err(|source| Refusal::call("mount", "overlay", source))?;
        let root = self.root();
        mount("overlay", &root, "overlay", MountFlags::empty(), data.as_c_str())
            .map_err(|source| Refusal::call("mount an overlay on", root, source))
    }
}

/// Removes overlayfs's work directory; its own `work` has mode 000, which only matters
/// outside of the namespace.
fn remove_work(work: &Path) -> Result<(), Refusal> {
    match fs::remove_dir_all(work) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Refusal::call("remove", work, source)),
        _ => Ok(()),
    }
}
