//! What a container is given of this machine's devices.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::sandbox::Mount;

/// What a container is given of this machine's devices, whoever found it: nodes, and what
/// programs need to use them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devices {
    /// Device nodes of this machine, each seen under its own path.
    pub nodes: Vec<PathBuf>,
    /// Drivers' libraries and programs.
    pub mounts: Vec<Mount>,
    /// Variables; those that a person gives come over them.
    pub env: BTreeMap<String, String>,
    /// Commands that are run inside before the container's own, as root of its files.
    pub hooks: Vec<Vec<String>>,
}
