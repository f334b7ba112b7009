//! Keyrings: which keys may sign, and until when (RFC 9580 10.1).

use pgp::composed::{CleartextSignedMessage, Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{self, KeyFlags, Signature, SignatureType};
use pgp::types::{KeyDetails, Tag};

use super::{Error, day};

/// The hashes that a signature may be made with.
const SAFE: [HashAlgorithm; 3] = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];

/// The keys of those who are trusted.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

/// A key that may sign, as far as its own signatures say.
#[derive(Debug)]
struct Key {
    public: Public,
    /// In seconds since 1970; never, if not given.
    expires: Option<u64>,
    revoked: bool,
}

#[derive(Debug)]
enum Public {
    Primary(packet::PublicKey),
    Subkey(packet::PublicSubkey),
}

impl Keyring {
    /// The keys in `bytes`, armored or not, one after the other.
    ///
    /// # Errors
    /// [`Error::Keyring`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        // RFC 9580 4.2: bit 7 of a packet's first octet is 1, and so no ASCII.
        let certificates = match bytes.first() {
            Some(first) if first & 0x80 != 0 => SignedPublicKey::from_bytes_many(bytes),
            _ => SignedPublicKey::from_armor_many(bytes).map(|(keys, _)| keys),
        };
        let certificates: Vec<SignedPublicKey> =
            certificates.and_then(Iterator::collect).map_err(|source| Error::Keyring { source: Box::new(source) })?;
        Ok(Self { keys: certificates.iter().flat_map(signing_keys).collect() })
    }

    /// Puts the keys of another keyring beside these.
    pub fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
    }

    /// The fingerprint of the key whose detached `signatures` are over `data`, at
    /// `now` (seconds since 1970). One signature that counts is enough, and one of a
    /// known key that is wrong is too many.
    ///
    /// # Errors
    /// Everything but [`Error::Keyring`] says why none counts.
    pub fn verify(&self, signatures: &[u8], data: &[u8], now: u64) -> Result<String, Error> {
        let form = |source| Error::Form { source: Box::new(source) };
        let parsed = match signatures.first() {
            None => return Err(Error::Unsigned),
            Some(first) if first & 0x80 != 0 => DetachedSignature::from_bytes_many(signatures),
            Some(_) => DetachedSignature::from_armor_many(signatures).map(|(signatures, _)| signatures),
        };
        let parsed: Vec<DetachedSignature> = parsed.and_then(Iterator::collect).map_err(form)?;
        self.verify_each(parsed.iter().map(|detached| &detached.signature), data, now)
    }

    /// The same for a text that has its signatures in it, and the text.
    ///
    /// # Errors
    /// As [`Keyring::verify`].
    pub fn verify_cleartext(&self, message: &[u8], now: u64) -> Result<(String, String), Error> {
        // RFC 9580 7: the cleartext signature framework, which `InRelease` is written in
        if !message.starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----") {
            return Err(Error::Unsigned);
        }
        let (message, _) =
            CleartextSignedMessage::from_armor(message).map_err(|source| Error::Form { source: Box::new(source) })?;
        let text = message.signed_text();
        let key = self.verify_each(message.signatures().iter(), text.as_bytes(), now)?;
        // 7.1: the line ending before the signature is not signed, and belongs to the text
        Ok((key, text.replace("\r\n", "\n") + "\n"))
    }

    fn verify_each<'a>(
        &self,
        signatures: impl Iterator<Item = &'a Signature>,
        data: &[u8],
        now: u64,
    ) -> Result<String, Error> {
        let (mut good, mut unknown, mut unusable) = (None, Vec::new(), None);
        for signature in signatures {
            let Some(key) = self.keys.iter().find(|key| key.claims(signature)) else {
                unknown.push(issuer(signature));
                continue;
            };
            match key.made(signature, data, now) {
                Ok(()) => good = good.or_else(|| Some(key.fingerprint())),
                Err(error @ Error::Bad { .. }) => return Err(error),
                Err(error) => unusable = unusable.or(Some(error)),
            }
        }
        match (good, unusable, unknown.is_empty()) {
            (Some(key), ..) => Ok(key),
            (None, Some(error), _) => Err(error),
            (None, None, true) => Err(Error::Unsigned),
            (None, None, false) => Err(Error::Unknown { keys: unknown }),
        }
    }
}

impl Key {
    fn fingerprint(&self) -> String {
        format!("{:X}", self.details().fingerprint())
    }

    fn details(&self) -> &dyn KeyDetails {
        match &self.public {
            Public::Primary(key) => key,
            Public::Subkey(key) => key,
        }
    }

    /// Whether `signature` says that it is by this key.
    fn claims(&self, signature: &Signature) -> bool {
        let key = self.details();
        signature.issuer_fingerprint().contains(&&key.fingerprint())
            || signature.issuer_key_id().contains(&&key.legacy_key_id())
    }

