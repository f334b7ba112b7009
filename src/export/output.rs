//! Where an export goes: a file that gets its name when it is whole, or stdout.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, IsTerminal, Read, Stdout, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use tempfile::TempPath;

use super::{Error, Format, Image};
use crate::progress::Task;

/// How much is written at once, in bytes.
const BUFFER: usize = 1 << 20;

/// Where an export goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A file or a directory that is not there yet.
    Path {
        /// Its name.
        path: PathBuf,
        /// Whether a file that is there is replaced.
        force: bool,
    },
    /// A pipe.
    Stdout,
}

impl Destination {
    /// What it is called.
    pub fn name(&self) -> String {
        self.path().display().to_string()
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Path { path, .. } => path,
            Self::Stdout => Path::new("stdout"),
        }
    }

    /// Says what is in the way of an export as `format`, before anything is read for it.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Terminal`], [`Error::Stdout`], [`Error::Write`].
    pub fn check(&self, format: Format) -> Result<(), Error> {
        match self {
            Self::Stdout if !format.is_stream() => Err(Error::Stdout { format: format.name() }),
            Self::Stdout if io::stdout().is_terminal() => Err(Error::Terminal),
            Self::Stdout => Ok(()),
            Self::Path { path, force } => match path.symlink_metadata() {
                Ok(there) if *force && there.is_file() && !format.is_directory() => Ok(()),
                Ok(there) => {
                    Err(Error::Exists { path: path.clone(), is_file: there.is_file() && !format.is_directory() })
                }
                Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::write("look at", path)(source)),
                Err(_) => Ok(()),
            },
        }
    }
}

/// The directory of `path`; nowhere is here.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Tells an export that nobody wants it any more. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Tells it: it ends at the next bytes, and clears away what it wrote.
    pub fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// If nobody wants what goes to `path` any more.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Error::Stopped { path: path.to_owned() }),
            false => Ok(()),
        }
    }
}

/// An export that is going on.
pub(super) struct Job<'a> {
    pub(super) image: &'a Image,
    destination: &'a Destination,
    task: Task,
    stop: Stop,
}

impl<'a> Job<'a> {
    pub(super) fn new(image: &'a Image, destination: &'a Destination, task: Task, stop: Stop) -> Self {
        Self { image, destination, task, stop }
    }

    /// Counts `bytes` of the image's blobs that were read.
    ///
    /// # Errors
    /// If nobody wants the rest.
    pub(super) fn advance(&self, bytes: usize) -> Result<(), Error> {
        self.task.advance(bytes as u64);
        self.is_wanted()
    }

    /// The same as `blob` is read. Whoever reads asks now and then whether it is wanted.
    pub(super) fn counted<R: Read>(&self, blob: R) -> Counted<'_, R> {
        Counted { blob, task: &self.task }
    }

    /// # Errors
    /// If nobody wants the export any more.
    pub(super) fn is_wanted(&self) -> Result<(), Error> {
        self.stop.check(self.path())
    }

    /// Where it goes, for errors.
    pub(super) fn path(&self) -> &Path {
        self.destination.path()
    }

    pub(super) fn end(self) {
        self.task.end("written");
    }
}

/// A blob whose bytes are counted as they are read.
pub(super) struct Counted<'a, R> {
    blob: R,
    task: &'a Task,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.blob.read(buffer)?;
        self.task.advance(count as u64);
        Ok(count)
    }
}

/// A file in the making, or stdout. Dropped before [`Output::keep`], the file is gone.
pub(super) struct Output {
    to: To,
    path: PathBuf,
    written: u64,
}

enum To {
    File { file: BufWriter<File>, unfinished: Unfinished, force: bool },
    Stdout(BufWriter<Stdout>),
}

/// What a file is called before it is whole.
enum Unfinished {
    /// Nothing: it is gone with the process, however that ends.
    Nameless,
    /// Something, on a filesystem that has no files without a name.
    Named(TempPath),
}

