//! Why apt does not say what to install.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::apt::mirrors;
use crate::sandbox::{self, Tail};

/// Why apt does not say what to install.
#[derive(Debug, Error)]
pub enum Error {
    /// The base is not Debian's or Ubuntu's.
    #[error("layer `{layer}`: the base has no apt")]
    NoApt {
        /// The layer.
        layer: String,
    },
    /// apt failed.
    #[error("layer `{layer}`: the base's apt could not {doing}")]
    Apt {
        /// The layer.
        layer: String,
        /// `read the archives` or `choose the packages`.
        doing: &'static str,
        /// What it said.
        #[source]
        said: Tail,
    },
    /// An archive that only apt itself can read.
    #[error("layer `{layer}`: {uri} is not fetched over http or https")]
    Scheme {
        /// The layer.
        layer: String,
        /// Where apt would take the package from.
        uri: String,
    },
    /// A package of which the archive does not say enough.
    #[error("layer `{layer}`: the archive has no {what} of {uri}")]
    Record {
        /// The layer.
        layer: String,
        /// The package's address.
        uri: String,
        /// `record`, or the field that is missing.
        what: &'static str,
    },
    /// Answers that don't go together.
    #[error("layer `{layer}`: apt would install {installed} packages, and names the addresses of {found}")]
    Answer {
        /// The layer.
        layer: String,
        /// How many it would install.
        installed: usize,
        /// How many addresses it names.
        found: usize,
    },
    /// The setting of mirrors can't be understood.
    #[error(transparent)]
    Mirrors(#[from] mirrors::Error),
    /// There is no sandbox for it.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// What the sandbox is given can't be written, or its answer be read.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// `create`, `write` …
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoApt { .. } => Some("take Debian, Ubuntu or an image on them as `base`".into()),
            Self::Apt { said, .. } => hint_of(&said.lines),
            Self::Scheme { .. } => {
                Some("name an archive with http or https in the base's sources, or in the layer's `sources`".into())
            }
            Self::Record { .. } => Some("an archive that names no SHA256 of its packages can't be locked".into()),
            Self::Mirrors(error) => error.hint(),
            Self::Sandbox(error) => error.hint(),
            Self::Answer { .. } | Self::Io { .. } => None,
        }
    }
}

/// What apt's own words mean for a recipe.
fn hint_of(said: &[String]) -> Option<String> {
    let says = |words: &[&str]| said.iter().any(|line| words.iter().any(|words| line.contains(words)));
    if says(&["NO_PUBKEY", "is not signed", "BADSIG", "EXPKEYSIG", "not verified", "No good signature"]) {
        return Some("the archive is not signed by a key that is trusted: name its own as the source's `key`".into());
    }
    if says(&["is not valid yet", "Release file for", "is expired"]) {
        return Some(
            "the archive's Release is of another time: is this machine's clock right, and the mirror kept up?".into(),
        );
    }
    if says(&["Unable to locate package", "has no installation candidate", "was not found"]) {
        return Some("check the name and the version, and whether the base's archives, or `sources`, have it".into());
    }
    if says(&[
        "Temporary failure resolving",
        "Could not resolve",
        "Could not connect",
        "Connection failed",
        "Unable to connect",
        "404",
    ]) {
        return Some(format!("if the archive is reached under another address here, set {}", mirrors::VARIABLE));
    }
    None
}
