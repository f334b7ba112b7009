//! Who vouches for a record: ed25519 (RFC 8032) keys that a recipe pins, and the secret
//! one that records are signed with.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::Error;

/// What stands before a record in what is signed, so that the signature is good for
/// nothing else.
const CONTEXT: &[u8] = b"dlpack layer record v1\n";

/// RFC 8410 section 7: the PKCS#8 of an ed25519 key is this, then the 32 bytes of the key.
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A text that is no public key.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("`{given}` is not an ed25519 key of the form ed25519:<base64 of its 32 bytes>")]
pub struct InvalidKey {
    /// What was given, cut to 100 characters.
    pub given: String,
}

/// A public key whose records are trusted: `ed25519:BASE64` of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Whether `signature`, in base64, is this key's under `record`.
    pub(super) fn vouches_for(&self, record: &str, signature: &str) -> bool {
        let signature = STANDARD.decode(signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
        // strict: no small-order keys, no signature that another text would have, too
        signature.is_some_and(|signature| self.0.verify_strict(&signed(record), &signature).is_ok())
    }
}

impl FromStr for VerifyingKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = text.strip_prefix("ed25519:").and_then(|base64| STANDARD.decode(base64).ok());
        let key = bytes.and_then(|bytes| ed25519_dalek::VerifyingKey::try_from(bytes.as_slice()).ok());
        key.map(Self).ok_or_else(|| InvalidKey { given: text.chars().take(100).collect() })
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", STANDARD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for VerifyingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifyingKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Signs records. Its key is shown to nobody.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    /// Where it came from.
    pub(super) path: PathBuf,
}

impl Signer {
    /// The key in a PEM file as `openssl genpkey -algorithm ed25519` writes it (RFC 8410).
    ///
    /// # Errors
    /// [`Error::KeyFile`], [`Error::Key`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::KeyFile { path: path.to_owned(), source })?;
        let key = secret(&text).ok_or_else(|| Error::Key { path: path.to_owned() })?;
        Ok(Self { key: SigningKey::from_bytes(&key), path: path.to_owned() })
    }

    /// What verifies its signatures.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.key.verifying_key())
    }

    /// The signature of `record`, in base64.
    pub(super) fn sign(&self, record: &str) -> String {
        STANDARD.encode(self.key.sign(&signed(record)).to_bytes())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.verifying_key()).finish()
    }
}

fn signed(record: &str) -> Vec<u8> {
    [CONTEXT, record.as_bytes()].concat()
}

// RFC 7468 section 2: lines of base64 between `-----BEGIN label-----` and `-----END label-----`
fn secret(pem: &str) -> Option<[u8; 32]> {
    let body = pem.split_once("-----BEGIN PRIVATE KEY-----")?.1.split_once("-----END PRIVATE KEY-----")?.0;
    let base64: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(base64).ok()?;
    der.strip_prefix(&PKCS8)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8410 section 10: an example key and its public half
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "ed25519:Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

    fn signer(key: [u8; 32]) -> Signer {
        Signer { key: SigningKey::from_bytes(&key), path: PathBuf::new() }
    }

    #[test]
    fn the_key_of_the_rfc_is_read_and_has_the_public_half_that_the_rfc_says() {
        let ours = signer(secret(PEM).unwrap());
        assert_eq!(ours.verifying_key().to_string(), PUBLIC);
        assert_eq!(PUBLIC.parse::<VerifyingKey>().unwrap(), ours.verifying_key());
        assert_eq!(format!("{ours:?}"), format!("Signer({PUBLIC})"));
    }

    #[test]
    fn a_signature_is_good_for_its_record_and_its_key_alone() {
        let ours = signer(secret(PEM).unwrap());
        let other = signer([7; 32]);
        let signature = ours.sign("a record");
        assert!(ours.verifying_key().vouches_for("a record", &signature));
        assert!(!ours.verifying_key().vouches_for("a record ", &signature));
        assert!(!other.verifying_key().vouches_for("a record", &signature));
        let bare = STANDARD.encode(ours.key.sign(b"a record").to_bytes());
        assert!(!ours.verifying_key().vouches_for("a record", &bare), "signed for something else");
        for garbage in ["", "AAAA", "no base64!", &signature[1..]] {
            assert!(!ours.verifying_key().vouches_for("a record", garbage), "{garbage}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for wrong in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", &PUBLIC[8..], &format!("{PUBLIC}A")] {
            assert!(wrong.parse::<VerifyingKey>().is_err(), "{wrong}");
        }
        for wrong in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", &PEM.replace("MC4C", "MC4D")]
        {
            assert!(secret(wrong).is_none(), "{wrong}");
        }
    }
}
