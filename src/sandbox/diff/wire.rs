//! Changes on their way out of the namespace: each a length, its description as JSON, and
//! a file's content; a length of zero at the end. Back comes a byte for each file that has
//! other names, and for each of these: whether the layer has it under this one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use super::super::changes::{Change, ChangeKind};

/// The longest description, in bytes: paths and attributes are bounded by the kernel.
const LONGEST: u32 = 16 << 20;

/// What precedes a file's content.
#[derive(Serialize, Deserialize)]
struct Frame<C> {
    change: C,
    /// Whether the sender waits to hear if it is in the layer.
    asks: bool,
}

/// Where changes are written.
pub(in crate::sandbox) struct Frames<'a> {
    to: &'a UnixStream,
    out: io::BufWriter<&'a UnixStream>,
}

impl<'a> Frames<'a> {
    pub(in crate::sandbox) fn new(to: &'a UnixStream) -> Self {
        Self { to, out: io::BufWriter::with_capacity(1 << 16, to) }
    }

    /// Writes a change, and the content of a file.
    pub(super) fn send(&mut self, change: &Change, content: Option<File>) -> io::Result<()> {
        self.write(change, content, false)
    }

    /// Writes a file that has other names, or one of these; returns whether the layer has it under this one.
    pub(super) fn offer(&mut self, change: &Change, content: Option<File>) -> io::Result<bool> {
        self.write(change, content, true)?;
        self.out.flush()?;
        let mut taken = [0];
        self.to.read_exact(&mut taken)?;
        Ok(taken != [0])
    }

    fn write(&mut self, change: &Change, content: Option<File>, asks: bool) -> io::Result<()> {
        let text = serde_json::to_vec(&Frame { change, asks })?;
        let length = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&text)?;
        if let (ChangeKind::File { size }, Some(content)) = (&change.kind, content) {
            let copied = io::copy(&mut content.take(*size), &mut self.out)?;
            if copied < *size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Says that this was all.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.out.write_all(&0u32.to_le_bytes())?;
        self.out.flush()
    }
}

/// Why not all changes came.
pub(in crate::sandbox) enum Broken<E> {
    /// They broke off.
    Lost(io::Error),
    /// Who took them wants no more.
    Refused(E),
}

/// Reads what [`Frames`] wrote, and gives each change to `each` with a file's content.
/// `each` says whether the layer has it.
///
/// # Errors
/// [`Broken`].
pub(in crate::sandbox) fn receive<E>(
    mut from: &UnixStream,
    each: &mut dyn FnMut(Change, &mut dyn Read) -> Result<bool, E>,
) -> Result<(), Broken<E>> {
    let lost = Broken::Lost;
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length).map_err(lost)?;
        let length = u32::from_le_bytes(length);
        if length == 0 {
            return Ok(());
        }
        if length > LONGEST {
            return Err(lost(io::ErrorKind::InvalidData.into()));
        }
        let mut text = vec![0; length as usize];
        from.read_exact(&mut text).map_err(lost)?;
        let Frame::<Change> { change, asks } = serde_json::from_slice(&text).map_err(|error| lost(error.into()))?;
        let size = if let ChangeKind::File { size } = change.kind { size } else { 0 };
        let mut content = (&mut from).take(size);
        let taken = each(change, &mut content).map_err(Broken::Refused)?;
        // what nobody wanted to read
        io::copy(&mut content, &mut io::sink()).map_err(lost)?;
        if content.limit() > 0 {
            return Err(lost(io::ErrorKind::UnexpectedEof.into()));
        }
        if asks {
            from.write_all(&[u8::from(taken)]).map_err(lost)?;
        }
    }
}
