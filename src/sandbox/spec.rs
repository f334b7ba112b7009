//! What dlpack and a sandbox's first process say to each other: JSON in frames over a
//! Unix socket, with descriptors beside them.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::step::{Ending, Link, Machine, Mount, Network};
use super::{Fallback, Identity, Refusal};

/// The verb with which dlpack starts itself as a sandbox's first process.
pub const VERB: &str = "sandbox-helper";

/// The longest frame, in bytes: a step's environment and arguments are bounded by execve(2).
const LONGEST: u32 = 16 << 20;

/// What dlpack asks of the sandbox's first process. [`Request::Open`] comes first, or
/// [`Request::Probe`] alone.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Make the namespaces, and find out what this machine allows. With it come the locks of
    /// what the sandbox writes to, if that stays.
    Open(Opening),
    /// Find out what this machine allows, and end.
    Probe,
    /// Run a command. With it come its stdin, stdout and stderr, and, if there are such, a
    /// pipe of bytes that are the numbers of signals for it, and the door for further commands.
    Run(Box<Task>),
    /// Say whether a step without network would do without a network namespace.
    Network,
    /// Write what changed to the socket that comes with it.
    Changes,
}

/// What a sandbox is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Opening {
    /// Directories in overlayfs's form, lowest first.
    pub lower: Vec<PathBuf>,
    /// The sandbox's own directory on which it works, empty unless it is lasting.
    pub directory: PathBuf,
    /// Whether the directory stays, with what was written: it has that of an earlier sandbox, or
    /// another goes on with it.
    pub lasting: bool,
    /// Who the caller is inside.
    pub identity: Identity,
}

/// A step with all that this machine adds to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub workdir: String,
    pub user: Option<String>,
    pub network: Network,
    pub mounts: Vec<Mount>,
    pub links: Vec<Link>,
    pub binds: Vec<Mount>,
    pub machine: Machine,
    /// Whether stdin is a terminal that the command is to control.
    pub interactive: bool,
}

/// What the sandbox's first process answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It is open, or was looked at; these are the ways in which it differs from what was wanted.
    Opened(Vec<Fallback>),
    /// The terminal at which the command is to be is furnished. What is typed at it goes to the
    /// descriptor that comes with this; without one, to that of the terminal that was lent.
    Terminal,
    /// The further command that was asked for runs.
    Begun,
    /// The command, to which somebody is attached, was stopped by this signal.
    Stopped(i32),
    /// The command ended.
    Ended(Ending, Vec<Fallback>),
    /// What changed is written.
    Written,
    /// It can't be done.
    Refused(Refusal),
}

/// Sends `message`, with `descriptors` beside it.
pub(super) fn send(to: &UnixStream, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= LONGEST);
    let length = length.ok_or_else(|| io::Error::from(rustix::io::Errno::TOOBIG))?.to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(rustix::io::Errno::TOOBIG.into());
    }
    // unix(7): at least one byte must go with the descriptors; four fit into any buffer
    let sent =
        rustix::io::retry_on_intr(|| sendmsg(to.as_fd(), &[IoSlice::new(&length)], &mut beside, SendFlags::NOSIGNAL))?;
    let mut to = to;
    to.write_all(&length[sent..])?;
    to.write_all(&text)
}

/// Takes the next message and the descriptors beside it; none if the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(from: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    match receive_text(from)? {
        Some((text, descriptors)) => Ok(Some((serde_json::from_slice(&text)?, descriptors))),
        None => Ok(None),
    }
}

/// The same before it is read: whoever gets no message of it can still answer by what came beside it.
pub(super) fn receive_text(from: &UnixStream) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::io::retry_on_intr(|| {
        recvmsg(from.as_fd(), &mut [IoSliceMut::new(&mut length)], &mut beside, RecvFlags::CMSG_CLOEXEC)
    })?;
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            descriptors.extend(given);
        }
    }
    let mut from = from;
    from.read_exact(&mut length[got.bytes..])?;
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(rustix::io::Errno::TOOBIG.into());
    }
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text)?;
    Ok(Some((text, descriptors)))
}

/// An [`io::Error`] as its number.
pub(super) mod errno {
    use std::io;

    use rustix::io::Errno;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(error: &io::Error, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i32(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<io::Error, D::Error> {
        i32::deserialize(from).map(io::Error::from_raw_os_error)
    }
}
