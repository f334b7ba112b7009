//! The proxies that this machine's apt is told of (apt.conf(5), `Acquire::http::Proxy`):
//! what dlpack fetches from archives by itself, and the base's apt in the sandbox, go
//! through the same.

use std::process::{Command, Stdio};

use url::Url;

use crate::registry::http::{Error, Http};

/// What the settings' names begin with, in lower case: apt's names have none.
const NAMES: [&str; 2] = ["acquire::http::proxy", "acquire::https::proxy"];

/// The proxies of an apt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<(String, String)>);

impl Proxies {
    /// Those of this machine's apt; none where there is no apt.
    pub fn of_this_machine() -> Self {
        let mut dump = Command::new("apt-config");
        dump.args(["dump", "--no-empty", "--format", "%f %v%n"]).stdin(Stdio::null()).stderr(Stdio::null());
        dump.output().map_or_else(|_| Self::default(), |said| Self::parse(&String::from_utf8_lossy(&said.stdout)))
    }

    /// Reads settings, `NAME VALUE` a line.
    fn parse(settings: &str) -> Self {
        let setting = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            let name = name.to_ascii_lowercase();
            let is_one = NAMES
                .iter()
                .any(|of| name.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")));
            // what can't stand in apt.conf(5) between quotes is no address
            (is_one && !value.contains(['"', '\\'])).then(|| (name, value.trim().to_owned()))
        };
        Self(settings.lines().filter_map(setting).collect())
    }

    /// Whom `url` is asked through; nobody for what has no proxy, or `DIRECT`.
    fn of(&self, url: &Url) -> Option<Url> {
        let host = url.host_str()?.to_ascii_lowercase();
        // "proxy options work for HTTPS URIs in the same way … and default to the same values"
        let names = if url.scheme() == "https" { &[NAMES[1], NAMES[0]][..] } else { &NAMES[..1] };
        let find = |wanted: String| self.0.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        let of_host = names.iter().find_map(|name| find(format!("{name}::{host}")));
        let found = of_host.or_else(|| names.iter().find_map(|name| find((*name).to_owned())))?;
        Url::parse(found).ok().filter(|_| found != "DIRECT")
    }

    /// The settings in the form of apt.conf(5).
    pub fn configuration(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name} \"{value}\";\n")).collect()
    }

    /// What asks archives: `http` itself where apt is told of no proxy. "If no one of the
    /// above settings is specified, http_proxy environment variable will be used."
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn client(self, http: &Http) -> Result<Http, Error> {
        match self.0.is_empty() {
            true => Ok(http.clone()),
            false => http.through(move |url| self.of(url)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_own_proxy_or_that_of_its_scheme_or_none() {
        let proxies = Proxies::parse(
            "APT::Architecture amd64\nAcquire::HTTP::Proxy http://proxy:3128/\n\
             Acquire::http::Proxy::near.example DIRECT\nAcquire::https::Proxy::far.example http://other:1\n\
             Acquire::http::Proxy-Auto-Detect /usr/bin/x\n",
        );
        let of = |url: &str| proxies.of(&Url::parse(url).unwrap()).map(|proxy| proxy.to_string());
        assert_eq!(of("http://deb.example/debian").as_deref(), Some("http://proxy:3128/"));
        assert_eq!(of("https://deb.example/debian").as_deref(), Some("http://proxy:3128/"), "as for http");
        assert_eq!(of("https://far.example/").as_deref(), Some("http://other:1/"));
        assert_eq!(of("http://NEAR.example/"), None);
        let text = proxies.configuration();
        assert!(text.contains("acquire::http::proxy::near.example \"DIRECT\";\n"), "{text}");
        assert_eq!(Proxies::parse("APT::Architecture amd64\n"), Proxies::default());
    }
}
