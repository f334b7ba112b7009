//! Who may ask: Basic, or Bearer tokens with the scopes of the distribution
//! project's token specification. Tokens are counted, not timed, so that a test
//! can let one end in the middle of an upload.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Method, Response};
use serde_json::json;

use super::answer::{Body, Refusal, document};
use super::route::Route;
use crate::locked::locked;

/// Where a server makes tokens.
pub(super) const TOKEN_PATH: &str = "/token";

/// What a request must bring.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A name and a password with each request (RFC 7617).
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token (RFC 6750).
    Bearer {
        /// Where they come from. Two servers may share them.
        tokens: Tokens,
        /// The URL of the token service; nothing for this server's own.
        realm: Option<String>,
    },
}

/// Tokens that were handed out. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    account: Option<(String, String)>,
    uses: Option<u32>,
    issued: Arc<Mutex<HashMap<String, Issued>>>,
}

#[derive(Debug)]
struct Issued {
    scopes: Vec<String>,
    left: Option<u32>,
}

impl Tokens {
    /// Tokens for `user` with `password` alone. Without this, for everybody.
    pub fn for_account(mut self, user: &str, password: &str) -> Self {
        self.account = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Each token is good for `uses` requests, and then has expired.
    pub fn lasting(mut self, uses: u32) -> Self {
        self.uses = Some(uses);
        self
    }

    /// Answers the token endpoint.
    pub(super) fn issue(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Response<Body>, Refusal> {
        if let Some((user, password)) = &self.account
            && basic(headers) != Some((user.clone(), password.clone()))
        {
            return Err(Refusal::unauthorized("wrong name or password"));
        }
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let scopes = pairs.filter(|(key, _)| key == "scope");
        let scopes = scopes.flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
        let token = format!("{:032x}", fastrand::u128(..));
        let mut issued = locked(&self.issued);
        issued.insert(token.clone(), Issued { scopes, left: self.uses });
        let body = json!({ "token": token, "access_token": token, "expires_in": 300 });
        Ok(document("application/json", body.to_string().into_bytes(), false))
    }

    /// Uses `token` once for `needed`.
    fn accept(&self, token: &str, needed: &[(String, &'static str)]) -> bool {
        let mut issued = locked(&self.issued);
        let Some(entry) = issued.get_mut(token) else { return false };
        match &mut entry.left {
            Some(0) => return false,
            Some(left) => *left -= 1,
            None => {}
        }
        needed.iter().all(|(name, action)| {
            let prefix = format!("repository:{name}:");
            let mut actions = entry.scopes.iter().filter_map(|scope| scope.strip_prefix(&prefix));
            actions.any(|actions| actions.split(',').any(|given| given == *action || given == "*"))
        })
    }
}

impl Auth {
    /// Whether a request may go on; else a refusal with the challenge.
    pub(super) fn check(
        &self,
        method: &Method,
        route: &Route,
        mount_from: Option<&str>,
        headers: &HeaderMap,
        own: &str,
    ) -> Result<(), Refusal> {
        match self {
            Self::Basic { user, password } => match basic(headers) {
                Some(given) if given == (user.clone(), password.clone()) => Ok(()),
                _ => Err(Refusal::unauthorized("a name and a password are needed")
                    .with("www-authenticate", "Basic realm=\"dlpack\"")),
            },
            Self::Bearer { tokens, realm } => {
                let needed = needed(method, route, mount_from);
                let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                let token = given.and_then(|value| value.strip_prefix("Bearer "));
                if token.is_some_and(|token| tokens.accept(token, &needed)) {
                    return Ok(());
                }
                let realm = realm.clone().unwrap_or_else(|| format!("http://{own}{TOKEN_PATH}"));
                let challenge = challenge(&realm, own, &needed);
                Err(Refusal::unauthorized("a token is needed").with("www-authenticate", challenge))
            }
        }
    }
}

/// The scopes of a request: a repository and an action.
fn needed(method: &Method, route: &Route, mount_from: Option<&str>) -> Vec<(String, &'static str)> {
    let Some(name) = route.name() else { return Vec::new() };
    let own = |action| (name.to_owned(), action);
    match *method {
        Method::GET | Method::HEAD => vec![own("pull")],
        Method::DELETE if !matches!(route, Route::Upload { .. }) => vec![own("delete")],
        _ => {
            let from = mount_from.map(|from| (from.to_owned(), "pull"));
            [own("pull"), own("push")].into_iter().chain(from).collect()
        }
    }
}

// RFC 6750 3, and the token specification's `service` and `scope`
fn challenge(realm: &str, service: &str, needed: &[(String, &'static str)]) -> String {
    let mut scopes: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, action) in needed {
        match scopes.iter_mut().find(|(known, _)| known == name) {
            Some((_, actions)) => actions.push(action),
            None => scopes.push((name, vec![action])),
        }
    }
    let scopes: Vec<String> =
        scopes.iter().map(|(name, actions)| format!("repository:{name}:{}", actions.join(","))).collect();
    let scope = if scopes.is_empty() { String::new() } else { format!(",scope=\"{}\"", scopes.join(" ")) };
    format!("Bearer realm=\"{realm}\",service=\"{service}\"{scope}")
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
