//! Listening: connections are taken in, conversed with, and brought to an end.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::handle::{Registry, answer, blocking};
use super::spoiled::Broken;
use super::{Error, Exchange, Fault, Options};
use crate::locked::locked;
use crate::store::Store;

/// How long a stop waits for requests that are under way.
const GRACE: Duration = Duration::from_secs(5);

/// A running registry. Dropped, it ends at once.
pub struct Server {
    address: SocketAddr,
    registry: Arc<Registry>,
    stop: watch::Sender<bool>,
    stopped: std::sync::mpsc::Receiver<()>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    /// Offers `store` on `address`; port 0 takes one that is free. It runs on
    /// threads of its own, so that this can be called from anywhere.
    ///
    /// # Errors
    /// [`Error::NotLoopback`], [`Error::Listen`].
    pub fn bind(address: SocketAddr, store: Store, options: Options) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback { address });
        }
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
        let registry = Arc::new(Registry::new(store, options, address.to_string()));
        let (stop, stopping) = watch::channel(false);
        let (done, stopped) = std::sync::mpsc::channel();
        let accepting = registry.clone();
        runtime.spawn(async move {
            accept(listener, accepting, stopping).await;
            // Nobody waits any more if the server was dropped.
            let _ = done.send(());
        });
        Ok(Self { address, registry, stop, stopped, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far, oldest first; the last ten thousand of them.
    pub fn requests(&self) -> Vec<Exchange> {
        let log = locked(&self.registry.log);
        log.iter().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        locked(&self.registry.log).clear();
    }

    /// Puts `faults` in the place of those that are still to come.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.registry.faults.replace(faults);
    }

    /// Whether each of the faults has fallen on a request.
    pub fn all_faults_fell(&self) -> bool {
        self.registry.faults.all_fell()
    }

    /// Takes no new requests, lets those under way end for five seconds, and ends.
    pub fn stop(mut self) {
        if self.stop.send(true).is_ok() {
            let _ = self.stopped.recv_timeout(GRACE);
        }
        self.shut_down();
    }

    fn shut_down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}

async fn accept(listener: TcpListener, registry: Arc<Registry>, mut stopping: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(converse(socket, registry.clone(), stopping.clone()));
                }
                // Too many open files, say: others end, and it goes on.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            () = told(&mut stopping) => break,
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Waits until the server is told to stop, or is gone.
async fn told(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn converse(socket: tokio::net::TcpStream, registry: Arc<Registry>, mut stopping: watch::Receiver<bool>) {
    // What a client has pushed and not yet named in a manifest is safe from a
    // collection while its connection stands.
    let store = registry.repositories.store.clone();
    let _lease = blocking(move || Ok(store.lease()?)).await.ok();
    // Kept open beyond hyper's own use of it, so that it can end by a reset.
    let handle = socket.as_fd().try_clone_to_owned().ok();
    let reset = Arc::new(AtomicBool::new(false));
    // On a task of its own, so that a client that goes away ends its request's body
    // and not the request: an upload keeps what came.
    let service = service_fn(|request| {
        let answering = tokio::spawn(answer(registry.clone(), request, reset.clone()));
        async { answering.await.unwrap_or(Err(Broken)) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    // A connection that ends badly is the client's affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = told(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
    // socket(7), SO_LINGER: closed with no time to linger, a connection is reset
    if let Some(handle) = handle.filter(|_| reset.load(Ordering::Relaxed)) {
        let _ = rustix::net::sockopt::set_socket_linger(&handle, Some(Duration::ZERO));
    }
}
