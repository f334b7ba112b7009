//! Requests to one registry: its scheme found out, credentials given only to it,
//! tokens renewed, failures retried.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode};
use tokio::sync::OnceCell;
use url::Url;

use super::auth::{Credential, Credentials};
use super::body::refusal;
use super::config::{Place, is_loopback};
use super::error::is_transient;
use super::http::{self, Http};
use super::pull_limit::PullLimits;
use super::retry::{Attempts, Failure, Retry, retry_after};
use super::token::{self, Challenge, Scope, Token};
use super::upload::chunks;
use super::{Error, Interrupt, Observer, RequestEvent, RequestKind, Settings};
use crate::locked::locked;
use crate::store::Store;

/// One request to a registry, as often as it takes.
pub(super) struct Call {
    pub(super) kind: RequestKind,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) scope: Scope,
    /// Statuses of 400 and more that are answers, not errors.
    pub(super) expected: &'static [StatusCode],
}

impl Call {
    pub(super) fn new(kind: RequestKind, method: Method, url: Url, scope: Scope) -> Self {
        Self { kind, method, url, headers: HeaderMap::new(), body: None, scope, expected: &[] }
    }
}

/// How one upload of a stream ended.
pub(super) enum Sent {
    /// With an answer that is no error.
    Answered(Response),
    /// The token had run out; there is a way to a new one.
    Expired,
    /// With an error.
    Failed(Failure),
}

/// Something that is filled once, by whoever comes first; the others wait for it.
type Slot<T> = Arc<T>;
/// A host, once it was greeted.
type SiteCell = OnceCell<Arc<Site>>;
/// A token, while there is one.
type TokenCell = tokio::sync::Mutex<Option<Token>>;

/// What all requests share.
pub(super) struct Client {
    pub(super) http: Http,
    pub(super) retry: Retry,
    credentials: Credentials,
    trusted_realms: Vec<String>,
    observer: Option<Observer>,
    /// Where uploads are noted down.
    pub(super) journal: Option<Store>,
    /// The longest part of a blob that goes in one request, in bytes.
    pub(super) chunk: u64,
    /// How many pulls registries still allow.
    pub(super) pull_limits: PullLimits,
    pub(super) interrupt: Interrupt,
    /// By host, and whether it is spoken to as an insecure one.
    sites: Mutex<HashMap<(String, bool), Slot<SiteCell>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// What is known of one host.
pub(super) struct Site {
    pub(super) base: Url,
    http: Http,
    challenge: Mutex<Option<Challenge>>,
    /// By repository, whose credentials they were given for, and scope.
    tokens: Mutex<HashMap<(String, Scope), Slot<TokenCell>>>,
    /// By repository.
    credentials: Mutex<HashMap<String, Option<Credential>>>,
    /// What the last challenge asked for, by repository.
    scopes: Mutex<HashMap<String, String>>,
}

impl Client {
    pub(super) fn new(http: Http, settings: &Settings, credentials: Credentials) -> Self {
        Self {
            http,
            retry: settings.retry.clone(),
            credentials,
            trusted_realms: settings.trusted_realms.clone(),
            observer: settings.observer.clone(),
            journal: settings.journal.clone(),
            chunk: settings.chunk.filter(|chunk| *chunk > 0).unwrap_or(chunks::DEFAULT),
            interrupt: settings.interrupt.clone(),
            pull_limits: PullLimits::default(),
            sites: Mutex::default(),
        }
    }

    /// The attempts at one request. A mirror has one: the next place is as good.
    pub(super) fn attempts(&self, place: &Place) -> Attempts {
        if place.mirror { self.retry.once() } else { self.retry.begin() }
    }

    /// The host of `place`, greeted once.
    pub(super) async fn site(&self, place: &Place) -> Result<Arc<Site>, Error> {
        let key = (place.api_host().to_owned(), place.insecure);
        let cell = locked(&self.sites).entry(key).or_default().clone();
        cell.get_or_try_init(|| self.greet(place)).await.cloned()
    }

    /// distribution-spec "Determining Support": `GET /v2/` tells whether anybody
    /// speaks the API there, over which scheme, and how it wants to be asked.
    async fn greet(&self, place: &Place) -> Result<Arc<Site>, Error> {
        let (mut attempts, mut knocks) = (self.attempts(place), self.retry.knocks());
        loop {
            match self.greet_once(place).await {
                Ok(site) => return Ok(site),
                Err(failure) if failure.error.is_of_connecting() && !place.mirror => knocks.after(failure).await?,
                Err(failure) => attempts.after(failure).await?,
            }
        }
    }

