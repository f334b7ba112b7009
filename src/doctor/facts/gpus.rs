//! GPUs, their driver, and what gives them to containers.

use std::path::PathBuf;

use serde::Serialize;

use crate::doctor::Version;

/// What there is of GPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gpus {
    /// How many of NVIDIA's display controllers are on the PCI bus, with a driver or without.
    pub cards: usize,
    /// The driver that is loaded.
    pub driver: Option<Version>,
    /// Whether its kernel module is the open one.
    pub open_module: bool,
    /// Whether its programs are there, loaded or not.
    pub installed: bool,
    /// The GPUs that the driver knows.
    pub gpus: Vec<Gpu>,
    /// The container toolkit's program.
    pub toolkit: Option<PathBuf>,
    /// The devices that CDI specifications name: `nvidia.com/gpu=0`.
    pub cdi: Vec<String>,
    /// CDI specifications that can't be used, each with why.
    pub malformed_cdi: Vec<String>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gpu {
    /// `NVIDIA H100 80GB HBM3`.
    pub model: String,
    /// Its compute capability, where the driver tells.
    pub compute_capability: Option<Version>,
}
