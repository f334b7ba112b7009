//! dpkg's database as it will be once a layer is installed, so that apt can be asked for
//! the next layer.

use std::fmt;

use super::answer::Chosen;
use crate::apt::deb822;

/// What is installed: the stanzas of `/var/lib/dpkg/status` (deb822(5)).
pub(super) struct State(Vec<Package>);

struct Package {
    name: String,
    architecture: String,
    stanza: String,
}

impl State {
    /// Reads dpkg's database.
    pub(super) fn new(status: &str) -> Self {
        Self(status.split("\n\n").filter_map(Package::of).collect())
    }

    /// `chosen` are installed, of which the archives say `records`.
    pub(super) fn install(&mut self, records: &str, chosen: &[Chosen]) {
        let records: Vec<Package> = records.split("\n\n").filter_map(Package::of).collect();
        for Chosen { deb, .. } in chosen {
            let of_deb = |package: &&Package| {
                let version = deb822::stanzas(&package.stanza).next().and_then(|stanza| stanza.get("Version"));
                package.name == deb.name && package.architecture == deb.architecture && version == Some(&*deb.version)
            };
            let Some(record) = records.iter().find(of_deb) else { continue };
            // What has no other architecture beside it may change its own in an upgrade.
            self.0.retain(|package| !(package.name == deb.name && package.is_replaced_by(&deb.architecture)));
            let stanza = format!("Status: install ok installed\n{}", record.stanza);
            self.0.push(Package { name: deb.name.clone(), architecture: deb.architecture.clone(), stanza });
        }
    }

    /// The package `name` (`name:architecture` for a foreign one) is removed.
    pub(super) fn remove(&mut self, name: &str) {
        let (name, architecture) = name.split_once(':').map_or((name, None), |(name, of)| (name, Some(of)));
        let is = |package: &Package| architecture.is_none_or(|architecture| package.architecture == architecture);
        self.0.retain(|package| !(package.name == name && is(package)));
    }
}

impl Package {
    fn of(stanza: &str) -> Option<Self> {
        let fields = deb822::stanzas(stanza).next()?;
        Some(Self {
            name: fields.get("Package")?.to_owned(),
            architecture: fields.get("Architecture").unwrap_or_default().to_owned(),
            stanza: stanza.trim_matches('\n').to_owned(),
        })
    }

    fn is_replaced_by(&self, architecture: &str) -> bool {
        [self.architecture.as_str(), architecture].contains(&"all") || self.architecture == architecture
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|package| write!(f, "{}\n\n", package.stanza))
    }
}
