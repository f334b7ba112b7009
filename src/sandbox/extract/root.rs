//! The directory that layers are applied to, and the way to each path in it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;

use super::names::{MAX_DEPTH, join, split};
use super::{ExtractError, ROOT, TRASH};
use crate::sandbox::record::Owner;
use crate::store::remove_tree;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How often a lookup is tried again that another process's rename disturbed.
const RETRIES: usize = 64;

/// An open directory of the tree.
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    pub(super) inode: u64,
}

/// What a directory's mode and time will be when all layers are applied.
pub(super) struct Pending {
    pub(super) path: Vec<u8>,
    pub(super) mode: u32,
    pub(super) mtime: (i64, u32),
}

/// The owner of what can't have a user xattr, as long as it is this inode.
pub(super) struct ByPath {
    pub(super) inode: u64,
    pub(super) owner: Owner,
}

/// The directory that layers are applied to.
pub(super) struct Root {
    pub(super) top: Rc<Directory>,
    /// The directory of [`ROOT`] and [`TRASH`].
    path: PathBuf,
    trash: Option<OwnedFd>,
    moved: u64,
    /// What lies under it, topmost first, if it will be a layer of an overlay.
    pub(super) under: Option<Vec<OwnedFd>>,
    /// The directories, by inode.
    pub(super) pending: HashMap<u64, Pending>,
    pub(super) by_path: BTreeMap<Vec<u8>, ByPath>,
    pub(super) content: crate::store::TreeContent,
    /// What the files' contents come to, as they were written.
    pub(super) sums: crate::store::Checksums,
    /// Of the layer that is being applied: directory and name of each entry.
    pub(super) named: HashSet<(u64, Vec<u8>)>,
    /// Of the layer that is being applied: the directories in or under which it has
    /// something, with how deep they lie.
    pub(super) touched: HashMap<u64, u32>,
    /// The directory that was looked up last.
    last: Option<(Vec<u8>, Rc<Directory>)>,
}

impl Root {
    /// An empty one in `path`, for layers that are flattened.
    pub(super) fn create(path: &Path) -> Result<Self, ExtractError> {
        Self::open(path, None)
    }

    /// An empty one in `path`, for a layer that will lie over `under`, lowest first.
    pub(super) fn create_over(path: &Path, under: &[PathBuf]) -> Result<Self, ExtractError> {
        let open = |path: &PathBuf| {
            let opened = rustix::fs::openat(CWD, path, OFlags::PATH | DIRECTORY, Mode::empty());
            opened.map_err(|error| ExtractError::io("open", path)(error.into()))
        };
        let under = under.iter().rev().map(open).collect::<Result<_, _>>()?;
        Self::open(path, Some(under))
    }

