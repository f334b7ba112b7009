//! A password's hash, which comes from a secret and is shown to nobody.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::oci::Digest;

/// The hashing methods of crypt(5) that are not broken, by their prefix.
const METHODS: [&str; 8] = ["y", "gy", "7", "2b", "2a", "2y", "6", "5"];
/// The shortest hash that any of them ends with.
const SHORTEST: usize = 43;

/// Why there is no hash. What the secret holds is in no variant.
#[derive(Debug, Error)]
pub enum Error {
    /// The environment variable is not set.
    #[error("the secret {name} is not set")]
    Missing {
        /// The environment variable.
        name: String,
    },
    /// The file can't be read.
    #[error("can't read the secret {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else than a hash.
    #[error("the secret {name} is not a password hash of the form $id$salt$hash (crypt(5))")]
    NotAHash {
        /// The environment variable or the file.
        name: String,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { name } => Some(format!("export {name}=\"$(openssl passwd -6)\"")),
            Self::File { .. } => Some("`file:PATH` is relative to the recipe".into()),
            Self::NotAHash { .. } => {
                Some("make one with `openssl passwd -6` or `mkpasswd`; a password in clear is never taken".into())
            }
        }
    }
}

/// A hash of crypt(5).
#[derive(Clone)]
pub(super) struct PasswordHash(String);

impl PasswordHash {
    /// Reads the hash that `secret` names: an environment variable, or `file:PATH`
    /// with a path relative to `directory`.
    pub(super) fn read(secret: &str, directory: &Path) -> Result<Self, Error> {
        let text = match secret.strip_prefix("file:") {
            Some(path) => {
                let path = directory.join(path);
                fs::read_to_string(&path).map_err(|source| Error::File { path, source })?
            }
            None => std::env::var(secret).map_err(|_| Error::Missing { name: secret.to_owned() })?,
        };
        let text = text.trim_end_matches('\n');
        if is_hash(text) { Ok(Self(text.to_owned())) } else { Err(Error::NotAHash { name: secret.to_owned() }) }
    }

    /// What stands for it in a key.
    pub(super) fn fingerprint(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The hash, for shadow(5) alone.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

// crypt(5): hashes are "entirely printable ASCII, and do not contain any whitespace or the
// characters ':', ';', '*', '!', or '\'".
fn is_hash(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !b":;*!\\".contains(&byte);
    let mut fields = text.split('$');
    fields.next() == Some("")
        && fields.next().is_some_and(|method| METHODS.contains(&method))
        && fields.next().is_some()
        && fields.next_back().is_some_and(|hash| hash.len() >= SHORTEST)
        && text.bytes().all(allowed)
}
