//! Keyrings: which keys may sign, and until when (RFC 9580 10.1, 5.5.2).

use ring::digest;

use super::packet::{PUBLIC_KEY, PUBLIC_SUBKEY, Reader, SIGNATURE, USER_ID};
use super::signature::{Signature, kind};
use super::{Cleartext, Error, armor, day, packet};

/// The object identifier of Ed25519 in keys of algorithm 22 (RFC 9580 9.2).
const ED25519_OID: [u8; 9] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

/// The key flag "may be used to sign data" (5.2.3.29).
const MAY_SIGN: u8 = 0x02;

/// The keys of those who are trusted.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

/// What a public key is made of.
#[derive(Debug)]
pub(super) enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ed25519(Vec<u8>),
}

/// A key that may sign, as far as its own signatures say.
#[derive(Debug)]
struct Key {
    fingerprint: Vec<u8>,
    material: Material,
    /// In seconds since 1970; never, if not given.
    expires: Option<u64>,
    revoked: bool,
}

/// A key's packet.
struct Packet<'a> {
    body: &'a [u8],
    fingerprint: Vec<u8>,
    material: Material,
    created: u64,
}

impl Keyring {
    /// The keys in `bytes`, armored or not, one after the other. Those that can't
    /// sign, or that are of a kind that isn't known here, are passed over.
    ///
    /// # Errors
    /// [`Error::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let bytes = armor::packets(bytes)?;
        let packets = packet::all(&bytes)?;
        let mut keys = Vec::new();
        // 10.1: a certificate begins with its primary key
        for certificate in packets.chunk_by(|_, (id, _)| *id != PUBLIC_KEY) {
            keys.extend(certificate_keys(certificate)?);
        }
        Ok(Self { keys })
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
    /// Everything but [`Error::Form`] says why none counts.
    pub fn verify(&self, signatures: &[u8], data: &[u8], now: u64) -> Result<String, Error> {
        self.verify_as(kind::BINARY, signatures, data, now)
    }

    /// The same for a text that has its signatures in it.
    ///
    /// # Errors
    /// As [`Keyring::verify`].
    pub fn verify_cleartext(&self, message: &Cleartext<'_>, now: u64) -> Result<String, Error> {
        self.verify_as(kind::TEXT, message.signature.as_bytes(), &message.signed(), now)
    }

