//! What a container is given of a machine without CDI: devices, libraries and programs as the
//! container toolkit finds them.

use std::collections::BTreeSet;
use std::path::Path;

use super::driver::{Driver, Gpu};
use super::given::Collected;
use super::libraries::{self, Library};
use super::selection::VISIBLE_DEVICES;
use super::{Error, Root, Selection, mig};
use crate::sandbox::{Link, MountKind};

/// The variable by which images say what of the driver they need.
pub(super) const CAPABILITIES: &str = "NVIDIA_DRIVER_CAPABILITIES";

/// What an image needs if it does not say so.
const DEFAULT: &str = "compute,utility";

/// What programs need a part of the driver for, and its libraries: libnvidia-container,
/// `src/nvc_info.c`.
const LIBRARIES: [(&str, &[&str]); 6] = [
    ("utility", &["libnvidia-ml", "libnvidia-cfg", "libnvidia-nscq"]),
    (
        "compute",
        &[
            "libcuda",
            "libcudadebugger",
            "libnvidia-opencl",
            "libnvidia-gpucomp",
            "libnvidia-ptxjitcompiler",
            "libnvidia-fatbinaryloader",
            "libnvidia-allocator",
            "libnvidia-compiler",
            "libnvidia-pkcs11",
            "libnvidia-pkcs11-openssl3",
            "libnvidia-nvvm",
            "libnvidia-tileiras",
        ],
    ),
    ("video", &["libvdpau_nvidia", "libnvidia-encode", "libnvidia-opticalflow", "libnvcuvid"]),
    (
        "graphics",
        &[
            "libnvidia-egl-gbm",
            "libnvidia-egl-wayland",
            "libnvidia-eglcore",
            "libnvidia-glcore",
            "libnvidia-tls",
            "libnvidia-glsi",
            "libnvidia-fbc",
            "libnvidia-ifr",
            "libnvidia-rtcore",
            "libnvoptix",
            "libnvidia-glvkspirv",
            "libnvidia-cbl",
            "libnvidia-gpucomp",
            "libGLX_nvidia",
            "libEGL_nvidia",
            "libGLESv2_nvidia",
            "libGLESv1_CM_nvidia",
        ],
    ),
    ("display", &["libnvidia-eglcore", "libnvidia-glcore", "libnvidia-tls", "libnvidia-glsi", "libGLX_nvidia"]),
    ("ngx", &["libnvidia-ngx"]),
];

/// The same with its programs.
const PROGRAMS: [(&str, &[&str]); 2] = [
    ("utility", &["nvidia-smi", "nvidia-debugdump", "nvidia-persistenced"]),
    ("compute", &["nvidia-cuda-mps-control", "nvidia-cuda-mps-server"]),
];

/// What a container needs of the driver.
pub(super) struct Capabilities(BTreeSet<String>);

impl Capabilities {
    /// Those that `value`, of `NVIDIA_DRIVER_CAPABILITIES`, names.
    pub fn of(value: Option<&str>) -> Self {
        // "empty or unset: use default driver capability"
        let value = value.filter(|value| !value.trim().is_empty()).unwrap_or(DEFAULT);
        Self(value.split(',').map(|name| name.trim().to_owned()).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains("all") || self.0.contains(name)
    }

    fn names<'a>(&self, table: &'a [(&str, &[&str])]) -> impl Iterator<Item = &'a str> {
        table.iter().filter(|(name, _)| self.has(name)).flat_map(|(_, names)| names.iter().copied())
    }
}

/// Those of `gpus` that `selection` names.
pub(super) fn selected<'a>(gpus: &'a [Gpu], selection: &Selection) -> Result<Vec<&'a Gpu>, Error> {
    let Selection::Named(names) = selection else { return Ok(gpus.iter().collect()) };
    let mut selected: Vec<&Gpu> = Vec::new();
    for name in names {
        let gpu = one(gpus, name)?;
        if !selected.contains(&gpu) {
            selected.push(gpu);
        }
    }
    Ok(selected)
}

