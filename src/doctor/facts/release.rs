//! Which distribution this machine has, from os-release(5), and what installs its packages.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a distribution calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// `ID`: `ubuntu`.
    pub id: String,
    /// `ID_LIKE`, the closest first: `rhel`, `centos`, `fedora`.
    pub like: Vec<String>,
    /// `VERSION_ID`: `24.04`; empty for one that has no versions.
    pub version: String,
    /// `PRETTY_NAME`.
    pub name: String,
}

/// What installs a distribution's packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, and what descends from Red Hat Enterprise Linux 8 or later.
    Dnf,
    /// What descends from Red Hat Enterprise Linux 7.
    Yum,
    /// SUSE Linux Enterprise, openSUSE.
    Zypper,
}

impl Manager {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Apt, Self::Dnf, Self::Yum, Self::Zypper];
}

impl Release {
    /// That of the system under `root`; none where nothing says it.
    pub fn read(root: &Path) -> Option<Self> {
        // os-release(5): "The file /etc/os-release takes precedence over /usr/lib/os-release."
        let text =
            ["etc/os-release", "usr/lib/os-release"].iter().find_map(|at| fs::read_to_string(root.join(at)).ok());
        text.map(|text| Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let fields: BTreeMap<&str, String> = lines
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.trim(), unquoted(value.trim())))
            .collect();
        let field = |name: &str| fields.get(name).cloned();
        // os-release(5), ID: "If not set, a default of "ID=linux" may be used."
        let id = field("ID").unwrap_or_else(|| "linux".to_owned());
        Self {
            like: field("ID_LIKE").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            version: field("VERSION_ID").unwrap_or_default(),
            name: field("PRETTY_NAME").unwrap_or_else(|| id.clone()),
            id,
        }
    }

    /// What installs its packages, by its own name or the first that it is like.
    pub fn manager(&self) -> Option<Manager> {
        let names = std::iter::once(&self.id).chain(&self.like);
        names.map(String::as_str).find_map(|name| match name {
            "debian" | "ubuntu" => Some(Manager::Apt),
            "suse" | "opensuse" | "sles" | "sled" => Some(Manager::Zypper),
            "fedora" | "rhel" | "centos" => {
                Some(if self.major().is_some_and(|major| major < 8) { Manager::Yum } else { Manager::Dnf })
            }
            // openSUSE's are opensuse-leap, opensuse-tumbleweed …
            name => name.starts_with("opensuse-").then_some(Manager::Zypper),
        })
    }

    fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }
}

/// os-release(5): "Variable assignment values must be enclosed in double or single quotes if they
/// include spaces", and a backslash escapes within double ones.
fn unquoted(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return inner.to_owned();
    }
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}
