//! The two ways in which files under names leave: into a directory, or as a tar.

use std::fs::File;
use std::io::{BufWriter, Write};

use super::Error;
use super::folder::Folder;
use super::output::{Job, Output, parent};
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

/// A directory that files are written into.
pub(super) struct Directory {
    folder: Folder,
    file: Option<BufWriter<File>>,
}

impl Directory {
    pub(super) fn new(folder: Folder) -> Self {
        Self { folder, file: None }
    }

    /// The directory with all files.
    pub(super) fn finish(self) -> Folder {
        self.folder
    }
}

impl Members for Directory {
    fn begin(&mut self, name: &str, _: u64) -> Result<(), Error> {
        let path = self.folder.unfinished().join(name);
        let created = std::fs::create_dir_all(parent(&path)).and_then(|()| File::create_new(&path));
        self.file = Some(BufWriter::new(created.map_err(Error::write("create", &self.folder.path().join(name)))?));
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.folder.count(bytes.len() as u64);
        let file = self.file.as_mut();
        file.map_or(Ok(()), |file| file.write_all(bytes)).map_err(Error::write("write", self.folder.path()))
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let synced = file.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        synced.map_err(Error::write("write", self.folder.path()))
    }
}
