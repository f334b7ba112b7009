//! What a machine has of GPUs, their driver, and what gives them to containers.

use std::path::{Path, PathBuf};

use super::cdi::Registry;
use super::driver::{Driver, Gpu};
use super::{Error, Root, smi};

/// What a machine has of GPUs.
#[derive(Debug, Default)]
pub struct Facts {
    /// NVIDIA's display controllers on the PCI bus, whether there is a driver for them or not.
    pub cards: Vec<Card>,
    /// The driver that is loaded.
    pub driver: Option<Driver>,
    /// The GPUs that it knows, by index.
    pub gpus: Vec<Gpu>,
    /// What the loader's cache has of the driver's libraries: none of them is a driver without
    /// its user-space half, or half an update.
    pub libraries: Vec<PathBuf>,
    /// CDI's specifications.
    pub cdi: Vec<Specification>,
    /// The program of the container toolkit that was found.
    pub toolkit: Option<PathBuf>,
}

/// A display controller on the PCI bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its PCI address: `0000:17:00.0`.
    pub address: String,
    /// The vendor's number of the model: `0x2330` …
    pub device: String,
}

/// A CDI specification.
#[derive(Debug)]
pub struct Specification {
    /// Its file.
    pub path: PathBuf,
    /// Its kind, `nvidia.com/gpu`, and the names of its devices; or why it is none.
    pub devices: Result<(String, Vec<String>), Error>,
}

/// What the machine whose `/` is `root` has of GPUs. Reads files, and asks the driver's
/// nvidia-smi(1) for compute capabilities where there is one.
pub fn facts(root: &Path) -> Facts {
    let root = &Root::new(root);
    let mut gpus = Gpu::all(root);
    if !gpus.is_empty() {
        let mut known = smi::compute_capabilities(root);
        gpus.iter_mut().for_each(|gpu| gpu.compute_capability = known.remove(&gpu.pci));
    }
    let driver = Driver::of(root);
    let libraries = driver.as_ref().map(|driver| super::libraries::of(root, &driver.version));
    Facts {
        cards: cards(root),
        gpus,
        libraries: libraries.unwrap_or_default().into_iter().map(|library| library.path).collect(),
        driver,
        cdi: Registry::open(root).into_specifications(),
        toolkit: ["nvidia-ctk", "nvidia-container-cli"].iter().find_map(|name| root.program(name)),
    }
}

/// sysfs-bus-pci: NVIDIA's vendor number, and the class of display controllers.
pub(super) fn cards(root: &Root) -> Vec<Card> {
    const DEVICES: &str = "/sys/bus/pci/devices";
    let card = |address: String| {
        let field = |name: &str| Some(root.text(format!("{DEVICES}/{address}/{name}"))?.trim().to_owned());
        let ours = field("vendor")? == "0x10de" && field("class")?.starts_with("0x03");
        let device = field("device")?;
        ours.then_some(Card { address, device })
    };
    root.names(DEVICES).into_iter().filter_map(card).collect()
}
