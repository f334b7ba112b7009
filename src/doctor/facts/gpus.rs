//! GPUs, their driver, and what gives them to containers.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::sandbox::with_causes;
use crate::gpu::{self, Module, Version};

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
    /// Whether the loader's cache has libraries of the driver's version.
    pub libraries: bool,
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

impl Gpus {
    /// What the machine whose `/` is `root` has.
    pub fn read(root: &Path) -> Self {
        let facts = gpu::facts(root);
        let (mut cdi, mut malformed_cdi) = (Vec::new(), Vec::new());
        for specification in facts.cdi {
            match specification.devices {
                Ok((kind, names)) => cdi.extend(names.iter().map(|name| format!("{kind}={name}"))),
                Err(error) => malformed_cdi.push(with_causes(&error)),
            }
        }
        let of = |gpu: gpu::Gpu| Gpu {
            model: gpu.model,
            compute_capability: gpu.compute_capability.and_then(|capability| capability.parse().ok()),
        };
        Self {
            cards: facts.cards.len(),
            open_module: facts.driver.as_ref().is_some_and(|driver| driver.module == Module::Open),
            installed: facts.driver.is_some() || gpu::Root::new(root).program("nvidia-smi").is_some(),
            libraries: !facts.libraries.is_empty(),
            driver: facts.driver.map(|driver| driver.version),
            gpus: facts.gpus.into_iter().map(of).collect(),
            toolkit: facts.toolkit,
            cdi,
            malformed_cdi,
        }
    }
}
