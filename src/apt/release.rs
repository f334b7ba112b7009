//! `Release`: what an archive's suite consists of, signed (the wiki's repository
//! format; apt-secure(8)).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use thiserror::Error;
use url::Url;

use super::openpgp::{self, Keyring};
use super::{auth, deb822};
use crate::oci::Digest;
use crate::registry::download::{self, send};
use crate::registry::http::{Http, redacted};

/// The longest `Release` that is read, in bytes; real ones have some hundred thousand.
const MAX: usize = 16 << 20;

/// How much a clock may be slow.
const SKEW: Duration = Duration::from_hours(1);

/// Why an archive can't be relied on.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no answer.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// There is no archive, or no such suite in it.
    #[error("{url} is no archive with a suite `{suite}`: it has neither InRelease nor Release")]
    NoRelease {
        /// The archive.
        url: String,
        /// The suite.
        suite: String,
    },
    /// A `Release` that is longer than any real one.
    #[error("{url} has more than {MAX} bytes")]
    TooLong {
        /// The file.
        url: String,
    },
    /// Nobody who is trusted vouches for it.
    #[error("{url} can't be trusted")]
    Signature {
        /// The file.
        url: String,
        /// Why.
        #[source]
        source: openpgp::Error,
    },
    /// It is past its time.
    #[error("{url} was valid until {until}")]
    Expired {
        /// The file.
        url: String,
        /// The field `Valid-Until`.
        until: String,
    },
    /// It is of the future.
    #[error("{url} is from {date}, which is yet to come")]
    NotYetValid {
        /// The file.
        url: String,
        /// The field `Date`.
        date: String,
    },
    /// A suite under another's name.
    #[error("{url} is of `{found}`, not of `{suite}`")]
    OtherSuite {
        /// The file.
        url: String,
        /// What was asked for.
        suite: String,
        /// What it says of itself.
        found: String,
    },
    /// A field that is missing, or can't be read.
    #[error("{url} has no `{field}` that can be read")]
    Field {
        /// The file.
        url: String,
        /// The field.
        field: &'static str,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Download(error) => error.hint(),
            Self::NoRelease { .. } => Some("check `suite` and `mirror` of the recipe's base".into()),
            Self::Signature { source, .. } => source.hint(),
            Self::Expired { .. } => Some("the mirror is out of date: name another one".into()),
            Self::NotYetValid { .. } => Some("set this machine's clock".into()),
            Self::TooLong { .. } | Self::OtherSuite { .. } | Self::Field { .. } => None,
        }
    }
}

/// An archive's suite, as its signed `Release` has it.
#[derive(Clone, Debug)]
pub struct Release {
    /// `Origin`: `Debian`.
    pub origin: String,
    /// `Codename`: `bookworm`.
    pub codename: String,
    /// `Date`, as it stands there.
    pub date: String,
    /// The sha256 of the signed text.
    pub sha256: Digest,
    /// The fingerprint of the key that signed it.
    pub key: String,
    /// Whether indexes lie under their hashes, too.
    pub by_hash: bool,
    indexes: BTreeMap<String, Listed>,
}

