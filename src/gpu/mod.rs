//! GPUs of this machine for containers: from CDI's specifications where there are any, else
//! found as NVIDIA's container toolkit finds them. All of it is read under a [`Root`], so that
//! a made-up machine is as good as a real one.
//!
//! ```text
//! --gpus, [run] gpus ─┐                ┌─ CDI: /etc/cdi, /var/run/cdi ──────────┐
//!                     ├─▶ Selection ─▶─┤                                        ├─▶ run::Devices
//! the image's NVIDIA_ ┘                └─ /proc/driver/nvidia, /dev, ld.so.cache ┘
//! ```

mod cdi;
mod compatibility;
mod discovery;
mod driver;
mod error;
mod facts;
mod given;
mod ld_cache;
mod libraries;
mod mig;
mod requirement;
mod root;
mod selection;
mod smi;
mod version;

use std::collections::BTreeMap;

use cdi::Registry;
use discovery::Capabilities;
use given::Collected;
use requirement::Machine;

use crate::sandbox::Rootfs;

pub use compatibility::{Compatibility, Fit, fit};
pub use driver::{Driver, Gpu, Module};
pub use error::Error;
pub use facts::{Card, Facts, Specification, facts};
pub use given::Given;
pub use root::Root;
pub use selection::Selection;
pub use version::Version;

/// The kind of NVIDIA's GPUs in CDI.
const KIND: &str = "nvidia.com/gpu";

/// What a container of `image` is given of the GPUs of `root`: what `gpus` names, or else what
/// the variables `env` do, which are the image's and a person's over them.
///
/// # Errors
/// [`Error`], if a person wants what can't be had. Where only the image does, that is a warning,
/// and nothing at all on a machine without a driver.
pub fn devices(
    root: &Root,
    gpus: Option<&str>,
    env: &BTreeMap<String, String>,
    image: &Rootfs,
) -> Result<Given, Error> {
    if let Some(text) = gpus {
        let selection = text.parse().map_err(|why| Error::Selection { text: text.to_owned(), why })?;
        return select(root, &selection, env, image);
    }
    match select(root, &Selection::of_image(env), env, image) {
        Err(Error::NoDriver { .. }) => Ok(Given::default()),
        Err(error) => {
            let warnings = vec![format!("the image asks for GPUs, and gets none: {error}")];
            Ok(Given { warnings, ..Given::default() })
        }
        given => given,
    }
}

/// Whether `root` has GPUs for containers.
pub fn is_there(root: &Root) -> bool {
    Registry::open(root).has(KIND) || Driver::of(root).is_some() && !Gpu::all(root).is_empty()
}

fn select(root: &Root, selection: &Selection, env: &BTreeMap<String, String>, image: &Rootfs) -> Result<Given, Error> {
    if *selection == Selection::Nothing {
        return Ok(Given::default());
    }
    let mut collected = Collected::default();
    let driver = Driver::of(root);
    let gpus = Gpu::all(root);
    let mut registry = Registry::open(root);
    match qualified(&registry, selection, &gpus)? {
        Some(names) => {
            if let Some(driver) = &driver {
                let asked = named_gpus(&gpus, &names);
                Machine::new(root, driver, &asked).satisfies(env)?;
            }
            registry.give(root, &names, &mut collected)?;
        }
        None => {
            // it may be what would have described them
            if let Some(error) = registry.take_malformed() {
                return Err(error);
            }
            let driver = driver.as_ref().ok_or_else(|| Error::NoDriver {
                path: root.at("/proc/driver/nvidia/version"),
                card: !facts::cards(root).is_empty(),
            })?;
            if gpus.is_empty() {
                return Err(Error::NoGpu { version: driver.version.to_string() });
            }
            let selected = discovery::selected(&gpus, selection)?;
            Machine::new(root, driver, &selected).satisfies(env)?;
            let capabilities = Capabilities::of(env.get(discovery::CAPABILITIES).map(String::as_str));
            discovery::give(root, driver, &selected, selection, &capabilities, &mut collected)?;
        }
    }
    Ok(collected.complete(image, driver.as_ref().map(|driver| &driver.version)))
}

/// The CDI devices that `selection` names, each with its kind; none if CDI has nothing of them.
fn qualified(registry: &Registry, selection: &Selection, gpus: &[Gpu]) -> Result<Option<Vec<(String, String)>>, Error> {
    let ours = |name: &str| (KIND.to_owned(), name.to_owned());
    let names = match selection {
        Selection::Named(names) => names,
        _ if !registry.has(KIND) => return Ok(None),
        // most specifications have a device that is all of them
        _ if registry.names(KIND).contains(&"all") => return Ok(Some(vec![ours("all")])),
        _ => return Ok(Some(registry.names(KIND).into_iter().map(ours).collect())),
    };
    let mut devices = Vec::new();
    for name in names {
        match name.split_once('=') {
            Some((kind, name)) if registry.has(kind) => devices.push((kind.to_owned(), name.to_owned())),
            _ if !registry.has(KIND) => return Ok(None),
            _ => devices.push(ours(&index_of(registry, gpus, name)?)),
        }
    }
    Ok(Some(devices))
}

/// What CDI calls the GPU `name`: itself, or the index of the GPU with that UUID.
fn index_of(registry: &Registry, gpus: &[Gpu], name: &str) -> Result<String, Error> {
    if registry.names(KIND).contains(&name) || !name.starts_with("GPU-") {
        return Ok(name.to_owned());
    }
    let selection = Selection::Named(vec![name.to_owned()]);
    let gpu = discovery::selected(gpus, &selection)?;
    let index =
        gpu.first().map(|gpu| gpu.index.to_string()).filter(|index| registry.names(KIND).contains(&index.as_str()));
    Ok(index.unwrap_or_else(|| name.to_owned()))
}

/// Those of `gpus` that the CDI devices `names` are of; all if that can't be told.
fn named_gpus<'a>(gpus: &'a [Gpu], names: &[(String, String)]) -> Vec<&'a Gpu> {
    let is = |gpu: &&Gpu| {
        let (index, uuid) = (gpu.index.to_string(), gpu.uuid.as_deref());
        names
            .iter()
            .any(|(_, name)| *name == index || Some(name.as_str()) == uuid || name.split(':').next() == Some(&index))
    };
    let named: Vec<&Gpu> = gpus.iter().filter(is).collect();
    if named.is_empty() { gpus.iter().collect() } else { named }
}
