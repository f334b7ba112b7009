//! Mirrors, plain http and blocked registries, as containers'
//! `registries.conf(5)`, version 2, configures them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Environment, Error, Reference};

/// One repository at one host: what URLs are made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// `host` or `host:port`, as references write it.
    pub host: String,
    /// The repository's name there.
    pub name: String,
    /// Whether plain http and unknown certificates will do.
    pub insecure: bool,
    /// Whether another place has the same: then it is asked only once.
    pub mirror: bool,
}

impl Place {
    /// `host` and `name`; a loopback host is insecure by nature, as Docker has it.
    pub fn new(host: &str, name: &str, insecure: bool) -> Self {
        Self { host: host.to_owned(), name: name.to_owned(), insecure: insecure || is_loopback(host), mirror: false }
    }

    /// The host that speaks the API: Docker Hub's differs from its name.
    pub(super) fn api_host(&self) -> &str {
        match self.host.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            host => host,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}

/// Whether `host` (with or without a port) is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(bare, _)| bare);
    let bare = bare.trim_matches(['[', ']']);
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Where a reference is pulled from and pushed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Mirrors first, the location itself last.
    pub pull: Vec<Place>,
    /// The location itself.
    pub push: Place,
}

/// What `registries.conf` and its drop-ins say.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// By prefix, so that a later file replaces an earlier one's table.
    tables: BTreeMap<String, Table>,
}

#[derive(Deserialize, Default)]
struct File {
    #[serde(default)]
    registry: Vec<Table>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Table {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: PullFrom,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFrom {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

impl Config {
    /// Reads the file that `$CONTAINERS_REGISTRIES_CONF` names, else
    /// `~/.config/containers/registries.conf`, else
    /// `/etc/containers/registries.conf`; then the drop-ins of the system and of
    /// the person. A file that isn't there is no error unless it was named.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::ConfigSyntax`].
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let system = Path::new("/etc/containers");
        let person = environment.config_home().map(|home| home.join("containers"));
        let mut config = Self::default();
        match environment.path("CONTAINERS_REGISTRIES_CONF") {
            Some(path) => config.read(&path)?,
            None => {
                let places = person.iter().map(PathBuf::as_path).chain([system]);
                let path = places.map(|place| place.join("registries.conf")).find(|path| path.is_file());
                path.map_or(Ok(()), |path| config.read(&path))?;
            }
        }
        for directory in [Some(system), person.as_deref()].into_iter().flatten() {
            for path in drop_ins(&directory.join("registries.conf.d"))? {
                config.read(&path)?;
            }
        }
        Ok(config)
    }

    /// Reads one file over what was read before.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::ConfigSyntax`].
    pub fn read(&mut self, path: &Path) -> Result<(), Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::Config { path: path.to_owned(), source })?;
        let file: File = toml::from_str(&text)
            .map_err(|source| Error::ConfigSyntax { path: path.to_owned(), source: Box::new(source) })?;
        for mut table in file.registry {
            // registries.conf(5): "If the prefix is not specified, it defaults to location"
            if table.prefix.is_empty() {
                table.prefix = table.location.clone();
            }
            self.tables.insert(table.prefix.clone(), table);
        }
        Ok(())
    }

    /// Where `reference` is pulled from and pushed to.
    ///
    /// # Errors
    /// [`Error::Blocked`].
    pub fn places(&self, reference: &Reference) -> Result<Places, Error> {
        let (host, name) = (reference.registry(), reference.repository());
        let whole = format!("{host}/{name}");
        // registries.conf(5): "only the TOML table with the longest match … is used"
        let matching = self.tables.values().filter_map(|table| Some((matched(&table.prefix, &whole)?, table)));
        let Some((length, table)) = matching.max_by_key(|(_, table)| table.prefix.len()) else {
            let place = Place::new(host, name, false);
            return Ok(Places { pull: vec![place.clone()], push: place });
        };
        if table.blocked {
            return Err(Error::Blocked { name: whole, prefix: table.prefix.clone() });
        }
        let rest = &whole[length..];
        let place = |location: &str, insecure| {
            let moved = if location.is_empty() { whole.clone() } else { format!("{location}{rest}") };
            let (host, name) = moved.split_once('/').unwrap_or((&moved, ""));
            Place::new(host, name, insecure)
        };
        let push = place(&table.location, table.insecure);
        let by_digest = reference.digest().is_some();
        let mirrors = table.mirror.iter().filter(|mirror| match mirror.pull_from_mirror {
            PullFrom::All => by_digest || !table.mirror_by_digest_only,
            PullFrom::DigestOnly => by_digest,
            PullFrom::TagOnly => !by_digest,
        });
        let mut pull: Vec<Place> =
            mirrors.map(|mirror| Place { mirror: true, ..place(&mirror.location, mirror.insecure) }).collect();
        pull.push(push.clone());
        Ok(Places { pull, push })
    }
}

/// How much of `whole` (`host/name`) the prefix stands for; nothing if it doesn't match.
fn matched(prefix: &str, whole: &str) -> Option<usize> {
    let host_end = whole.find('/').unwrap_or(whole.len());
    // registries.conf(5): "*.example.com" matches every subdomain, not example.com itself
    if let Some(suffix) = prefix.strip_prefix('*') {
        return (suffix.len() > 1 && whole[..host_end].ends_with(suffix)).then_some(host_end);
    }
    let rest = whole.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
}

/// The `.conf` files of a drop-in directory, by name.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Config { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
