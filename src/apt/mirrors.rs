//! Which mirror an archive is read from on this machine. A lock names archives as the base
//! or the recipe does, so that it is the same wherever it was made.

use thiserror::Error;
use url::Url;

/// The environment variable that says it: `URI=OTHER`, several divided by spaces.
pub const VARIABLE: &str = "DLPACK_APT_MIRRORS";

/// Archives that are read from elsewhere on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(Vec<(String, String)>);

/// Why it is not known where an archive is read from.
#[derive(Debug, Error)]
pub enum Error {
    /// The setting names no mirrors.
    #[error("{VARIABLE} has `{entry}`, which is not URI=OTHER with two http or https addresses")]
    Setting {
        /// What can't be understood.
        entry: String,
    },
    /// An archive whose address is none.
    #[error("the archive `{archive}` can't be reached")]
    Address {
        /// The archive, as the lock has it.
        archive: String,
        /// What is wrong with it.
        #[source]
        source: url::ParseError,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Setting { .. } => Some(format!(
                "write {VARIABLE}=\"http://ARCHIVE/debian=http://MIRROR/debian\", several divided by spaces"
            )),
            Self::Address { .. } => Some("lock anew with `dlpack lock`".into()),
        }
    }
}

impl Mirrors {
    /// What [`VARIABLE`] says; none if it is not set.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn of_this_machine() -> Result<Self, Error> {
        Self::parse(&std::env::var(VARIABLE).unwrap_or_default())
    }

    /// Reads a value of [`VARIABLE`].
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let entry = |entry: &str| {
            let pair = entry.split_once('=').map(|(from, to)| (from.trim_end_matches('/'), to.trim_end_matches('/')));
            match pair {
                Some((from, to)) if is_address(from) && is_address(to) => Ok((from.to_owned(), to.to_owned())),
                _ => Err(Error::Setting { entry: entry.to_owned() }),
            }
        };
        let mut entries = text.split_whitespace().map(entry).collect::<Result<Vec<_>, _>>()?;
        // the archive whose address goes on the longest is the one that is meant
        entries.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Ok(Self(entries))
    }

    /// Each archive and where it is read from, without slashes at their ends.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(from, to)| (from.as_str(), to.as_str()))
    }

    /// Where `uri` is read from on this machine.
    pub fn there(&self, uri: &str) -> String {
        let found = self.iter().find_map(|(from, to)| Some(format!("{to}{}", below(uri, from)?)));
        found.unwrap_or_else(|| uri.to_owned())
    }

    /// Where on this machine the package at `path` of an archive is read from.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn package(&self, archive: &str, path: &str) -> Result<Url, Error> {
        let failed = |source| Error::Address { archive: archive.to_owned(), source };
        // As apt does it: there are servers that take a `+` in a path for a space.
        let path = path.replace('%', "%25").replace('+', "%2B").replace('?', "%3F").replace('#', "%23");
        Url::parse(&format!("{}/{path}", self.there(archive))).map_err(failed)
    }

    /// What the archive that is read from `uri` on this machine is called in a lock.
    pub fn back(&self, uri: &str) -> String {
        let found = self.iter().find_map(|(from, to)| Some(format!("{from}{}", below(uri, to)?)));
        found.unwrap_or_else(|| uri.to_owned())
    }
}

/// An address that can stand in a shell's and in sed's words, too.
fn is_address(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'/' | b'.' | b'-' | b'_' | b'~' | b'@' | b'%');
    text.bytes().all(plain)
        && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// What comes after `above` in `uri`, if it is below it.
fn below<'a>(uri: &'a str, above: &str) -> Option<&'a str> {
    uri.strip_prefix(above).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_led_to_its_mirror_and_back() {
        let text = "http://a/debian=http://m/d/ https://a/debian-security/=http://m/s";
        let mirrors = Mirrors::parse(text).unwrap();
        assert_eq!(mirrors.there("http://a/debian/pool/x"), "http://m/d/pool/x");
        assert_eq!(mirrors.there("http://a/debian"), "http://m/d");
        assert_eq!(mirrors.there("https://a/debian-security"), "http://m/s");
        assert_eq!(mirrors.there("http://a/debian-ports"), "http://a/debian-ports", "another archive");
        let package = mirrors.package("http://a/debian", "pool/c/c++_1~2_all.deb").unwrap();
        assert_eq!(package.as_str(), "http://m/d/pool/c/c%2B%2B_1~2_all.deb");
        assert_eq!(mirrors.back("http://m/d"), "http://a/debian");
        assert_eq!(mirrors.back("http://elsewhere"), "http://elsewhere");
        assert_eq!(Mirrors::parse("").unwrap(), Mirrors::default());
        for wrong in ["http://a", "a=b", "http://a=ftp://b", "=http://b", "http://a=http://b;reboot"] {
            assert!(Mirrors::parse(wrong).is_err(), "{wrong}");
        }
    }
}
