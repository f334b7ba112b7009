//! Small files of the store that nobody's digest stands for: each carries its own, so that one
//! whose bits have changed counts as none.
//!
//! ```json
//! {"sha256": "…", "value": {…}}
//! ```
//!
//! The digest is over the file's name, a line's end, and the value as this version writes it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::oci::{Digest, Hasher};

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    sha256: Digest,
    value: T,
}

/// `value` as the content of the file for `name`.
///
/// # Errors
/// If it can't be JSON.
pub(super) fn seal<T: Serialize>(name: &Digest, value: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Sealed { sha256: digest(name, value)?, value })
}

/// The value in the file for `name`, if it is what was written there.
pub(super) fn open<T: Serialize + DeserializeOwned>(name: &Digest, bytes: &[u8]) -> Option<T> {
    let Sealed { sha256, value } = serde_json::from_slice(bytes).ok()?;
    (digest(name, &value).ok()? == sha256).then_some(value)
}

fn digest<T: Serialize>(name: &Digest, value: &T) -> Result<Digest, serde_json::Error> {
    let mut hasher = Hasher::new();
    hasher.update(format!("{name}\n").as_bytes());
    hasher.update(&serde_json::to_vec(value)?);
    Ok(hasher.finish().0)
}
