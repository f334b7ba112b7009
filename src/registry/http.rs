//! The one HTTP client of dlpack, for registries and package indexes: TLS by the
//! machine's roots (`SSL_CERT_FILE` honoured), proxies from the environment, and
//! redirects that never take credentials to another place.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, LOCATION, PROXY_AUTHORIZATION};
use reqwest::{Client, ClientBuilder, Method, Request, Response, StatusCode};
use thiserror::Error;
use url::Url;

use super::rate::{Limit, Rate};

/// How many redirects are followed before a server is taken to send us in circles.
const MAX_REDIRECTS: usize = 10;
/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a server may be silent while an answer is awaited or read.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// What can go wrong before a server has given an answer that counts. URLs are
/// shown without their query: it may be signed.
#[derive(Debug, Error)]
pub enum Error {
    /// The client can't be set up: most often no root certificate was found.
    #[error("can't set up HTTPS")]
    Setup {
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// No answer, or one that broke off.
    #[error("{method} {url} failed")]
    Transport {
        /// The method.
        method: Method,
        /// Where to.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// More than ten redirects.
    #[error("{url} was redirected more than {MAX_REDIRECTS} times")]
    TooManyRedirects {
        /// The address that was asked first.
        url: String,
    },
    /// From https to http.
    #[error("{url} redirects to {to}, which is not encrypted")]
    Downgrade {
        /// The address that was asked.
        url: String,
        /// Where it pointed to.
        to: String,
    },
    /// A redirect without a usable `Location`, or of a request whose body is gone.
    #[error("{url} answers {status} with a redirect that can't be followed")]
    Redirect {
        /// The address that was asked.
        url: String,
        /// The status.
        status: StatusCode,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Setup { .. } => {
                Some("install ca-certificates, or name a PEM file of trusted roots in SSL_CERT_FILE".into())
            }
            Self::Transport { source, .. } => transport_hint(source),
            Self::Downgrade { .. } => Some("credentials and images don't go over an unencrypted redirect".into()),
            Self::TooManyRedirects { .. } | Self::Redirect { .. } => None,
        }
    }

    /// Whether asking again may help: the connection failed, nothing was refused.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if !source.is_builder() && tls_refusal(source).is_none())
    }

    /// Whether nobody was reached at all: no address, or nobody who listens there.
    pub(super) fn is_of_connecting(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if source.is_connect())
    }
}

fn transport_hint(source: &reqwest::Error) -> Option<String> {
    let hint = match tls_refusal(source) {
        Some(rustls::Error::InvalidMessage(_)) => {
            "it does not speak TLS; a registry in plain http has to be marked `insecure = true` in registries.conf"
        }
        Some(_) => "if a company's own authority signs here, name its PEM file in SSL_CERT_FILE",
        None if source.is_connect() => "check the name, the network, and HTTPS_PROXY / NO_PROXY",
        None => return None,
    };
    Some(hint.to_owned())
}

/// Why TLS came to an end for good: a certificate that isn't trusted, or a server
/// that doesn't speak TLS at all.
fn tls_refusal(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An io::Error's source is its inner error's source: the inner one would be passed over.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}

/// The client. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Http {
    /// For answers: a minute's silence ends the request.
    reading: Client,
    /// For uploads, where the server is silent until it has everything.
    sending: Client,
    /// What clones share of the line; nothing for all that it gives.
    limit: Option<Arc<Limit>>,
}

/// Whom the client speaks to.
#[derive(Clone, Copy, PartialEq)]
enum Trust {
    /// Servers whose certificate the machine's roots vouch for.
    Roots,
    /// Servers that a person marked `insecure`.
    Anybody,
    /// This machine: any certificate, and no proxy in between.
    Loopback,
}

impl Http {
    /// A client that trusts the machine's roots and goes through its proxies.
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn new() -> Result<Self, Error> {
        Self::trusting(Trust::Roots, SILENCE)
    }

    /// A client that shares this one's limit and goes through other proxies: `proxy` says
    /// whom an address is asked through.
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn through(&self, proxy: impl Fn(&Url) -> Option<Url> + Clone + Send + Sync + 'static) -> Result<Self, Error> {
        let proxied = || builder(Trust::Roots).proxy(reqwest::Proxy::custom(proxy.clone()));
        Ok(Self::made_by(SILENCE, proxied)?.sharing(self))
    }

    /// The same, with another patience for silent servers.
    pub(super) fn with_silence(silence: Duration) -> Result<Self, Error> {
        Self::trusting(Trust::Roots, silence)
    }

    /// A client for servers whose certificate nobody vouches for.
    pub(super) fn unverified(silence: Duration) -> Result<Self, Error> {
        Self::trusting(Trust::Anybody, silence)
    }

