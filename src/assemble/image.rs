//! Image = config + manifest + layers, and what is appended to them.

use super::added::{ANNOTATION_ADDED, Added};
use super::annotations;
use super::appended::Appended;
use crate::lock::Lock;
use crate::lock::base::BaseImage;
use crate::oci::{DEFAULT_PATH, Descriptor, DiffId, Digest, History, ImageConfig, Manifest, media_type};
use crate::plan::Plan;
use crate::registry::Source;

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
#[derive(Clone)]
pub(super) struct Base {
    pub config: ImageConfig,
    pub layers: Vec<Descriptor>,
    pub manifest: Option<Digest>,
    pub name: Option<String>,
}

impl Base {
    /// What `scratch` is.
    pub(super) fn scratch() -> Self {
        Self { config: ImageConfig::default(), layers: Vec::new(), manifest: None, name: None }
    }

    /// The `image` whose manifest is `manifest`, as it is read from `source`.
    pub(super) fn new(image: BaseImage, manifest: Option<Digest>, source: Option<&Source>) -> Self {
        // Docker's media types and OCI's mean the same; a manifest has one kind only.
        let normalised = |mut layer: Descriptor| {
            layer.media_type = media_type::normalised(&layer.media_type).to_owned();
            layer
        };
        Self {
            config: image.config,
            layers: image.manifest.layers.into_iter().map(normalised).collect(),
            manifest,
            name: source.and_then(Source::repository).map(|repository| repository.reference().whole()),
        }
    }
}

/// What is appended to a base.
#[derive(Clone, Debug)]
pub struct Appendix {
    /// The layers, lowest first.
    pub layers: Vec<AppendixLayer>,
    /// What more there is to say of it.
    pub added: Added,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
}

/// A layer as manifest and config have it.
#[derive(Clone, Debug)]
pub struct AppendixLayer {
    /// Its blob, with what is said of it.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// What the config says of it.
    pub history: History,
}

impl Appendix {
    /// The layers of `plan`, which is of `lock`. `finished` are those layers, one a step; `epoch` is
    /// when the image is said to be made, in seconds.
    pub(super) fn of(lock: &Lock, plan: &Plan, finished: &[Appended], epoch: u64) -> Self {
        let created = Some(timestamp(epoch));
        let of_steps = plan.steps.iter().zip(finished).zip(annotations::of(plan, finished));
        let mut layers = Vec::new();
        for ((step, layer), annotations) in of_steps {
            let (summary, count) = (step.inputs.summary(), layer.record.count());
            for (number, part) in (1..).zip(layer.record.parts()) {
                let annotations =
                    if number > 1 { annotations::of_part(&annotations, number) } else { annotations.clone() };
                let told = if count > 1 { format!("{summary} ({number} of {count})") } else { summary.to_owned() };
                layers.push(AppendixLayer {
                    descriptor: Descriptor { annotations, ..part.descriptor.clone() },
                    diff_id: part.diff_id,
                    history: History { created: created.clone(), created_by: Some(told), ..History::default() },
                });
            }
        }
        Self { added: Added::of(lock, plan, layers.len()), layers, created: created.clone() }
    }
}

/// Config and manifest of `appendix` over `base`, the config as bytes.
pub(super) fn compose(base: Base, appendix: &Appendix) -> Result<(Vec<u8>, Manifest), serde_json::Error> {
    let Appendix { layers: appended, added, created } = appendix;
    let mut config = base.config;
    config.os.clone_from(&added.platform.os);
    config.architecture.clone_from(&added.platform.architecture);
    if config.variant.is_none() {
        config.variant.clone_from(&added.platform.variant);
    }
    config.created.clone_from(created);
    pad_history(&mut config, base.layers.len());
    let mut layers = base.layers;
    for layer in appended {
        config.rootfs.diff_ids.push(layer.diff_id);
        config.history.push(layer.history.clone());
        layers.push(layer.descriptor.clone());
    }
    if config.config.env("PATH").is_none() {
        config.config.set_env("PATH", DEFAULT_PATH);
    }
    added.config.iter().for_each(|amendment| amendment.apply(&mut config));

    let config = serde_json::to_vec(&config)?;
    let mut manifest = Manifest::new(Descriptor::of(media_type::CONFIG, &config), layers);
    // annotations.md: "base.digest … MUST be the digest of the image this image is based on"
    if let Some(digest) = base.manifest {
        manifest.annotations.insert("org.opencontainers.image.base.digest".into(), digest.to_string());
    }
    if let Some(name) = base.name {
        manifest.annotations.insert(annotations::BASE_NAME.into(), name);
    }
    manifest.annotations.insert(ANNOTATION_ADDED.into(), serde_json::to_string(added)?);
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

/// RFC 3339, as config.md wants `created`.
fn timestamp(epoch: u64) -> String {
    let seconds = i64::try_from(epoch).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