/// A file that a `Release` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its sha256.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Release {
    /// The `Release` of `suite` of the archive at `url`, signed by a key of `keyring`
    /// and valid `now`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn fetch(http: &Http, url: &Url, suite: &str, keyring: &Keyring, now: SystemTime) -> Result<Self, Error> {
        let at = |file: &str| directory(url, suite, file);
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (from, verified) = match read(http, &at("InRelease")).await? {
            Some(bytes) => (at("InRelease"), keyring.verify_cleartext(&bytes, seconds)),
            None => {
                let missing = || Error::NoRelease { url: redacted(url), suite: suite.to_owned() };
                let bytes = read(http, &at("Release")).await?.ok_or_else(missing)?;
                let signature = read(http, &at("Release.gpg")).await?.unwrap_or_default();
                let verified = keyring.verify(&signature, &bytes, seconds);
                (at("Release"), verified.map(|key| (key, String::from_utf8_lossy(&bytes).into_owned())))
            }
        };
        let from = redacted(&from);
        let (key, text) = verified.map_err(|source| Error::Signature { url: from.clone(), source })?;
        Self::parse(&text, key, suite, &from, now)
    }

    /// What `text` says, which `key` signed and which came from `url`, if it is that of
    /// `suite` and valid `now`.
    ///
    /// # Errors
    /// [`Error::Field`], [`Error::NotYetValid`], [`Error::Expired`], [`Error::OtherSuite`].
    pub fn parse(text: &str, key: String, suite: &str, url: &str, now: SystemTime) -> Result<Self, Error> {
        let stanza = deb822::stanzas(text).next().unwrap_or_default();
        let missing = |field| Error::Field { url: url.to_owned(), field };
        let date = stanza.get("Date").ok_or_else(|| missing("Date"))?;
        if time(date).ok_or_else(|| missing("Date"))? > now + SKEW {
            return Err(Error::NotYetValid { url: url.to_owned(), date: date.to_owned() });
        }
        // apt-secure(8), apt.conf(5) Acquire::Check-Valid-Until: an old index with known
        // holes must not pass for a new one
        if let Some(until) = stanza.get("Valid-Until")
            && time(until).ok_or_else(|| missing("Valid-Until"))? < now
        {
            return Err(Error::Expired { url: url.to_owned(), until: until.to_owned() });
        }
        let names = [stanza.get("Codename"), stanza.get("Suite")].map(Option::unwrap_or_default);
        if !names.contains(&suite) {
            let found = names.into_iter().find(|name| !name.is_empty()).unwrap_or("nothing").to_owned();
            return Err(Error::OtherSuite { url: url.to_owned(), suite: suite.to_owned(), found });
        }
        let indexes: BTreeMap<String, Listed> = stanza.lines("SHA256").filter_map(listed).collect();
        if indexes.is_empty() {
            return Err(missing("SHA256"));
        }
        Ok(Self {
            origin: stanza.get("Origin").unwrap_or_default().to_owned(),
            codename: names[0].to_owned(),
            date: date.to_owned(),
            sha256: Digest::of(text.as_bytes()),
            key,
            by_hash: stanza.get("Acquire-By-Hash") == Some("yes"),
            indexes,
        })
    }

    /// The file at `path`, relative to the suite, `main/binary-amd64/Packages.xz`.
    pub fn index(&self, path: &str) -> Option<Listed> {
        self.indexes.get(path).copied()
    }
}

/// `HASH SIZE PATH`.
fn listed(line: &str) -> Option<(String, Listed)> {
    let mut words = line.split_whitespace();
    let (sha256, size, path) = (words.next()?, words.next()?, words.next()?);
    Some((path.to_owned(), Listed { sha256: Digest::from_hex(sha256).ok()?, size: size.parse().ok()? }))
}

/// `Sat, 11 Jul 2026 10:16:37 UTC`.
fn time(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(&text.replace("UTC", "GMT").replace("+0000", "GMT")).ok()
}

/// Where `file` of a suite lies.
pub fn directory(url: &Url, suite: &str, file: &str) -> Url {
    let mut url = url.clone();
    url.set_path(&format!("{}/dists/{suite}/{file}", url.path().trim_end_matches('/')));
    url
}

/// The whole of a small file; nothing if there is none.
async fn read(http: &Http, url: &Url) -> Result<Option<Vec<u8>>, Error> {
    let mut response = send(http, auth::get(url)).await.map_err(download::Error::from)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
        status => return Err(download::Error::Status { url: redacted(url), status }.into()),
    }
    let mut bytes = Vec::new();
    let broken = |source: reqwest::Error, received| download::Error::Broken {
        url: redacted(url),
        received,
        size: received,
        source: source.without_url(),
    };
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(error, bytes.len() as u64))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX {
            return Err(Error::TooLong { url: redacted(url) });
        }
    }
    Ok(Some(bytes))
}
