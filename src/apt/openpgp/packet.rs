//! Packets and what they are made of (RFC 9580 3, 4, 5.2.3.7).

use super::Error;

/// Packet type ID "Signature" (RFC 9580 5).
pub(super) const SIGNATURE: u8 = 2;
/// "Public Key".
pub(super) const PUBLIC_KEY: u8 = 6;
/// "User ID".
pub(super) const USER_ID: u8 = 13;
/// "Public Subkey".
pub(super) const PUBLIC_SUBKEY: u8 = 14;

const SHORT: Error = Error::Form { what: "a packet that breaks off" };

/// The packets in `bytes`: type ID and body of each.
pub(super) fn all(bytes: &[u8]) -> Result<Vec<(u8, &[u8])>, Error> {
    let mut reader = Reader(bytes);
    let mut packets = Vec::new();
    while !reader.0.is_empty() {
        let head = reader.byte()?;
        if head & 0x80 == 0 {
            return Err(Error::Form { what: "something between two packets" });
        }
        // 4.2: bit 6 tells OpenPGP's format from the legacy one
        let (id, length) = if head & 0x40 != 0 {
            (head & 0x3f, reader.length(false)?)
        } else {
            let length = match head & 3 {
                0 => u32::from(reader.byte()?),
                1 => u32::from(reader.u16()?),
                2 => reader.u32()?,
                _ => return Err(Error::Form { what: "a packet of indeterminate length" }),
            };
            (head >> 2 & 0xf, length)
        };
        packets.push((id, reader.take(length as usize)?));
    }
    Ok(packets)
}

/// Reads fields one after the other; each comes whole, or is an error.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        Ok(self.take(2)?.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        Ok(self.take(4)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// 4.2.1 and, for subpackets, 5.2.3.7: one octet, two or five.
    fn length(&mut self, subpacket: bool) -> Result<u32, Error> {
        match self.byte()? {
            first @ 0..192 => Ok(u32::from(first)),
            255 => self.u32(),
            224.. if !subpacket => Err(Error::Form { what: "a packet in parts" }),
            first => Ok((u32::from(first) - 192 << 8) + u32::from(self.byte()?) + 192),
        }
    }

    /// A multiprecision integer without its leading zeros (3.2): its length in bits,
    /// and its octets.
    pub(super) fn mpi(&mut self) -> Result<&'a [u8], Error> {
        let bits = usize::from(self.u16()?);
        let octets = self.take(bits.div_ceil(8))?;
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        Ok(&octets[zeros..])
    }
}

/// A subpacket of a signature.
pub(super) struct Subpacket<'a> {
    pub(super) id: u8,
    pub(super) critical: bool,
    pub(super) body: &'a [u8],
}

impl Subpacket<'_> {
    /// A time or a number of seconds.
    pub(super) fn seconds(&self) -> Result<u64, Error> {
        Reader(self.body).u32().map(u64::from)
    }
}

/// The subpackets of an area of a signature (5.2.3.7).
pub(super) fn subpackets(area: &[u8]) -> Result<Vec<Subpacket<'_>>, Error> {
    let mut reader = Reader(area);
    let mut subpackets = Vec::new();
    while !reader.0.is_empty() {
        let length = reader.length(true)? as usize;
        let (head, body) = reader.take(length)?.split_first().ok_or(SHORT)?;
        // "Bit 7 of the Subpacket Type ID is the critical bit."
        subpackets.push(Subpacket { id: head & 0x7f, critical: head & 0x80 != 0, body });
    }
    Ok(subpackets)
}
