//! One kind of filesystem change each: what its inputs are, how it writes itself,
//! what it says in the image config.

mod inputs;
pub mod venv;

use thiserror::Error;

use crate::layer::LayerWriter;
use crate::oci::ImageConfig;
use crate::sandbox::Rootfs;
pub use inputs::{Content, Inputs};

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
    fn configure(&self, _config: &mut ImageConfig) {}
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
}