/// The GPU of this index, this UUID or its beginning, or this PCI address.
fn one<'a>(gpus: &'a [Gpu], name: &str) -> Result<&'a Gpu, Error> {
    let name = name.strip_prefix("nvidia.com/gpu=").unwrap_or(name);
    let is = |gpu: &&Gpu| match name.parse::<usize>() {
        Ok(index) => gpu.index == index,
        Err(_) => {
            gpu.pci == name
                || name.starts_with("GPU-") && gpu.uuid.as_deref().is_some_and(|uuid| uuid.starts_with(name))
        }
    };
    let mut found = gpus.iter().filter(is);
    match (found.next(), found.next()) {
        (Some(gpu), None) => Ok(gpu),
        (Some(_), Some(_)) => Err(Error::Ambiguous { name: name.to_owned() }),
        (None, _) => {
            let known = gpus.iter().map(|gpu| match &gpu.uuid {
                Some(uuid) => format!("{} ({uuid})", gpu.index),
                None => gpu.index.to_string(),
            });
            Err(Error::Unknown { name: name.to_owned(), known: known.collect() })
        }
    }
}

/// Adds what the `gpus` that were selected need to `collected`.
pub(super) fn give(
    root: &Root,
    driver: &Driver,
    gpus: &[&Gpu],
    selection: &Selection,
    capabilities: &Capabilities,
    collected: &mut Collected,
) -> Result<(), Error> {
    nodes(root, gpus, capabilities, collected)?;
    for library in libraries(root, driver, capabilities)? {
        let to = library.path.to_string_lossy().into_owned();
        let directory = to.rsplit_once('/').map_or("/", |(directory, _)| directory);
        collected.devices.links.extend(links(&library, directory));
        collected.mount(root.at(&library.path), &to, MountKind::ReadOnly);
    }
    collected.libraries([]);
    for program in capabilities.names(&PROGRAMS).filter_map(|name| root.program(name)) {
        collected.mount(root.at(&program), &format!("/usr/bin/{}", file_name(&program)), MountKind::ReadOnly);
    }
    collected.compatibility(super::cdi::COMPATIBILITY.to_owned(), Some(driver.version.to_string()));
    let visible = match selection {
        Selection::Named(_) => {
            gpus.iter().map(|gpu| gpu.uuid.clone().unwrap_or_else(|| gpu.index.to_string())).collect()
        }
        _ => vec!["all".to_owned()],
    };
    collected.devices.env.insert(VISIBLE_DEVICES.to_owned(), visible.join(","));
    Ok(())
}

/// The driver's device nodes.
fn nodes(root: &Root, gpus: &[&Gpu], capabilities: &Capabilities, collected: &mut Collected) -> Result<(), Error> {
    let mut needed = vec!["/dev/nvidiactl".to_owned()];
    if capabilities.has("compute") {
        needed.push("/dev/nvidia-uvm".to_owned());
    }
    needed.extend(gpus.iter().map(|gpu| gpu.node()));
    for path in needed {
        collected.required(root, &path)?;
    }
    for gpu in gpus {
        mig::give(root, gpu, collected);
    }
    // tools' and screens', and nothing that computes needs them
    for path in ["/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"] {
        let _ = collected.required(root, path);
    }
    Ok(())
}

/// The driver's libraries that are needed.
fn libraries(root: &Root, driver: &Driver, capabilities: &Capabilities) -> Result<Vec<Library>, Error> {
    let needed: BTreeSet<&str> = capabilities.names(&LIBRARIES).collect();
    let all = libraries::of(root, &driver.version);
    for (capability, library) in [("compute", "libcuda"), ("utility", "libnvidia-ml")] {
        if capabilities.has(capability) && !all.iter().any(|found| found.name() == library) {
            return Err(Error::NoLibrary { library: library.to_owned(), version: driver.version.to_string() });
        }
    }
    let wanted =
        |library: &Library| needed.contains(library.name()) && (!library.compat32 || capabilities.has("compat32"));
    Ok(all.into_iter().filter(wanted).collect())
}

/// The links that lead to `library` in `directory`.
fn links(library: &Library, directory: &str) -> Vec<Link> {
    let link = |name: &str, target: &str| Link { target: target.to_owned(), path: format!("{directory}/{name}") };
    let file = file_name(&library.path);
    let mut links: Vec<Link> = library.links.iter().map(|name| link(name, &file)).collect();
    // container toolkit: many programs load libcuda.so, which packages for developers bring
    for (name, soname) in [("libcuda", "libcuda.so.1"), ("libnvidia-opticalflow", "libnvidia-opticalflow.so.1")] {
        if library.name() == name {
            let bare = format!("{name}.so");
            links.retain(|link| !link.path.ends_with(&format!("/{bare}")));
            links.push(link(&bare, soname));
        }
    }
    // libglvnd looks for the vendor of an X server without one by this name
    if library.name() == "libGLX_nvidia" {
        links.push(link("libGLX_indirect.so.0", &file));
    }
    links
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