    async fn greet_once(&self, place: &Place) -> Result<Arc<Site>, Failure> {
        let http = match (is_loopback(&place.host), place.insecure) {
            (true, _) => Http::loopback(self.retry.silence),
            (false, true) => Http::unverified(self.retry.silence),
            (false, false) => Ok(self.http.clone()),
        };
        let http = http.map_err(Error::from)?.sharing(&self.http);
        // registries.conf(5), insecure: https with any certificate, else http
        let schemes: &[&str] = if place.insecure { &["https", "http"] } else { &["https"] };
        let mut last = None;
        for scheme in schemes {
            let address = || Error::Address { name: place.to_string() };
            let base = Url::parse(&format!("{scheme}://{}/", place.api_host())).map_err(|_| address())?;
            let url = base.join("v2/").map_err(|_| address())?;
            match self.exchange(RequestKind::Greet, &http, Request::new(Method::GET, url)).await {
                Ok(response) if is_transient(response.status()) => return Err(self.transient(response).await?),
                Ok(response) => {
                    let challenge = match response.status() {
                        StatusCode::UNAUTHORIZED => Challenge::of(&base, response.headers())?,
                        _ => None,
                    };
                    return Ok(Arc::new(Site::new(base, http, challenge.map(|(challenge, _)| challenge))));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::Address { name: place.to_string() }).into())
    }

    /// Sends `call` until there is an answer that counts.
    ///
    /// # Errors
    /// The last failure, or the refusal.
    pub(super) async fn send(&self, place: &Place, call: &Call) -> Result<Response, Error> {
        let site = self.site(place).await?;
        let mut attempts = self.attempts(place);
        loop {
            match self.send_once(&site, place, call).await {
                Ok(response) => return Ok(response),
                Err(failure) => attempts.after(failure).await?,
            }
        }
    }

    /// Sends `call` once; the caller counts the attempts.
    pub(super) async fn attempt(&self, place: &Place, call: &Call) -> Result<Response, Failure> {
        let site = self.site(place).await?;
        self.send_once(&site, place, call).await
    }

    async fn send_once(&self, site: &Site, place: &Place, call: &Call) -> Result<Response, Failure> {
        let mut renewed = false;
        loop {
            let authorization = self.authorization(site, place, call).await?;
            let request = request(call, authorization.as_ref());
            let response = self.exchange(call.kind, &site.http, request).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return self.judge(call, response).await;
            }
            if renewed || !site.note_challenge(place, call, &response, authorization.as_ref()).await? {
                return Err(self.unauthorized(site, place).into());
            }
            renewed = true;
        }
    }

    /// Sends `call` once with a body that can't be sent again.
    pub(super) async fn upload(&self, site: &Site, place: &Place, call: &Call, body: reqwest::Body) -> Sent {
        match self.try_upload(site, place, call, body).await {
            Ok(sent) => sent,
            Err(error) => Sent::Failed(error.into()),
        }
    }

    async fn try_upload(&self, site: &Site, place: &Place, call: &Call, body: reqwest::Body) -> Result<Sent, Error> {
        let authorization = self.authorization(site, place, call).await?;
        let mut request = request(call, authorization.as_ref());
        *request.body_mut() = Some(body);
        let response = site.http.upload(request).await;
        self.tell(call.kind, &call.url, response.as_ref().ok().map(Response::status));
        let response = response?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let again = site.note_challenge(place, call, &response, authorization.as_ref()).await?;
            return Ok(if again { Sent::Expired } else { Sent::Failed(self.unauthorized(site, place).into()) });
        }
        Ok(match self.judge(call, response).await {
            Ok(response) => Sent::Answered(response),
            Err(failure) => Sent::Failed(failure),
        })
    }

    /// Whether `response` is an answer to `call`, or a refusal.
    async fn judge(&self, call: &Call, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.as_u16() < 400 || call.expected.contains(&status) {
            return Ok(response);
        }
        if is_transient(status) {
            return Err(self.transient(response).await?);
        }
        Err(refusal(response, self.retry.silence).await.into())
    }

    async fn transient(&self, response: Response) -> Result<Failure, Error> {
        let wait = retry_after(&self.retry, &response)?;
        Ok(Failure { error: refusal(response, self.retry.silence).await, wait })
    }

    async fn exchange(&self, kind: RequestKind, http: &Http, request: Request) -> Result<Response, Error> {
        let url = request.url().clone();
        let response = http.send(request).await;
        self.tell(kind, &url, response.as_ref().ok().map(Response::status));
        Ok(response?)
    }

    fn tell(&self, kind: RequestKind, url: &Url, status: Option<StatusCode>) {
        if let Some(observer) = &self.observer {
            observer(&RequestEvent { kind, url: http::redacted(url), status: status.map(|status| status.as_u16()) });
        }
    }

