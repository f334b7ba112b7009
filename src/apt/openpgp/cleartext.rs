//! The cleartext signature framework (RFC 9580 7), which `InRelease` is written in.

use super::Error;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// A text with its signature, taken apart and not verified yet.
#[derive(Debug)]
pub struct Cleartext<'a> {
    text: Vec<&'a str>,
    /// The armored signatures.
    pub(super) signature: &'a str,
}

impl<'a> Cleartext<'a> {
    /// Takes `bytes` apart.
    ///
    /// # Errors
    /// [`Error::Unsigned`] if it is just a text; [`Error::Form`] if there is anything
    /// before or after the signed message: nobody vouches for that.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Form { what: "a text that is not UTF-8" })?;
        let form = |what| Error::Form { what };
        let body = text.strip_prefix(BEGIN).ok_or(Error::Unsigned)?;
        let at = body.find(&format!("\n{SIGNATURE}")).ok_or(form("a signed message without its signature"))?;
        let (message, signature) = (&body[..at], &body[at + 1..]);
        let end = signature.find(END).ok_or(form("a signature that breaks off"))? + END.len();
        if !signature[end..].trim().is_empty() {
            return Err(form("something stands after the signature"));
        }
        // "one or more Hash Armor Headers …, exactly one empty line": what else stands
        // there is not signed.
        let mut lines = message.split('\n').map(trimmed);
        if lines.next() != Some("") {
            return Err(form("something stands behind its first line"));
        }
        for header in lines.by_ref() {
            if header.is_empty() {
                let text = lines.map(unescaped).collect::<Result<_, _>>()?;
                return Ok(Self { text, signature: &signature[..end] });
            }
            if !header.starts_with("Hash: ") {
                return Err(form("a header other than `Hash`"));
            }
        }
        Err(form("a signed message without a text"))
    }

    /// The text, with a line feed at each line's end.
    pub fn text(&self) -> String {
        self.text.iter().flat_map(|line| [line, "\n"]).collect()
    }

    /// What the signature is over: "the line endings … <CR><LF>", and the one before
    /// the signature "is not included".
    pub(super) fn signed(&self) -> Vec<u8> {
        self.text.join("\r\n").into_bytes()
    }
}

/// "any trailing whitespace — spaces (0x20) and tabs (0x09) — at the end of any line
/// is removed when the cleartext signature is generated"
fn trimmed(line: &str) -> &str {
    line.trim_end_matches([' ', '\t', '\r'])
}

/// "Dash-escaped cleartext": a line that begins with a dash has `- ` before it.
fn unescaped(line: &str) -> Result<&str, Error> {
    match line.strip_prefix("- ") {
        Some(line) => Ok(line),
        None if line.starts_with('-') => Err(Error::Form { what: "a line with a dash that is not escaped" }),
        None => Ok(line),
    }
}
