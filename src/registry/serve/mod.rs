//! The embedded registry: the store, offered on loopback as the distribution-spec
//! says. With faults put in, the same code is the tests' fake registry.

mod answer;
mod auth;
mod blobs;
mod faults;
mod manifests;
mod repositories;
mod route;
mod uploads;

use std::collections::VecDeque;
use std::convert::identity;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::store::Store;
use answer::{Body, Refusal, bare, set};
pub use auth::{Auth, Tokens};
use faults::{Broken, Faults};
pub use faults::{Fault, What};
use repositories::Repositories;
use route::{Route, is_name, query};

/// How long a stop waits for requests that are under way.
const GRACE: Duration = Duration::from_secs(5);
/// How many requests are remembered.
const REMEMBERED: usize = 10_000;

/// Why a registry can't be started.
#[derive(Debug, Error)]
pub enum Error {
    /// An address that other machines can reach.
    #[error("{address} is not on loopback")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address is taken, or can't be listened on.
    #[error("can't listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotLoopback { address } => Some(format!(
                "`serve` has no access control: listen on 127.0.0.1:{} and let a reverse proxy face the network",
                address.port()
            )),
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("port 0 takes any that is free".into())
            }
            Self::Listen { .. } => None,
        }
    }
}

/// What the registry can do beyond pull and push. Real ones lack one or the other.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Mounting a blob of another repository; else a session is begun.
    pub mount: bool,
    /// Uploads in chunks (PATCH).
    pub chunked: bool,
    /// A blob in the POST that begins its upload; else a session is begun.
    pub single_post: bool,
    /// Ranges of a blob; else the whole blob comes.
    pub range: bool,
    /// The referrers API.
    pub referrers: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self { mount: true, chunked: true, single_post: true, range: true, referrers: true }
    }
}

/// How a registry behaves.
#[derive(Default)]
pub struct Options {
    /// What it can do.
    pub features: Features,
    /// What requests must bring; nothing lets everybody in.
    pub auth: Option<Auth>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// A request that was answered, or broken off.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// GET, HEAD, POST, PATCH, PUT or DELETE.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// How many bytes of its body were read.
    pub received: u64,
    /// The answer's status; nothing if the connection was broken off.
    pub status: Option<u16>,
}

/// What all requests share.
struct Registry {
    repositories: Repositories,
    features: Features,
    auth: Option<Auth>,
    faults: Faults,
    sessions: uploads::Sessions,
    log: Mutex<VecDeque<Exchange>>,
    address: String,
}

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
        let faults = Faults::default();
        faults.replace(options.faults);
        let registry = Arc::new(Registry {
            repositories: Repositories { store },
            features: options.features,
            auth: options.auth,
            faults,
            sessions: uploads::Sessions::default(),
            log: Mutex::default(),
            address: address.to_string(),
        });
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
        let log = self.registry.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.registry.log.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Puts `faults` in the place of those that are still to come.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.registry.faults.replace(faults);
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
    let service = service_fn(|request| answer(registry.clone(), request));
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
}

async fn answer(registry: Arc<Registry>, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
    let (parts, incoming) = request.into_parts();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let fault = registry.faults.take(&parts.method, &target);
    let received = Arc::new(AtomicU64::new(0));
    let counter = received.clone();
    let body = incoming.map_err(io::Error::other).map_frame(move |frame| {
        counter.fetch_add(frame.data_ref().map_or(0, |data| data.len() as u64), Ordering::Relaxed);
        frame
    });
    let mut call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
    };
    let mut exchange =
        Exchange { method: call.method.clone(), target, headers: call.headers.clone(), received: 0, status: None };
    let response = faulty(&registry, &mut call, body.boxed(), fault).await;
    exchange.received = received.load(Ordering::Relaxed);
    exchange.status = response.as_ref().ok().map(|response| response.status().as_u16());
    registry.remember(exchange);
    response
}

