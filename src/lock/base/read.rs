//! Streaming a base's layers past the scanner: from the network on a task, through
//! a bounded channel, to a thread that inflates and hashes. No layer touches the
//! disk; what is kept is its listing.

use std::collections::HashSet;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;

use super::image::BaseImage;
use super::scan::scan;
use super::{Error, FileList};
use crate::oci::{Descriptor, DiffId};
use crate::progress::{Activity, Progress};
use crate::registry::{Source, SourceError};
use crate::store::{Listing, Store};

/// How many layers are read at once.
const AT_ONCE: usize = 4;
/// How many chunks may wait for the thread that inflates.
const WAITING: usize = 8;

/// The files of the lowest `count` layers of `image`. Layers that the store has no listing of
/// are read.
pub(super) async fn files(
    source: &Source,
    image: &BaseImage,
    count: usize,
    store: &Store,
    progress: &Progress,
) -> Result<FileList, Error> {
    let layers = || image.manifest.layers.iter().zip(&image.config.rootfs.diff_ids).take(count);
    let mut seen = HashSet::new();
    let mut unread = Vec::new();
    for (layer, diff_id) in layers().filter(|(layer, _)| seen.insert(layer.digest)) {
        if known(store, layer, diff_id)?.is_none() {
            unread.push((layer, *diff_id));
        }
    }
    // collected first: a lazy map borrows in a way that keeps the future from moving between threads
    let read: Vec<_> =
        unread.into_iter().map(|(layer, diff_id)| read(source, layer, diff_id, store, progress)).collect();
    futures_util::stream::iter(read).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let mut files = FileList::default();
    for (layer, diff_id) in layers() {
        if let Some(listing) = known(store, layer, diff_id)? {
            files.apply(listing);
        }
    }
    Ok(files)
}

/// The store's listing of `layer`, if it is of the tar that the config names.
fn known(store: &Store, layer: &Descriptor, diff_id: &DiffId) -> Result<Option<Listing>, Error> {
    Ok(store.listing(&layer.digest)?.filter(|listing| listing.diff_id == *diff_id))
}

/// Reads one layer and keeps its listing, once the blob's digest and the tar's are
/// both right.
async fn read(
    source: &Source,
    layer: &Descriptor,
    diff_id: DiffId,
    store: &Store,
    progress: &Progress,
) -> Result<(), Error> {
    let task = progress.task(Activity::Read, format!("base layer {}", layer.digest.short()), Some(layer.size));
    let (sender, receiver) = mpsc::channel(WAITING);
    let scanned = layer.clone();
    let scanner =
        tokio::task::spawn_blocking(move || scan(&scanned, diff_id, Chunks { receiver, current: Bytes::new() }));
    let mut blob = source.blob(layer).fuse();
    while let Some(chunk) = blob.next().await {
        let chunk = chunk.map_err(SourceError::from)?;
        task.advance(chunk.len() as u64);
        if sender.send(chunk).await.is_err() {
            break;
        }
    }
    drop(sender);
    let broken = |source| Error::Broken { layer: layer.digest, source };
    let listing = scanner.await.map_err(broken)??;
    // the scanner may have been content before the blob's end, where its digest is checked
    while let Some(chunk) = blob.next().await {
        task.advance(chunk.map_err(SourceError::from)?.len() as u64);
    }
    let (store, digest) = (store.clone(), layer.digest);
    tokio::task::spawn_blocking(move || store.put_listing(&digest, &listing)).await.map_err(broken)??;
    task.end("read");
    Ok(())
}

/// The chunks of a channel as something to read.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
