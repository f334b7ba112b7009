//! Where the bytes of a blob come from that is to be pushed: something that can be
//! opened again when an upload has to begin anew.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;

use super::{Error, Repository};
use crate::oci::{Descriptor, Hasher};
use crate::store::{Area, Store};

/// A blob's bytes, as they come.
pub type BlobStream = BoxStream<'static, Result<Bytes, Error>>;

/// Opens something from its beginning.
type Opener = Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// How much is read from a disk at once, in bytes.
const CHUNK: usize = 256 << 10;
/// How many chunks may wait for the network.
const WAITING: usize = 4;

/// Where the bytes of a blob come from. Cheap to clone.
#[derive(Clone)]
pub enum BlobOrigin {
    /// A store, under the blob's digest.
    Store(Store),
    /// Memory: a config.
    Bytes(Bytes),
    /// Whatever can be read from its beginning as often as need be.
    Reader(Opener),
    /// Another repository; the bytes pass through memory.
    Repository(Box<Repository>),
}

impl BlobOrigin {
    /// A file.
    pub fn file(path: PathBuf) -> Self {
        Self::reader(move || Ok(Box::new(File::open(&path)?)))
    }

    /// What `open` gives each time.
    pub fn reader(open: impl Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static) -> Self {
        Self::Reader(Arc::new(open))
    }

    /// The bytes from about `offset` on, and where exactly they begin: another registry
    /// is not asked again for what was sent already. Else they are verified, which takes
    /// all of them.
    pub(super) fn open_at(&self, descriptor: &Descriptor, offset: u64) -> (BlobStream, u64) {
        match self {
            Self::Repository(repository) if offset > 0 => {
                (of(repository, descriptor, repository.pull_rest(descriptor, offset)), offset)
            }
            _ => (self.open(descriptor), 0),
        }
    }

    /// The bytes, verified: the last of them come only if all were right.
    pub(super) fn open(&self, descriptor: &Descriptor) -> BlobStream {
        match self {
            Self::Repository(repository) => of(repository, descriptor, repository.pull_blob(descriptor)),
            Self::Bytes(bytes) => {
                let (bytes, descriptor) = (bytes.clone(), descriptor.clone());
                let checked = move || check(Hasher::new(), &bytes, &descriptor).map(|()| bytes);
                stream::once(async move { checked() }).boxed()
            }
            Self::Store(_) | Self::Reader(_) => {
                let (sender, receiver) = mpsc::channel(WAITING);
                let (origin, descriptor) = (self.clone(), descriptor.clone());
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = origin.read(&descriptor, &sender) {
                        // Nobody is left to hear it when the upload has failed meanwhile.
                        let _ = sender.blocking_send(Err(error));
                    }
                });
                stream::unfold(receiver, |mut receiver| async move {
                    let next = receiver.recv().await?;
                    Some((next, receiver))
                })
                .boxed()
            }
        }
    }

    /// Reads a local origin on a thread of its own.
    fn read(&self, descriptor: &Descriptor, sender: &mpsc::Sender<Result<Bytes, Error>>) -> Result<(), Error> {
        let digest = descriptor.digest;
        match self {
            Self::Store(store) => {
                let origin = |source| Error::OriginStore { digest, source: Box::new(source) };
                let blob = store.open_blob(Area::Blobs, &digest).map_err(origin)?;
                let mut blob = blob.ok_or(Error::OriginMissing { digest })?;
                let damage = match copy(&mut blob, descriptor, sender) {
                    Ok(()) => return Ok(()),
                    Err(Error::Origin { source, .. }) if source.kind() == io::ErrorKind::InvalidData => source,
                    // A file that is too long is damaged as well, which shows at its end.
                    Err(error) => io::copy(&mut blob, &mut io::sink()).err().ok_or(error)?,
                };
                // The store's reader has dropped the damaged file, and says so.
                Err(origin(blob.explain(damage)))
            }
            Self::Reader(open) => {
                let mut reader = open().map_err(|source| Error::Origin { digest, source })?;
                copy(&mut reader, descriptor, sender)
            }
            Self::Bytes(_) | Self::Repository(_) => Ok(()),
        }
    }
}

impl fmt::Debug for BlobOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store(_) => "Store",
            Self::Bytes(_) => "Bytes",
            Self::Reader(_) => "Reader",
            Self::Repository(_) => "Repository",
        })
    }
}

/// `bytes` of a blob of `repository`, whose errors say so.
fn of(repository: &Repository, descriptor: &Descriptor, bytes: BlobStream) -> BlobStream {
    let (digest, place) = (descriptor.digest, repository.place().to_string());
    bytes
        .map_err(move |source| Error::OriginRepository { digest, place: place.clone(), source: Box::new(source) })
        .boxed()
}

fn copy(
    reader: &mut dyn Read,
    descriptor: &Descriptor,
    sender: &mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), Error> {
    let failed = |source| Error::Origin { digest: descriptor.digest, source };
    let mut hasher = Hasher::new();
    let mut held = Bytes::new();
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        Read::take(&mut *reader, CHUNK as u64).read_to_end(&mut chunk).map_err(failed)?;
        if chunk.is_empty() {
            check(hasher, &held, descriptor)?;
            // An error here and below: the upload has failed, nobody reads on.
            let _ = sender.blocking_send(Ok(held));
            return Ok(());
        }
        let read = hasher.length() + (held.len() + chunk.len()) as u64;
        if read > descriptor.size {
            // With what is held back, so that the announced length is never reached.
            return Err(wrong(descriptor, format!("it has more than {} bytes", descriptor.size)));
        }
        if !held.is_empty() {
            hasher.update(&held);
            if sender.blocking_send(Ok(held)).is_err() {
                return Ok(());
            }
        }
        held = chunk.into();
    }
}

/// Whether what went before and `last` make up the blob.
fn check(mut hasher: Hasher, last: &[u8], descriptor: &Descriptor) -> Result<(), Error> {
    hasher.update(last);
    let (found, size) = hasher.finish();
    if (found, size) == (descriptor.digest, descriptor.size) {
        return Ok(());
    }
    Err(wrong(descriptor, format!("its {size} bytes hash to {found}")))
}

fn wrong(descriptor: &Descriptor, message: String) -> Error {
    Error::Origin { digest: descriptor.digest, source: io::Error::other(message) }
}
