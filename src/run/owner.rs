//! The dlpack whose container runs, for others of its user: it listens on a Unix socket, and
//! lets commands in, or ends the container.

use std::fs::{self, File};
use std::io::{self, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{Error, Listed};
use crate::oci::ContainerConfig;
use crate::sandbox::{self, Call, Door};

/// The socket in a container's own directory.
const SOCKET: &str = "socket";

/// What a container is told by.
pub(super) struct Owner {
    /// Where further commands come in.
    pub door: Arc<Door>,
    /// Takes bytes that are the numbers of signals for its command.
    pub signals: PipeWriter,
    /// By which its command is asked to end.
    pub stop: Signal,
}

impl Owner {
    /// Listens in `directory`, until this process ends.
    ///
    /// # Errors
    /// As bind(2).
    pub(super) fn listen(self, directory: &Path) -> io::Result<()> {
        let _ = fs::remove_file(directory.join(SOCKET));
        let listener = short(directory, |path| UnixListener::bind(path))?;
        let owner = Arc::new(self);
        std::thread::Builder::new().name("owner".to_owned()).spawn(move || {
            for connection in listener.incoming().flatten() {
                let owner = Arc::clone(&owner);
                // where there is no thread left, who calls is hung up on
                let _ = std::thread::Builder::new().spawn(move || owner.answer(&connection));
            }
        })?;
        Ok(())
    }

    fn answer(&self, connection: &UnixStream) {
        match sandbox::hear(connection) {
            Ok(Some((Call::Exec(exec), streams))) => self.door.let_in(exec, &streams, connection),
            Ok(Some((Call::Stop { seconds }, _))) => {
                self.send(self.stop);
                std::thread::sleep(Duration::from_secs(seconds));
                self.send(Signal::KILL);
                // it is over when this process is
                loop {
                    std::thread::park();
                }
            }
            Ok(None) | Err(_) => {}
        }
    }

    fn send(&self, signal: Signal) {
        let _ = (&self.signals).write_all(&[signal.as_raw() as u8]);
    }
}

/// Calls the owner of the container `listed`.
///
/// # Errors
/// [`Error::NotRunning`], [`Error::Elsewhere`], [`Error::Owner`].
pub fn connect(listed: &Listed) -> Result<UnixStream, Error> {
    let name = || listed.name.to_string();
    if listed.record.may_run_elsewhere() {
        return Err(Error::Elsewhere { name: name(), host: listed.record.host.clone() });
    }
    if !listed.running {
        return Err(Error::NotRunning { name: name() });
    }
    short(&listed.record.directory, |path| UnixStream::connect(path))
        .map_err(|source| Error::Owner { name: name(), source })
}

/// This machine's name.
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// unix(7), sockaddr_un: a path has at most 108 bytes, whatever the directory's own has.
fn short<T>(directory: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let directory = File::open(directory)?;
    with(Path::new(&format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd())))
}

/// The signal by which an image's command is asked to end: image-spec `config.md`, StopSignal,
/// "SIGNAME" or "SIGRTMIN+3" or its number; SIGTERM if it names none.
pub(super) fn stop_signal(config: &ContainerConfig) -> Signal {
    const NAMES: [(&str, Signal); 8] = [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("KILL", Signal::KILL),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("TERM", Signal::TERM),
        ("WINCH", Signal::WINCH),
    ];
    let named = config.other.get("StopSignal").and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
    let name = named.strip_prefix("SIG").unwrap_or(&named);
    let by_number = name.parse().ok().and_then(Signal::from_named_raw);
    let by_name = NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, signal)| signal);
    by_name.or(by_number).unwrap_or(Signal::TERM)
}