    fn verify_as(&self, wanted: u8, signatures: &[u8], data: &[u8], now: u64) -> Result<String, Error> {
        if signatures.is_empty() {
            return Err(Error::Unsigned);
        }
        let signatures = armor::packets(signatures)?;
        let (mut good, mut unknown, mut unusable) = (None, Vec::new(), None);
        for (id, body) in packet::all(&signatures)? {
            let Some(signature) = Signature::parse(body)?.filter(|_| id == SIGNATURE) else { continue };
            let Some(key) = self.keys.iter().find(|key| signature.is_by(&key.fingerprint)) else {
                unknown.push(hex(signature.issuer));
                continue;
            };
            match key.made(&signature, wanted, data, now) {
                Ok(()) => good = good.or_else(|| Some(hex(&key.fingerprint))),
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
    /// Whether it made `signature` over `data`, and both count at `now`.
    fn made(&self, signature: &Signature<'_>, wanted: u8, data: &[u8], now: u64) -> Result<(), Error> {
        let key = || hex(&self.fingerprint);
        if signature.kind != wanted {
            return Err(Error::Weak { key: key(), why: "it is no signature of a file" });
        }
        if let Some(why) = signature.flaw {
            return Err(Error::Weak { key: key(), why });
        }
        if signature.verify(&self.material, &[data]).is_err() {
            return Err(Error::Bad { key: key() });
        }
        if self.revoked {
            return Err(Error::Unusable { key: key(), why: "was revoked".into() });
        }
        if let Some(expires) = self.expires.filter(|expires| *expires <= now) {
            return Err(Error::Unusable { key: key(), why: format!("expired on {}", day(expires)) });
        }
        let until = signature.created + signature.lifetime;
        match signature.lifetime > 0 && until <= now {
            true => Err(Error::Expired { key: key(), on: day(until) }),
            false => Ok(()),
        }
    }
}

/// The keys of a certificate that may sign: the primary key, and subkeys that it is
/// bound to and that are bound to it.
fn certificate_keys(packets: &[(u8, &[u8])]) -> Result<Vec<Key>, Error> {
    let Some((PUBLIC_KEY, body)) = packets.first() else { return Ok(Vec::new()) };
    let Some(primary) = Packet::parse(body)? else { return Ok(Vec::new()) };
    let of_primary = packets.iter().skip(1).take_while(|(id, _)| *id != PUBLIC_SUBKEY);
    let mut own = Vec::new();
    let mut user = Vec::new();
    for (id, body) in of_primary {
        match *id {
            USER_ID => user = [&[0xb4][..], &(body.len() as u32).to_be_bytes(), body].concat(),
            SIGNATURE => own.push((Signature::parse(body)?, user.clone())),
            _ => {}
        }
    }
    let own = own.into_iter().filter_map(|(signature, user)| {
        let signature = signature?;
        // 5.2.4: a certification is over the key and the user id, others over the key
        let over = if kind::CERTIFICATION.contains(&signature.kind) { user } else { Vec::new() };
        let holds = signature.verify(&primary.material, &[&framed(primary.body), &over]).is_ok();
        holds.then_some(signature)
    });
    let own: Vec<Signature<'_>> = own.collect();
    let revoked = own.iter().any(|signature| signature.kind == kind::KEY_REVOCATION);
    let says = |signature: &&Signature<'_>| {
        kind::CERTIFICATION.contains(&signature.kind) || signature.kind == kind::DIRECT_KEY && signature.flags.is_some()
    };
    // 5.2.3.10: of several, the most recent one counts
    let Some(latest) = own.iter().filter(says).max_by_key(|signature| signature.created) else {
        return Ok(Vec::new());
    };
    let expires = expiry(&primary, latest);
    let mut keys = Vec::new();
    for subkey in packets.chunk_by(|_, (id, _)| *id != PUBLIC_SUBKEY).skip(1) {
        keys.extend(signing_subkey(&primary, subkey, expires, revoked)?);
    }
    if latest.flags.is_none_or(|flags| flags & MAY_SIGN != 0) {
        let Packet { fingerprint, material, .. } = primary;
        keys.push(Key { fingerprint, material, expires, revoked });
    }
    Ok(keys)
}

/// A subkey as far as it may sign. It counts no longer than its primary key.
fn signing_subkey(
    primary: &Packet<'_>,
    packets: &[(u8, &[u8])],
    until: Option<u64>,
    primary_revoked: bool,
) -> Result<Option<Key>, Error> {
    let Some((_, body)) = packets.first() else { return Ok(None) };
    let Some(subkey) = Packet::parse(body)? else { return Ok(None) };
    let over = [&framed(primary.body)[..], &framed(subkey.body)].concat();
    let (mut binding, mut revoked): (Option<Signature<'_>>, _) = (None, primary_revoked);
    for (_, body) in packets.iter().filter(|(id, _)| *id == SIGNATURE) {
        let Some(signature) = Signature::parse(body)? else { continue };
        if signature.verify(&primary.material, &[&over]).is_err() {
            continue;
        }
        match signature.kind {
            kind::SUBKEY_REVOCATION => revoked = true,
            kind::SUBKEY_BINDING if binding.as_ref().is_none_or(|other| other.created < signature.created) => {
                binding = Some(signature);
            }
            _ => {}
        }
    }
    let Some(binding) = binding.filter(|binding| binding.flags.is_some_and(|flags| flags & MAY_SIGN != 0)) else {
        return Ok(None);
    };
    // 5.2.1.9: "a signature that a signing subkey makes over the primary key": otherwise
    // one could adopt a stranger's key
    let Some(back) = binding.embedded.map(Signature::parse).transpose()?.flatten() else { return Ok(None) };
    if back.kind != kind::PRIMARY_KEY_BINDING || back.verify(&subkey.material, &[&over]).is_err() {
        return Ok(None);
    }
    let expires = [until, expiry(&subkey, &binding)].into_iter().flatten().min();
    let Packet { fingerprint, material, .. } = subkey;
    Ok(Some(Key { fingerprint, material, expires, revoked }))
}

fn expiry(key: &Packet<'_>, signature: &Signature<'_>) -> Option<u64> {
    // 5.2.3.13: "the number of seconds after the key creation time that the key expires"
    (signature.key_lifetime > 0).then(|| key.created + signature.key_lifetime)
}

impl<'a> Packet<'a> {
    /// A public key of version 4 (5.5.2.2) whose algorithm is known here.
    fn parse(body: &'a [u8]) -> Result<Option<Self>, Error> {
        let mut reader = Reader(body);
        if reader.byte()? != 4 {
            return Ok(None);
        }
        let created = u64::from(reader.u32()?);
        let material = match reader.byte()? {
            // 5.5.5.1: n, e
            1 | 3 => Material::Rsa { n: reader.mpi()?.to_vec(), e: reader.mpi()?.to_vec() },
            // 5.5.5.5: the curve, and 0x40 before the point
            22 => {
                let length = usize::from(reader.byte()?);
                match (reader.take(length)? == ED25519_OID, reader.mpi()?) {
                    (true, [0x40, point @ ..]) => Material::Ed25519(point.to_vec()),
                    _ => return Ok(None),
                }
            }
            27 => Material::Ed25519(reader.take(32)?.to_vec()),
            _ => return Ok(None),
        };
        // 5.5.4.2: "the 160-bit SHA-1 hash of the octet 0x99, followed by the two-octet
        // packet length, followed by the entire Public Key packet"
        let fingerprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &framed(body)).as_ref().to_vec();
        Ok(Some(Self { body, fingerprint, material, created }))
    }
}

/// A key as it is hashed.
fn framed(body: &[u8]) -> Vec<u8> {
    [&[0x99][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
