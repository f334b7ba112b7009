//! One request: its fault, its log entry, and the end-point that answers it.

use std::collections::VecDeque;
use std::convert::identity;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::answer::{Body, Refusal, bare, empty, set};
use super::faults::{Faults, What};
use super::repositories::Repositories;
use super::route::{Route, is_name, query};
use super::spoiled::Broken;
use super::uploads::Sessions;
use super::{Auth, Exchange, Features, Options};
use crate::locked::locked;
use crate::store::Store;

/// How many requests are remembered.
const REMEMBERED: usize = 10_000;

/// What all requests share.
pub(super) struct Registry {
    pub repositories: Repositories,
    pub features: Features,
    pub auth: Option<Auth>,
    pub faults: Faults,
    pub sessions: Sessions,
    pub log: Mutex<VecDeque<Exchange>>,
    pub address: String,
}

/// Answers one request, or breaks its connection off; `reset` becomes true where that
/// is to be by a reset.
pub(super) async fn answer(
    registry: Arc<Registry>,
    request: Request<Incoming>,
    reset: Arc<AtomicBool>,
) -> Result<Response<Body>, Broken> {
    let (parts, incoming) = request.into_parts();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let fault = registry.faults.take(&parts.method, &target);
    reset.store(fault.as_ref().is_some_and(What::resets), Ordering::Relaxed);
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
    if matches!(fault, What::NoAnswer) {
        let _ = body.collect().await;
        return std::future::pending().await;
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
    pub fn new(store: Store, options: Options, address: String) -> Self {
        let faults = Faults::default();
        faults.replace(options.faults);
        Self {
            repositories: Repositories { store },
            features: options.features,
            auth: options.auth,
            faults,
            sessions: Sessions::default(),
            log: Mutex::default(),
            address,
        }
    }

    fn remember(&self, exchange: Exchange) {
        let mut log = locked(&self.log);
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
            *response.body_mut() = empty();
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
            (&Method::GET | &Method::HEAD, Route::Base) => Ok(bare(StatusCode::OK)),
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
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::failed(error.to_string()))?
}
