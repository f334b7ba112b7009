//! The two ways in which files under names leave: into a directory, or as a tar.

use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use tempfile::TempDir;

use super::output::{Job, Output, parent};
use super::{Destination, Error};
use crate::layer::{Attributes, EPOCH, tar};
use crate::oci::Descriptor;

/// How much of a blob is read at a time, in bytes.
const CHUNK: usize = 256 << 10;

/// Takes files, one after the other.
pub(super) trait Members {
    /// Begins the file `name`, a relative path, of `size` bytes.
    fn begin(&mut self, name: &str, size: u64) -> Result<(), Error>;

    /// Takes the next bytes of the file.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Ends the file, all bytes of which have come.
    fn end(&mut self) -> Result<(), Error>;

    /// Takes a file whole.
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.begin(name, bytes.len() as u64)?;
        self.put(bytes)?;
        self.end()
    }
}

/// Takes a blob as the file `name`. One that is damaged fails at its end at the latest.
pub(super) fn blob(job: &Job<'_>, name: &str, blob: &Descriptor, members: &mut dyn Members) -> Result<(), Error> {
    let mut reader = job.image.open(blob)?;
    members.begin(name, blob.size)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match std::io::Read::read(&mut reader, &mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(reader.explain(error).into()),
            Ok(0) => break,
            Ok(count) => count,
        };
        job.advance(count)?;
        members.put(&buffer[..count])?;
    }
    members.end()
}

/// A tar that is being written: regular files, owned by root, of one time.
pub(super) struct Tar {
    out: Output,
    size: u64,
}

impl Tar {
    pub(super) fn new(out: Output) -> Self {
        Self { out, size: 0 }
    }

    /// Ends the tar.
    pub(super) fn finish(mut self) -> Result<Output, Error> {
        self.out.put(&tar::END)?;
        Ok(self.out)
    }
}

impl Members for Tar {
    fn begin(&mut self, name: &str, size: u64) -> Result<(), Error> {
        self.size = size;
        self.out.put(&tar::header(name, tar::Kind::File(size), Attributes::root(0o644), &Default::default(), EPOCH))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.put(bytes)
    }

    fn end(&mut self) -> Result<(), Error> {
        let padding = [0; tar::BLOCK];
        self.out.put(&padding[..tar::padding(self.size)])
    }
}

/// A directory in the making. Dropped before [`Directory::keep`], it is gone.
pub(super) struct Directory {
    unfinished: TempDir,
    path: PathBuf,
    file: Option<BufWriter<File>>,
    written: u64,
}

impl Directory {
    /// An empty one, which will be `destination`.
    pub(super) fn create(destination: &Destination) -> Result<Self, Error> {
        let path = destination.path().to_owned();
        // what the umask takes away is taken away
        let unfinished = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(parent(&path))
            .map_err(Error::write("create", &path))?;
        Ok(Self { unfinished, path, file: None, written: 0 })
    }

    /// Gives the directory its name, in one step. Returns how many bytes are in it.
    pub(super) fn keep(self) -> Result<u64, Error> {
        match rustix::fs::renameat_with(CWD, self.unfinished.path(), CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Error::Exists { path: self.path, is_file: false }),
            // renameat2(2): "EINVAL … The filesystem does not support one of the flags": rename replaces nothing
            // but an empty directory
            Err(Errno::INVAL) => {
                std::fs::rename(self.unfinished.path(), &self.path).map_err(Error::write("rename to", &self.path))?;
            }
            Err(error) => return Err(Error::write("rename to", &self.path)(error.into())),
        }
        // there is nothing any more that could be removed
        let _ = self.unfinished.keep();
        Ok(self.written)
    }
}

impl Members for Directory {
    fn begin(&mut self, name: &str, _: u64) -> Result<(), Error> {
        let path = self.unfinished.path().join(name);
        let created = std::fs::create_dir_all(parent(&path)).and_then(|()| File::create_new(&path));
        self.file = Some(BufWriter::new(created.map_err(Error::write("create", &self.path.join(name)))?));
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        let file = self.file.as_mut();
        file.map_or(Ok(()), |file| file.write_all(bytes)).map_err(Error::write("write", &self.path))
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let synced = file.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        synced.map_err(Error::write("write", &self.path))
    }
}
