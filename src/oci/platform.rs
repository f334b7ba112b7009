//! The platform that an image runs on, as image-spec `image-index.md` has it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A string that is not `os/architecture` or `os/architecture/variant`.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("`{given}` is not a platform: write os/architecture or os/architecture/variant, such as linux/amd64")]
pub struct InvalidPlatform {
    /// What was given.
    pub given: String,
}

/// Operating system, architecture and variant, in Go's names.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64` and so on.
    pub architecture: String,
    /// `v8` and so on, where the architecture has variants.
    pub variant: Option<String>,
}

impl Platform {
    /// `linux` on this machine's architecture.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: None }
    }

    /// Whether an image that says it is for `other` runs where `self` is asked
    /// for. An absent variant accepts any; arm64's only variant is v8.
    pub fn accepts(&self, other: &Platform) -> bool {
        let variant = |platform: &Platform| match (platform.architecture.as_str(), &platform.variant) {
            ("arm64", None) => Some("v8".to_owned()),
            (_, variant) => variant.clone(),
        };
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || variant(self) == variant(other))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let plain =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        let parts: Vec<&str> = text.split('/').filter(plain).collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(InvalidPlatform { given: text.to_owned() }),
        };
        if parts.len() != text.split('/').count() {
            return Err(InvalidPlatform { given: text.to_owned() });
        }
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

impl TryFrom<String> for Platform {
    type Error = InvalidPlatform;

    fn try_from(text: String) -> Result<Self, InvalidPlatform> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}
