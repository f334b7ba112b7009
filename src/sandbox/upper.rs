//! What a sandbox shows as its root: the lower directories under an upper directory that
//! takes what steps write, or a copy of them.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, setxattr};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::{Deserialize, Serialize};

use super::containment::Containment;
use super::mounts::{attach, existing, fresh};
use super::places::BELOW;
use super::spec::Opening;
use super::{Fallback, Refusal, copy};

/// The file in a lasting sandbox's directory that says what was written there.
const FORM: &str = "form";

/// What a lasting sandbox's directory has, which another is to go on with.
#[derive(Debug, Serialize, Deserialize)]
enum Form {
    /// overlayfs's upper directory, with owners in the record.
    Overlay,
    /// A copy of all that is below, with owners in the record.
    Copy,
    /// A copy whose files are their owners' in truth.
    OwnedCopy,
}

/// What a sandbox shows as its root, and where what steps write goes.
#[derive(Debug)]
pub(super) struct View {
    /// Directories in overlayfs's form, lowest first.
    pub lower: Vec<PathBuf>,
    /// Where what steps write goes.
    pub upper: Upper,
    /// The sandbox's own directory.
    pub directory: PathBuf,
    /// Whether the directory stays.
    pub lasting: bool,
}

/// Where what steps write goes.
#[derive(Clone, Debug)]
pub(super) enum Upper {
    /// overlayfs's upper directory; `work` lies beside it.
    Overlay(PathBuf),
    /// A copy of all that is below.
    Copy(PathBuf),
}

impl View {
    /// Finds the best that this machine has: an overlay on disk, one in memory, a copy.
    pub(super) fn choose(
        opening: Opening,
        containment: Containment,
        fallbacks: &mut Vec<Fallback>,
    ) -> Result<Self, Refusal> {
        let Opening { lower, directory, lasting, .. } = opening;
        let is_new = !directory.join(BELOW).exists();
        for path in [BELOW, "root"].map(|name| directory.join(name)) {
            fs::create_dir_all(&path).map_err(|source| Refusal::call("create", path, source))?;
        }
        let mut view = Self { lower, upper: Upper::Overlay(directory.join("upper")), directory, lasting };
        if !is_new {
            return view.gone_on_with(containment);
        }
        let form = view.begin(containment, fallbacks)?;
        if lasting {
            let path = view.directory.join(FORM);
            let written = serde_json::to_vec(&form).map_err(io::Error::from).and_then(|form| fs::write(&path, form));
            written.map_err(|source| Refusal::call("write", path, source))?;
        }
        Ok(view)
    }