    fn open(path: &Path, under: Option<Vec<OwnedFd>>) -> Result<Self, ExtractError> {
        let top = Rc::new(Directory::new(open(&path.join(ROOT))?).map_err(ExtractError::io("stat", path))?);
        keeps_xattrs(&top.fd).map_err(|source| ExtractError::Xattrs { path: path.to_owned(), source })?;
        let mut root = Self {
            path: path.to_owned(),
            trash: None,
            moved: 0,
            under,
            pending: HashMap::new(),
            by_path: BTreeMap::new(),
            content: Default::default(),
            sums: Default::default(),
            named: HashSet::new(),
            touched: HashMap::new(),
            last: None,
            top: top.clone(),
        };
        root.pending.insert(top.inode, Pending { path: Vec::new(), mode: 0o755, mtime: (0, 0) });
        if root.under.is_some() {
            root.like_under(&top, b"").map_err(ExtractError::io("make the root of", path))?;
        }
        match root.look_up(b"") {
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOSYS | Errno::PERM)) => {
                Err(ExtractError::Openat2 { source: error })
            }
            _ => Ok(root),
        }
    }

    /// Forgets what the layer before had.
    pub(super) fn begin_layer(&mut self) -> Result<(), ExtractError> {
        let trash = self.path.join(TRASH);
        std::fs::create_dir(&trash).map_err(ExtractError::io("create", &trash))?;
        self.trash = Some(open(&trash)?);
        self.named.clear();
        self.touched = HashMap::from([(self.top.inode, 0)]);
        self.last = None;
        Ok(())
    }

    /// Removes what the layer has replaced.
    pub(super) fn end_layer(&mut self) -> Result<(), ExtractError> {
        self.trash = None;
        let trash = self.path.join(TRASH);
        remove_tree(&trash).map_err(ExtractError::io("remove", &trash))
    }

    /// Forgets the directory that was looked up last: the way to it may have changed.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// The directory at `path`, links followed as if the root were `/`.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn look_up(&mut self, path: &[u8]) -> io::Result<Rc<Directory>> {
        if path.is_empty() {
            if self.last.is_none() {
                self.open_beneath(b".")?;
            }
            return Ok(self.top.clone());
        }
        if let Some((_, directory)) = self.last.as_ref().filter(|(last, _)| last == path) {
            return Ok(directory.clone());
        }
        let directory = Rc::new(self.open_beneath(path)?);
        self.last = Some((path.to_owned(), directory.clone()));
        Ok(directory)
    }

    fn open_beneath(&self, path: &[u8]) -> io::Result<Directory> {
        // In an overlay's layer the directories of a path are its own: it has no links on the way.
        let links = if self.under.is_some() { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV | links;
        for _ in 0..RETRIES {
            match rustix::fs::openat2(&self.top.fd, path, DIRECTORY, Mode::empty(), resolve) {
                // openat2(2): "EAGAIN … the kernel could not ensure that a ".." component didn't escape"
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return Directory::new(opened?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// The directory at `path`; those that are not there are made.
    pub(super) fn make_up_to(&mut self, path: &[u8]) -> io::Result<Rc<Directory>> {
        match self.look_up(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => {
                let found = found?;
                self.touch(&found)?;
                return Ok(found);
            }
        }
        let (parent, name) = split(path);
        let parent = self.make_up_to(parent)?;
        // A name that is there is a link that leads nowhere: nothing is made behind it.
        match rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU) {
            Err(Errno::EXIST) if self.is_whiteout(&parent, name)? => {
                rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty())?;
                rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU)?;
            }
            made => made?,
        }
        self.content.entries += 1;
        self.named.insert((parent.inode, name.to_owned()));
        let made = Rc::new(Directory::below(&parent, name)?);
        self.pending.insert(made.inode, Pending { path: path.to_owned(), mode: 0o755, mtime: (0, 0) });
        self.like_under(&made, path)?;
        self.touch(&made)?;
        self.last = Some((path.to_owned(), made.clone()));
        Ok(made)
    }

    /// Notes that the layer has something in `directory`, and so in all above it.
    fn touch(&mut self, directory: &Rc<Directory>) -> io::Result<()> {
        let mut way = vec![directory.inode];
        let mut above: Option<Directory> = None;
        while !self.touched.contains_key(&way[way.len() - 1]) {
            let from = above.as_ref().map_or(&directory.fd, |above| &above.fd);
            let next = Directory::below_fd(from.as_fd(), b"..")?;
            way.push(next.inode);
            above = Some(next);
        }
        let mut depth = self.touched[&way[way.len() - 1]];
        for inode in way.into_iter().rev().skip(1) {
            depth += 1;
            self.touched.insert(inode, depth);
        }
        // However long the names: links may lead deep down.
        if depth > MAX_DEPTH { Err(Errno::NAMETOOLONG.into()) } else { Ok(()) }
    }

    /// Whether `name` is a whiteout of the overlay's layer that is being made.
    pub(super) fn is_whiteout(&self, directory: &Directory, name: &[u8]) -> io::Result<bool> {
        let stat = rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(self.under.is_some() && is_whiteout(&stat))
    }

    /// The path at which `name` of `directory` really is.
    pub(super) fn real_path(&self, directory: &Directory, name: &[u8]) -> io::Result<Vec<u8>> {
        use std::os::fd::AsRawFd;
        let link = |fd: &OwnedFd| rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new());
        let (top, here) = (link(&self.top.fd)?.into_bytes(), link(&directory.fd)?.into_bytes());
        let inside = here.strip_prefix(top.as_slice()).ok_or(Errno::NOENT)?;
        Ok(join(inside.strip_prefix(b"/").unwrap_or(inside), name))
    }

    /// Moves a directory out of the way.
    pub(super) fn discard(&mut self, directory: &Directory, name: &[u8]) -> io::Result<()> {
        self.moved += 1;
        self.forget();
        let trash = self.trash.as_ref().ok_or(Errno::BADF)?;
        Ok(rustix::fs::renameat(&directory.fd, name, trash, self.moved.to_string())?)
    }
}

impl Directory {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let inode = rustix::fs::fstat(&fd)?.st_ino;
        Ok(Self { fd, inode })
    }

    /// The directory `name` of `parent`, no link followed.
    pub(super) fn below(parent: &Self, name: &[u8]) -> io::Result<Self> {
        Self::below_fd(parent.fd.as_fd(), name)
    }

    fn below_fd(parent: std::os::fd::BorrowedFd<'_>, name: &[u8]) -> io::Result<Self> {
        Self::new(rustix::fs::openat(parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?)
    }
}

/// overlayfs: "A whiteout is created as a character device with 0/0 device number".
pub(super) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn open(path: &Path) -> Result<OwnedFd, ExtractError> {
    let opened = rustix::fs::openat(CWD, path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
    opened.map_err(|error| ExtractError::io("open", path)(error.into()))
}

fn keeps_xattrs(fd: &OwnedFd) -> io::Result<()> {
    const PROBE: &str = "user.dlpack.probe";
    rustix::fs::fsetxattr(fd, PROBE, b"1", XattrFlags::empty())?;
    Ok(rustix::fs::fremovexattr(fd, PROBE)?)
}
