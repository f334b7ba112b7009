//! Content-addressed files: written once, verified, never changed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Error, Store};
use crate::oci::{Digest, Hasher};

/// The two places where files lie under their sha256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Manifests, configs and layers: the image layout's own.
    Blobs,
    /// Wheels and interpreters, which are no part of an image.
    Downloads,
}

impl Area {
    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::Blobs => "blobs/sha256",
            Self::Downloads => "downloads/sha256",
        }
    }
}

/// How exactly the time of the last use is kept.
const USE_RESOLUTION: Duration = Duration::from_secs(60);

/// Marks a file as used now. In a store that can't be written it stays as it is.
pub(super) fn touch(file: &File) {
    let now = SystemTime::now();
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    if !modified.is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age < USE_RESOLUTION)) {
        let _ = file.set_modified(now);
    }
}

impl Store {
    /// Where the file with `digest` lies, or would lie.
    pub fn path(&self, area: Area, digest: &Digest) -> PathBuf {
        self.root.join(area.directory()).join(digest.hex())
    }

    /// The length in bytes of a file that is here; nothing if it is not.
    pub fn size(&self, area: Area, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(area, digest)).ok().filter(fs::Metadata::is_file).map(|meta| meta.len())
    }

    /// Opens a file for verified reading; nothing if it is not here.
    ///
    /// # Errors
    /// [`Error::Io`] if it is here and can't be opened.
    pub fn open_blob(&self, area: Area, digest: &Digest) -> Result<Option<BlobReader>, Error> {
        let reader = self.open_unused(area, digest)?;
        Ok(reader.inspect(|reader| touch(&reader.file)))
    }

    /// The same for a look at it that is no use of it.
    fn open_unused(&self, area: Area, digest: &Digest) -> Result<Option<BlobReader>, Error> {
        let path = self.path(area, digest);
        match File::open(&path) {
            Ok(file) => Ok(Some(BlobReader { file, path, expected: *digest, seen: Hasher::new(), done: false })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    }

    /// Reads a small file whole: a manifest or a config.
    ///
    /// # Errors
    /// [`Error::Damaged`] if its bytes are not what its name says; it is then
    /// removed. [`Error::Io`].
    pub fn read(&self, area: Area, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        self.open_blob(area, digest)?.map(BlobReader::whole).transpose()
    }

    /// The same for a look at it that is no use of it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn peek(&self, area: Area, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        self.open_unused(area, digest)?.map(BlobReader::whole).transpose()
    }

    /// Begins a file whose digest is not known yet.
    ///
    /// # Errors
    /// [`Error::Io`] if `tmp/` can't be written.
    pub fn writer(&self) -> Result<BlobWriter, Error> {
        BlobWriter::new(&self.root.join("tmp"))
    }

    /// Keeps `bytes` and returns their digest.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put(&self, area: Area, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        if self.size(area, &digest) == Some(bytes.len() as u64) {
            if let Ok(file) = File::open(self.path(area, &digest)) {
                touch(&file);
            }
        } else {
            let mut writer = self.writer()?;
            writer.write_all(bytes).map_err(Error::io("write", &self.path(area, &digest)))?;
            self.keep(area, writer)?;
        }
        Ok(digest)
    }

    /// Gives a written file its name. Afterwards it is on disk for good: synced,
    /// and renamed in one step.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing is then left behind.
    pub fn keep(&self, area: Area, writer: BlobWriter) -> Result<(Digest, u64), Error> {
        let (digest, size) = writer.hasher.clone().finish();
        writer.rename_to(&self.path(area, &digest))?;
        Ok((digest, size))
    }

    /// The same for a file that was announced as `expected` of `size` bytes.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if other bytes came, and nothing is kept; [`Error::Io`].
    pub fn keep_as(&self, area: Area, writer: BlobWriter, expected: &Digest, size: u64) -> Result<(), Error> {
        let (found, found_size) = writer.hasher.clone().finish();
        if (found, found_size) != (*expected, size) {
            return Err(Error::Mismatch { expected: *expected, expected_size: size, found, found_size });
        }
        writer.rename_to(&self.path(area, expected))
    }
}

/// A file that has no name yet. Dropped before [`Store::keep`], it is gone.
pub struct BlobWriter {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    named: bool,
}

impl BlobWriter {
    pub(super) fn new(tmp: &Path) -> Result<Self, Error> {
        loop {
            let path = tmp.join(format!("{}-{:016x}", std::process::id(), fastrand::u64(..)));
            match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    // The lock tells a collection that the writer lives, in whatever
                    // container. It may have come between: then the file has no link.
                    let _ = file.lock();
                    if file.metadata().is_ok_and(|metadata| metadata.nlink() > 0) {
                        return Ok(Self { file, path, hasher: Hasher::new(), named: false });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create a file in", tmp)(error)),
            }
        }
    }

    /// Lets nobody else read it: it holds what others may not know.
    pub(super) fn keep_private(&self) -> io::Result<()> {
        self.file.set_permissions(fs::Permissions::from_mode(0o600))
    }

    /// How many bytes were written so far.
    pub fn written(&self) -> u64 {
        self.hasher.length()
    }

    /// Sync, rename, sync the directory: the order that survives a power cut.
    pub(super) fn rename_to(mut self, path: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))?;
        fs::rename(&self.path, path).map_err(Error::io("rename", path))?;
        self.named = true;
        if let Some(parent) = path.parent() {
            File::open(parent).and_then(|directory| directory.sync_all()).map_err(Error::io("sync", parent))?;
        }
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.named {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Reads a file and, at its end, says whether it was what its name says. A file
/// that was not is removed, so that the next build makes it again.
pub struct BlobReader {
    file: File,
    path: PathBuf,
    expected: Digest,
    seen: Hasher,
    done: bool,
}

impl BlobReader {
    /// All of it.
    fn whole(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Whether it has been read to its end, and was not what its name says.
    pub fn is_damaged(&self) -> bool {
        self.done && self.seen.clone().finish().0 != self.expected
    }

    /// The error of this module behind an error that reading returned.
    pub fn explain(&self, error: io::Error) -> Error {
        let (found, _) = self.seen.clone().finish();
        match error.kind() {
            io::ErrorKind::InvalidData => Error::Damaged { path: self.path.clone(), found },
            _ => Error::io("read", &self.path)(error),
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.seen.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && !self.done {
            self.done = true;
            if self.is_damaged() {
                let _ = fs::remove_file(&self.path);
                let message = format!("{} was damaged", self.path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(count)
    }
}
