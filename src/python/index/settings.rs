//! Which indexes there are on this machine: what the recipe says, else what uv says
//! its settings are, else pip's. No index has its address in dlpack's code.

use std::env;
use std::path::Path;

use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use url::Url;

use super::Error;
use super::netrc;
use super::pip::PipSettings;
use crate::python::asking::Asking;
use crate::python::uv::{self, Uv};

/// The indexes, by alias: `default`, and `extra-0`, `extra-1`, … which are asked
/// before it.
#[derive(Clone, Debug)]
pub struct Indexes {
    default: Url,
    extra: Vec<Url>,
}

impl Indexes {
    /// The recipe's `index-url` and `extra-index-url`, and where those are not given,
    /// the caller's own settings as they hold in `directory`.
    ///
    /// Blocks while uv runs.
    ///
    /// # Errors
    /// [`Error::NoIndex`] if neither says which; [`Error::Url`]; [`Error::Uv`].
    pub fn configured(directory: &Path, index: Option<&str>, extra: &[String]) -> Result<Self, Error> {
        let own = match (index, extra) {
            (Some(index), [_, ..]) => (Some(index.to_owned()), Vec::new()),
            _ => own_settings(directory)?,
        };
        let default = index.map(str::to_owned).or(own.0).ok_or(Error::NoIndex)?;
        let extra = if extra.is_empty() { own.1 } else { extra.to_vec() };
        Self::of(&default, &extra)
    }

    /// The indexes at these URLs.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn of(default: &str, extra: &[String]) -> Result<Self, Error> {
        let parse = |text: &str| match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
            _ => Err(Error::Url { url: text.rsplit('@').next().unwrap_or_default().to_owned() }),
        };
        Ok(Self { default: parse(default)?, extra: extra.iter().map(|url| parse(url)).collect::<Result<_, _>>()? })
    }

    /// The settings that make uv ask these and no other.
    pub(in crate::python) fn environment(&self) -> Vec<(&'static str, String)> {
        let extra: Vec<&str> = self.extra.iter().map(Url::as_str).collect();
        vec![("UV_DEFAULT_INDEX", self.default.to_string()), ("UV_INDEX", extra.join(" "))]
    }

    /// Whether there is the default alone.
    pub(in crate::python) fn is_single(&self) -> bool {
        self.extra.is_empty()
    }

    /// The alias of the index at `url`.
    pub(in crate::python) fn alias(&self, url: &str) -> Option<String> {
        let url = comparable(&Url::parse(url).ok()?);
        if let Some(position) = self.extra.iter().position(|extra| comparable(extra) == url) {
            return Some(format!("extra-{position}"));
        }
        (comparable(&self.default) == url).then(|| "default".to_owned())
    }

    /// The indexes to look in for a wheel of `alias`: that one, then the others. A
    /// mirror may have it elsewhere; its hash says whether it is the one.
    pub(super) fn in_order(&self, alias: &str) -> Vec<&Url> {
        let all = || self.extra.iter().chain([&self.default]);
        let named = match alias.strip_prefix("extra-") {
            Some(number) => number.parse().ok().and_then(|number: usize| self.extra.get(number)),
            None => Some(&self.default),
        };
        let others = all().filter(|url| Some(*url) != named);
        named.into_iter().chain(others).collect()
    }

    /// The credentials for `url`: those of the index on the same scheme, host and
    /// port, in its URL or in `.netrc`.
    fn authorization(&self, url: &Url) -> Option<HeaderValue> {
        let mut here = self.extra.iter().chain([&self.default]).filter(|index| index.origin() == url.origin());
        let (user, password) = match here
            .clone()
            .find(|index| index.password().is_some() || !index.username().is_empty())
        {
            Some(index) => (percent_decoded(index.username()), percent_decoded(index.password().unwrap_or_default())),
            None => netrc::credentials(here.next()?.host_str()?)?,
        };
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// A request for `url` with the credentials that belong there.
    pub(super) fn request(&self, method: reqwest::Method, url: &Url) -> reqwest::Request {
        let mut bare = url.clone();
        // Fails for addresses that can't have any; those have none.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        let mut request = reqwest::Request::new(method, bare);
        if let Some(value) = self.authorization(url) {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        request
    }
}

/// uv's settings; pip's where uv has none of its own, or where there is no uv.
fn own_settings(directory: &Path) -> Result<(Option<String>, Vec<String>), Error> {
    let pip = PipSettings::read();
    let (index, extra) = match Uv::find() {
        Ok(uv) => {
            let asking = Asking::any()?;
            let built_in = uv.indexes(directory, asking.arguments(), true)?;
            let set = uv.indexes(directory, asking.arguments(), false)?;
            if set == built_in && (pip.index.is_some() || !pip.extra.is_empty()) {
                return Ok((pip.index.or(set.0), pip.extra));
            }
            return Ok(set);
        }
        Err(uv::Error::Missing { .. }) => from_environment(),
        Err(error) => return Err(error.into()),
    };
    match index {
        Some(_) => Ok((index, extra)),
        None => Ok((pip.index, if extra.is_empty() { pip.extra } else { extra })),
    }
}

/// uv's variables, where there is no uv to read them.
fn from_environment() -> (Option<String>, Vec<String>) {
    let set = |name| env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
    let extra = set("UV_INDEX").or_else(|| set("UV_EXTRA_INDEX_URL")).unwrap_or_default();
    // A name may stand before the URL: `NAME=URL`.
    let url = |word: &str| {
        word.split_once('=').filter(|(name, _)| !name.contains(':')).map_or(word, |(_, url)| url).to_owned()
    };
    let extra = extra.split_whitespace().map(url).collect();
    (set("UV_DEFAULT_INDEX").or_else(|| set("UV_INDEX_URL")).map(|word| url(&word)), extra)
}

/// A URL without what may differ between two ways to write the same index.
fn comparable(url: &Url) -> String {
    crate::registry::http::redacted(url).trim_end_matches('/').to_owned()
}

/// A URL's `%XX` undone.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => (bytes.push(byte), rest = &after[2..]),
            None => (bytes.push(*first), rest = after),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes() -> Indexes {
        Indexes::of("http://user:p%40ss@a.example/simple/", &["http://b.example/simple".into()]).unwrap()
    }

    #[test]
    fn an_alias_stands_for_an_index_however_its_url_is_written() {
        assert_eq!(indexes().alias("http://a.example/simple").as_deref(), Some("default"));
        assert_eq!(indexes().alias("http://b.example/simple/").as_deref(), Some("extra-0"));
        assert_eq!(indexes().alias("http://c.example/simple/"), None);
    }

    #[test]
    fn credentials_go_to_their_own_host_alone() {
        let request = |url: &str| indexes().request(reqwest::Method::GET, &Url::parse(url).unwrap());
        let to_a = request("http://a.example/files/x.whl");
        // base64 of `user:p@ss`
        assert_eq!(to_a.headers()[AUTHORIZATION], "Basic dXNlcjpwQHNz");
        for other in ["http://files.a.example/x.whl", "https://a.example/x.whl", "http://a.example:81/x.whl"] {
            assert!(!request(other).headers().contains_key(AUTHORIZATION), "{other}");
        }
    }

    #[test]
    fn a_url_without_http_is_no_index_and_the_error_has_no_password() {
        let error = Indexes::of("ftp://user:secret@a.example/", &[]).unwrap_err();
        assert_eq!(error.to_string(), "`a.example/` is not the URL of a package index");
    }
}