    fn is_over(&self, signature: &Signature, data: &[u8]) -> bool {
        match &self.public {
            Public::Primary(key) => signature.verify(key, data).is_ok(),
            Public::Subkey(key) => signature.verify(key, data).is_ok(),
        }
    }

    /// Whether it made `signature` over `data`, and both count at `now`.
    fn made(&self, signature: &Signature, data: &[u8], now: u64) -> Result<(), Error> {
        let key = || self.fingerprint();
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err(Error::Weak { key: key(), why: "it is no signature of a file" });
        }
        if signature.hash_alg().is_none_or(|hash| !SAFE.contains(&hash)) {
            return Err(Error::Weak {
                key: key(),
                why: "it is made with a hash that is no longer safe, or not known here",
            });
        }
        if !self.is_over(signature, data) {
            return Err(Error::Bad { key: key() });
        }
        if self.revoked {
            return Err(Error::Unusable { key: key(), why: "was revoked".into() });
        }
        if let Some(expires) = self.expires.filter(|expires| *expires <= now) {
            return Err(Error::Unusable { key: key(), why: format!("expired on {}", day(expires)) });
        }
        let lifetime = signature.signature_expiration_time().map_or(0, |time| u64::from(time.as_secs()));
        let until = created(signature) + lifetime;
        match lifetime > 0 && until <= now {
            true => Err(Error::Expired { key: key(), on: day(until) }),
            false => Ok(()),
        }
    }
}

/// The keys of a certificate that may sign: the primary key, and subkeys that it is
/// bound to and that are bound to it.
fn signing_keys(certificate: &SignedPublicKey) -> Vec<Key> {
    let primary = &certificate.primary_key;
    let details = &certificate.details;
    let holds = |signature: &&Signature| signature.verify_key(primary).is_ok();
    let revoked = details.revocation_signatures.iter().any(|signature| holds(&signature));
    let direct = details.direct_signatures.iter().filter(holds);
    let certifications = details.users.iter().flat_map(|user| {
        let holds = |signature: &&Signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok();
        user.signatures.iter().filter(|signature| signature.typ() != Some(SignatureType::CertRevocation)).filter(holds)
    });
    // RFC 9580 5.2.3.10: of several self-signatures, the most recent one counts
    let Some(latest) = direct.chain(certifications).max_by_key(|signature| created(signature)) else {
        return Vec::new();
    };
    let expires = expiry(primary, latest);
    let mut keys: Vec<Key> = certificate
        .public_subkeys
        .iter()
        .filter_map(|subkey| signing_subkey(primary, subkey, expires, revoked))
        .collect();
    if latest.key_flags().sign() || latest.key_flags() == KeyFlags::default() {
        keys.push(Key { public: Public::Primary(primary.clone()), expires, revoked });
    }
    keys
}

/// A subkey as far as it may sign. It counts no longer than its primary key.
fn signing_subkey(
    primary: &packet::PublicKey,
    subkey: &SignedPublicSubKey,
    until: Option<u64>,
    primary_revoked: bool,
) -> Option<Key> {
    let of = |kind| {
        let holds = |signature: &&Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
        subkey.signatures.iter().filter(move |signature| signature.typ() == Some(kind)).filter(holds)
    };
    let revoked = primary_revoked || of(SignatureType::SubkeyRevocation).next().is_some();
    let binding = of(SignatureType::SubkeyBinding).max_by_key(|signature| created(signature))?;
    if !binding.key_flags().sign() {
        return None;
    }
    // 5.2.1.9: "a signature that a signing subkey makes over the primary key": otherwise
    // one could adopt a stranger's key
    binding.embedded_signature()?.verify_primary_key_binding(&subkey.key, primary).ok()?;
    let expires = [until, expiry(&subkey.key, binding)].into_iter().flatten().min();
    Some(Key { public: Public::Subkey(subkey.key.clone()), expires, revoked })
}

fn expiry(key: &impl KeyDetails, signature: &Signature) -> Option<u64> {
    // 5.2.3.13: "the number of seconds after the key creation time that the key expires"
    let lifetime = u64::from(signature.key_expiration_time()?.as_secs());
    (lifetime > 0).then(|| u64::from(key.created_at().as_secs()) + lifetime)
}

/// When it was made, in seconds since 1970.
fn created(signature: &Signature) -> u64 {
    signature.created().map_or(0, |time| u64::from(time.as_secs()))
}

/// Who says that they made it.
fn issuer(signature: &Signature) -> String {
    match (signature.issuer_fingerprint().first(), signature.issuer_key_id().first()) {
        (Some(fingerprint), _) => format!("{fingerprint:X}"),
        (None, Some(id)) => id.to_string().to_uppercase(),
        (None, None) => "nobody".to_owned(),
    }
}
