//! Uploads survive: whatever a registry lacks and whatever breaks, a blob arrives, and
//! what the registry kept is not sent again, by this run or by the next.

mod early;
mod features;
mod journal;
mod killed;
mod real;

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dlpack::oci::{Descriptor, media_type};
use dlpack::registry::{BlobOrigin, Error, Pushed, Registries, Repository, RequestKind, Settings, Transfer};
use dlpack::store::Store;
use futures_util::TryStreamExt as _;

use crate::support::embedded::Embedded;

/// The most of a blob that goes in one request.
const CHUNK: u64 = 256 << 10;

/// A blob on its way, from memory.
struct Parcel {
    descriptor: Descriptor,
    bytes: Bytes,
}

impl Parcel {
    /// Bytes that are the same each time and don't repeat.
    fn of(size: usize, seed: u64) -> Self {
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        let bytes = Bytes::from(bytes);
        Self { descriptor: Descriptor::of(media_type::LAYER_GZIP, &bytes), bytes }
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn push(&self, to: &Repository) -> Result<Pushed, Error> {
        to.push_blob(&self.descriptor, &BlobOrigin::Bytes(self.bytes.clone()), None, &|_| ()).await
    }

    /// Pushes it, and returns what was told of progress: sent, and kept.
    async fn push_telling(&self, to: &Repository) -> (Result<Pushed, Error>, u64, u64) {
        let told = Mutex::new((0, 0));
        let tell = |moved| match moved {
            Transfer::Sent(bytes) => told.lock().unwrap().0 += bytes,
            Transfer::Kept(bytes) => told.lock().unwrap().1 += bytes,
        };
        let pushed = to.push_blob(&self.descriptor, &BlobOrigin::Bytes(self.bytes.clone()), None, &tell).await;
        let (sent, kept) = told.into_inner().unwrap();
        (pushed, sent, kept)
    }

    /// What lies at `repository` is the blob.
    async fn assert_is_at(&self, repository: &Repository) {
        let mut stream = repository.pull_blob(&self.descriptor);
        let mut all = Vec::new();
        while let Some(chunk) = stream.try_next().await.unwrap() {
            all.extend_from_slice(&chunk);
        }
        assert!(self.bytes == all);
    }
}

/// One process's view of the registry at `address`: waits for nothing, remembers its
/// requests, and notes uploads down in `journal`.
struct Process {
    repository: Repository,
    kinds: Arc<Mutex<Vec<RequestKind>>>,
}

impl Process {
    fn new(address: &str, journal: Option<&Path>) -> Self {
        Self::with(address, journal, Settings::default())
    }

    fn with(address: &str, journal: Option<&Path>, settings: Settings) -> Self {
        let kinds = Arc::<Mutex<Vec<RequestKind>>>::default();
        let seen = Arc::clone(&kinds);
        let settings = Settings {
            observer: Some(Arc::new(move |event| seen.lock().unwrap().push(event.kind))),
            retry: settings.retry.with_pause(|_| Box::pin(std::future::ready(()))),
            journal: journal.map(|path| Store::open(path).unwrap()),
            chunk: settings.chunk.or(Some(CHUNK)),
            ..settings
        };
        let registries = Registries::new(settings).unwrap();
        Self { repository: registries.repository(&format!("{address}/team/env:1").parse().unwrap()).unwrap(), kinds }
    }

    /// How many requests of a kind were sent.
    fn count(&self, kind: RequestKind) -> usize {
        self.kinds.lock().unwrap().iter().filter(|sent| **sent == kind).count()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// The blob that an upload brought, whole and in one session.
fn uploaded(pushed: Result<Pushed, Error>) -> (u64, u64) {
    match pushed.unwrap() {
        Pushed::Uploaded { bytes, resumed } => (bytes, resumed),
        other => panic!("{other:?}"),
    }
}
