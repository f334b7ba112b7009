//! A step's root where nothing may be mounted: a copy, in which what would be mounted
//! lies as copies for as long as the step runs.
//!
//! What no kernel holds in place a step can move, replace by a link, or remove. So all that
//! is done after it starts from descriptors that were opened before it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, chmod, makedev, mknodat, renameat};
use rustix::io::Errno;

use super::places::{Kind, Root};
use super::spec::Task;
use super::user::Credentials;
use super::{Mount, MountKind, Refusal, Unfit, copy, devices, enter};

/// Where what a copy hides is kept meanwhile, under the sandbox's own directory.
const ASIDE: &str = "aside";

/// The devices that a step has, by number: devices.txt of the kernel.
const NUMBERS: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// What was put into a root for a step, to be taken out again.
pub(super) struct Furniture {
    /// The directory of what it hides: that of each piece under its number.
    aside: OwnedFd,
    pieces: Vec<Piece>,
}

/// Something that lies where something else belongs.
struct Piece {
    /// The directory that it was put into, and its name there.
    parent: OwnedFd,
    name: OsString,
    /// The piece itself, once it is whole, and the path of this machine that gets what the
    /// step made of it.
    own: Option<(File, Kind, Option<PathBuf>)>,
}

impl Furniture {
    /// Puts a /dev and what `task` is given into `root`.
    pub(super) fn put(root: &Root, directory: &Path, task: &Task, user: &Credentials) -> Result<Self, Refusal> {
        let aside = directory.join(ASIDE);
        fs::create_dir_all(&aside).map_err(|source| Refusal::call("create", &aside, source))?;
        let mut furniture = Self { aside: directory_at(&aside)?, pieces: Vec::new() };
        match furniture.put_all(root, task, user) {
            Ok(()) => Ok(furniture),
            Err(refusal) => {
                // what went wrong first is what counts
                let _ = furniture.remove();
                Err(refusal)
            }
        }
    }

    fn put_all(&mut self, root: &Root, task: &Task, user: &Credentials) -> Result<(), Refusal> {
        let dev = self.clear(root, root.directory("dev")?)?;
        nodes(&dev).map_err(|source| Refusal::call("make devices in", &dev, source))?;
        self.filled(&dev, Kind::Directory, None)?;
        for mount in &task.mounts {
            let kind = Kind::of(&mount.from)?;
            self.put_one(root, root.place(&mount.to, kind)?, mount, user)?;
        }
        root.make_links(&task.links)?;
        for bind in &task.binds {
            let kind = Kind::of(&bind.from)?;
            self.put_one(root, root.place_of_bind(&bind.to, kind)?, bind, user)?;
        }
        Ok(())
    }

    fn put_one(&mut self, root: &Root, place: OwnedFd, mount: &Mount, user: &Credentials) -> Result<(), Refusal> {
        let kind = Kind::of(&mount.from)?;
        let place = self.clear(root, place)?;
        fill(mount, &place, kind, user)?;
        // what a step makes of a device is the device's
        if mount.kind == MountKind::Device {
            return Ok(());
        }
        let back = (mount.kind == MountKind::Writable).then(|| mount.from.clone());
        self.filled(&place, kind, back)
    }

    /// Moves away what is at `place` of `root`, and returns its path: nothing runs in the
    /// root yet, and it stays what it is until something does.
    fn clear(&mut self, root: &Root, place: OwnedFd) -> Result<PathBuf, Refusal> {
        let path = path_of(&place);
        let place = fs::read_link(&path).map_err(|source| Refusal::call("find", path, source))?;
        let (Some(parent), Some(name)) = (place.parent().filter(|_| place != root.path()), place.file_name()) else {
            return Err(Refusal::MountPoint { path: String::new(), is: Unfit::Root });
        };
        let parent = directory_at(parent)?;
        renameat(&parent, name, &self.aside, self.pieces.len().to_string())
            .map_err(|source| Refusal::call("move away", &place, source))?;
        self.pieces.push(Piece { parent, name: name.to_owned(), own: None });
        Ok(place)
    }

