//! Proving an image: everything is made again from the lock, and held against what a
//! registry has.

use std::fmt;

use serde::Serialize;

use super::Error;
use super::appended::Appended;
use super::build::{self, Built};
use super::delivery::Destination;
use super::pull::{Described, describe_stored};
use super::work::Work;
use crate::changeset::{ANNOTATION_KEY, ANNOTATION_LAYER};
use crate::oci::{Descriptor, DiffId, Digest};
use crate::plan::Plan;

/// Whether something is what the lock makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It is, byte for byte.
    Proved,
    /// It is not.
    Differs,
    /// Nobody can say here: it was made in a sandbox that had to do without something.
    Unproved,
}

/// Why something is not proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The image lacks a layer.
    Missing,
    /// It has a layer more.
    Surplus,
    /// Its base is another one.
    Base,
    /// It says of itself that it was made from other inputs.
    Inputs,
    /// The tar is the same, and not the blob.
    Compression,
    /// The inputs are the same, and not the tar.
    Bytes,
    /// The sandbox here had to do without something.
    Sandbox,
}

/// A layer as a manifest and a config have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob {
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its tar.
    pub diff_id: Option<DiffId>,
}

/// A layer of the image, of the lock, or of both.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Which it is, from 1.
    pub position: usize,
    /// The name of the recipe's layer; none for one of the base.
    pub layer: Option<String>,
    /// What is in it, in a few words.
    pub what: String,
    /// Whether it is what the lock makes.
    pub verdict: Verdict,
    /// If not, why.
    pub reason: Option<Reason>,
    /// What the registry has.
    pub expected: Option<Blob>,
    /// What was made here; for the base, what the lock says.
    pub made: Option<Blob>,
}

/// A config or a manifest.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Compared {
    /// Whether it is what the lock makes.
    pub verdict: Verdict,
    /// What the registry has.
    pub expected: Digest,
    /// What was made here.
    pub made: Digest,
}

/// What a verification found.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The layers, lowest first.
    pub layers: Vec<Checked>,
    /// The config.
    pub config: Compared,
    /// The manifest.
    pub manifest: Compared,
}

impl Verified {
    /// The worst that is said of any part.
    pub fn verdict(&self) -> Verdict {
        // The manifest has the digests of all the rest.
        self.manifest.verdict
    }
}

/// Makes every layer of `plan` again and holds all of them, config and manifest against
/// `image`. `plan` and the store of `work` are to know of no layer, so that none is taken on
/// trust: see [`crate::store::Store::apart`]. Blobs that no step sees are not kept.
///
/// # Errors
/// Those of a build; that something differs is none.
pub async fn verify(work: &Work<'_>, plan: &Plan, image: &Described) -> Result<Verified, Error> {
    let built = build::image(work, plan, Destination::Nowhere).await?;
    let made = describe_stored(work.store, &built.image.descriptor)?;
    let count = image.manifest.layers.len().max(made.manifest.layers.len());
    let mut layers: Vec<Checked> = Vec::with_capacity(count);
    for at in 0..count {
        layers.push(check(at, image, &made, plan, &built, &layers));
    }
    let differs = layers.iter().any(|layer| layer.verdict == Verdict::Differs);
    // The manifest says of each layer what it was made without, even if the layer shows nothing of it.
    let lacking = built.layers.iter().any(|layer| !layer.lacks.is_empty());
    let unproved = lacking || layers.iter().any(|layer| layer.verdict == Verdict::Unproved);
    let compare = |expected: Digest, made: Digest| {
        // It names its layers: one that may be right elsewhere may make it right, too.
        let verdict = match expected == made {
            true => Verdict::Proved,
            false if unproved && !differs => Verdict::Unproved,
            false => Verdict::Differs,
        };
        Compared { verdict, expected, made }
    };
    let config = compare(image.manifest.config.digest, made.manifest.config.digest);
    let manifest = compare(image.descriptor.digest, made.descriptor.digest);
    Ok(Verified { layers, config, manifest })
}

/// What is to be said of the layer `at`, from 0, over those of `before`.
fn check(at: usize, image: &Described, made: &Described, plan: &Plan, built: &Built, before: &[Checked]) -> Checked {
    let (expected, ours) = (blob(image, at), blob(made, at));
    let base = built.image.base_layers;
    // One that is in parts has several layers of the image.
    let parts = |(step, layer): (usize, &Appended)| std::iter::repeat_n(step, layer.record.count());
    let steps: Vec<usize> = built.layers.iter().enumerate().flat_map(parts).collect();
    let step = at.checked_sub(base).and_then(|at| steps.get(at).copied());
    let step = step.and_then(|step| Some((plan.steps.get(step)?, built.layers.get(step)?)));
    let unproved = |under: &usize| {
        let mut below = before.iter().skip(base).zip(&steps).filter(|(_, step)| *step == under);
        below.any(|(below, _)| below.verdict == Verdict::Unproved)
    };
    let key = |of: &Described| of.manifest.layers.get(at)?.annotations.get(ANNOTATION_KEY).cloned();
    let reason = match (&expected, &ours) {
        (Some(expected), Some(ours)) if expected == ours => None,
        (None, _) => Some(Reason::Missing),
        (_, None) => Some(Reason::Surplus),
        _ if at < base => Some(Reason::Base),
        // What it was made on may be wrong here alone.
        _ if step.is_some_and(|(step, _)| step.under.iter().any(unproved)) => Some(Reason::Sandbox),
        // That is part of the key, too.
        _ if step.is_some_and(|(_, made)| !made.lacks.is_empty()) => Some(Reason::Sandbox),
        _ if key(image) != key(made) => Some(Reason::Inputs),
        (Some(expected), Some(ours)) if expected.diff_id == ours.diff_id => Some(Reason::Compression),
        _ => Some(Reason::Bytes),
    };
    let told = || history(image, at).unwrap_or_default();
    let said = |name: &str| image.manifest.layers.get(at)?.annotations.get(name).cloned();
    Checked {
        position: at + 1,
        layer: step.map(|(step, _)| step.layer.clone()).or_else(|| said(ANNOTATION_LAYER)),
        what: step.map_or_else(told, |(step, _)| step.title()),
        verdict: match reason {
            None => Verdict::Proved,
            Some(Reason::Sandbox) => Verdict::Unproved,
            Some(_) => Verdict::Differs,
        },
        reason,
        expected,
        made: ours,
    }
}

fn blob(of: &Described, at: usize) -> Option<Blob> {
    let Descriptor { digest, size, .. } = of.manifest.layers.get(at)?;
    Some(Blob { digest: *digest, size: *size, diff_id: of.config.rootfs.diff_ids.get(at).copied() })
}

/// How a layer was made, as the config says.
fn history(of: &Described, at: usize) -> Option<String> {
    let entry = of.config.history.iter().filter(|entry| !entry.empty_layer).nth(at)?;
    entry.created_by.clone().or_else(|| entry.comment.clone())
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Proved => "proved",
            Self::Differs => "differs",
            Self::Unproved => "unproved",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the image lacks it",
            Self::Surplus => "the lock has no such layer",
            Self::Base => "no layer of the locked base",
            Self::Inputs => "made from other inputs",
            Self::Compression => "the same tar, compressed otherwise",
            Self::Bytes => "the same inputs gave other bytes",
            Self::Sandbox => "the sandbox here had to do without something",
        })
    }
}
