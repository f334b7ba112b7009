//! Credentials for archives (apt_auth.conf(5)), as far as whoever calls dlpack may read those of
//! this machine's apt.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request};
use url::Url;

/// This machine's, read once.
static OF_THIS_MACHINE: LazyLock<Credentials> = LazyLock::new(|| {
    let texts = files().into_iter().filter_map(|file| fs::read_to_string(file).ok());
    Credentials(texts.flat_map(|text| entries(&text)).collect())
});

/// What archives are logged in to with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Credentials(Vec<Entry>);

/// `machine [protocol://]hostname[:port][/path] login name password string`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    machine: String,
    login: String,
    password: String,
}

/// The files of credentials that this machine's apt has and the caller may read: those of
/// `auth.conf.d` in their order, and `auth.conf`. None where there is no apt.
fn files() -> Vec<PathBuf> {
    let mut asked = Command::new("apt-config");
    asked.args(["shell", "FILE", "Dir::Etc::netrc/f", "PARTS", "Dir::Etc::netrcparts/d"]);
    let said = asked.stdin(Stdio::null()).stderr(Stdio::null()).output().map(|said| said.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let path = |name: &str| {
        let value = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("='"));
        value.and_then(|value| value.strip_suffix('\'')).map(PathBuf::from)
    };
    let parts = path("PARTS").and_then(|parts| fs::read_dir(parts).ok()).into_iter().flatten().flatten();
    // "files … which have either no or "conf" as filename extension"
    let mut files: Vec<PathBuf> = parts.map(|part| part.path()).collect();
    files.retain(|path| path.extension().is_none_or(|extension| extension == "conf"));
    files.sort();
    files.extend(path("FILE"));
    files.retain(|path| path.is_file() && fs::File::open(path).is_ok());
    files
}

/// "The format is similar to the netrc file: tokens … divided by space, tab or newline".
fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    while let (Some(word), Some(value)) = (words.next(), words.next()) {
        let value = value.to_owned();
        match (word, entries.last_mut()) {
            ("machine", _) => entries.push(Entry { machine: value, ..Entry::default() }),
            ("login", Some(entry)) => entry.login = value,
            ("password", Some(entry)) => entry.password = value,
            _ => {}
        }
    }
    entries
}

impl Entry {
    /// "Entries are looked up by searching for the machine token with the host of the URI, and
    /// its path": a path is one that the URI's begins with.
    fn is_for(&self, url: &Url) -> bool {
        let machine = match self.machine.split_once("://") {
            Some((protocol, machine)) if protocol == url.scheme() => machine,
            // "If no protocol is specified, the entry only matches https and tor+https"
            None if url.scheme() == "https" => &self.machine,
            _ => return false,
        };
        let (host, path) = machine.split_at(machine.find('/').unwrap_or(machine.len()));
        let of_url = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().map(|port| format!("{of_url}:{port}"));
        (host == of_url || Some(host) == port.as_deref()) && url.path().starts_with(path)
    }
}

impl Credentials {
    /// The header for `url`, if there is an entry for it.
    fn header(&self, url: &Url) -> Option<HeaderValue> {
        let Entry { login, password, .. } = self.0.iter().find(|entry| entry.is_for(url))?;
        let basic = BASE64_STANDARD.encode(format!("{login}:{password}"));
        let mut header = HeaderValue::from_str(&format!("Basic {basic}")).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Those for `archives`, as apt_auth.conf(5) has them.
    fn configuration(&self, archives: &[Url]) -> String {
        let wanted = self.0.iter().filter(|entry| archives.iter().any(|archive| entry.is_for(archive)));
        wanted
            .map(|Entry { machine, login, password }| format!("machine {machine} login {login} password {password}\n"))
            .collect()
    }

    fn get(&self, url: &Url) -> Request {
        let mut request = Request::new(Method::GET, url.clone());
        request.headers_mut().extend(self.header(url).map(|header| (AUTHORIZATION, header)));
        request
    }
}

/// A question for what lies at `url`, with this machine's credentials for it.
pub fn get(url: &Url) -> Request {
    OF_THIS_MACHINE.get(url)
}

/// This machine's credentials for `archives` and for no others, as apt_auth.conf(5) has them;
/// empty if there are none.
pub fn configuration(archives: &[Url]) -> String {
    OF_THIS_MACHINE.configuration(archives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_credentials_of_the_first_entry_that_is_for_it() {
        let text = "# ours\nmachine deb.example/team login one password 1\nmachine deb.example:8443\n login two password 2\n\
                    machine http://plain.example login three password 3\n";
        let credentials = Credentials(entries(text));
        let sent = |url: &str| {
            let request = credentials.get(&Url::parse(url).unwrap());
            let header = request.headers().get(AUTHORIZATION)?.to_str().unwrap().strip_prefix("Basic ")?.to_owned();
            Some(String::from_utf8(BASE64_STANDARD.decode(header).unwrap()).unwrap())
        };
        let is = |url: &str, expected: Option<&str>| assert_eq!(sent(url).as_deref(), expected, "{url}");
        is("https://deb.example/team/pool/a.deb", Some("one:1"));
        is("https://deb.example/other", None);
        is("https://deb.example:8443/other", Some("two:2"));
        is("http://deb.example/team/", None);
        is("http://plain.example/debian", Some("three:3"));
        is("https://plain.example/debian", None);
        let archives = [Url::parse("https://deb.example:8443/debian").unwrap()];
        assert_eq!(credentials.configuration(&archives), "machine deb.example:8443 login two password 2\n");
    }
}