    /// A client for this machine's own servers.
    pub(super) fn loopback(silence: Duration) -> Result<Self, Error> {
        Self::trusting(Trust::Loopback, silence)
    }

    fn trusting(trust: Trust, silence: Duration) -> Result<Self, Error> {
        Self::made_by(silence, || builder(trust))
    }

    fn made_by(silence: Duration, builder: impl Fn() -> ClientBuilder) -> Result<Self, Error> {
        // An error means that a provider is installed already: then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let setup = |source| Error::Setup { source };
        let reading = builder().read_timeout(silence).build().map_err(setup)?;
        let sending = builder().build().map_err(setup)?;
        Ok(Self { reading, sending, limit: None })
    }

    /// The same client; all bodies together are sent, and received, at `rate` at most.
    pub(super) fn limited(self, rate: Rate) -> Self {
        Self { limit: Some(Arc::new(Limit::new(rate))), ..self }
    }

    /// The same client, which shares the limit of `other`.
    pub(super) fn sharing(self, other: &Self) -> Self {
        Self { limit: other.limit.clone(), ..self }
    }

    /// What all bodies that are sent share.
    pub(super) fn limit(&self) -> Option<Arc<Limit>> {
        self.limit.clone()
    }

    /// Waits as long as the limit demands after `bytes` of a body were received.
    pub(super) async fn received(&self, bytes: usize) {
        if let Some(limit) = &self.limit {
            limit.received.take(bytes as u64);
            limit.received.wait().await;
        }
    }

    /// Sends a request without a streamed body, and follows redirects.
    /// `Authorization` goes only to the scheme, host and port that it was made for, a
    /// body only to its host.
    ///
    /// # Errors
    /// Every variant of [`Error`] but `Setup`. A status of 400 or more is an answer, not an error.
    pub async fn send(&self, mut request: Request) -> Result<Response, Error> {
        let first = redacted(request.url());
        for _ in 0..=MAX_REDIRECTS {
            let again = request.try_clone();
            let (method, url) = (request.method().clone(), request.url().clone());
            let response = self.reading.execute(request).await.map_err(|source| transport(&method, &url, source))?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let cannot = Error::Redirect { url: redacted(&url), status: response.status() };
            let Some(again) = again else { return Err(cannot) };
            request = follow(again, response.status(), response.headers(), cannot)?;
        }
        Err(Error::TooManyRedirects { url: first })
    }

    /// Sends a request whose body is a stream and may take any time. No redirect
    /// is followed: the body is gone.
    ///
    /// # Errors
    /// [`Error::Transport`], [`Error::Redirect`].
    pub async fn upload(&self, request: Request) -> Result<Response, Error> {
        let (method, url) = (request.method().clone(), request.url().clone());
        let response = self.sending.execute(request).await.map_err(|source| transport(&method, &url, source))?;
        match is_redirect(response.status()) {
            true => Err(Error::Redirect { url: redacted(&url), status: response.status() }),
            false => Ok(response),
        }
    }
}

fn builder(trust: Trust) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(concat!("dlpack/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .tls_danger_accept_invalid_certs(trust != Trust::Roots);
    if trust == Trust::Loopback { builder.no_proxy() } else { builder }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The request that a redirect asks for.
fn follow(mut request: Request, status: StatusCode, headers: &HeaderMap, cannot: Error) -> Result<Request, Error> {
    let from = request.url().clone();
    // RFC 9110 15.4: 301, 302 and 303 turn a request that changes something into a
    // GET; for a registry or an index that would be another question altogether.
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reading && !matches!(status.as_u16(), 307 | 308) {
        return Err(cannot);
    }
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(to) = location.and_then(|location| from.join(location).ok()) else { return Err(cannot) };
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(Error::Downgrade { url: redacted(&from), to: redacted(&to) });
    }
    if !matches!(to.scheme(), "http" | "https") {
        return Err(cannot);
    }
    if from.origin() != to.origin() {
        // A body may hold a credential (a refresh token) as well as a header does.
        let upgraded = from.host() == to.host() && to.scheme() == "https";
        if request.body().is_some() && !upgraded {
            return Err(cannot);
        }
        for name in [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE] {
            request.headers_mut().remove(name);
        }
    }
    *request.url_mut() = to;
    Ok(request)
}

pub(crate) fn transport(method: &Method, url: &Url, source: reqwest::Error) -> Error {
    Error::Transport { method: method.clone(), url: redacted(url), source: source.without_url() }
}

/// An address without query, fragment and credentials.
pub fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Fails for addresses that can't have any; those have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_goes_through_another_proxy_shares_the_limit() {
        let http = Http::new().unwrap().limited("1M".parse().unwrap());
        let proxied = http.through(|_| None).unwrap();
        assert!(Arc::ptr_eq(&http.limit().unwrap(), &proxied.limit().unwrap()));
    }
}