    fn begin(&mut self, containment: Containment, fallbacks: &mut Vec<Fallback>) -> Result<Form, Refusal> {
        // without a user namespace owners are real, and layers have them only in the record
        let in_record = containment == Containment::UserNamespace;
        if in_record {
            let on_disk = self.try_overlay();
            match on_disk {
                // a layer that is not there is no reason to write elsewhere
                Err(Refusal::Call { source, .. }) if source.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                    return Err(Refusal::call("find the layers under", &self.directory, source));
                }
                Ok(()) => return Ok(Form::Overlay),
                Err(_) => {}
            }
            // what is in memory doesn't last
            if !self.lasting {
                let memory = self.directory.join("memory");
                self.upper = Upper::Overlay(memory.join("upper"));
                if in_memory(&memory).is_ok() && self.try_overlay().is_ok() {
                    fallbacks.push(Fallback::UpperInMemory);
                    return Ok(Form::Overlay);
                }
            }
            fallbacks.push(Fallback::Copy);
        }
        self.upper = Upper::Copy(self.root());
        copy::layers(&self.lower, &self.root(), !in_record)?;
        Ok(if in_record { Form::Copy } else { Form::OwnedCopy })
    }

    /// That of an earlier sandbox, with what was written to it.
    fn gone_on_with(mut self, containment: Containment) -> Result<Self, Refusal> {
        let (root, path) = (self.root(), self.directory.join(FORM));
        let form = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        let in_record = containment == Containment::UserNamespace;
        match form.map_err(|source| Refusal::call("read", path, source))? {
            Form::Overlay if in_record => {
                self.mount()?;
                unmount(&root, UnmountFlags::DETACH).map_err(|source| Refusal::call("unmount", root, source))?;
            }
            Form::Copy if in_record => self.upper = Upper::Copy(root),
            Form::OwnedCopy if !in_record => self.upper = Upper::Copy(root),
            Form::Overlay | Form::Copy => return Err(Refusal::WroteInNamespace { path: self.directory }),
            Form::OwnedCopy => return Err(Refusal::WroteAsRoot { path: self.directory }),
        }
        Ok(self)
    }

    /// Where the root is mounted.
    pub(super) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Mounts the root in this mount namespace.
    pub(super) fn mount(&self) -> Result<(), Refusal> {
        let root = self.root();
        match &self.upper {
            Upper::Overlay(upper) => self.mount_overlay(upper, &root),
            // pivot_root(2): "new_root must be a path to a mount point"
            Upper::Copy(copy) => {
                let mounted = existing(copy).and_then(|tree| attach(tree, File::open(&root)?));
                mounted.map_err(|source| Refusal::call("mount", root, source))
            }
        }
    }

    fn try_overlay(&self) -> Result<(), Refusal> {
        let Upper::Overlay(upper) = &self.upper else { return Ok(()) };
        fs::create_dir(upper).map_err(|source| Refusal::call("create", upper, source))?;
        // overlayfs.rst: without such attributes it mounts, and forgets what is opaque
        let name = "user.overlay.dlpack";
        setxattr(upper, name, b"y", XattrFlags::empty())
            .and_then(|()| rustix::fs::removexattr(upper, name))
            .map_err(|source| Refusal::call("set an attribute of", upper, source))?;
        self.mount()?;
        let root = self.root();
        unmount(&root, UnmountFlags::DETACH).map_err(|source| Refusal::call("unmount", root, source))
    }

    fn mount_overlay(&self, upper: &Path, root: &Path) -> Result<(), Refusal> {
        let work = upper.with_file_name("work");
        // overlayfs.rst: after a volatile mount, "the overlay filesystem will refuse to mount"
        // on a work directory that was not made anew
        remove_work(&work)?;
        fs::create_dir(&work).map_err(|source| Refusal::call("create", &work, source))?;
        let mut open = Vec::new();
        let mut path = |path: &Path| -> Result<String, Refusal> {
            // a path of its own may hold `:` or `,`, and many of them don't fit into a page
            let directory = File::open(path).map_err(|source| Refusal::call("open", path, source))?;
            let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
            open.push(OwnedFd::from(directory));
            Ok(path)
        };
        let mut lower = self.lower.iter().rev().map(|lower| path(lower)).collect::<Result<Vec<_>, _>>()?;
        lower.push(path(&self.directory.join(BELOW))?);
        let directories = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), path(upper)?, path(&work)?);
        // overlayfs.rst: without `index=on` a hard link is broken when it is written to. Kernels
        // differ in their default, and a copy breaks it, too. `volatile` leaves out sync(2), and
        // "is not guaranteed to survive a crash".
        let volatile = if self.lasting { "" } else { "volatile," };
        let options = CString::new(format!("userxattr,index=off,{volatile}{directories}"));
        let mounted = options
            .map_err(io::Error::from)
            .and_then(|options| Ok(mount("overlay", root, "overlay", MountFlags::empty(), options.as_c_str())?));
        mounted.map_err(|source| Refusal::call("mount an overlay on", root, source))
    }
}

/// What is taken if this kernel lets an ordinary user mount no overlay: tried in memory, in a
/// mount namespace that is about to end.
pub(super) fn probe() -> Option<Fallback> {
    // a directory that is there wherever dlpack runs
    let directory = PathBuf::from("/dev");
    let upper = Upper::Overlay(directory.join("upper"));
    let view = View { lower: Vec::new(), upper, directory, lasting: false };
    let tried = attach_memory(&view.directory).map_err(|source| Refusal::call("mount on", &view.directory, source));
    let made = tried.and_then(|()| {
        [BELOW, "root", "upper"]
            .iter()
            .map(|name| view.directory.join(name))
            .try_for_each(|path| fs::create_dir(&path).map_err(|source| Refusal::call("create", path, source)))
    });
    made.and_then(|()| view.mount()).is_err().then_some(Fallback::Copy)
}

/// Mounts a directory in memory, which lasts as long as this mount namespace.
fn in_memory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    attach_memory(path)
}

fn attach_memory(path: &Path) -> io::Result<()> {
    attach(fresh("tmpfs", &[("mode", "755")])?, File::open(path)?)
}

/// Removes overlayfs's work directory; its own `work` has mode 000, which only matters
/// outside of the namespace.
fn remove_work(work: &Path) -> Result<(), Refusal> {
    match fs::remove_dir_all(work) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Refusal::call("remove", work, source)),
        _ => Ok(()),
    }
}
