//! What a container is given of this machine's devices.

use std::collections::BTreeMap;

use crate::sandbox::Mount;

/// What a container is given of this machine's devices, whoever found it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devices {
    /// Drivers' libraries and programs.
    pub mounts: Vec<Mount>,
    /// Variables; those that a person gives come over them.
    pub env: BTreeMap<String, String>,
}