    /// Notes that what was cleared last now has its piece.
    fn filled(&mut self, place: &Path, kind: Kind, back: Option<PathBuf>) -> Result<(), Refusal> {
        // execve(2), ETXTBSY: what is open for writing can't be executed
        let own = File::open(place).map_err(|source| Refusal::call("open", place, source))?;
        if let Some(piece) = self.pieces.last_mut() {
            piece.own = Some((own, kind, back));
        }
        Ok(())
    }

    /// Takes it out again, the last first: one may lie in another.
    pub(super) fn remove(mut self) -> Result<(), Refusal> {
        while let Some(Piece { parent, name, own }) = self.pieces.pop() {
            let failed = |source| Refusal::call("restore", &name, source);
            if let Some((own, kind, back)) = own {
                take(&own, kind, back.as_deref())?;
            }
            copy::remove(&path_of(&parent).join(&name)).map_err(failed)?;
            let number = self.pieces.len().to_string();
            match renameat(&self.aside, &number, &parent, &name) {
                // the step removed the directory that it lay in, and so what belongs there
                Err(Errno::NOENT) => copy::remove(&path_of(&self.aside).join(&number)).map_err(failed)?,
                restored => restored.map_err(|errno| failed(errno.into()))?,
            }
        }
        Ok(())
    }
}

/// Copies what the step made of a piece to `back`, and empties it: wherever the step has
/// moved or linked it to, a layer gets nothing of it.
fn take(own: &File, kind: Kind, back: Option<&Path>) -> Result<(), Refusal> {
    let path = path_of(own);
    match kind {
        Kind::Directory => {
            // proc(5): the link is to be followed, and the dot is in the directory
            let path = path.join(".");
            back.map_or(Ok(()), |back| copy::mirror(&path, back))?;
            copy::empty(&path).map_err(|source| Refusal::call("empty", path, source))
        }
        Kind::File => {
            let copied = back.map_or(Ok(0), |back| fs::copy(&path, back));
            let emptied = copied.and_then(|_| File::options().write(true).truncate(true).open(&path));
            emptied.map(drop).map_err(|source| Refusal::call("empty", path, source))
        }
    }
}

/// The way to an open file that nobody can turn elsewhere.
fn path_of(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn directory_at(path: &Path) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|source| Refusal::call("open", path, source))
}

fn fill(mount: &Mount, place: &Path, kind: Kind, user: &Credentials) -> Result<(), Refusal> {
    let failed = |source| Refusal::call("copy", &mount.from, source);
    match (mount.kind, kind) {
        (MountKind::Secret, _) => {
            let copy = enter::secret_file(CWD, place, &mount.from)?;
            enter::give(&copy, user);
            Ok(())
        }
        (MountKind::Device, _) => device(&mount.from, place),
        (_, Kind::Directory) => {
            fs::create_dir(place).map_err(failed)?;
            copy::mirror(&mount.from, place)
        }
        (_, Kind::File) => fs::copy(&mount.from, place).map(drop).map_err(failed),
    }
}

/// A node for the same device: mknod(2) takes CAP_MKNOD, which many containers have, and opening
/// it what the container was given.
fn device(from: &Path, place: &Path) -> Result<(), Refusal> {
    let made = from.metadata().and_then(|device| {
        let kind = FileType::from_raw_mode(device.mode());
        node(place, kind, Mode::from_raw_mode(device.mode()), device.rdev())
    });
    made.map_err(|source| Refusal::call("make a node for", from, source))
}

/// mknod(2): the mode is "modified by the process's umask", and others are to use the device, too.
fn node(place: &Path, kind: FileType, mode: Mode, device: u64) -> io::Result<()> {
    mknodat(CWD, place, kind, mode, device)?;
    Ok(chmod(place, mode)?)
}

/// A /dev of device nodes where they may be made, with the links of [`devices`].
fn nodes(dev: &Path) -> io::Result<()> {
    fs::create_dir(dev)?;
    for (name, major, minor) in NUMBERS {
        let mode = Mode::from_raw_mode(0o666);
        // mknod(2): CAP_MKNOD, which a container may not have; without the device its name is a file
        let _ = node(&dev.join(name), FileType::CharacterDevice, mode, makedev(major, minor));
    }
    fs::create_dir(dev.join("pts"))?;
    fs::create_dir(dev.join("shm"))?;
    devices::LINKS.iter().try_for_each(|(name, target)| std::os::unix::fs::symlink(target, dev.join(name)))
}
