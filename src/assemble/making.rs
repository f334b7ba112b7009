//! One layer from its changeset: on a plain thread, into the store or to a registry.

use std::io::{self, PipeReader, Read};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use super::{EPOCH, Error};
use crate::changeset::Changeset;
use crate::layer::{Compression, Layer, LayerWriter, Sink, Threads};
use crate::locked::locked;
use crate::plan::Step;
use crate::recipe::Recipe;
use crate::registry::{BlobOrigin, Maker, Outlet};
use crate::sandbox::Rootfs;
use crate::store::{LayerPart, LayerRecord, Store};

/// What it takes to write a layer, again and again with the same bytes.
#[derive(Clone)]
pub(super) struct Making {
    changeset: Arc<dyn Changeset>,
    /// The recipe's layer.
    layer: String,
    compression: Compression,
    /// How long a blob may be, in bytes.
    ceiling: u64,
    threads: Threads,
    under: Rootfs,
    /// The store that keeps the blob, if one does.
    kept: Option<Store>,
}

impl Making {
    pub(super) fn new(step: &Step, recipe: &Recipe, threads: Threads) -> Self {
        Self {
            changeset: Arc::clone(&step.changeset),
            layer: step.layer.clone(),
            compression: recipe.compression,
            ceiling: recipe.ceiling(),
            threads,
            under: Rootfs::default(),
            kept: None,
        }
    }

    /// On this root filesystem.
    pub(super) fn on(self, under: Rootfs) -> Self {
        Self { under, ..self }
    }

    /// With a blob that `store` keeps.
    pub(super) fn kept_in(self, store: &Store) -> Self {
        Self { kept: Some(store.clone()), ..self }
    }

    /// Writes the layer into `sink`; into a store in parts if it is longer than one may be.
    pub(super) fn record(&self, sink: Sink) -> Result<LayerRecord, Error> {
        let (earlier, last) = self.written(sink)?.complete_parts()?;
        let mut parts = earlier.into_iter().chain([last]).map(LayerPart::from);
        let first = parts.next().ok_or_else(|| Error::Thread { layer: self.layer.clone() })?;
        Ok(LayerRecord { first, rest: parts.collect() })
    }

    /// Writes it into `sink`, which takes one part alone.
    fn pass_on(&self, sink: Sink) -> Result<Layer, Error> {
        Ok(self.written(sink)?.complete()?)
    }

    fn written(&self, sink: Sink) -> Result<LayerWriter, Error> {
        let mut writer = LayerWriter::to(sink, self.compression, EPOCH, self.threads)?.in_parts_of(self.ceiling);
        let written = self.changeset.write(&self.under, &mut writer);
        written.map_err(|source| Error::Layer { layer: self.layer.clone(), source })?;
        Ok(writer)
    }
}

/// Why a layer could not be made again, until somebody asks.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    /// The reason, if there is one.
    pub(super) fn take(&self) -> Option<Error> {
        self.slot().take()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Error>> {
        locked(&self.0)
    }
}

impl Making {
    /// The layer as something to push from: each time it is opened, it is made anew.
    pub(super) fn origin(&self) -> (BlobOrigin, Failure) {
        let failure = Failure::default();
        let (making, slot) = (self.clone(), failure.clone());
        (BlobOrigin::reader(move || making.read(&slot)), failure)
    }

    /// The layer's bytes, as a thread writes them.
    fn read(&self, failure: &Failure) -> io::Result<Box<dyn Read + Send>> {
        let (reader, writer) = io::pipe()?;
        let making = self.clone();
        let thread = thread::Builder::new().name("layer-again".into());
        let thread = thread.spawn(move || making.pass_on(Sink::Stream(Box::new(writer))))?;
        Ok(Box::new(Again { reader, thread: Some(thread), failure: failure.clone() }))
    }
}

/// Reads a layer from the thread that makes it, which ends when this is dropped.
struct Again {
    reader: PipeReader,
    thread: Option<JoinHandle<Result<Layer, Error>>>,
    failure: Failure,
}

impl Read for Again {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0
            && let Some(thread) = self.thread.take()
        {
            let made = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            if let Err(error) = made {
                *self.failure.slot() = Some(error);
                return Err(io::Error::other("the layer can't be made again"));
            }
        }
        Ok(count)
    }
}

impl Maker for Making {
    type Made = Layer;
    type Error = Error;

    fn make(&self, out: Outlet) -> Result<Layer, Error> {
        self.pass_on(match &self.kept {
            Some(store) => Sink::Both(store.clone(), Box::new(out)),
            None => Sink::Stream(Box::new(out)),
        })
    }
}
