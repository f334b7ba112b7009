//! What registries refuse: layers that are too large or take too long, manifests that are too
//! long. The figures are those of their manuals; see docs/registries.md.

use std::time::Duration;

use serde::Serialize;

use super::{Plan, Step};
use crate::changeset::Told;
use crate::oci::MAX_MANIFEST;
use crate::store::Rate;

/// Every registry's limits: hosts, or ends of hosts that begin with a dot; the longest layer in
/// bytes, the longest upload of one.
const KNOWN: [(&str, u64, Option<Duration>); 2] = [
    // GitHub's manual, "Working with the Container registry": "10 GB size limit for each layer",
    // "10 minute timeout limit for uploads"
    ("ghcr.io", 10_000_000_000, Some(Duration::from_secs(600))),
    // Amazon ECR's manual, "service quotas": "Maximum layer size … 52,000 … MiB"
    (".amazonaws.com", 52_000 << 20, None),
];

/// About how many bytes a layer takes in a manifest besides what is told of its inputs.
const DESCRIPTOR: u64 = 512;

/// What a registry refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest layer, in bytes, where the registry has such a limit.
    pub layer: Option<u64>,
    /// The longest that the upload of a layer may take.
    pub upload: Option<Duration>,
    /// The longest manifest, in bytes. distribution-spec: "at least 4 megabytes".
    pub manifest: u64,
}

/// Something that the registry would refuse.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "limit", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Exceeded {
    /// A layer.
    Layer {
        /// What is in it.
        layer: String,
        /// Its bytes, or those of what it will be made of.
        bytes: u64,
        /// How many the registry takes.
        most: u64,
        /// The registry.
        registry: String,
    },
    /// How long a layer's upload takes.
    Upload {
        /// What is in it.
        layer: String,
        /// How long it takes, in seconds, at the rate of the last push.
        seconds: u64,
        /// How long the registry waits, in seconds.
        most: u64,
        /// The registry.
        registry: String,
    },
    /// The manifest.
    Manifest {
        /// How long it will be at least, in bytes.
        bytes: u64,
        /// How long it may be.
        most: u64,
    },
}

impl Limits {
    /// Those of `registry`, `host` or `host:port`.
    pub fn of(registry: &str) -> Self {
        let is_it = |known: &str| registry == known || known.starts_with('.') && registry.ends_with(known);
        let found = KNOWN.iter().find(|(known, ..)| is_it(known));
        Self { layer: found.map(|found| found.1), upload: found.and_then(|found| found.2), manifest: MAX_MANIFEST }
    }

    /// What of the layers of `plan` that are not `present` in `registry` it would refuse, and
    /// whether the manifest, if that of the base has `base_manifest` bytes; `rate` is how fast it takes layers.
    pub fn exceeded(
        &self,
        plan: &Plan,
        present: &[bool],
        base_manifest: u64,
        registry: &str,
        rate: Option<&Rate>,
    ) -> Vec<Exceeded> {
        let absent = plan.steps.iter().zip(present).filter(|(_, present)| !**present).map(|(step, _)| step);
        let mut exceeded: Vec<Exceeded> =
            absent.flat_map(|step| self.of_layer(step, plan.ceiling, registry, rate)).collect();
        let told: Vec<Told> = plan.steps.iter().map(|step| step.inputs.told(None)).collect();
        let told = Told::annotations(&told).iter().flatten().map(String::len).sum::<usize>() as u64;
        let bytes = base_manifest + told + DESCRIPTOR * plan.steps.len() as u64;
        if bytes > self.manifest {
            exceeded.push(Exceeded::Manifest { bytes, most: self.manifest });
        }
        exceeded
    }

    fn of_layer(&self, step: &Step, ceiling: u64, registry: &str, rate: Option<&Rate>) -> Option<Exceeded> {
        let (bytes, layer, registry) = (longest_part(step, ceiling), step.title(), registry.to_owned());
        match (self.layer, self.upload, rate.map(|rate| rate.span(bytes))) {
            (Some(most), ..) if bytes > most => Some(Exceeded::Layer { layer, bytes, most, registry }),
            (_, Some(most), Some(span)) if span > most => {
                Some(Exceeded::Upload { layer, seconds: span.as_secs(), most: most.as_secs(), registry })
            }
            _ => None,
        }
    }
}

/// About how long the longest part of a layer is, in bytes: what is longer than one may be is
/// cut, but no file.
fn longest_part(step: &Step, ceiling: u64) -> u64 {
    if let Some(record) = step.place.record() {
        return record.parts().map(|part| part.descriptor.size).max().unwrap_or_default();
    }
    let files = step.inputs.contents().iter().filter(|_| step.inputs.kind() == "files");
    let longest = files.map(|file| file.bytes).max().unwrap_or_default();
    step.size().bytes.min(ceiling).max(longest)
}
