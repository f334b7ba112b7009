//! The parts of a divided GPU (MIG), as the driver tells of them without CDI.

use super::Root;
use super::driver::Gpu;
use super::given::Collected;

/// A part of a divided GPU that programs can use: a compute instance.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    /// `gi1/ci0`.
    name: String,
    /// The device nodes that it takes: those of the GPU instance and of the compute instance.
    nodes: [String; 2],
}

/// Adds the nodes of those parts of `gpu` that the caller may use to `collected`. A divided GPU
/// of which no part can be used is one that no program sees, which a person should know.
pub(super) fn give(root: &Root, gpu: &Gpu, collected: &mut Collected) {
    let (mut given, mut refused) = (false, None);
    for Part { name, nodes } in parts(root, gpu) {
        let found = nodes.iter().try_for_each(|node| collected.required(root, node));
        match found {
            Ok(()) => given = true,
            Err(error) => refused = refused.or(Some((name, error))),
        }
    }
    // in a job that has one of them, the nodes of the others are not there
    if let Some((name, error)) = refused.filter(|_| !given) {
        collected.warn(format!(
            "GPU {} is divided (MIG), and no part of it can be used: of {name}, {error}{}",
            gpu.index,
            error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default()
        ));
    }
}

/// MIG User Guide, "/proc based capabilities": a directory `mig` for each divided GPU, in it one for
/// each GPU instance and in that one for each compute instance, which say the minor numbers of
/// their nodes.
fn parts(root: &Root, gpu: &Gpu) -> Vec<Part> {
    let Some(minor) = gpu.minor else { return Vec::new() };
    let directory = format!("/proc/driver/nvidia/capabilities/gpu{minor}/mig");
    let node = |directory: &str| {
        let access = root.text(format!("{directory}/access"))?;
        let number = access.lines().find_map(|line| line.strip_prefix("DeviceFileMinor:"))?.trim().to_owned();
        Some(format!("/dev/nvidia-caps/nvidia-cap{number}"))
    };
    let below = |directory: &str, kind: &'static str| {
        root.names(directory).into_iter().filter(move |name| name.starts_with(kind))
    };
    let mut parts = Vec::new();
    for gi in below(&directory, "gi") {
        let whole = format!("{directory}/{gi}");
        for ci in below(&whole, "ci") {
            let nodes = node(&whole).zip(node(&format!("{whole}/{ci}")));
            parts.extend(nodes.map(|(gpu, compute)| Part { name: format!("{gi}/{ci}"), nodes: [gpu, compute] }));
        }
    }
    parts
}
