//! A signature: what it says of itself, and whether it is over some bytes
//! (RFC 9580 5.2).

use ring::digest;
use ring::signature::{self as arithmetic, RsaPublicKeyComponents, UnparsedPublicKey};

use super::Error;
use super::key::Material;
use super::packet::{Reader, Subpacket, subpackets};

/// The subpackets that are understood, or may be passed over though they are marked
/// critical: preferences, and what concerns certificates of others.
const KNOWN: [u8; 16] = [2, 3, 4, 7, 9, 11, 12, 16, 21, 22, 23, 25, 27, 30, 32, 33];

/// What a signature is for (5.2.1).
pub(super) mod kind {
    pub const BINARY: u8 = 0x00;
    pub const TEXT: u8 = 0x01;
    pub const CERTIFICATION: std::ops::RangeInclusive<u8> = 0x10..=0x13;
    pub const SUBKEY_BINDING: u8 = 0x18;
    pub const PRIMARY_KEY_BINDING: u8 = 0x19;
    pub const DIRECT_KEY: u8 = 0x1f;
    pub const KEY_REVOCATION: u8 = 0x20;
    pub const SUBKEY_REVOCATION: u8 = 0x28;
}

/// A signature of version 4.
pub(super) struct Signature<'a> {
    pub(super) kind: u8,
    algorithm: u8,
    hash: u8,
    /// From its version to the end of the hashed subpackets.
    hashed: &'a [u8],
    /// When it was made, in seconds since 1970.
    pub(super) created: u64,
    /// How long it counts, in seconds; always, if 0.
    pub(super) lifetime: u64,
    /// How long the key counts that it is over; always, if 0.
    pub(super) key_lifetime: u64,
    /// What the key may do, if it says so (5.2.3.29).
    pub(super) flags: Option<u8>,
    /// The key that made it: its fingerprint, or the last eight octets of it.
    pub(super) issuer: &'a [u8],
    /// The signature that a subkey made in return (5.2.3.34).
    pub(super) embedded: Option<&'a [u8]>,
    /// Why it does not count, whatever it is over.
    pub(super) flaw: Option<&'static str>,
    integers: &'a [u8],
}

impl<'a> Signature<'a> {
    /// The signature in a packet's body; nothing for one of another version.
    pub(super) fn parse(body: &'a [u8]) -> Result<Option<Self>, Error> {
        let mut reader = Reader(body);
        if reader.byte()? != 4 {
            return Ok(None);
        }
        let (kind, algorithm, hash) = (reader.byte()?, reader.byte()?, reader.byte()?);
        let length = usize::from(reader.u16()?);
        let hashed_area = reader.take(length)?;
        let length_of_unhashed = usize::from(reader.u16()?);
        let unhashed_area = reader.take(length_of_unhashed)?;
        reader.u16()?;
        let mut signature = Self {
            kind,
            algorithm,
            hash,
            hashed: &body[..6 + length],
            created: 0,
            lifetime: 0,
            key_lifetime: 0,
            flags: None,
            issuer: &[],
            embedded: None,
            flaw: None,
            integers: reader.0,
        };
        for subpacket in subpackets(unhashed_area)? {
            signature.hear_unhashed(&subpacket);
        }
        for subpacket in subpackets(hashed_area)? {
            signature.hear(&subpacket)?;
        }
        Ok(Some(signature))
    }

    fn hear(&mut self, subpacket: &Subpacket<'a>) -> Result<(), Error> {
        match subpacket.id {
            2 => self.created = subpacket.seconds()?,
            3 => self.lifetime = subpacket.seconds()?,
            9 => self.key_lifetime = subpacket.seconds()?,
            27 => self.flags = Some(subpacket.body.first().copied().unwrap_or_default()),
            // 5.2.3.7: "If a subpacket is encountered that is marked critical but is
            // unknown …, the evaluator SHOULD consider the signature to be in error."
            id if subpacket.critical && !KNOWN.contains(&id) => self.flaw = Some("it has conditions not known here"),
            _ => self.hear_unhashed(subpacket),
        }
        Ok(())
    }

    /// What proves itself, and so may stand where it isn't hashed.
    fn hear_unhashed(&mut self, subpacket: &Subpacket<'a>) {
        match (subpacket.id, subpacket.body) {
            (16, id) if id.len() == 8 && self.issuer.is_empty() => self.issuer = id,
            (33, [4, fingerprint @ ..]) if fingerprint.len() == 20 => self.issuer = fingerprint,
            (32, signature) => self.embedded = Some(signature),
            _ => {}
        }
    }

    /// Whether the key of `fingerprint` says that it made it.
    pub(super) fn is_by(&self, fingerprint: &[u8]) -> bool {
        !self.issuer.is_empty() && fingerprint.ends_with(self.issuer)
    }

    /// Whether the key made it over `content`.
    pub(super) fn verify(&self, key: &Material, content: &[&[u8]]) -> Result<(), &'static str> {
        if let Some(flaw) = self.flaw {
            return Err(flaw);
        }
        let weak = "it is made with a hash that is no longer safe, or not known here";
        let (digest, rsa) = match self.hash {
            8 => (&digest::SHA256, &arithmetic::RSA_PKCS1_2048_8192_SHA256),
            9 => (&digest::SHA384, &arithmetic::RSA_PKCS1_2048_8192_SHA384),
            10 => (&digest::SHA512, &arithmetic::RSA_PKCS1_2048_8192_SHA512),
            _ => return Err(weak),
        };
        // 5.2.4: the content, the signature up to its hashed subpackets, "0x04, 0xFF", and
        // "a four-octet big-endian number that is the length of the hashed data from the
        // Signature packet"
        let mut message = content.concat();
        message.extend_from_slice(self.hashed);
        message.extend([4, 0xff]);
        message.extend((self.hashed.len() as u32).to_be_bytes());
        let differs = |_| "it is over something else";
        let broken = |_| "it breaks off";
        let mut integers = Reader(self.integers);
        match (key, self.algorithm) {
            (Material::Rsa { n, e }, 1 | 3) => {
                // A number, and so without leading zeros; PKCS #1 wants all octets.
                let number = integers.mpi().map_err(broken)?;
                let signature = padded(number, n.len()).ok_or("it is too long for its key")?;
                RsaPublicKeyComponents { n, e }.verify(rsa, &message, &signature).map_err(differs)
            }
            (Material::Ed25519(key), 22 | 27) => {
                let signature = if self.algorithm == 27 {
                    integers.take(64).map_err(broken)?.to_vec()
                } else {
                    let (r, s) = (integers.mpi().map_err(broken)?, integers.mpi().map_err(broken)?);
                    let long = "it is too long for its key";
                    [padded(r, 32).ok_or(long)?, padded(s, 32).ok_or(long)?].concat()
                };
                let digest = digest::digest(digest, &message);
                UnparsedPublicKey::new(&arithmetic::ED25519, key).verify(digest.as_ref(), &signature).map_err(differs)
            }
            _ => Err("it is made with another algorithm than its key"),
        }
    }
}

/// `number` with zeros before it, `length` octets in all.
fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let zeros = length.checked_sub(number.len())?;
    Some([&vec![0; zeros], number].concat())
}
