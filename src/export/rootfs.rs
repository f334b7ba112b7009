//! A directory with the image's files, for chroot(1), systemd-nspawn, enroot, or whatever looks
//! into them. No link is there before all that goes through directories is done.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::Error;
use super::folder::Folder;
use super::output::Job;
use super::tree::{Bytes, Content, Id, Kind, Node, ROOT, Tree};

/// How much of a file is written at a time, in bytes.
const CHUNK: usize = 256 << 10;
/// set-user-ID and set-group-ID
const SET_ID: u32 = 0o6000;

/// What could not be made as the image has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    owners: usize,
    devices: usize,
    xattrs: usize,
}

impl Lost {
    /// What a person should know of it.
    pub(super) fn warning(self) -> Option<String> {
        let count = |number: usize, what: &str| (number > 0).then(|| format!("{what} of {number} files"));
        let lost: Vec<String> = [
            count(self.owners, "the owners and set-user-ID bits"),
            count(self.xattrs, "the extended attributes"),
            (self.devices > 0).then(|| format!("{} devices", self.devices)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let uid = rustix::process::geteuid().as_raw();
        (!lost.is_empty())
            .then(|| format!("only root may give them, and this is uid {uid}: {} are left out", lost.join(", ")))
    }
}

/// Writes the files of `tree` into `folder`.
pub(super) fn write(job: &Job<'_>, tree: &Tree, folder: &mut Folder) -> Result<Lost, Error> {
    let mut writer =
        Writer { job, tree, top: folder.unfinished().to_owned(), places: HashMap::new(), lost: Lost::default() };
    let (mut directories, mut others) = (Vec::new(), Vec::new());
    writer.lay_out(ROOT, PathBuf::new(), &mut directories, &mut others)?;
    let mut written = 0;
    tree.contents(job, &mut |id, content| {
        written += writer.file(id, content)?;
        Ok(())
    })?;
    for (id, path) in others {
        job.is_wanted()?;
        writer.other(id, &path)?;
    }
    // from the lowest up: some may not be entered afterwards, and what is made in one changes its time
    for (id, path) in directories.into_iter().rev() {
        writer.dress(&path, tree.node(id))?;
    }
    folder.with_mode(tree.node(ROOT).attributes.mode);
    folder.count(written);
    Ok(writer.lost)
}

struct Writer<'a> {
    job: &'a Job<'a>,
    tree: &'a Tree,
    top: PathBuf,
    /// The first name of each file that is no directory.
    places: HashMap<Id, PathBuf>,
    lost: Lost,
}

impl Writer<'_> {
    /// Makes the directories, and notes what else there is, under all its names.
    fn lay_out(
        &mut self,
        id: Id,
        path: PathBuf,
        directories: &mut Vec<(Id, PathBuf)>,
        others: &mut Vec<(Id, PathBuf)>,
    ) -> Result<(), Error> {
        let Kind::Directory(directory) = &self.tree.node(id).kind else { return Ok(()) };
        directories.push((id, path.clone()));
        for (name, child) in directory.entries() {
            let path = path.join(std::ffi::OsStr::from_bytes(name));
            if matches!(self.tree.node(child).kind, Kind::Directory(_)) {
                let made = rustix::fs::mkdir(self.at(&path), Mode::RWXU);
                made.map_err(|error| self.failed("create", &path)(error.into()))?;
                self.lay_out(child, path, directories, others)?;
            } else {
                self.places.entry(child).or_insert_with(|| path.clone());
                others.push((child, path));
            }
        }
        Ok(())
    }

    /// A file under its first name.
    fn file(&mut self, id: Id, content: &mut Content<'_, '_>) -> Result<u64, Error> {
        let Some(path) = self.places.get(&id).cloned() else { return Ok(0) };
        let mut file = self.create(&path)?;
        let (mut buffer, mut written) = (vec![0; CHUNK], 0);
        loop {
            self.job.is_wanted()?;
            let filled = content.fill(&mut buffer)?;
            if filled == 0 {
                break;
            }
            file.write_all(&buffer[..filled]).map_err(self.failed("write", &path))?;
            written += filled as u64;
        }
        self.dress(&path, self.tree.node(id))?;
        Ok(written)
    }

