//! Where mounts go: places in the root that are there, or are made so that no layer
//! holds them.

use std::fs::{self, File};
use std::io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::spec::Task;
use super::upper::{Upper, View};
use super::{Link, Refusal, Unfit};

/// A directory under the lowest of a root, with nothing but mount points.
pub(super) const BELOW: &str = "mountpoints";

/// Whether a mount is of a directory or of something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

impl Kind {
    /// What `path` of this machine is.
    pub(super) fn of(path: &Path) -> Result<Self, Refusal> {
        let metadata = fs::metadata(path).map_err(|source| Refusal::call("mount", path, source))?;
        Ok(if metadata.is_dir() { Self::Directory } else { Self::File })
    }
}

/// Makes places for `task`'s mounts under the lowest directory of `view`, before it is
/// mounted: they show where the layers have nothing, and what is there is in no layer.
pub(super) fn prepare(view: &View, task: &Task) -> Result<(), Refusal> {
    // a copy keeps those of the steps before
    if let Upper::Overlay(_) = view.upper {
        let below = view.directory.join(BELOW);
        let emptied = fs::remove_dir_all(&below).and_then(|()| fs::create_dir(&below));
        emptied.map_err(|source| Refusal::call("empty", below, source))?;
    }
    for path in ["/proc", "/sys", "/dev"] {
        prepare_one(view, path, Kind::Directory)?;
    }
    task.mounts.iter().chain(&task.binds).try_for_each(|mount| prepare_one(view, &mount.to, Kind::of(&mount.from)?))
}

fn prepare_one(view: &View, path: &str, kind: Kind) -> Result<(), Refusal> {
    let mut place = view.directory.join(BELOW);
    place.extend(normal(path)?);
    let failed = |source| Refusal::call("create", &place, source);
    let directory = if kind == Kind::Directory { Some(&*place) } else { place.parent() };
    let made = fs::create_dir_all(directory.unwrap_or(&place));
    match made.and_then(|()| if kind == Kind::File { File::create(&place).map(drop) } else { Ok(()) }) {
        // on the way to another mount, which is there by then: [`Root::place`] says what is wrong
        Err(error) if matches!(error.kind(), AlreadyExists | NotADirectory | IsADirectory) => Ok(()),
        made => made.map_err(failed),
    }
}

/// The components of an absolute path, which may not go up.
fn normal(path: &str) -> Result<Vec<&Path>, Refusal> {
    let component = |component| match component {
        Component::Normal(name) => Some(Ok(Path::new(name))),
        Component::RootDir | Component::CurDir => None,
        Component::ParentDir | Component::Prefix(_) => Some(Err(mount_point(path, Unfit::Up))),
    };
    Path::new(path).components().filter_map(component).collect()
}

fn mount_point(path: &str, is: Unfit) -> Refusal {
    Refusal::MountPoint { path: path.trim_start_matches('/').to_owned(), is }
}

/// A root filesystem under which mounts go. What is looked up in it never leads out.
pub(super) struct Root {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// The root of `view`, which is mounted.
    pub(super) fn open(view: &View) -> Result<Self, Refusal> {
        let path = view.root();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(&path, flags, Mode::empty());
        let descriptor = descriptor.map_err(|source| Refusal::call("open", &path, source))?;
        Ok(Self { descriptor, path })
    }

    /// The directory itself.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Its path on this machine.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The content of the file at `path`, as far as `longest` bytes; empty if there is no
    /// file.
    pub(super) fn read(&self, path: &str, longest: u64) -> Vec<u8> {
        let mut content = Vec::new();
        // a FIFO without a writer would never open
        if let Ok(file) = self.open_inside(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC) {
            let _ = File::from(file).take(longest).read_to_end(&mut content);
        }
        content
    }

    /// image-spec `config.md`: WorkingDir is made if it is not there.
    pub(super) fn make_workdir(&self, path: &str) -> Result<(), Refusal> {
        let failed = |source: Errno| Refusal::Workdir { path: path.to_owned(), source: source.into() };
        if !path.starts_with('/') {
            return Err(failed(Errno::INVAL));
        }
        let names = normal(path).map_err(|_| failed(Errno::INVAL))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut inside = PathBuf::from(".");
        let mut under = self.open_inside(".", flags).map_err(failed)?;
        for name in names {
            inside.push(name);
            under = match self.open_inside(&inside.to_string_lossy(), flags) {
                Err(Errno::NOENT) => {
                    mkdirat(&under, name, Mode::from_raw_mode(0o755)).map_err(failed)?;
                    self.open_inside(&inside.to_string_lossy(), flags).map_err(failed)?
                }
                next => next.map_err(failed)?,
            };
        }
        Ok(())
    }

