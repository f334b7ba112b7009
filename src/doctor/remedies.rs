//! What to do about each problem, on each distribution: `remedies.toml`, and a person's own over it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::facts::Manager;
use super::{Finding, Problem};

/// The table that dlpack comes with.
const SHIPPED: &str = include_str!("remedies.toml");

/// What to do about each problem.
#[derive(Clone, Debug)]
pub struct Remedies(BTreeMap<Problem, Remedy>);

/// What to do about one problem.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remedy {
    /// Why it matters.
    why: String,
    /// What to do, where commands alone don't say it.
    say: Option<String>,
    /// What to type anywhere; before it comes what to type on a distribution.
    #[serde(default)]
    any: Vec<String>,
    #[serde(default)]
    apt: Vec<String>,
    #[serde(default)]
    dnf: Vec<String>,
    #[serde(default)]
    yum: Vec<String>,
    #[serde(default)]
    zypper: Vec<String>,
}

/// What is wrong with a table of remedies.
#[derive(Debug, Error)]
pub enum Error {
    /// It is there and can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no TOML of its form.
    #[error("{} is no table of remedies", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => Some("move it away, and dlpack's own table counts".to_owned()),
            Self::Syntax { .. } => {
                Some("correct it, or move it away; `docs/doctor.md` says what stands in it".to_owned())
            }
        }
    }
}

impl Remedies {
    /// The table that dlpack comes with.
    ///
    /// # Errors
    /// None, as a test holds.
    pub fn shipped() -> Result<Self, Error> {
        Self::parse(SHIPPED, Path::new("remedies.toml"))
    }

    /// The same with the entries of the file at `path` in place of its own, if there is such a file.
    ///
    /// # Errors
    /// [`Error`], if it can't be read or understood.
    pub fn with(mut self, path: &Path) -> Result<Self, Error> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self),
            read => read.map_err(|source| Error::Read { path: path.to_owned(), source })?,
        };
        self.0.extend(Self::parse(&text, path)?.0);
        Ok(self)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let parsed = toml::from_str(text).map(Self);
        parsed.map_err(|source| Error::Syntax { path: path.to_owned(), source: Box::new(source) })
    }

    /// The finding with what to do about it where `manager` installs packages.
    pub(super) fn to(&self, finding: Finding, manager: Option<Manager>) -> Finding {
        let Some(remedy) = finding.problem.and_then(|problem| self.0.get(&problem)) else { return finding };
        let filled = |text: &String| {
            let values = finding.values.iter();
            values.fold(text.clone(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
        };
        let own = manager.map(|manager| remedy.on(manager)).unwrap_or_default();
        Finding {
            why: Some(filled(&remedy.why)),
            advice: remedy.say.as_ref().map(filled),
            commands: own.iter().chain(&remedy.any).map(filled).collect(),
            ..finding
        }
    }

    /// What to type about `problem` where `manager` installs packages, without what was found.
    pub fn commands(&self, problem: Problem, manager: Manager) -> Vec<&str> {
        let commands = self.0.get(&problem).map(|remedy| remedy.on(manager).iter().chain(&remedy.any));
        commands.into_iter().flatten().map(String::as_str).collect()
    }

    /// Which problems it has entries for, each with whether those say what to do under all
    /// package managers.
    pub fn entries(&self) -> impl Iterator<Item = (Problem, bool)> {
        self.0.iter().map(|(problem, remedy)| (*problem, remedy.is_whole()))
    }
}

impl Remedy {
    fn on(&self, manager: Manager) -> &[String] {
        match manager {
            Manager::Apt => &self.apt,
            Manager::Dnf => &self.dnf,
            Manager::Yum => &self.yum,
            Manager::Zypper => &self.zypper,
        }
    }

    fn is_whole(&self) -> bool {
        let own = Manager::ALL.map(|manager| !self.on(manager).is_empty());
        let anywhere = self.say.is_some() || !self.any.is_empty();
        // what is said for some distributions is said for all
        !self.why.is_empty() && (own == [true; 4] || anywhere && own == [false; 4])
    }
}
