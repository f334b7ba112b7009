//! One kind of filesystem change each: what its inputs are, how it writes itself,
//! what it says in the image config.

pub mod account;
pub mod apt;
pub mod bytecode;
mod entries;
pub mod entrypoint;
pub mod files;
pub mod given;
mod home;
mod inputs;
pub mod jupyter;
mod passwd;
pub mod password;
pub mod run;
pub mod source;
pub mod sshd;
pub mod timezone;
mod told;
pub mod venv;

use thiserror::Error;

use crate::layer::{Attributes, LayerWriter};
use crate::lock::{LockedDeb, LockedFile, LockedSdist, LockedWheel};
use crate::oci::{Amendment, Digest, ImageConfig};
use crate::sandbox::Rootfs;
use crate::store::{Area, Store};
pub use inputs::{Content, Inputs};
pub use told::{ANNOTATION_INPUTS, ANNOTATION_KEY, ANNOTATION_LAYER, ANNOTATION_PART, Part, Told};

/// Where the entrypoint finds what it starts, in layers of several kinds.
const SERVICES: &str = "usr/local/lib/dlpack/services.d";

fn own_services(entries: &mut entries::Entries) {
    entries.directory("usr/local/lib/dlpack", Attributes::root(0o755));
    entries.directory(SERVICES, Attributes::root(0o755));
}

/// A filesystem change that becomes one layer.
///
/// A layer is a pure function of [`Changeset::inputs`]: `write` may read nothing
/// that the inputs don't name by value or by hash.
pub trait Changeset: Send + Sync {
    /// What the key is made of; says whether the ChainId counts.
    fn inputs(&self) -> Inputs;

    /// Writes the entries, sorted.
    ///
    /// # Errors
    /// Whatever the inputs turn out to be; the layer is then not made.
    fn write(&self, under: &Rootfs, out: &mut LayerWriter) -> Result<(), Error>;

    /// Env, user, ports that come with it.
    fn amendments(&self) -> Vec<Amendment> {
        Vec::new()
    }

    /// Makes these changes to `config`.
    fn configure(&self, config: &mut ImageConfig) {
        self.amendments().iter().for_each(|amendment| amendment.apply(config));
    }
}

/// Something from outside that a changeset is written from: it must lie in the
/// store's downloads before [`Changeset::write`].
#[derive(Clone, Debug, PartialEq)]
pub enum Need {
    /// A wheel.
    Wheel(LockedWheel),
    /// An sdist.
    Sdist(LockedSdist),
    /// An interpreter's archive.
    Archive(LockedFile),
    /// A Debian package.
    Deb {
        /// The address of its archive, as the lock has it.
        archive: String,
        /// The package.
        deb: LockedDeb,
    },
}

impl Need {
    /// Whether the store has it.
    pub fn at_hand(&self, store: &Store) -> bool {
        store.size(Area::Downloads, self.digest()) == Some(self.size())
    }

    /// Under what it lies in the store's downloads.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Wheel(wheel) => &wheel.sha256,
            Self::Sdist(sdist) => &sdist.sha256,
            Self::Archive(archive) => &archive.sha256,
            Self::Deb { deb, .. } => &deb.sha256,
        }
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Wheel(wheel) => wheel.size,
            Self::Sdist(sdist) => sdist.size,
            Self::Archive(archive) => archive.size,
            Self::Deb { deb, .. } => deb.size,
        }
    }
}

/// Why a changeset can't be written.
#[derive(Debug, Error)]
pub enum Error {
    /// The layer does not take it.
    #[error(transparent)]
    Layer(#[from] crate::layer::Error),
    /// A venv can't become layers.
    #[error(transparent)]
    Venv(#[from] venv::VenvError),
    /// A project can't be built into a wheel.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// There is no bytecode.
    #[error(transparent)]
    Bytecode(#[from] bytecode::Error),
    /// An account can't be made.
    #[error(transparent)]
    Account(#[from] account::Error),
    /// A file can't be put into a layer.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A time zone can't be set.
    #[error(transparent)]
    Timezone(#[from] timezone::Error),
    /// A command did not do what it was to do.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The sandbox does not work.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::Error),
    /// Packages can't be installed.
    #[error(transparent)]
    Apt(#[from] apt::AptError),
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Layer(error) => error.hint(),
            Self::Account(error) => error.hint(),
            Self::Files(error) => error.hint(),
            Self::Timezone(error) => error.hint(),
            Self::Venv(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Bytecode(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Sandbox(error) => error.hint(),
            Self::Apt(error) => error.hint(),
        }
    }
}