impl Unfinished {
    /// A file in `directory`.
    fn create(directory: &Path) -> io::Result<(File, Self)> {
        // open(2), O_TMPFILE: "Anything written to the resulting file will be lost when the last file descriptor
        // is closed, unless the file is given a name"
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let nameless = rustix::fs::open(directory, flags, Mode::from_raw_mode(0o666)).map(File::from);
        match nameless {
            Ok(file) if in_proc(&file).exists() => Ok((file, Self::Nameless)),
            // where a directory can't be written, this one says so
            _ => {
                // what the umask takes away is taken away
                let permissions = Permissions::from_mode(0o666);
                let unfinished = tempfile::Builder::new().permissions(permissions).tempfile_in(directory)?;
                let (file, unfinished) = unfinished.into_parts();
                Ok((file, Self::Named(unfinished)))
            }
        }
    }

    /// Gives `file` its name in one step.
    fn persist(self, file: &File, path: &Path, force: bool) -> io::Result<()> {
        // open(2): "linkat(AT_FDCWD, "/proc/self/fd/…", AT_FDCWD, "/path/for/file", AT_SYMLINK_FOLLOW)"
        let link = |to: &Path| Ok(rustix::fs::linkat(CWD, in_proc(file), CWD, to, AtFlags::SYMLINK_FOLLOW)?);
        match self {
            Self::Named(unfinished) if force => Ok(unfinished.persist(path)?),
            Self::Named(unfinished) => Ok(unfinished.persist_noclobber(path)?),
            // no link takes the place of a file: it gets another name first
            Self::Nameless if force => {
                let linked = tempfile::Builder::new().make_in(parent(path), link)?;
                Ok(linked.into_temp_path().persist(path)?)
            }
            Self::Nameless => link(path),
        }
    }
}

/// Where proc(5) has an open file.
fn in_proc(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

impl Output {
    pub(super) fn create(destination: &Destination) -> Result<Self, Error> {
        let to = match destination {
            Destination::Stdout => To::Stdout(BufWriter::with_capacity(BUFFER, io::stdout())),
            Destination::Path { path, force } => {
                let (file, unfinished) = Unfinished::create(parent(path)).map_err(Error::write("create", path))?;
                To::File { file: BufWriter::with_capacity(BUFFER, file), unfinished, force: *force }
            }
        };
        Ok(Self { to, path: destination.path().to_owned(), written: 0 })
    }

    /// Where it goes, for errors.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes were written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes over what stands `at` bytes from the beginning.
    ///
    /// # Errors
    /// [`Error::Write`]; for stdout, always.
    pub(super) fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let patched = match &mut self.to {
            To::File { file, .. } => file.flush().and_then(|()| file.get_ref().write_all_at(bytes, at)),
            To::Stdout(_) => Err(io::ErrorKind::NotSeekable.into()),
        };
        patched.map_err(Error::write("write", &self.path))
    }

    /// Writes zeros up to a multiple of `unit` bytes.
    pub(super) fn pad(&mut self, unit: u64) -> Result<(), Error> {
        self.pad_to(self.written.next_multiple_of(unit))
    }

    /// Writes zeros up to `at` bytes from the beginning.
    pub(super) fn pad_to(&mut self, at: u64) -> Result<(), Error> {
        self.put(&vec![0; usize::try_from(at.saturating_sub(self.written)).unwrap_or(0)])
    }

    /// Writes the next bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = match &mut self.to {
            To::File { file, .. } => file.write_all(bytes),
            To::Stdout(stdout) => stdout.write_all(bytes),
        };
        written.map_err(Error::write("write", &self.path))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Gives the file its name: synced, and renamed in one step. Returns its length in bytes.
    pub(super) fn keep(self) -> Result<u64, Error> {
        let Self { to, path, written } = self;
        match to {
            To::Stdout(mut stdout) => stdout.flush().map_err(Error::write("write", &path))?,
            To::File { file, unfinished, force } => {
                let file = file.into_inner().map_err(|error| Error::write("write", &path)(error.into_error()))?;
                file.sync_all().map_err(Error::write("sync", &path))?;
                unfinished.persist(&file, &path, force).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => Error::Exists { path: path.clone(), is_file: path.is_file() },
                    _ => Error::write("rename to", &path)(error),
                })?;
            }
        }
        Ok(written)
    }
}
