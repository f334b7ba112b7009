//! What a manifest says of what dlpack added to the base, so that it can be added to another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::changeset::ANNOTATION_LAYER;
use crate::lock::{Lock, LockedBase};
use crate::oci::{Amendment, Descriptor, Digest, Manifest, Platform};
use crate::plan::Plan;
use crate::recipe::{Config, LayerKind};

/// The annotation of a manifest that has [`Added`], as JSON.
pub(super) const ANNOTATION_ADDED: &str = "dev.dlpack.added";

/// What was added to a base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Added {
    /// How many layers: the uppermost ones of the image.
    pub layers: usize,
    /// What it was made for.
    pub platform: Platform,
    /// What stands for the base's account files, where a layer amends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_files: Option<Digest>,
    /// What was done to its config.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<Amendment>,
}

impl Added {
    /// What `manifest` tells; nothing if it doesn't, or tells of more layers than it has.
    pub fn told_by(manifest: &Manifest) -> Option<Self> {
        let told: Self = serde_json::from_str(manifest.annotations.get(ANNOTATION_ADDED)?).ok()?;
        Some(told).filter(|told| told.layers <= manifest.layers.len())
    }

    /// How many layers of `manifest` are its base's: by what it tells, or else those below the first
    /// that dlpack made. The base may be an image of dlpack's, too: only a count says then whose
    /// they are.
    pub fn base_layers(manifest: &Manifest) -> usize {
        let made = |layer: &&Descriptor| layer.annotations.contains_key(ANNOTATION_LAYER);
        match Self::told_by(manifest) {
            Some(added) => manifest.layers.len() - added.layers,
            None => manifest.layers.iter().take_while(|layer| !made(layer)).count(),
        }
    }

    /// What `plan`, which is of `lock`, adds in `layers` layers.
    pub(super) fn of(lock: &Lock, plan: &Plan, layers: usize) -> Self {
        let has_account = lock.recipe.layers.iter().any(|layer| matches!(layer.kind, LayerKind::Account(_)));
        let of_layers = plan.steps.iter().flat_map(|step| step.changeset.amendments());
        Self {
            layers,
            platform: lock.platform.clone(),
            account_files: has_account.then(|| account_files(&lock.base)),
            config: of_layers.chain(of_recipe(&lock.recipe.config)).collect(),
        }
    }
}

/// What stands for the account files of a base, and for the skeleton of a home.
pub fn account_files(base: &LockedBase) -> Digest {
    Digest::of(serde_json::json!(base.files).to_string().as_bytes())
}

/// The recipe's config over what base and layers say: env, labels and ports are added to,
/// everything else is replaced.
fn of_recipe(recipe: &Config) -> Vec<Amendment> {
    let port = |port: &String| if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
    // Only a value with a `$` depends on the base.
    let (of_base, plain): (BTreeMap<_, _>, BTreeMap<_, _>) =
        recipe.env.clone().into_iter().partition(|(_, value)| value.contains('$'));
    let of_base = Some(of_base).filter(|values| !values.is_empty()).map(Amendment::EnvFrom);
    let env = of_base.into_iter().chain(plain.into_iter().map(|(name, value)| Amendment::Env(name, value)));
    let labels = recipe.labels.iter().map(|(name, value)| Amendment::Label(name.clone(), value.clone()));
    let ports = recipe.expose.iter().map(|exposed| Amendment::Expose(port(exposed)));
    env.chain(labels)
        .chain(ports)
        .chain(recipe.workdir.clone().map(Amendment::Workdir))
        .chain(recipe.user.clone().map(Amendment::User))
        .chain(recipe.entrypoint.clone().map(Amendment::Entrypoint))
        .chain(recipe.cmd.clone().map(Amendment::Cmd))
        .collect()
}
