//! Image = config + manifest + layers, and what is appended to them.

use super::annotations;
use super::build::Appended;
use crate::lock::Lock;
use crate::oci::{DEFAULT_PATH, Descriptor, Digest, History, ImageConfig, Manifest, media_type};
use crate::plan::Plan;
use crate::recipe::Config;

/// An image whose config and manifest are in the store.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How many of its layers are the base's.
    pub base_layers: usize,
}

/// The base that layers are appended to: its config and its layers' descriptors.
pub(super) struct Base {
    pub config: ImageConfig,
    pub layers: Vec<Descriptor>,
    pub manifest: Option<Digest>,
    pub name: Option<String>,
}

/// Config and manifest of `plan`'s layers over `base`, as bytes. `finished` are
/// those layers, one a step.
pub(super) fn compose(
    base: Base,
    lock: &Lock,
    plan: &Plan,
    finished: &[Appended],
    epoch: u64,
) -> Result<(Vec<u8>, Manifest), serde_json::Error> {
    let created = timestamp(epoch);
    let mut config = base.config;
    config.os.clone_from(&lock.platform.os);
    config.architecture.clone_from(&lock.platform.architecture);
    if config.variant.is_none() {
        config.variant.clone_from(&lock.platform.variant);
    }
    config.created = Some(created.clone());
    pad_history(&mut config, base.layers.len());
    let mut layers = base.layers;
    let annotations = annotations::of(plan, finished);
    for ((step, layer), annotations) in plan.steps.iter().zip(finished).zip(annotations) {
        config.rootfs.diff_ids.push(layer.record.diff_id);
        config.history.push(History {
            created: Some(created.clone()),
            created_by: Some(step.inputs.summary().to_owned()),
            ..History::default()
        });
        layers.push(Descriptor { annotations, ..layer.record.descriptor.clone() });
    }
    if config.config.env("PATH").is_none() {
        config.config.set_env("PATH", DEFAULT_PATH);
    }
    for step in &plan.steps {
        step.changeset.configure(&mut config);
    }
    apply(&lock.recipe.config, &mut config);

    let config = serde_json::to_vec(&config)?;
    let mut manifest = Manifest::new(Descriptor::of(media_type::CONFIG, &config), layers);
    // annotations.md: "base.digest … MUST be the digest of the image this image is based on"
    if let Some(digest) = base.manifest {
        manifest.annotations.insert("org.opencontainers.image.base.digest".into(), digest.to_string());
    }
    if let Some(name) = base.name {
        manifest.annotations.insert(annotations::BASE_NAME.into(), name);
    }
    Ok((config, manifest))
}

/// Docker refuses a history that has fewer layers than the image; a base without
/// one gets an entry for each of its layers.
fn pad_history(config: &mut ImageConfig, layers: usize) {
    let told = config.history.iter().filter(|entry| !entry.empty_layer).count();
    for _ in told..layers {
        config.history.push(History { comment: Some("a layer of the base".into()), ..History::default() });
    }
}

/// The recipe's config over what base and layers say: env and labels are merged,
/// everything else replaces.
fn apply(recipe: &Config, config: &mut ImageConfig) {
    let container = &mut config.config;
    for (name, value) in &recipe.env {
        container.set_env(name, value);
    }
    if !recipe.labels.is_empty() {
        container.labels.get_or_insert_default().extend(recipe.labels.clone());
    }
    for port in &recipe.expose {
        container.expose(&if port.contains('/') { port.clone() } else { format!("{port}/tcp") });
    }
    if let Some(workdir) = &recipe.workdir {
        container.working_dir = Some(workdir.clone());
    }
    if let Some(user) = &recipe.user {
        container.user = Some(user.clone());
    }
    if let Some(entrypoint) = &recipe.entrypoint {
        container.entrypoint = Some(entrypoint.clone());
        // A base's arguments are for a base's entrypoint, as with `docker build`.
        container.cmd = None;
    }
    if let Some(cmd) = &recipe.cmd {
        container.cmd = Some(cmd.clone());
    }
}

/// RFC 3339, as config.md wants `created`.
fn timestamp(epoch: u64) -> String {
    let seconds = i64::try_from(epoch).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
