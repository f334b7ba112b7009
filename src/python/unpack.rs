//! Files that lie on disk as they will in venvs: those of a wheel that are the same wherever
//! the venv is, and those of an interpreter.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rawzip::ReaderAt;
use thiserror::Error;

use super::install::{Content, Installed};
use super::record::Check;
use super::wheel::{self, Problem, Wheel};
use crate::layer::EPOCH;
use crate::store::{Checksums, TreeContent};

/// How much of a file is written at a time, in bytes.
const CHUNK: usize = 256 << 10;

/// Why something can't be unpacked.
#[derive(Debug, Error)]
pub enum Error {
    /// A wheel is not what it should be.
    #[error(transparent)]
    Wheel(#[from] wheel::Error),
    /// A file can't be read or written.
    #[error("can't unpack {}", path.display())]
    Write {
        /// The file, relative to the venv.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Wheel(error) => error.hint(),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space with `dlpack cache gc`, or name another place with --store".into())
            }
            Self::Write { .. } => None,
        }
    }

    fn write(path: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = PathBuf::from(path);
        move |source| Self::Write { path, source }
    }
}

/// A directory that files are unpacked into. None of them can be written to, so that a venv may
/// have them as they are; all have one time.
pub struct Folder {
    top: PathBuf,
    made: HashSet<PathBuf>,
    content: TreeContent,
    sums: Checksums,
    buffer: Vec<u8>,
}

impl Folder {
    /// The directory `top`, which is not there yet.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn create(top: &Path) -> Result<Self, Error> {
        let mut folder = Self {
            top: top.to_owned(),
            made: HashSet::new(),
            content: TreeContent::default(),
            sums: Checksums::new(),
            buffer: vec![0; CHUNK],
        };
        folder.directory("")?;
        Ok(folder)
    }

    /// How much it is, and the sums of its files.
    pub fn finish(self) -> (TreeContent, Checksums) {
        (self.content, self.sums)
    }

    /// Makes a directory, and those above it.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn directory(&mut self, path: &str) -> Result<(), Error> {
        let place = self.top.join(path);
        if self.made.insert(place.clone()) {
            fs::create_dir_all(&place).map_err(Error::write(path))?;
            self.content.entries += 1;
        }
        Ok(())
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        self.parent(path)?;
        self.content.entries += 1;
        symlink(target, self.top.join(path)).map_err(Error::write(path))
    }

    /// Writes a file; `seen` is told of its bytes, `unreadable` says what it is if they can't be
    /// read. Returns their length and CRC-32.
    ///
    /// # Errors
    /// [`Error::Write`], and what `unreadable` makes.
    pub fn file<E: From<Error>>(
        &mut self,
        path: &str,
        mode: u32,
        mut content: impl Read,
        mut seen: impl FnMut(&[u8]),
        unreadable: impl FnOnce(io::Error) -> E,
    ) -> Result<(u64, u32), E> {
        self.parent(path)?;
        let failed = || Error::write(path);
        let created = File::options().write(true).create_new(true).mode(0o600).open(self.top.join(path));
        let mut file = created.map_err(failed())?;
        let (mut size, mut sum) = (0, crc32fast::Hasher::new());
        loop {
            let count = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            let bytes = &self.buffer[..count];
            seen(bytes);
            sum.update(bytes);
            file.write_all(bytes).map_err(failed())?;
            size += count as u64;
        }
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH);
        file.set_modified(time).map_err(failed())?;
        file.set_permissions(Permissions::from_mode(mode & 0o555)).map_err(failed())?;
        let (sum, inode) = (sum.finalize(), file.metadata().map_err(failed())?.ino());
        self.sums.insert(inode, sum);
        self.content.entries += 1;
        self.content.bytes += size;
        Ok((size, sum))
    }

    /// Makes a file of the one that lies at `from`, of which it shares the blocks where the filesystem
    /// can do that.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn copy(&mut self, path: &str, mode: u32, from: &Path) -> Result<(), Error> {
        self.parent(path)?;
        let copy = || {
            let mut source = File::open(from)?;
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(self.top.join(path))?;
            // copy_file_range(2): "some filesystems … make use of reflinks (i.e., two or more inodes that share
            // pointers to the same copy-on-write disk blocks)"; io::copy asks for it
            let size = io::copy(&mut source, &mut file)?;
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH))?;
            file.set_permissions(Permissions::from_mode(mode & 0o555))?;
            Ok(size)
        };
        self.content.bytes += copy().map_err(Error::write(path))?;
        self.content.entries += 1;
        Ok(())
    }

    fn parent(&mut self, path: &str) -> Result<(), Error> {
        self.directory(path.rsplit_once('/').map_or("", |(parent, _)| parent))
    }
}

/// Unpacks what `wheel` brings as it is, and not what its installer makes. Each file is held
/// against the wheel's directory and RECORD.
///
/// # Errors
/// [`Error`]; what is in the folder is then good for nothing.
pub fn wheel<R: ReaderAt>(wheel: &Wheel<R>, installed: &Installed, folder: &mut Folder) -> Result<(), Error> {
    for file in installed.files() {
        let Content::Entry { path: name, line } = &file.content else { continue };
        let missing = || wheel.error(Problem::Missing { path: name.clone() });
        let entry = wheel.directory().find(name).ok_or_else(missing)?;
        let mut check = Check::new(line);
        // one byte more than there should be shows that there are more
        let content = wheel.content(entry)?.take(entry.size + 1);
        let unreadable = |source| Error::Wheel(wheel.error(Problem::Inflate { path: name.clone(), source }));
        let found = folder.file(&file.path, file.mode, content, |bytes| check.update(bytes), unreadable)?;
        if found != (entry.size, entry.crc32) {
            return Err(wheel.error(Problem::Content { path: name.clone() }).into());
        }
        check.finish(name).map_err(|problem| wheel.error(problem))?;
    }
    Ok(())
}
