//! Challenges and tokens: what a 401 asks for, where a token may be fetched, and
//! with which scope (distribution's token authentication specification).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Request, StatusCode};
use serde::Deserialize;
use url::{Host, Url};

use super::auth::Credential;
use super::body::read_limited;
use super::http::{Http, redacted};
use super::retry::{Failure, Retry, retry_after};
use super::{Error, client};

/// The longest answer of a token server, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// How long a token lasts whose server doesn't say (token specification: "60 seconds").
const DEFAULT_LIFE: u64 = 60;
/// A token is renewed so long before its end, in seconds: clocks differ.
const MARGIN: u64 = 10;

/// What a token is good for: actions by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Scope(BTreeMap<String, BTreeSet<String>>);

impl Scope {
    pub(super) fn pull(name: &str) -> Self {
        Self::default().with(name, &["pull"])
    }

    pub(super) fn push(name: &str) -> Self {
        Self::default().with(name, &["pull", "push"])
    }

    /// Deleting manifests of `name`.
    pub(super) fn delete(name: &str) -> Self {
        Self::default().with(name, &["pull", "delete"])
    }

    /// Pushing to `name` what is mounted from `from`.
    pub(super) fn mount(name: &str, from: &str) -> Self {
        Self::push(name).with(from, &["pull"])
    }

    fn with(mut self, name: &str, actions: &[&str]) -> Self {
        let granted = self.0.entry(format!("repository:{name}")).or_default();
        granted.extend(actions.iter().map(|action| (*action).to_owned()));
        self
    }

    /// With what a challenge asks for beyond it: registries behind a proxy may
    /// know the repository by another name.
    pub(super) fn with_challenged(&self, challenged: &str) -> Self {
        let mut scope = self.clone();
        for part in challenged.split_ascii_whitespace() {
            if let Some((resource, actions)) = part.rsplit_once(':') {
                let granted = scope.0.entry(resource.to_owned()).or_default();
                granted.extend(actions.split(',').map(str::to_owned));
            }
        }
        scope
    }

    fn parameters(&self) -> impl Iterator<Item = String> {
        let joined = |actions: &BTreeSet<String>| actions.iter().cloned().collect::<Vec<_>>().join(",");
        self.0.iter().map(move |(resource, actions)| format!("{resource}:{}", joined(actions)))
    }
}

/// How a registry wants to be told who asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token.
    Bearer {
        /// Where it is to be had.
        realm: Url,
        /// What the token server calls the registry.
        service: Option<String>,
    },
}

impl Challenge {
    /// The strongest challenge of a 401's headers that dlpack can answer, and the
    /// scope that it asks for; nothing if there is none.
    ///
    /// # Errors
    /// [`Error::Challenge`] for one that asks for a token and doesn't say where.
    pub fn of(registry: &Url, headers: &HeaderMap) -> Result<Option<(Self, Option<String>)>, Error> {
        let unusable = |what| Error::Challenge { url: redacted(registry), what };
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let all: Vec<_> = texts.filter_map(|text| http_auth::parse_challenges(text).ok()).flatten().collect();
        let scheme = |name: &str| all.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(name));
        let Some(bearer) = scheme("bearer") else { return Ok(scheme("basic").map(|_| (Self::Basic, None))) };
        let parameter = |name: &str| {
            let found = bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped()).filter(|value| !value.is_empty())
        };
        let realm = parameter("realm").ok_or_else(|| unusable("a Bearer challenge without a realm"))?;
        let realm = Url::parse(&realm).map_err(|_| unusable("a realm that is no address"))?;
        Ok(Some((Self::Bearer { realm, service: parameter("service") }, parameter("scope"))))
    }
}

