//! All registries at once: what configures them, and what their requests share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::auth::Credentials;
use super::client::Client;
use super::config::Config;
use super::http::Http;
use super::pull_limit::PullLimit;
use super::{Environment, Error, Interrupt, Rate, Reference, Repository, Retry};
use crate::store::Store;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestKind {
    /// `GET /v2/`.
    Greet,
    /// A token, at its realm.
    Token,
    /// `HEAD` of a manifest.
    HeadManifest,
    /// `GET` of a manifest.
    GetManifest,
    /// `PUT` of a manifest.
    PutManifest,
    /// `DELETE` of a manifest.
    DeleteManifest,
    /// `HEAD` of a blob.
    HeadBlob,
    /// `GET` of a blob or a part of one.
    GetBlob,
    /// `POST` with `mount` and `from`.
    MountBlob,
    /// `POST` that begins an upload.
    BeginUpload,
    /// `GET` of an upload's state.
    UploadStatus,
    /// `PATCH` with a part of a blob.
    PatchUpload,
    /// `PUT` that ends an upload, with or without bytes.
    PutUpload,
    /// A list of tags or referrers.
    List,
}

/// A request that was answered, or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestEvent {
    /// What it was for.
    pub kind: RequestKind,
    /// Where it went first, without its query.
    pub url: String,
    /// The status; nothing if there was no answer.
    pub status: Option<u16>,
}

/// Is told of every request. Called from many tasks; must not block.
pub type Observer = Arc<dyn Fn(&RequestEvent) + Send + Sync>;

/// What a person can configure.
#[derive(Clone, Default)]
pub struct Settings {
    /// Mirrors, plain http and blocked registries.
    pub config: Config,
    /// Where credentials are.
    pub credentials: Credentials,
    /// When to try again.
    pub retry: Retry,
    /// Hosts whose token servers may serve registries of other domains.
    pub trusted_realms: Vec<String>,
    /// Who is told of requests.
    pub observer: Option<Observer>,
    /// Where uploads are noted down, so that the next process goes on with them.
    pub journal: Option<Store>,
    /// The longest part of a blob that goes in one request, in bytes; nothing for 32 MiB.
    pub chunk: Option<u64>,
    /// How fast all bodies together are sent, and how fast they are received.
    pub limit_rate: Option<Rate>,
    /// Who tells uploads that the process is about to end.
    pub interrupt: Interrupt,
}

impl Settings {
    /// What `environment` configures: see [`Config::from_environment`] and
    /// [`Credentials`]; `DLPACK_TRUSTED_REALMS` is a list separated by commas.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::ConfigSyntax`].
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let listed = environment.get("DLPACK_TRUSTED_REALMS").unwrap_or_default();
        let trusted = listed.split(',').map(str::trim).filter(|host| !host.is_empty());
        Ok(Self {
            config: Config::from_environment(environment)?,
            credentials: Credentials::from_environment(environment),
            trusted_realms: trusted.map(str::to_owned).collect(),
            ..Self::default()
        })
    }
}

/// Every registry that a reference can name. Cheap to clone; clones share
/// connections and tokens.
#[derive(Clone)]
pub struct Registries {
    pub(super) client: Arc<Client>,
    http: Http,
    config: Arc<Config>,
    pub(super) credentials: Credentials,
    settings: Arc<Settings>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Registries {
    /// Registries as this process's environment configures them.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::ConfigSyntax`], and [`Error::Http`] where TLS can't be set up.
    pub fn from_environment() -> Result<Self, Error> {
        Self::new(Settings::from_environment(&Environment::of_process())?)
    }

    /// Registries with these settings.
    ///
    /// # Errors
    /// [`Error::Http`] where TLS can't be set up.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let http = Http::with_silence(settings.retry.silence)?;
        let http = match settings.limit_rate {
            Some(rate) => http.limited(rate),
            None => http,
        };
        let client = Arc::new(Client::new(http.clone(), &settings, settings.credentials.clone()));
        let (config, credentials) = (Arc::new(settings.config.clone()), settings.credentials.clone());
        Ok(Self { client, http, config, credentials, settings: Arc::new(settings) })
    }

    /// The same registries, with other credentials: those that `login` tries.
    pub(super) fn client_with(&self, credentials: Credentials) -> Client {
        Client::new(self.http.clone(), &self.settings, credentials)
    }

    /// How many pulls registries still allow, by name, of those that said so.
    pub fn pull_limits(&self) -> BTreeMap<String, PullLimit> {
        self.client.pull_limits.all()
    }

    /// The HTTP client below, for package indexes.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// The repository that `reference` names. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Blocked`].
    pub fn repository(&self, reference: &Reference) -> Result<Repository, Error> {
        let places = self.config.places(reference)?;
        Ok(Repository { client: self.client.clone(), reference: reference.clone(), places })
    }

    /// Where `registry` (`host`, `host:port`) itself is spoken to.
    pub(super) fn place(&self, registry: &str) -> Result<super::Place, Error> {
        let host = super::auth::canonical(registry);
        let reference = Reference::with_tag(host, String::new(), String::new());
        Ok(self.config.places(&reference)?.push)
    }
}