    /// The header for `call`; none where the registry doesn't ask, or where the
    /// request goes to another origin than the registry's.
    async fn authorization(&self, site: &Site, place: &Place, call: &Call) -> Result<Option<HeaderValue>, Error> {
        let challenge = locked(&site.challenge).clone();
        let Some(challenge) = challenge.filter(|_| call.url.origin() == site.base.origin()) else { return Ok(None) };
        let credential = self.credential(site, place).await?;
        let Challenge::Bearer { realm, service } = challenge else {
            return Ok(credential.as_ref().and_then(token::basic));
        };
        token::check_realm(&site.base, &realm, &self.trusted_realms)?;
        let slot = site.slot(place, &call.scope);
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref().filter(|token| token.is_fresh()) {
            return Ok(Some(token.header.clone()));
        }
        let challenged = locked(&site.scopes).get(&place.name).cloned().unwrap_or_default();
        let (server, scope) = ((&realm, service.as_deref()), call.scope.with_challenged(&challenged));
        let fetched = token::fetch(&site.http, &self.retry, server, &scope, credential.as_ref()).await;
        let status = match &fetched {
            Err(Error::Refused { status, .. }) => Some(*status),
            _ => None,
        };
        self.tell(RequestKind::Token, &realm, status.or(fetched.is_ok().then_some(StatusCode::OK)));
        let fetched = fetched.map_err(|error| match status {
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => self.unauthorized(site, place),
            _ => error,
        })?;
        Ok(Some(slot.insert(fetched).header.clone()))
    }

    /// The credentials for `place`, asked for once. Helpers may take their time.
    pub(super) async fn credential(&self, site: &Site, place: &Place) -> Result<Option<Credential>, Error> {
        if let Some(known) = locked(&site.credentials).get(&place.name) {
            return Ok(known.clone());
        }
        let (credentials, host, name) = (self.credentials.clone(), place.host.clone(), place.name.clone());
        let found = tokio::task::spawn_blocking(move || credentials.find(&host, &name)).await;
        let found = found.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))?;
        locked(&site.credentials).insert(place.name.clone(), found.clone());
        Ok(found)
    }

    fn unauthorized(&self, site: &Site, place: &Place) -> Error {
        let anonymous = !matches!(locked(&site.credentials).get(&place.name), Some(Some(_)));
        Error::Unauthorized { registry: place.host.clone(), name: place.name.clone(), anonymous }
    }
}

impl Site {
    fn new(base: Url, http: Http, challenge: Option<Challenge>) -> Self {
        let challenge = Mutex::new(challenge);
        Self {
            base,
            http,
            challenge,
            tokens: Mutex::default(),
            credentials: Mutex::default(),
            scopes: Mutex::default(),
        }
    }

    /// Whether it has asked for credentials.
    pub(super) fn asks(&self) -> bool {
        locked(&self.challenge).is_some()
    }

    fn slot(&self, place: &Place, scope: &Scope) -> Slot<TokenCell> {
        locked(&self.tokens).entry((place.name.clone(), scope.clone())).or_default().clone()
    }

    /// Takes the challenge of a 401 and forgets the token that didn't do. Returns
    /// whether asking again is worth it.
    async fn note_challenge(
        &self,
        place: &Place,
        call: &Call,
        response: &Response,
        used: Option<&HeaderValue>,
    ) -> Result<bool, Error> {
        // A host that the registry redirected to has no say in who is told the credentials.
        if response.url().origin() != self.base.origin() {
            return Ok(false);
        }
        let Some((challenge, scope)) = Challenge::of(&self.base, response.headers())? else { return Ok(false) };
        if let Some(scope) = scope {
            locked(&self.scopes).insert(place.name.clone(), scope);
        }
        let basic = challenge == Challenge::Basic;
        *locked(&self.challenge) = Some(challenge);
        let slot = self.slot(place, &call.scope);
        let mut slot = slot.lock().await;
        // Another request may have put a new one there already.
        if slot.as_ref().is_some_and(|token| Some(&token.header) == used) {
            *slot = None;
        }
        Ok(used.is_none() || !basic)
    }
}

fn request(call: &Call, authorization: Option<&HeaderValue>) -> Request {
    let mut request = Request::new(call.method.clone(), call.url.clone());
    *request.headers_mut() = call.headers.clone();
    if let Some(value) = authorization {
        request.headers_mut().insert(AUTHORIZATION, value.clone());
    }
    if let Some(body) = &call.body {
        *request.body_mut() = Some(body.clone().into());
    }
    request
}

/// `host` or `host:port`.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
