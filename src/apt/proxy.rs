//! The proxies that this machine's apt is told of (apt.conf(5), `Acquire::http::Proxy` and
//! `Proxy-Auto-Detect`): what dlpack fetches from archives by itself, and the base's apt in the
//! sandbox, go through the same.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use crate::registry::http::{Error, Http, redacted};

/// What the settings' names begin with, in lower case: apt's names have none.
const NAMES: [&str; 2] = ["acquire::http::proxy", "acquire::https::proxy"];

/// The program that says which proxy there is for a host, by scheme; also in its old spelling.
const DETECT: [(&str, [&str; 2]); 2] = [
    ("http", ["acquire::http::proxy-auto-detect", "acquire::http::proxyautodetect"]),
    ("https", ["acquire::https::proxy-auto-detect", "acquire::https::proxyautodetect"]),
];

/// What programs said, by scheme and host.
type Detected = BTreeMap<(String, String), Option<String>>;

/// The proxies of an apt.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    settings: Vec<(String, String)>,
    detected: Arc<Mutex<Detected>>,
}

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
            let is_program = DETECT.iter().any(|(_, names)| names.contains(&name.as_str()));
            let is_proxy =
                |of: &&str| name.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
            let is_one = is_program || NAMES.iter().any(is_proxy);
            // what can't stand in apt.conf(5) between quotes is no address
            (is_one && !value.contains(['"', '\\'])).then(|| (name, value.trim().to_owned()))
        };
        Self { settings: settings.lines().filter_map(setting).collect(), detected: Arc::default() }
    }

    fn find(&self, wanted: &str) -> Option<&str> {
        self.settings.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    /// What the program for it says of the host of `url`; it is asked once for each. "APT expects
    /// the command to output the proxy on stdout as a single line": nothing where it says nothing.
    fn detect(&self, url: &Url) -> Option<String> {
        let (scheme, names) = DETECT.iter().find(|(scheme, _)| *scheme == url.scheme())?;
        let program = names.iter().find_map(|name| self.find(name))?;
        let host = url.host_str()?.to_ascii_lowercase();
        let mut detected = self.detected.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = || {
            let asked = Command::new(program).arg(redacted(url)).stdin(Stdio::null()).stderr(Stdio::null()).output();
            let said = String::from_utf8_lossy(&asked.ok().filter(|asked| asked.status.success())?.stdout).into_owned();
            // what can't stand in apt.conf(5) between quotes is no address
            Some(said.trim().to_owned()).filter(|said| !said.is_empty() && !said.contains(['"', '\\', '\n']))
        };
        detected.entry(((*scheme).to_owned(), host)).or_insert_with(ask).clone()
    }

    /// Whom `url` is asked through; nobody for what has no proxy, or `DIRECT`.
    fn of(&self, url: &Url) -> Option<Url> {
        let host = url.host_str()?.to_ascii_lowercase();
        // "proxy options work for HTTPS URIs in the same way … and default to the same values"
        let names = if url.scheme() == "https" { &[NAMES[1], NAMES[0]][..] } else { &NAMES[..1] };
        let find = |wanted: String| self.find(&wanted).map(str::to_owned);
        let of_host = names.iter().find_map(|name| find(format!("{name}::{host}")));
        let found =
            of_host.or_else(|| self.detect(url)).or_else(|| names.iter().find_map(|name| find((*name).to_owned())))?;
        Url::parse(&found).ok().filter(|_| found != "DIRECT")
    }

    /// The settings in the form of apt.conf(5), for an apt that reads `archives` and has not the
    /// programs of this machine: what they say of these stands in their place.
    pub fn configuration(&self, archives: impl IntoIterator<Item = Url>) -> String {
        let is_program = |name: &str| DETECT.iter().any(|(_, names)| names.contains(&name));
        let mut settings: BTreeMap<String, String> = BTreeMap::new();
        for url in archives {
            if let (Some(host), Some(proxy)) = (url.host_str(), self.detect(&url)) {
                settings.insert(format!("acquire::{}::proxy::{}", url.scheme(), host.to_ascii_lowercase()), proxy);
            }
        }
        settings.extend(self.settings.iter().filter(|(name, _)| !is_program(name)).cloned());
        settings.iter().map(|(name, value)| format!("{name} \"{value}\";\n")).collect()
    }

    /// What asks archives: `http` itself where apt is told of no proxy. "If no one of the
    /// above settings is specified, http_proxy environment variable will be used."
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn client(self, http: &Http) -> Result<Http, Error> {
        match self.settings.is_empty() {
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
             Acquire::http::Proxy-Auto-Detect /bin/true\n",
        );
        let of = |url: &str| proxies.of(&Url::parse(url).unwrap()).map(|proxy| proxy.to_string());
        assert_eq!(of("http://deb.example/debian").as_deref(), Some("http://proxy:3128/"));
        assert_eq!(of("https://deb.example/debian").as_deref(), Some("http://proxy:3128/"), "as for http");
        assert_eq!(of("https://far.example/").as_deref(), Some("http://other:1/"));
        assert_eq!(of("http://NEAR.example/"), None);
        let text = proxies.configuration([]);
        assert!(text.contains("acquire::http::proxy::near.example \"DIRECT\";\n"), "{text}");
        assert!(!text.contains("detect"), "{text}");
        assert_eq!(Proxies::parse("APT::Architecture amd64\n").settings, []);
    }

    #[test]
    fn a_program_says_the_proxy_of_a_host_that_has_none_of_its_own() {
        // it says what it is asked about
        let settings = "Acquire::http::Proxy http://proxy:3128/\nAcquire::http::Proxy::near.example DIRECT\n\
                        Acquire::http::Proxy-Auto-Detect /bin/echo\n";
        let proxies = Proxies::parse(settings);
        let url = |url: &str| Url::parse(url).unwrap();
        let of = |text: &str| proxies.of(&url(text)).map(|proxy| proxy.to_string());
        assert_eq!(of("http://deb.example/debian").as_deref(), Some("http://deb.example/debian"));
        assert_eq!(of("http://deb.example/other").as_deref(), Some("http://deb.example/debian"), "asked once");
        assert_eq!(of("http://near.example/"), None);
        assert_eq!(of("https://deb.example/").as_deref(), Some("http://proxy:3128/"), "the program is for http");
        let text = proxies.configuration([url("http://deb.example/"), url("http://near.example/")]);
        let told = "acquire::http::proxy::deb.example \"http://deb.example/debian\";\n";
        assert!(text.contains(told) && text.contains("near.example \"DIRECT\"") && !text.contains("detect"), "{text}");
    }
}
