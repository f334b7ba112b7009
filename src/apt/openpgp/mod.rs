//! OpenPGP as archives use it (RFC 9580): signatures over a file by the keys of a
//! keyring. The `pgp` crate reads and computes; what is here says which key may sign,
//! and until when.

mod keyring;

use thiserror::Error;

pub use keyring::Keyring;

/// Why nobody vouches for a file.
#[derive(Debug, Error)]
pub enum Error {
    /// Not the form that it should have.
    #[error("the signature can't be read")]
    Form {
        /// What is wrong with it.
        source: Box<pgp::errors::Error>,
    },
    /// A keyring that is none.
    #[error("the keyring can't be read")]
    Keyring {
        /// What is wrong with it.
        source: Box<pgp::errors::Error>,
    },
    /// There is no signature.
    #[error("it has no signature")]
    Unsigned,
    /// The signature of a key in the keyring is over something else.
    #[error("the signature of key {key} is not over this: it was changed, or damaged on the way")]
    Bad {
        /// The key's fingerprint.
        key: String,
    },
    /// None of the keys is in the keyring.
    #[error("it is signed by {}, and no such key is in the keyring", keys.join(" and "))]
    Unknown {
        /// The keys that it is signed by.
        keys: Vec<String>,
    },
    /// The only keys that signed can't be used any more.
    #[error("it is signed by key {key}, which {why}")]
    Unusable {
        /// The key's fingerprint.
        key: String,
        /// `expired on 2020-01-01`, `was revoked`.
        why: String,
    },
    /// A signature that was made for some time only.
    #[error("the signature of key {key} expired on {on}")]
    Expired {
        /// The key's fingerprint.
        key: String,
        /// The day.
        on: String,
    },
    /// A signature whose form or hash is not one that counts.
    #[error("the signature of key {key} does not count: {why}")]
    Weak {
        /// The key's fingerprint.
        key: String,
        /// What is the matter.
        why: &'static str,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bad { .. } => Some("something between here and the archive changed it: try another mirror".into()),
            Self::Unknown { .. } | Self::Unusable { .. } => {
                Some("take the archive's present keyring: `key = FILE` in the recipe's base names it".into())
            }
            Self::Unsigned => {
                Some("dlpack takes no archive that is not signed: sign it, or name another mirror".into())
            }
            Self::Expired { .. } => Some("the mirror is out of date: name another one".into()),
            Self::Form { .. } | Self::Keyring { .. } | Self::Weak { .. } => None,
        }
    }
}

/// A day as RFC 3339 has it.
fn day(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%d").to_string()
}
