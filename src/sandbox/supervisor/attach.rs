//! How a step comes under a supervisor: the process that becomes the command sets the
//! filter and hands the listener to process 1, which serves it on a thread.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{Credentials, Mode, Supervisor, install};
use crate::sandbox::Fallback;
use crate::sandbox::owners::{INODES, Inodes};
use crate::sandbox::record::{BY_PATH, Owner, read_by_path};
use crate::sandbox::spec::{receive, send};

/// What a supervisor has to know before the root of a step is entered.
pub(in crate::sandbox) struct Supervision {
    inodes: Inodes,
    /// Owners of what lies in lower layers, by path; none after the first step.
    below: BTreeMap<Vec<u8>, Owner>,
}

impl Supervision {
    /// Opens the record of the sandbox in `directory` over `lower`, lowest first.
    ///
    /// # Errors
    /// If it can't be read.
    pub(in crate::sandbox) fn open(directory: &Path, lower: &[PathBuf]) -> io::Result<Self> {
        let inodes = Inodes::open(&directory.join(INODES))?;
        let below = if inodes.is_empty() { owners_below(lower)? } else { BTreeMap::new() };
        Ok(Self { inodes, below })
    }

    /// Serves the process on the other end of `from`, once it has sent its listener; in
    /// this process, whose root is the step's. Returns what it fell back to, if it did.
    ///
    /// # Errors
    /// If the record can't be written.
    pub(in crate::sandbox) fn serve(
        mut self,
        from: &UnixStream,
        credentials: Credentials,
    ) -> io::Result<Option<Fallback>> {
        for (path, owner) in std::mem::take(&mut self.below) {
            self.inodes.note(Path::new("/").join(path_of(path)).as_path(), owner)?;
        }
        // nothing comes if the process ended: it says elsewhere why
        let Some((mode, listeners)) = receive::<Mode>(from)? else { return Ok(None) };
        if let Some(listener) = listeners.into_iter().next() {
            let inodes = self.inodes;
            std::thread::spawn(move || Supervisor::serve(listener, credentials, inodes));
        }
        Ok(fallback(mode))
    }
}

/// What steps do without in `mode`.
fn fallback(mode: Mode) -> Option<Fallback> {
    match mode {
        Mode::Full => None,
        Mode::Record => Some(Fallback::RecordedOwners),
        Mode::Fake => Some(Fallback::FakedOwners),
    }
}

/// Comes under the supervisor on the other end of `to`: the calling thread, and all that
/// it starts.
///
/// # Errors
/// If not even calls can be made to succeed without effect.
pub(in crate::sandbox) fn submit(to: &UnixStream) -> io::Result<()> {
    let (mode, listener) = install_best()?;
    let listener: Vec<_> = listener.iter().map(AsFd::as_fd).collect();
    send(to, &mode, &listener)
}

/// What a command would do without under a supervisor. The calling thread comes under one that
/// answers nothing, and is of no use but to say so.
///
/// # Errors
/// As [`submit`].
pub(in crate::sandbox) fn probe() -> io::Result<Option<Fallback>> {
    install_best().map(|(mode, _)| fallback(mode))
}

/// Sets the filter of the best mode that there is.
fn install_best() -> io::Result<(Mode, Option<OwnedFd>)> {
    let wanted = if Supervisor::can_tell_processes_apart() { Mode::Full } else { Mode::Record };
    match install(wanted) {
        Ok(listener) => Ok((wanted, listener)),
        // EBUSY: one listener is all that a process may have; EINVAL: an old kernel
        Err(_) => Ok((Mode::Fake, install(Mode::Fake)?)),
    }
}

/// The owners in the records beside `lower`, of what no higher layer has replaced.
fn owners_below(lower: &[PathBuf]) -> io::Result<BTreeMap<Vec<u8>, Owner>> {
    let mut owners = BTreeMap::new();
    for (n, root) in lower.iter().enumerate() {
        let bytes = match std::fs::read(root.with_file_name(BY_PATH)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let by_path = read_by_path(&bytes).ok_or(io::ErrorKind::InvalidData)?;
        let higher = &lower[n + 1..];
        let shown =
            |path: &[u8]| !higher.iter().any(|root| root.join(path_of(path.to_vec())).symlink_metadata().is_ok());
        owners.extend(by_path.into_iter().filter(|(path, _)| shown(path)));
    }
    Ok(owners)
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}