async fn faulty(
    registry: &Arc<Registry>,
    call: &mut Call,
    body: Body,
    fault: Option<What>,
) -> Result<Response<Body>, Broken> {
    let Some(fault) = fault else { return Ok(registry.clone().handle(call, body).await) };
    match &fault {
        What::IgnoreRange => _ = call.headers.remove(hyper::header::RANGE),
        What::DeclineMount => call.query = None,
        What::ForgetSession => {
            if let Some(Route::Upload { id, .. }) = Route::of(&call.path) {
                registry.sessions.forget(&id);
            }
        }
        _ => {}
    }
    if let Some(response) = fault.instead() {
        // The body is read, so that the answer arrives.
        let _ = body.collect().await;
        return Ok(response);
    }
    let response = registry.clone().handle(call, fault.spoil_request(body)).await;
    fault.spoil(response)
}

/// A request without its body.
struct Call {
    method: Method,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

impl Registry {
    fn remember(&self, exchange: Exchange) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == REMEMBERED {
            log.pop_front();
        }
        log.push_back(exchange);
    }

    async fn handle(self: Arc<Self>, call: &Call, body: Body) -> Response<Body> {
        let head = call.method == Method::HEAD;
        let mut response = self.route(call, body).await.map_or_else(Response::from, identity);
        set(&mut response, "docker-distribution-api-version", "registry/2.0");
        if head {
            *response.body_mut() = answer::empty();
        }
        response
    }

    async fn route(self: Arc<Self>, call: &Call, body: Body) -> Result<Response<Body>, Refusal> {
        let parameters = call.query.as_deref();
        let route = Route::of(&call.path).ok_or_else(|| Refusal::no_end_point("there is no such end-point"))?;
        if route == Route::Token {
            return self.token(call);
        }
        if let Some(name) = route.name().filter(|name| !is_name(name)) {
            return Err(Refusal::name_invalid(format!("`{name}` can't be a repository's name")));
        }
        if let Some(auth) = &self.auth {
            let from = query(parameters, "from").filter(|_| call.method == Method::POST);
            auth.check(&call.method, &route, from.as_deref(), &call.headers, &self.address)?;
        }
        let head = call.method == Method::HEAD;
        match (&call.method, &route) {
            (&Method::GET | &Method::HEAD, Route::Base) => Ok(bare(hyper::StatusCode::OK)),
            (&Method::GET, Route::Catalog) => self.catalog(parameters).await,
            (&Method::GET, Route::Tags { name }) => self.tags(name, parameters).await,
            (&Method::GET, Route::Referrers { name, digest }) => self.referrers(name, digest, parameters).await,
            (&Method::GET | &Method::HEAD, Route::Manifest { name, reference }) => {
                self.manifest(name, reference, head).await
            }
            (&Method::PUT, Route::Manifest { name, reference }) => {
                self.put_manifest(name, reference, &call.headers, body).await
            }
            (&Method::DELETE, Route::Manifest { name, reference }) => self.delete_manifest(name, reference).await,
            (&Method::GET | &Method::HEAD, Route::Blob { name, digest }) => {
                self.blob(name, digest, &call.headers, head).await
            }
            (&Method::DELETE, Route::Blob { name, digest }) => self.delete_blob(name, digest).await,
            (&Method::POST, Route::Uploads { name }) => self.begin_upload(name, parameters, body).await,
            (&Method::GET, Route::Upload { name, id }) => self.upload_status(name, id).await,
            (&Method::PATCH, Route::Upload { name, id }) => self.continue_upload(name, id, &call.headers, body).await,
            (&Method::PUT, Route::Upload { name, id }) => {
                self.end_upload(name, id, &call.headers, parameters, body).await
            }
            (&Method::DELETE, Route::Upload { name, id }) => self.cancel_upload(name, id),
            _ => Err(Refusal::unsupported(format!("{} has no meaning here", call.method))),
        }
    }

    fn token(&self, call: &Call) -> Result<Response<Body>, Refusal> {
        match &self.auth {
            Some(Auth::Bearer { tokens, .. }) => tokens.issue(&call.headers, call.query.as_deref()),
            _ => Err(Refusal::no_end_point("this registry makes no tokens")),
        }
    }
}

/// Runs `work`, which uses the disk, where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::failed(error.to_string()))?
}