    fn create(&self, path: &Path) -> Result<File, Error> {
        let created = File::options().write(true).create_new(true).mode(0o600).open(self.at(path));
        created.map_err(self.failed("create", path))
    }

    /// What is no directory: links, devices, empty files, and further names.
    fn other(&mut self, id: Id, path: &Path) -> Result<(), Error> {
        let node = self.tree.node(id);
        let first = self.places.get(&id).filter(|first| *first != path);
        let failed = |error: Errno| self.failed("create", path)(error.into());
        if let Some(first) = first {
            return match rustix::fs::linkat(CWD, self.at(first), CWD, self.at(path), AtFlags::empty()) {
                // a device that could not be made has no further names either
                Err(Errno::NOENT) if matches!(node.kind, Kind::Device { .. }) => Ok(()),
                linked => linked.map_err(failed),
            };
        }
        match &node.kind {
            Kind::Directory(_) => return Ok(()),
            Kind::File(bytes) if bytes.size() > 0 => return Ok(()),
            Kind::File(Bytes::Layer { .. } | Bytes::Here(_)) => drop(self.create(path)?),
            Kind::Symlink(target) => rustix::fs::symlink(&target[..], self.at(path)).map_err(failed)?,
            Kind::Fifo => {
                rustix::fs::mknodat(CWD, self.at(path), FileType::Fifo, Mode::RUSR, 0).map_err(failed)?;
            }
            Kind::Device { block, major, minor } => {
                let kind = if *block { FileType::BlockDevice } else { FileType::CharacterDevice };
                let number = rustix::fs::makedev(*major, *minor);
                match rustix::fs::mknodat(CWD, self.at(path), kind, Mode::RUSR, number) {
                    Err(Errno::PERM) => {
                        self.lost.devices += 1;
                        return Ok(());
                    }
                    made => made.map_err(failed)?,
                }
            }
        }
        self.dress(path, node)
    }

    /// Gives a file its owner, then its mode, attributes and time: the first takes set-user-ID away.
    fn dress(&mut self, path: &Path, node: &Node) -> Result<(), Error> {
        let here = self.at(path);
        let failed = |error: Errno| self.failed("change", path)(error.into());
        let stat = rustix::fs::lstat(&here).map_err(failed)?;
        let (mut mode, wanted) = (node.attributes.mode, node.attributes);
        if (stat.st_uid, stat.st_gid) != (wanted.uid, wanted.gid) {
            let (uid, gid) = (Uid::from_raw(wanted.uid), Gid::from_raw(wanted.gid));
            match rustix::fs::chownat(CWD, &here, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
                // EINVAL: a user namespace does not know them
                Err(Errno::PERM | Errno::INVAL) => {
                    self.lost.owners += 1;
                    // a program that becomes root must not become whoever exports it
                    mode &= !SET_ID;
                }
                changed => changed.map_err(failed)?,
            }
        }
        if !matches!(node.kind, Kind::Symlink(_)) {
            for (name, value) in &node.xattrs {
                match rustix::fs::lsetxattr(&here, name.as_slice(), value, XattrFlags::empty()) {
                    Err(Errno::PERM | Errno::NOTSUP) => self.lost.xattrs += 1,
                    set => set.map_err(|error| self.failed("change", path)(error.into()))?,
                }
            }
            // the directory itself gets its mode with its name
            if path.as_os_str().is_empty() {
                mode = 0o700;
            }
            // it is no link, and nobody else is here
            std::fs::set_permissions(&here, Permissions::from_mode(mode)).map_err(self.failed("change", path))?;
        }
        let time = Timespec { tv_sec: i64::try_from(node.mtime).unwrap_or(i64::MAX), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        let set = rustix::fs::utimensat(CWD, &here, &times, AtFlags::SYMLINK_NOFOLLOW);
        set.map_err(|error| self.failed("change", path)(error.into()))
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.top.join(path)
    }

    fn failed(&self, doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        Error::write(doing, &self.job.path().join(path))
    }
}
