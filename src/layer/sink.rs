//! Where a layer's compressed bytes go, hashed on the way: into a store, to somebody
//! who sends them on as they come, or both.

use std::io::{self, Write};

use super::Error;
use crate::oci::{Digest, Hasher};
use crate::store::{Area, BlobWriter, Store};

/// Where the bytes of a layer's blob go.
pub enum Sink {
    /// Into a store, under their digest once they are complete.
    Store(Store),
    /// To a writer that passes them on; no file ever holds them. Its
    /// [`io::ErrorKind::BrokenPipe`] says that nobody wants the rest.
    Stream(Box<dyn Write + Send>),
    /// Both at once.
    Both(Store, Box<dyn Write + Send>),
}

impl Sink {
    /// Whether somebody takes the bytes as they come.
    pub(super) fn is_stream(&self) -> bool {
        !matches!(self, Self::Store(_))
    }

    /// The store that keeps the blob, if one does.
    pub(super) fn store(&self) -> Option<&Store> {
        match self {
            Self::Store(store) | Self::Both(store, _) => Some(store),
            Self::Stream(_) => None,
        }
    }
}

/// A blob that is being written. Dropped before [`Blob::complete`], it is gone.
pub(super) struct Blob {
    hashed: Hashed,
    stream: Option<Box<dyn Write + Send>>,
}

/// What hashes the blob: the file itself, where there is one.
enum Hashed {
    File(Store, BlobWriter),
    Only(Hasher),
}

impl Blob {
    pub(super) fn begin(sink: Sink) -> Result<Self, Error> {
        let file = |store: Store| Ok::<_, Error>(Hashed::File(store.clone(), store.writer()?));
        Ok(match sink {
            Sink::Store(store) => Self { hashed: file(store)?, stream: None },
            Sink::Stream(stream) => Self { hashed: Hashed::Only(Hasher::new()), stream: Some(stream) },
            Sink::Both(store, stream) => Self { hashed: file(store)?, stream: Some(stream) },
        })
    }

    /// The digest and the length of all that was written and flushed. A file now has its name.
    pub(super) fn complete(self) -> Result<(Digest, u64), Error> {
        Ok(match self.hashed {
            Hashed::File(store, file) => store.keep(Area::Blobs, file)?,
            Hashed::Only(hasher) => hasher.finish(),
        })
    }
}

impl Write for Blob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(stream) = &mut self.stream {
            stream.write_all(bytes)?;
        }
        match &mut self.hashed {
            Hashed::File(_, file) => file.write_all(bytes)?,
            Hashed::Only(hasher) => hasher.update(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.as_mut().map_or(Ok(()), Write::flush)
    }
}