    /// The directory at `path`, to which no symbolic link leads.
    pub(super) fn directory(&self, path: &str) -> Result<OwnedFd, Refusal> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place =
            openat2(&self.descriptor, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS);
        match place {
            Err(Errno::LOOP) => Err(mount_point(path, Unfit::Link)),
            // with O_DIRECTORY a symbolic link that is not followed is no directory
            Err(Errno::NOTDIR) => Err(mount_point(path, Unfit::NoDirectory)),
            Err(Errno::NOENT) => self.make(path, Kind::Directory),
            place => place.map_err(|source| Refusal::call("open", path, source)),
        }
    }

    /// The place at `path` for a mount of `kind`, made if there is none. Links on the way
    /// are followed inside of the root; one at the end is the place itself for a file,
    /// since whatever is mounted on it hides it.
    pub(super) fn place(&self, path: &str, kind: Kind) -> Result<OwnedFd, Refusal> {
        let flags = match kind {
            Kind::Directory => OFlags::PATH | OFlags::CLOEXEC,
            Kind::File => OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        };
        let place = match self.open_inside(path, flags) {
            Err(Errno::NOENT) => self.make(path, kind)?,
            place => place.map_err(|source| self.refusal(path, source))?,
        };
        fits(&place, path, kind).map(|()| place)
    }

    /// The same for what a person mounts: a link at the end is followed, too, unless it leads
    /// nowhere, and neither the root nor what a step has of its own is a place.
    pub(super) fn place_of_bind(&self, path: &str, kind: Kind) -> Result<OwnedFd, Refusal> {
        let place = match self.open_inside(path, OFlags::PATH | OFlags::CLOEXEC) {
            Ok(place) => fits(&place, path, kind).map(|()| place)?,
            // to be made, or the link itself
            Err(Errno::NOENT) => self.place(path, kind)?,
            Err(source) => return Err(self.refusal(path, source)),
        };
        let way = self.way_to(&place).map_err(|source| Refusal::call("find", path, source))?;
        let names: Vec<_> = way.iter().map(|name| name.as_encoded_bytes()).collect();
        match *names {
            [] => Err(mount_point(path, Unfit::Root)),
            [b"proc", ..] | [b"sys" | b"dev"] => Err(mount_point(path, Unfit::Own)),
            _ => Ok(place),
        }
    }

    /// The path of `place` under this root, without links.
    fn way_to(&self, place: &OwnedFd) -> io::Result<PathBuf> {
        let real = |file: &OwnedFd| fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let (root, place) = (real(&self.descriptor)?, real(place)?);
        place.strip_prefix(&root).map(Path::to_owned).map_err(io::Error::other)
    }

    /// Makes a symbolic link at `path` that says `target`, in place of what is there but a mount.
    fn link(&self, path: &str, target: &str) -> Result<(), Refusal> {
        let failed = |errno| self.refusal(path, errno);
        let names = normal(path)?;
        let Some((name, parents)) = names.split_last() else { return Err(mount_point(path, Unfit::Root)) };
        let parent = parents.iter().collect::<PathBuf>();
        let parent = match parent.to_string_lossy() {
            root if root.is_empty() => self.open_inside(".", OFlags::PATH | OFlags::CLOEXEC).map_err(failed)?,
            parent => self.place(&parent, Kind::Directory)?,
        };
        match symlinkat(target, &parent, *name) {
            Err(Errno::EXIST) => match unlinkat(&parent, *name, AtFlags::empty()) {
                // something is mounted there, and is what the link would lead to
                Err(Errno::BUSY) => Ok(()),
                removed => removed.and_then(|()| symlinkat(target, &parent, *name)).map_err(failed),
            },
            made => made.map_err(failed),
        }
    }

    /// Makes all of `links`.
    pub(super) fn make_links(&self, links: &[Link]) -> Result<(), Refusal> {
        links.iter().try_for_each(|link| self.link(&link.path, &link.target))
    }

    fn open_inside(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::io::retry_on_intr(|| openat2(&self.descriptor, path, flags, Mode::empty(), resolve))
    }

    /// Makes `path` where the mountpoints below don't show: under a directory that hides
    /// them, or in a copy.
    fn make(&self, path: &str, kind: Kind) -> Result<OwnedFd, Refusal> {
        let mut inside = PathBuf::new();
        let mut under =
            self.open_inside(".", OFlags::PATH | OFlags::CLOEXEC).map_err(|errno| self.refusal(path, errno))?;
        let names = normal(path)?;
        for (n, name) in names.iter().enumerate() {
            inside.push(name);
            let next = self.open_inside(&inside.to_string_lossy(), OFlags::PATH | OFlags::CLOEXEC);
            under = match next {
                Err(Errno::NOENT) => {
                    let kind = if n + 1 == names.len() { kind } else { Kind::Directory };
                    make_one(&under, name, kind).map_err(|errno| self.refusal(path, errno))?
                }
                next => next.map_err(|errno| self.refusal(path, errno))?,
            };
        }
        Ok(under)
    }

    fn refusal(&self, path: &str, errno: Errno) -> Refusal {
        match errno {
            Errno::LOOP | Errno::EXIST => mount_point(path, Unfit::Nowhere),
            Errno::NOTDIR => mount_point(path, Unfit::Under),
            errno => Refusal::call("make a place for a mount at", path, errno),
        }
    }
}

/// Whether something of `kind` can be mounted on `place`, which is at `path`.
fn fits(place: &OwnedFd, path: &str, kind: Kind) -> Result<(), Refusal> {
    let is = statat(place, "", AtFlags::EMPTY_PATH).map_err(|source| Refusal::call("look at", path, source))?;
    match (kind, FileType::from_raw_mode(is.st_mode)) {
        (Kind::Directory, FileType::Directory) => Ok(()),
        (Kind::Directory, _) => Err(mount_point(path, Unfit::NoDirectory)),
        (Kind::File, FileType::Directory) => Err(mount_point(path, Unfit::Directory)),
        (Kind::File, _) => Ok(()),
    }
}

fn make_one(under: &OwnedFd, name: &Path, kind: Kind) -> Result<OwnedFd, Errno> {
    match kind {
        Kind::Directory => mkdirat(under, name, Mode::from_raw_mode(0o755))?,
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(under, name, flags, Mode::from_raw_mode(0o644))?;
        }
    }
    openat(under, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}