/// Whether a registry may send its clients to `realm` for a token. What is learnt
/// there goes back to the registry, and what is told there are the registry's
/// credentials, so the realm has to be the registry's own:
///
/// - the same host, on any port; or
/// - a host in the domain that holds the registry (`auth.docker.io` for
///   `registry-1.docker.io`, `gitlab.com` for `registry.gitlab.com`), where that
///   domain is not one that everybody can have a name in (`co.uk`); or
/// - a host that `DLPACK_TRUSTED_REALMS` lists, separated by commas;
///
/// and https, unless the registry itself is spoken to in plain http and the realm
/// is on its host.
pub(super) fn check_realm(registry: &Url, realm: &Url, trusted: &[String]) -> Result<(), Error> {
    let refused = || Error::Realm { registry: client::authority(registry), realm: redacted(realm) };
    let (Some(ours), Some(theirs)) = (registry.host(), realm.host()) else { return Err(refused()) };
    let same = ours == theirs;
    match realm.scheme() {
        "https" => {}
        "http" if same && registry.scheme() == "http" => {}
        _ => return Err(refused()),
    }
    let listed = trusted.iter().any(|host| *host == theirs.to_string());
    if same || listed || related(&ours, &theirs) { Ok(()) } else { Err(refused()) }
}

fn related(ours: &Host<&str>, theirs: &Host<&str>) -> bool {
    let (Host::Domain(ours), Host::Domain(theirs)) = (ours, theirs) else { return false };
    let Some((_, domain)) = ours.split_once('.') else { return false };
    let labels: Vec<&str> = domain.split('.').collect();
    let shared = match labels[..] {
        [_] => true,
        // `co.uk`, `com.au`: two short labels are a registry of names, not a name.
        [second, top] => top.len() == 2 && second.len() <= 3,
        _ => false,
    };
    let inside = theirs.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    inside && !shared
}

/// A token and its end.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    ends: Instant,
}

impl Token {
    /// Whether it will still do for a request that begins now.
    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() < self.ends
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Fetches a token for `scope`. The realm has been checked.
pub(super) async fn fetch(
    http: &Http,
    retry: &Retry,
    (realm, service): (&Url, Option<&str>),
    scope: &Scope,
    credential: Option<&Credential>,
) -> Result<Token, Error> {
    let mut attempts = retry.begin();
    loop {
        let request = token_request(realm, service, scope, credential)?;
        match once(http, retry, request).await {
            Ok(token) => return Ok(token),
            Err(failure) => attempts.after(failure).await?,
        }
    }
}

async fn once(http: &Http, retry: &Retry, request: Request) -> Result<Token, Failure> {
    let response = http.send(request).await.map_err(Error::from)?;
    let (url, status) = (redacted(response.url()), response.status());
    let wait = if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        retry_after(retry, &response)?
    } else {
        None
    };
    let body = read_limited(response, MAX_ANSWER, retry.silence).await?;
    if !status.is_success() {
        let envelope = Box::new(serde_json::from_slice(&body).ok());
        return Err(Failure { error: Error::Refused { url, status, envelope }, wait });
    }
    let unusable = || Error::Challenge { url: url.clone(), what: "an answer without a token" };
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| unusable())?;
    // token specification: "either `token` or `access_token` MUST be returned"
    let token = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty());
    let token = token.ok_or_else(unusable)?;
    let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).clamp(1, 86_400);
    let ends = Instant::now() + Duration::from_secs(life.saturating_sub(MARGIN).max(1));
    Ok(Token { header: sensitive(&format!("Bearer {token}")).ok_or_else(unusable)?, ends })
}

fn token_request(
    realm: &Url,
    service: Option<&str>,
    scope: &Scope,
    credential: Option<&Credential>,
) -> Result<Request, Error> {
    // OAuth2 token specification: an identity token is traded in by a POST
    if let Some(Credential::IdentityToken(token)) = credential {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token.expose());
        form.append_pair("client_id", "dlpack").append_pair("service", service.unwrap_or_default());
        form.append_pair("scope", &scope.parameters().collect::<Vec<_>>().join(" "));
        let mut request = Request::new(Method::POST, realm.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *request.body_mut() = Some(form.finish().into());
        return Ok(request);
    }
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        for scope in scope.parameters() {
            query.append_pair("scope", &scope);
        }
        if let Some(Credential::Basic { username, .. }) = credential {
            query.append_pair("account", username);
        }
    }
    let mut request = Request::new(Method::GET, url);
    if let Some(header) = credential.and_then(basic) {
        request.headers_mut().insert(AUTHORIZATION, header);
    }
    Ok(request)
}

/// The header for a user and a password (RFC 7617).
pub(super) fn basic(credential: &Credential) -> Option<HeaderValue> {
    let Credential::Basic { username, password } = credential else { return None };
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
