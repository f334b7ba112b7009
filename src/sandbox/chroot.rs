//! A step's root where nothing may be mounted: a copy, in which what would be mounted
//! lies as copies for as long as the step runs.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::places::{Kind, Root};
use super::spec::Task;
use super::user::Credentials;
use super::{Mount, MountKind, Refusal, copy, devices, enter};

/// Where what a copy hides is kept meanwhile, under the sandbox's own directory.
const ASIDE: &str = "aside";

/// The devices that a step has, by number: devices.txt of the kernel.
const NUMBERS: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// What was put into a root for a step, to be taken out again.
pub(super) struct Furniture {
    pieces: Vec<Piece>,
}

/// Something that lies at `place`, and what belongs there.
struct Piece {
    place: PathBuf,
    aside: PathBuf,
    /// The directory that gets what the step wrote.
    back: Option<PathBuf>,
}

impl Furniture {
    /// Puts a /dev and what `task` is given into `root`.
    pub(super) fn put(root: &Root, directory: &Path, task: &Task, user: &Credentials) -> Result<Self, Refusal> {
        let mut furniture = Self { pieces: Vec::new() };
        let aside = directory.join(ASIDE);
        fs::create_dir_all(&aside).map_err(|source| Refusal::call("create", &aside, source))?;
        let dev = furniture.clear(root.directory("dev")?, &aside, None)?;
        nodes(&dev).map_err(|source| Refusal::call("make devices in", &dev, source))?;
        for mount in &task.mounts {
            let kind = Kind::of(&mount.from)?;
            let back = (mount.kind == MountKind::Writable).then(|| mount.from.clone());
            let place = furniture.clear(root.place(&mount.to, kind)?, &aside, back)?;
            fill(mount, &place, kind, user)?;
        }
        Ok(furniture)
    }

    /// Moves away what is at `place`, and returns its path.
    fn clear(&mut self, place: impl AsRawFd, aside: &Path, back: Option<PathBuf>) -> Result<PathBuf, Refusal> {
        let number = place.as_raw_fd();
        // nothing runs in the root yet: the path stays what it is
        let place = fs::read_link(format!("/proc/self/fd/{number}"))
            .map_err(|source| Refusal::call("find", format!("descriptor {number}"), source))?;
        let aside = aside.join(self.pieces.len().to_string());
        fs::rename(&place, &aside).map_err(|source| Refusal::call("move away", &place, source))?;
        self.pieces.push(Piece { place: place.clone(), aside, back });
        Ok(place)
    }

    /// Takes it out again, the last first.
    pub(super) fn remove(self) -> Result<(), Refusal> {
        for Piece { place, aside, back } in self.pieces.into_iter().rev() {
            let failed = |source| Refusal::call("restore", &place, source);
            if let Some(back) = back {
                copy::tree(&place, &back)?;
            }
            copy::remove(&place).map_err(failed)?;
            fs::rename(&aside, &place).map_err(failed)?;
        }
        Ok(())
    }
}

fn fill(mount: &Mount, place: &Path, kind: Kind, user: &Credentials) -> Result<(), Refusal> {
    let failed = |source| Refusal::call("copy", &mount.from, source);
    match (mount.kind, kind) {
        (MountKind::Secret, _) => {
            let copy = enter::secret_file(CWD, place, &mount.from).map_err(failed)?;
            enter::give(&copy, user);
            Ok(())
        }
        (_, Kind::Directory) => {
            fs::create_dir(place).map_err(failed)?;
            copy::tree(&mount.from, place)
        }
        (_, Kind::File) => fs::copy(&mount.from, place).map(drop).map_err(failed),
    }
}

/// A /dev of device nodes where they may be made, with the links of [`devices`].
fn nodes(dev: &Path) -> io::Result<()> {
    fs::create_dir(dev)?;
    for (name, major, minor) in NUMBERS {
        let mode = Mode::from_raw_mode(0o666);
        // mknod(2): CAP_MKNOD, which a container may not have; without the device its name is a file
        let _ = mknodat(CWD, dev.join(name), FileType::CharacterDevice, mode, makedev(major, minor));
    }
    fs::create_dir(dev.join("pts"))?;
    fs::create_dir(dev.join("shm"))?;
    devices::LINKS.iter().try_for_each(|(name, target)| std::os::unix::fs::symlink(target, dev.join(name)))
}
