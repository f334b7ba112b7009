//! What can go wrong between dlpack and a registry, each with its place.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use oci_client::errors::{OciEnvelope, OciErrorCode};
use reqwest::StatusCode;
use thiserror::Error;

use super::http;
use crate::oci::{Digest, InvalidManifest};
use crate::store;

/// What can go wrong with a registry. URLs are shown without their query, and no
/// message holds a secret.
#[derive(Debug, Error)]
pub enum Error {
    /// A file of `registries.conf` or credentials can't be read or written.
    #[error("can't read or write {}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A `registries.conf` that is no TOML of its form.
    #[error("{} can't be understood", path.display())]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A credentials file that is no JSON of its form. The cause is not shown: it may quote a password.
    #[error("{} is not a credentials file: line {line}, column {column}", path.display())]
    CredentialsSyntax {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A credential helper that can't be run, fails, or answers nonsense.
    #[error("the credential helper {helper} can't {action} the credentials of {registry}: {message}")]
    Helper {
        /// The program's name.
        helper: String,
        /// `get`, `store` or `erase`.
        action: &'static str,
        /// Whose credentials.
        registry: String,
        /// What it said, cut short.
        message: String,
    },
    /// `registries.conf` forbids it.
    #[error("{name} is blocked by `{prefix}` in registries.conf")]
    Blocked {
        /// What was asked for.
        name: String,
        /// The table that blocks it.
        prefix: String,
    },
    /// A name that makes no address.
    #[error("`{name}` makes no address of a registry")]
    Address {
        /// The name.
        name: String,
    },
    /// No answer that counts.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// An answer that broke off.
    #[error("{url} broke off after {received} bytes")]
    Broken {
        /// Where.
        url: String,
        /// How much came.
        received: u64,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing moved for too long.
    #[error("{url}: nothing moved for {} seconds", idle.as_secs())]
    Stalled {
        /// Where.
        url: String,
        /// For how long.
        idle: Duration,
    },
    /// The registry wants other credentials, or any.
    #[error("{registry} {}{}", if *.anonymous { "wants credentials" } else { "does not accept the credentials" }, purpose(.name))]
    Unauthorized {
        /// The registry.
        registry: String,
        /// The repository; empty if it was only about logging in.
        name: String,
        /// Whether none were given.
        anonymous: bool,
    },
    /// A challenge that asks for credentials at a host that they aren't for.
    #[error("{registry} asks for a token at another realm: {realm}")]
    Realm {
        /// The registry.
        registry: String,
        /// Where it points to.
        realm: String,
    },
    /// A challenge, or a token server's answer, that can't be understood.
    #[error("{url} gives {what}")]
    Challenge {
        /// Where.
        url: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It said so itself.
    #[error("{url} answers {status}{}", said(.envelope))]
    Refused {
        /// Where.
        url: String,
        /// The status.
        status: StatusCode,
        /// The distribution-spec's errors, if it gave any.
        envelope: Box<Option<OciEnvelope>>,
    },
    /// It is not there.
    #[error("{what} is not in {name}{}", said(.envelope))]
    NotFound {
        /// The tag or digest.
        what: String,
        /// The repository.
        name: String,
        /// The distribution-spec's errors, if it gave any.
        envelope: Box<Option<OciEnvelope>>,
    },
    /// A `Retry-After` beyond all patience.
    #[error("{url} asks to wait {wait}, more than the {} seconds that dlpack waits", patience.as_secs())]
    AskedToWait {
        /// Where.
        url: String,
        /// For how long, as it was said.
        wait: String,
        /// The longest wait.
        patience: Duration,
    },
    /// More bytes than such an answer may have.
    #[error("{url} is larger than {limit} bytes")]
    TooLarge {
        /// Where.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// Fewer or more bytes than announced.
    #[error("{url} has {found} bytes instead of {expected}")]
    Length {
        /// Where.
        url: String,
        /// What the descriptor says.
        expected: u64,
        /// What the answer has.
        found: u64,
    },
    /// Another part than was asked for.
    #[error("{url} was asked for bytes from {offset} on and sends `{range}`")]
    Range {
        /// Where.
        url: String,
        /// The first byte asked for.
        offset: u64,
        /// Its `Content-Range`.
        range: String,
    },
    /// Bytes that are not what was asked for.
    #[error("{url} should be {expected}, but its bytes are {found}")]
    Digest {
        /// Where.
        url: String,
        /// What was asked for, or announced.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A manifest that can't be taken for one.
    #[error("{url} is no manifest to work with")]
    Manifest {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: InvalidManifest,
    },
    /// A header that is missing or makes no sense.
    #[error("{url} answers without a usable {header}")]
    Header {
        /// Where.
        url: String,
        /// Which.
        header: &'static str,
    },
    /// The registry kept something else than what was sent.
    #[error("{url} says that it stored {found} instead of {expected}")]
    Stored {
        /// Where.
        url: String,
        /// What was sent.
        expected: Digest,
        /// What its `Docker-Content-Digest` says.
        found: String,
    },
    /// The upload goes on at a place where it may not.
    #[error("{url} sends the upload to {location}")]
    Location {
        /// Where.
        url: String,
        /// Where to.
        location: String,
    },
    /// The blob to be pushed can't be opened or read.
    #[error("can't read blob {digest}")]
    Origin {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store's copy of the blob to be pushed.
    #[error("can't read {digest}, which is to be pushed")]
    OriginStore {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: Box<store::Error>,
    },
    /// The blob to be pushed can't be had from the repository that has it.
    #[error("can't read {digest} from {place}")]
    OriginRepository {
        /// The blob.
        digest: Digest,
        /// The repository.
        place: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// The blob to be pushed is not in the store.
    #[error("{digest} is to be pushed and is not in the store")]
    OriginMissing {
        /// The blob.
        digest: Digest,
    },
}

/// What sort of failure it is, for exit codes and for who decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// This machine's files.
    Local,
    /// Credentials are missing, wrong, or would go astray.
    Authentication,
    /// The connection, or a server that fails.
    Network,
    /// It isn't there.
    NotFound,
    /// The registry doesn't want it.
    Refused,
    /// What came isn't what was asked for.
    Integrity,
}

impl Error {
    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OriginRepository { source, .. } => source.kind(),
            Self::Config { .. }
            | Self::ConfigSyntax { .. }
            | Self::CredentialsSyntax { .. }
            | Self::Blocked { .. }
            | Self::Address { .. }
            | Self::Origin { .. }
            | Self::OriginStore { .. }
            | Self::OriginMissing { .. } => ErrorKind::Local,
            Self::Helper { .. } | Self::Unauthorized { .. } | Self::Realm { .. } => ErrorKind::Authentication,
            Self::Refused { status, .. } if *status == StatusCode::FORBIDDEN => ErrorKind::Authentication,
            Self::Refused { status, .. } if status.is_server_error() => ErrorKind::Network,
            Self::Refused { .. } | Self::AskedToWait { .. } => ErrorKind::Refused,
            Self::Http(_) | Self::Broken { .. } | Self::Stalled { .. } => ErrorKind::Network,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Challenge { .. }
            | Self::TooLarge { .. }
            | Self::Length { .. }
            | Self::Range { .. }
            | Self::Digest { .. }
            | Self::Manifest { .. }
            | Self::Header { .. }
            | Self::Stored { .. }
            | Self::Location { .. } => ErrorKind::Integrity,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Http(error) => error.hint(),
            Self::OriginStore { source, .. } => source.hint(),
            Self::OriginRepository { source, .. } => source.hint(),
            Self::Unauthorized { registry, anonymous: true, .. } => {
                Some(format!("`dlpack login {registry}`; the repository may also not exist"))
            }
            Self::Unauthorized { registry, .. } => Some(format!("`dlpack login {registry}` with other credentials")),
            Self::Realm { realm, .. } => Some(format!(
                "credentials stay with their registry; if that token server is its own, say so: DLPACK_TRUSTED_REALMS={}",
                url::Url::parse(realm).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
            )),
            Self::Helper { helper, .. } => Some(format!(
                "try `{helper}` by hand, or take it out of credHelpers and credsStore in ~/.docker/config.json"
            )),
            Self::AskedToWait { .. } => Some("pull limits are higher with credentials: `dlpack login`".into()),
            Self::Refused { status, .. } if *status == StatusCode::FORBIDDEN => {
                Some("these credentials may not do that; check the repository's name and who may write to it".into())
            }
            Self::Refused { status, .. } if *status == StatusCode::PAYLOAD_TOO_LARGE => {
                Some("the registry, or a proxy before it, limits the size of a layer".into())
            }
            Self::Refused { status, .. } if status.is_server_error() => {
                Some("it was asked several times; try again later".into())
            }
            Self::NotFound { .. } => Some("check the name and the tag".into()),
            Self::Origin { .. } => {
                Some("the image layout is incomplete or damaged: copy the image into it again".into())
            }
            Self::Broken { .. } | Self::Stalled { .. } => Some("try again; what is complete is kept".into()),
            Self::CredentialsSyntax { .. } => Some("correct it, or move it away and log in again".into()),
            Self::Blocked { .. } => Some("take another registry, or `blocked` out of registries.conf".into()),
            Self::Address { .. } => Some("check the `location` of the registry in registries.conf".into()),
            Self::Challenge { .. } | Self::Header { .. } | Self::Manifest { .. } | Self::TooLarge { .. } => Some(
                "check the address: what answers there may be no registry, or a proxy that changes its answers".into(),
            ),
            Self::Location { .. } => {
                Some("an upload leaves its registry over https alone; the registry or its proxy should know".into())
            }
            Self::Stored { .. } => Some("push again; if it stays so, the registry is not to be trusted".into()),
            Self::OriginMissing { .. } => Some("build the image again: the layer was collected".into()),
            Self::Digest { .. } | Self::Length { .. } | Self::Range { .. } => {
                Some("nothing of it was kept; try again, or another mirror".into())
            }
            _ => None,
        }
    }

    /// Whether it is that the registry has no such operation.
    pub fn is_unsupported(&self) -> bool {
        // distribution-spec "Error Codes": UNSUPPORTED, "the operation is unsupported"
        let says_so =
            |envelope: &OciEnvelope| envelope.errors.iter().any(|error| error.code == OciErrorCode::Unsupported);
        match self {
            Self::Refused { status, envelope, .. } => {
                *status == StatusCode::METHOD_NOT_ALLOWED || envelope.as_ref().as_ref().is_some_and(says_so)
            }
            _ => false,
        }
    }

    /// Whether nobody was reached at all.
    pub(super) fn is_of_connecting(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_of_connecting())
    }

    /// Whether asking again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Http(error) => error.is_transient(),
            Self::OriginRepository { source, .. } => source.is_transient(),
            Self::Broken { .. } | Self::Stalled { .. } | Self::Length { .. } | Self::Range { .. } => true,
            Self::Refused { status, .. } => is_transient(*status),
            _ => false,
        }
    }
}

/// Statuses after which the same request may succeed.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

fn purpose(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" for {name}") }
}

/// What the registry said, in one clause.
fn said(envelope: &Option<OciEnvelope>) -> String {
    let Some(envelope) = envelope else { return String::new() };
    let one = |error: &oci_client::errors::OciError| match (&error.code, error.message.trim()) {
        (code, "") => code_name(code),
        (_, message) => message.chars().filter(|c| !c.is_control()).take(300).collect(),
    };
    let all: Vec<String> = envelope.errors.iter().take(3).map(one).collect();
    if all.is_empty() { String::new() } else { format!(": {}", all.join("; ")) }
}

fn code_name(code: &OciErrorCode) -> String {
    serde_json::to_value(code).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}
