//! Credentials: where Docker and containers' tools keep them, read and written as
//! they do (`config.json`, containers-auth.json(5)).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::helper::Helper;
use super::{Environment, Error};

/// Docker Hub's key in credentials files and helpers, for history's sake.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who sends it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What a registry or its token server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password or personal access token.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token.
    IdentityToken(Secret),
}

impl Credential {
    /// A user and a password.
    pub fn basic(username: &str, password: &str) -> Self {
        Self::Basic { username: username.to_owned(), password: Secret::new(password) }
    }
}

/// Where credentials are looked for, in this order:
///
/// 1. `DLPACK_USERNAME` and `DLPACK_PASSWORD`, for the registry that
///    `DLPACK_REGISTRY` names (`docker.io` if it is not set) and no other;
/// 2. `$REGISTRY_AUTH_FILE`, and then no other file;
/// 3. `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`;
/// 4. `$XDG_RUNTIME_DIR/containers/auth.json`;
/// 5. `~/.config/containers/auth.json`.
///
/// In a file `credHelpers` comes before `credsStore`, and both before `auths`.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    given: Option<(String, Credential)>,
    files: Vec<PathBuf>,
    search_path: Option<String>,
}

impl Credentials {
    /// The places that `environment` names. Nothing is read yet.
    pub fn from_environment(environment: &Environment) -> Self {
        let given =
            environment.get("DLPACK_USERNAME").zip(environment.get("DLPACK_PASSWORD")).map(|(user, password)| {
                let registry = environment.get("DLPACK_REGISTRY").unwrap_or("docker.io");
                (canonical(registry), Credential::basic(user, password))
            });
        let docker = environment.path("DOCKER_CONFIG").or_else(|| Some(environment.path("HOME")?.join(".docker")));
        let files = match environment.path("REGISTRY_AUTH_FILE") {
            Some(only) => vec![only],
            None => [
                docker.map(|directory| directory.join("config.json")),
                environment.path("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")),
                environment.config_home().map(|directory| directory.join("containers/auth.json")),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        Self { given, files, search_path: environment.get("PATH").map(str::to_owned) }
    }

    /// These for `registry`, and none for others.
    pub fn only(registry: &str, credential: Credential) -> Self {
        Self { given: Some((canonical(registry), credential)), ..Self::default() }
    }

    /// The credentials for the repository `name` at `host`, if there are any. May
    /// run a credential helper, which may take its time.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::CredentialsSyntax`], [`Error::Helper`].
    pub fn find(&self, host: &str, name: &str) -> Result<Option<Credential>, Error> {
        let host = canonical(host);
        if let Some((_, credential)) = self.given.iter().find(|(registry, _)| *registry == host) {
            return Ok(Some(credential.clone()));
        }
        for path in &self.files {
            let file = AuthFile::read(path)?;
            for helper in file.helpers(&host, self.search_path.as_deref()) {
                if let Some(credential) = helper.get(server_key(&host))? {
                    return Ok(Some(credential));
                }
            }
            if let Some(credential) = file.auth(&host, name) {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// Keeps credentials for `host` where Docker would: in the helper that is
    /// configured for it, else in the first file, whole or not at all, readable by
    /// its owner alone.
    ///
    /// # Errors
    /// As [`Credentials::find`]; the old file then still stands.
    pub fn store(&self, host: &str, username: &str, password: &Secret) -> Result<(), Error> {
        let Some(path) = self.files.first() else { return Err(no_home()) };
        let host = canonical(host);
        let mut file = AuthFile::read(path)?;
        let mut entry = Map::new();
        match file.helpers(&host, self.search_path.as_deref()).first() {
            Some(helper) => helper.store(server_key(&host), username, password)?,
            None => {
                let auth = STANDARD.encode(format!("{username}:{}", password.expose()));
                entry.insert("auth".into(), Value::String(auth));
            }
        }
        file.remove(&host);
        file.content.auths.get_or_insert_default().insert(server_key(&host).to_owned(), Value::Object(entry));
        file.write()
    }

    /// Forgets the credentials for `host`, in every file and helper. Returns
    /// whether there were any.
    ///
    /// # Errors
    /// As [`Credentials::find`].
    pub fn forget(&self, host: &str) -> Result<bool, Error> {
        let host = canonical(host);
        let mut found = false;
        for path in &self.files {
            let mut file = AuthFile::read(path)?;
            for helper in file.helpers(&host, self.search_path.as_deref()) {
                found |= helper.erase(server_key(&host))?;
            }
            if file.remove(&host) {
                found = true;
                file.write()?;
            }
        }
        Ok(found)
    }
}

fn no_home() -> Error {
    let source = io::Error::new(io::ErrorKind::NotFound, "neither HOME nor DOCKER_CONFIG is set");
    Error::Config { path: PathBuf::from("~/.docker/config.json"), source }
}

/// One `config.json` or `auth.json`.
struct AuthFile {
    path: PathBuf,
    content: Content,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    #[serde(default)]
    auths: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    creds_store: Option<String>,
    /// Everything else that is in it, which is none of our business.
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl AuthFile {
    fn read(path: &Path) -> Result<Self, Error> {
        let bytes = match fs::read(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                b"{}".to_vec()
            }
            bytes => bytes.map_err(|source| Error::Config { path: path.to_owned(), source })?,
        };
        let content = serde_json::from_slice(&bytes).map_err(|error| Error::CredentialsSyntax {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
        })?;
        Ok(Self { path: path.to_owned(), content })
    }

    /// The helpers to ask about `host`, the most specific first.
    fn helpers(&self, host: &str, search_path: Option<&str>) -> Vec<Helper> {
        let specific = self.content.cred_helpers.iter().flatten();
        let specific = specific.filter(|(key, _)| canonical(key) == host).map(|(_, helper)| helper).take(1);
        let names = specific.chain(&self.content.creds_store).filter(|name| !name.is_empty());
        names.map(|name| Helper::new(name, search_path)).collect()
    }

    fn auth(&self, host: &str, name: &str) -> Option<Credential> {
        let auths = self.content.auths.as_ref()?;
        // containers-auth.json(5): "the most specific match wins": host/ns/repo, host/ns, host
        let whole = format!("{host}/{name}");
        let mut key = whole.trim_end_matches('/');
        loop {
            let found = auths.iter().filter(|(candidate, _)| canonical(candidate) == key);
            if let Some(credential) = found.filter_map(|(_, entry)| credential(entry)).next() {
                return Some(credential);
            }
            key = key.rsplit_once('/')?.0;
        }
    }

    fn remove(&mut self, host: &str) -> bool {
        let auths = self.content.auths.get_or_insert_default();
        let before = auths.len();
        auths.retain(|key, _| canonical(key) != host);
        auths.len() != before
    }

    /// Written beside and renamed; mode 0600 from the first byte on. Where the
    /// file is a link, as among dotfiles, what it points to is replaced.
    fn write(&self) -> Result<(), Error> {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let failed = |source| Error::Config { path: path.clone(), source };
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        serde_json::to_writer_pretty(&mut file, &self.content).map_err(|error| failed(error.into()))?;
        file.write_all(b"\n").and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// What an entry of `auths` holds; nothing if it is empty or no form that is known.
fn credential(entry: &Value) -> Option<Credential> {
    let text = |name| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Some(Credential::IdentityToken(Secret::new(token)));
    }
    if let Some(auth) = text("auth") {
        let decoded = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
        let (username, password) = decoded.split_once(':')?;
        return Some(Credential::basic(username, password.trim_end_matches('\0')));
    }
    Some(Credential::basic(text("username")?, text("password")?))
}

/// One name for all the ways in which a registry is written in credentials files:
/// `https://index.docker.io/v1/` is `docker.io`.
pub(super) fn canonical(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let bare = bare.trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    let (host, name) = bare.split_once('/').map_or((bare, None), |(host, name)| (host, Some(name)));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io",
        host => host,
    };
    name.map_or_else(|| host.to_owned(), |name| format!("{host}/{name}"))
}

/// The key under which `host` is kept.
fn server_key(host: &str) -> &str {
    if host == "docker.io" { DOCKER_HUB } else { host }
}
