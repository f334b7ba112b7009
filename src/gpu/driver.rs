//! What the driver's kernel module tells in `/proc/driver/nvidia`.

use serde::Serialize;

use super::{Compatibility, Root, Version};

/// Which of the two kernel modules is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Module {
    /// The open one, which GPUs need from Blackwell on, and which none before Turing has.
    Open,
    /// The proprietary one.
    Proprietary,
}

/// The driver that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Its version: libraries of no other one work with it.
    pub version: Version,
    /// Which kernel module it is.
    pub module: Module,
}

impl Driver {
    /// The driver that is loaded; none if there is none.
    pub fn of(root: &Root) -> Option<Self> {
        Self::parse(&root.text("/proc/driver/nvidia/version")?)
    }

    /// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar …`, or
    /// `… NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build …`.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
        let version =
            line.split_whitespace().filter(|word| word.contains('.')).find_map(|word| word.parse::<Version>().ok())?;
        let open = line.contains("Open Kernel Module");
        Some(Self { version, module: if open { Module::Open } else { Module::Proprietary } })
    }

    /// The newest CUDA that it can run; none for a driver that is newer than dlpack's table.
    pub fn cuda(&self) -> Option<Version> {
        Compatibility::shipped().brought_by(&self.version)
    }
}

/// A GPU as the driver knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Its number, by PCI address, as nvidia-smi(1) counts.
    pub index: usize,
    /// `NVIDIA H100 80GB HBM3` …
    pub model: String,
    /// `GPU-` and 32 digits; none while the driver has not looked at it yet.
    pub uuid: Option<String>,
    /// Its PCI address: `0000:17:00.0`.
    pub pci: String,
    /// Its device is `/dev/nvidia` and this number.
    pub minor: Option<u32>,
    /// What instructions it has, where the driver's own nvidia-smi(1) can tell.
    pub compute_capability: Option<String>,
}

impl Gpu {
    /// All that can be reached, by index; all that the driver knows if there is no device node
    /// at all.
    pub fn all(root: &Root) -> Vec<Self> {
        const GPUS: &str = "/proc/driver/nvidia/gpus";
        let read = |pci: String| Some((root.text(format!("{GPUS}/{pci}/information"))?, pci));
        let known = root.names(GPUS).into_iter().filter_map(read);
        let mut gpus: Vec<Self> =
            known.enumerate().map(|(index, (information, pci))| Self::parse(index, &information, pci)).collect();
        // in a container that has some of them, /proc still tells of all
        let reached = |gpu: &Self| root.find(gpu.node()).is_ok();
        if gpus.iter().any(reached) {
            gpus.retain(reached);
        }
        (0..).zip(&mut gpus).for_each(|(index, gpu)| gpu.index = index);
        gpus
    }

    /// Its device node.
    pub(super) fn node(&self) -> String {
        match self.minor {
            Some(minor) => format!("/dev/nvidia{minor}"),
            None => format!("/dev/nvidia{}", self.index),
        }
    }

    /// `Model:           NVIDIA A100-SXM4-40GB`, a line each.
    fn parse(index: usize, information: &str, pci: String) -> Self {
        let lines = || information.lines().filter_map(|line| line.split_once(':'));
        let field = |name: &str| lines().find(|(field, _)| *field == name).map(|(_, value)| value.trim().to_owned());
        Self {
            index,
            model: field("Model").unwrap_or_else(|| "unknown".to_owned()),
            uuid: field("GPU UUID").filter(|uuid| !uuid.is_empty() && !uuid.contains('?')),
            minor: field("Device Minor").and_then(|minor| minor.parse().ok()),
            pci,
            compute_capability: None,
        }
    }

    /// NVML's brand of such a model, as `NVIDIA_REQUIRE_*` names it.
    pub fn brand(&self) -> &'static str {
        const BRANDS: [(&str, &str); 11] = [
            ("Tesla", "tesla"),
            ("GeForce RTX", "geforcertx"),
            ("GeForce", "geforce"),
            ("Quadro RTX", "quadrortx"),
            ("Quadro", "quadro"),
            ("TITAN RTX", "titanrtx"),
            ("TITAN", "titan"),
            ("GRID", "grid"),
            ("NVS", "nvs"),
            ("NVIDIA RTX", "nvidiartx"),
            ("NVIDIA", "nvidia"),
        ];
        BRANDS.iter().find(|(part, _)| self.model.contains(part)).map_or("unknown", |(_, brand)| brand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_known_by_its_version_and_module() {
        let driver = |text: &str| Driver::parse(text).map(|driver| (driver.version.to_string(), driver.module));
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n\
                      GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)\n";
        assert_eq!(driver(closed), Some(("535.104.05".into(), Module::Proprietary)));
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@U22-I3-AF03-09-1)  Sun Jul 27 07:19:24 UTC 2025\n";
        assert_eq!(driver(open), Some(("580.65.06".into(), Module::Open)));
        assert_eq!(driver("GCC version: gcc 11.4.0\n"), None);
    }
}
