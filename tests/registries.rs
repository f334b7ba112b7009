//! Registries: what is pushed is pulled again, whatever the network does meanwhile,
//! and credentials stay where they belong.

mod config;
mod pull;
mod push;
mod real;
mod tokens;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dlpack::oci::{Descriptor, media_type};
use dlpack::registry::{Error, Registries, Repository, RequestKind, Settings};
use futures_util::TryStreamExt as _;

use crate::support::embedded::Embedded;

/// Registries that remember their requests and pauses, and wait for nothing.
struct Watched {
    registries: Registries,
    kinds: Arc<Mutex<Vec<RequestKind>>>,
    pauses: Arc<Mutex<Vec<Duration>>>,
}

impl Watched {
    fn new(mut settings: Settings) -> Self {
        let (kinds, pauses) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (seen, passed) = (Arc::clone(&kinds), Arc::clone(&pauses));
        settings.observer = Some(Arc::new(move |event| seen.lock().unwrap().push(event.kind)));
        settings.retry = settings.retry.with_pause(move |pause| {
            passed.lock().unwrap().push(pause);
            Box::pin(std::future::ready(()))
        });
        Self { registries: Registries::new(settings).unwrap(), kinds, pauses }
    }

    fn repository(&self, reference: &str) -> Repository {
        self.registries.repository(&reference.parse().unwrap()).unwrap()
    }

    /// What was sent since the last call, greetings left out.
    fn sent(&self) -> Vec<RequestKind> {
        let all = std::mem::take(&mut *self.kinds.lock().unwrap());
        all.into_iter().filter(|kind| *kind != RequestKind::Greet).collect()
    }

    fn pauses(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.pauses.lock().unwrap())
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// Bytes that are the same each time and don't repeat.
fn blob(size: usize, seed: u64) -> (Descriptor, Bytes) {
    let mut random = fastrand::Rng::with_seed(seed);
    let bytes: Bytes = std::iter::repeat_with(|| random.u8(..)).take(size).collect();
    (Descriptor::of(media_type::LAYER_GZIP, &bytes), bytes)
}

async fn pulled(repository: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let mut stream = repository.pull_blob(descriptor);
    let mut all = Vec::new();
    while let Some(chunk) = stream.try_next().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}
