//! Debian packages, installed by the base's own apt from files that the lock names,
//! without network. What of it would differ from one run to the next stays out of the
//! layer: see [`crate::apt::scrub`].

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;

use super::{Changeset, Inputs, Need};
use crate::apt::script::Scripts;
use crate::apt::scrub;
use crate::layer::{self, LayerWriter};
use crate::lock::{LockedApt, LockedDeb};
use crate::oci::Digest;
use crate::recipe;
use crate::sandbox::{self, Host, Rootfs, Sandbox, Tail};
use crate::store::{self, Area, Store};

/// The version of the code that installs and scrubs.
const VERSION: u32 = 2;

/// Why packages can't become a layer.
#[derive(Debug, Error)]
pub enum AptError {
    /// A package that the lock names is not in the store.
    #[error("{name} ({digest}) is not in the store")]
    NotDownloaded {
        /// Its name.
        name: String,
        /// Its digest.
        digest: Digest,
    },
    /// The store can't be read, or what was there was damaged.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What the sandbox is given can't be written.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// `create`, `write` …
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// apt or dpkg failed.
    #[error("apt could not install {}", packages.join(" "))]
    Install {
        /// What the recipe asks for.
        packages: Vec<String>,
        /// What was said last.
        #[source]
        said: Tail,
    },
    /// There is no sandbox for it.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// The layer does not take it.
    #[error(transparent)]
    Layer(#[from] layer::Error),
}

impl AptError {
    fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotDownloaded { .. } => Some("`dlpack build` downloads what the lock names".into()),
            Self::Store(error) => error.hint(),
            Self::Install { .. } => Some(
                "what was installed is gone; if the base changed since, lock anew with `dlpack lock`, or look around with `--shell-on-failure`"
                    .into(),
            ),
            Self::Sandbox(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Io { .. } => None,
        }
    }
}

/// Installs Debian packages on the root filesystem under it.
pub struct Apt {
    /// As the recipe has them.
    packages: Vec<String>,
    locked: LockedApt,
    /// The architecture whose packages dpkg names without it.
    native: &'static str,
    store: Store,
}

/// The changeset of an `apt` layer for a base of the `native` architecture (Debian's
/// name of it). What it installs is read from `store`.
pub fn changeset(recipe: &recipe::Apt, locked: &LockedApt, native: &'static str, store: &Store) -> Apt {
    Apt { packages: recipe.packages.clone(), locked: locked.clone(), native, store: store.clone() }
}

impl Apt {
    /// What must be fetched to write it.
    pub fn needs(&self) -> Vec<Need> {
        let need = |deb: &LockedDeb| {
            let archive = self.locked.sources.get(deb.source as usize).cloned().unwrap_or_default();
            Need::Deb { archive, deb: deb.clone() }
        };
        self.locked.debs.iter().map(need).collect()
    }

    fn install(&self, under: &Rootfs) -> Result<Sandbox, AptError> {
        let given = self.give(under.host()?)?;
        let step = given.step("install.sh", &[]);
        let mut log = under.log()?;
        let mut sandbox = under.open()?;
        match sandbox.run_logged(&step, &mut log) {
            Ok(()) => Ok(sandbox),
            Err(sandbox::Error::Step { .. }) => {
                Err(AptError::Install { packages: self.packages.clone(), said: log.tail() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The packages, verified, and what the script is told of them.
    fn give(&self, host: &Host) -> Result<Scripts, AptError> {
        let given = Scripts::new(host)?;
        given.make("debs")?;
        for deb in &self.locked.debs {
            self.copy(deb, &given.path(&format!("debs/{}", file_name(deb))))?;
        }
        let lines = |names: Vec<String>| names.into_iter().map(|name| name + "\n").collect::<String>();
        given.write("install.sh", include_str!("install.sh"))?;
        given.write("names", lines(self.locked.debs.iter().map(|deb| self.name(deb)).collect()))?;
        given.write("manual", lines(self.locked.manual.clone()))?;
        Ok(given)
    }

    /// Copies a package out of the store; reading verifies it.
    fn copy(&self, deb: &LockedDeb, to: &Path) -> Result<(), AptError> {
        let opened = self.store.open_blob(Area::Downloads, &deb.sha256)?;
        let mut reader = opened.ok_or_else(|| AptError::NotDownloaded { name: file_name(deb), digest: deb.sha256 })?;
        let mut file = File::create(to).map_err(|source| AptError::io("create", to, source))?;
        match io::copy(&mut reader, &mut file) {
            Ok(_) => Ok(()),
            Err(error) => Err(reader.explain(error).into()),
        }
    }

    /// The name by which apt and dpkg tell it from others.
    fn name(&self, deb: &LockedDeb) -> String {
        match deb.architecture.as_str() {
            "all" => deb.name.clone(),
            native if native == self.native => deb.name.clone(),
            foreign => format!("{}:{foreign}", deb.name),
        }
    }
}

/// Debian policy 5.6.12: an epoch's colon has no place in a file's name; apt writes it as
/// `%3a`.
fn file_name(deb: &LockedDeb) -> String {
    format!("{}_{}_{}.deb", deb.name, deb.version.replace(':', "%3a"), deb.architecture)
}

impl Changeset for Apt {
    fn inputs(&self) -> Inputs {
        let debs = self.locked.debs.iter();
        let hashes: Vec<_> = debs.map(|deb| json!([self.name(deb), deb.version, deb.sha256])).collect();
        let inputs = Inputs::new("apt", VERSION, format!("dlpack apt {}", self.packages.join(" ")))
            .with("manual", self.locked.manual.clone())
            .with("debs", hashes)
            .on_rootfs();
        let named = |inputs: Inputs, deb: &LockedDeb| {
            let inputs = inputs.containing(format!("{} {}", deb.name, deb.version), deb.size);
            inputs.part("debs", self.name(deb), &deb.version, &json!(deb.sha256))
        };
        self.locked.debs.iter().fold(inputs, named)
    }

    fn write(&self, under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        let sandbox = self.install(under)?;
        sandbox.changes(&mut |change, content| Ok::<_, AptError>(scrub::write(change, content, out)?))?;
        Ok(())
    }
}
