//! ASCII armor (RFC 9580 6.2): packets in lines of base64.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Error;

const BEGIN: &str = "-----BEGIN PGP ";
const END: &str = "-----END PGP ";

/// The packets in `bytes`: as they are, or out of their armor. Of several armored
/// blocks one after the other, all.
pub(super) fn packets(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    // RFC 9580 4.2: bit 7 of a packet's first octet is 1, and so no ASCII.
    match bytes.first() {
        Some(first) if *first & 0x80 != 0 => Ok(Cow::Borrowed(bytes)),
        _ => std::str::from_utf8(bytes)
            .map_err(|_| Error::Form { what: "neither packets nor armor" })
            .and_then(dearmored)
            .map(Cow::Owned),
    }
}

fn dearmored(text: &str) -> Result<Vec<u8>, Error> {
    let mut packets = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(begin) = lines.find(|line| !line.is_empty()) {
        // Key files have a comment before their blocks now and then.
        if !begin.starts_with(BEGIN) {
            continue;
        }
        // "Armor Headers … a blank line", then the data
        lines.by_ref().find(|line| line.is_empty());
        let mut base64 = String::new();
        let mut ended = false;
        for line in lines.by_ref() {
            if line.starts_with(END) {
                ended = true;
                break;
            }
            // The checksum: 6.1 "the CRC24 … MUST NOT" be relied on, so it isn't read.
            if !line.starts_with('=') {
                base64.push_str(line);
            }
        }
        let decoded = BASE64_STANDARD.decode(&base64).ok().filter(|_| ended);
        packets.extend(decoded.ok_or(Error::Form { what: "an armor that breaks off or is not base64" })?);
    }
    match packets.is_empty() {
        true => Err(Error::Form { what: "neither packets nor armor" }),
        false => Ok(packets),
    }
}
