//! What a container is given of this machine's devices.

use std::collections::BTreeMap;

use crate::sandbox::{Link, Mount};

/// What a container is given of this machine's devices, whoever found it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devices {
    /// Device nodes, and drivers' libraries and programs.
    pub mounts: Vec<Mount>,
    /// Variables; those that a person gives come over them.
    pub env: BTreeMap<String, String>,
    /// Symbolic links that are made in the container before its command starts.
    pub links: Vec<Link>,
    /// Directories of the container in which its loader is to find libraries, before others.
    pub libraries: Vec<String>,
}
