//! Package indexes: which ones there are, where in them a wheel lies, and its bytes.
//! A lock names a wheel by file name and sha256 and its index by an alias, so that
//! it works with every mirror.

mod fetch;
mod netrc;
mod pip;
mod remote;
mod settings;
mod simple;

use reqwest::StatusCode;
use thiserror::Error;

use super::uv;
use crate::oci::Digest;
use crate::registry::{download, http};

pub use fetch::{Wheel, fetch, length};
pub use remote::Remote;
pub use settings::Indexes;

/// Why a wheel can't be had.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing on this machine says which index is meant.
    #[error("no package index is configured")]
    NoIndex,
    /// An index by something that is no `http` or `https` URL.
    #[error("`{url}` is not the URL of a package index")]
    Url {
        /// What was given.
        url: String,
    },
    /// uv can't say what its settings are.
    #[error(transparent)]
    Uv(#[from] uv::Error),
    /// No answer.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The wheel's bytes don't come, or are others.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// An answer other than the page.
    #[error("{url} answers {status}")]
    Status {
        /// Without credentials.
        url: String,
        /// What it answers.
        status: StatusCode,
    },
    /// A project page that can't be read.
    #[error("{url} is not a page of the simple repository API: {problem}")]
    Page {
        /// Without credentials.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// No index has the file.
    #[error("no index has {file}: asked {}", asked.join(", "))]
    NotFound {
        /// The wheel.
        file: String,
        /// The pages, without credentials.
        asked: Vec<String>,
    },
    /// The index has another file under the same name.
    #[error("{url} has another {file}: {found} instead of {expected}")]
    OtherHash {
        /// The page, without credentials.
        url: String,
        /// The wheel.
        file: String,
        /// What the lock says.
        expected: Digest,
        /// What the page says.
        found: Digest,
    },
    /// The server doesn't say how long a file is.
    #[error("{url} doesn't say its length")]
    NoLength {
        /// Without credentials.
        url: String,
    },
    /// A wheel on disk can't be read.
    #[error("can't read {path}")]
    Local {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoIndex => Some(
                "set `index-url` in the recipe, UV_DEFAULT_INDEX or PIP_INDEX_URL in the environment, or install uv"
                    .into(),
            ),
            Self::Url { .. } => {
                Some("write the URL of a simple repository, such as http://localhost:3141/simple".into())
            }
            Self::Uv(error) => error.hint(),
            Self::Http(error) => error.hint(),
            Self::Status { status, .. } if is_refusal(*status) => Some(CREDENTIALS.into()),
            Self::NotFound { .. } => {
                Some("name the index or mirror that has it, or lock anew with `dlpack lock` if it was withdrawn".into())
            }
            Self::OtherHash { .. } => Some("lock anew with `dlpack lock` if the change is meant".into()),
            Self::Download(download::Error::Status { status, .. }) if is_refusal(*status) => Some(CREDENTIALS.into()),
            Self::Download(download::Error::Broken { .. } | download::Error::Status { .. }) | Self::Status { .. } => {
                Some("try again, or name a mirror with UV_DEFAULT_INDEX".into())
            }
            Self::Download(error) => error.hint(),
            Self::Local { .. } => Some("paths are relative to the recipe".into()),
            Self::Page { .. } => Some("check the index's URL: it ends in `/simple` for most".into()),
            Self::NoLength { .. } => Some("take an index or mirror whose server sends Content-Length".into()),
        }
    }
}

/// What to do where an index wants to know who is asking.
const CREDENTIALS: &str = "write the credentials into ~/.netrc, or into the index's URL in uv's or pip's own settings";

fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403)
}
