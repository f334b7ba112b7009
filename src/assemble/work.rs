//! What a build works with.

use std::path::Path;
use std::sync::Arc;

use crate::cache::Caches;
use crate::layer::Threads;
use crate::lock::Lock;
use crate::progress::Progress;
use crate::registry::{Registries, Repository};
use crate::sandbox::Host;
use crate::store::Store;

/// What a build works with. `jobs` changes no byte of the image.
#[derive(Clone)]
pub struct Work<'a> {
    /// What to build.
    pub lock: &'a Lock,
    /// The recipe's directory, where local files lie.
    pub directory: &'a Path,
    /// Where layers are kept.
    pub store: &'a Store,
    /// Where the base comes from.
    pub registries: &'a Registries,
    /// Where the image is to be pushed: what is there need not be made.
    pub target: Option<&'a Repository>,
    /// Who knows of layers that were made elsewhere.
    pub caches: &'a Caches,
    /// What this machine gives to steps that run on a root filesystem.
    pub host: Arc<Host>,
    /// Who is told.
    pub progress: &'a Progress,
    /// How many layers are written at a time; at least one.
    pub jobs: usize,
}

impl Work<'_> {
    /// How a layer is written that nothing else is written beside.
    pub(super) fn threads(&self) -> Threads {
        if self.jobs > 1 { Threads::Several } else { Threads::One }
    }
}
