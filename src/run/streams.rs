//! What a container's commands read and write: the streams of whoever starts them.

use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::fs::{FileType, fstat};

use super::Error;
use crate::sandbox::{self, Ending, Exec};

/// Refuses a directory among this process' streams: from it a command could go up, and out of
/// its root.
///
/// # Errors
/// [`Error::DirectoryAsStream`].
pub(super) fn check() -> Result<(), Error> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    for (stream, descriptor) in [("stdin", input.as_fd()), ("stdout", output.as_fd()), ("stderr", error.as_fd())] {
        let kind = fstat(descriptor).map(|is| FileType::from_raw_mode(is.st_mode));
        if kind == Ok(FileType::Directory) {
            return Err(Error::DirectoryAsStream { stream });
        }
    }
    Ok(())
}

/// Has the dlpack on the other side of `connection` run `exec` in its container, with this
/// process' streams. Each byte that comes from `signals` is the number of a signal for it.
///
/// # Errors
/// If it can't be started; however it ends is no error.
pub fn exec(connection: &UnixStream, exec: Exec, signals: PipeReader) -> Result<Ending, Error> {
    check()?;
    Ok(sandbox::call(connection, exec, signals)?)
}
