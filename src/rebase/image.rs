//! What an image tells of its layers over the base, and whether a recipe's are the same.

use std::collections::BTreeMap;

use super::Error;
use crate::assemble::{ANNOTATION_CONTENTS, Added, Appendix, AppendixLayer, Described};
use crate::changeset::{ANNOTATION_INPUTS, ANNOTATION_LAYER, ANNOTATION_PART, Content, Told};
use crate::oci::{Descriptor, DiffId, Digest, History};
use crate::plan::Step;
use crate::registry::Reference;

/// Inputs of an account that follow from the base's files.
const OF_THE_BASE: [&str; 2] = ["account-files", "home-files"];

/// What is told of a layer and is no input: what its wheels need, and what its sandbox did without.
const NO_INPUTS: [&str; 2] = ["libc", "sandbox"];

/// An image's layers over its base.
#[derive(Clone, Debug)]
pub struct Upper {
    /// The image, as a person names it.
    pub reference: String,
    /// The DiffIDs of its base's layers, lowest first.
    pub base: Vec<DiffId>,
    /// The layers over those, lowest first.
    pub layers: Vec<Layer>,
    /// What was added to the base besides; nothing for an older image.
    added: Option<Added>,
    created: Option<String>,
}

/// A layer over the base.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The recipe's layer.
    pub name: String,
    /// What is in it, in a few words.
    pub title: String,
    /// What it was made of; nothing for an older image.
    pub told: Option<Told>,
    /// Its lowest part; mostly the only one.
    first: AppendixLayer,
    /// The other parts, lowest first.
    rest: Vec<AppendixLayer>,
}

impl Layer {
    /// Its blob; that of its lowest part if it has several.
    pub fn digest(&self) -> &Digest {
        &self.first.descriptor.digest
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.parts().map(|part| part.descriptor.size).sum()
    }

    fn parts(&self) -> impl Iterator<Item = &AppendixLayer> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl Upper {
    /// What manifest and config of an image say.
    ///
    /// # Errors
    /// [`Error::NotOurs`], [`Error::Foreign`], [`Error::Layers`].
    pub fn of(reference: &Reference, image: &Described) -> Result<Self, Error> {
        let reference = reference.to_string();
        let (manifest, config) = (&image.manifest, &image.config);
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(Error::Layers { reference, layers, diff_ids });
        }
        let is_ours = |layer: &Descriptor| layer.annotations.contains_key(ANNOTATION_LAYER);
        let added = Added::told_by(manifest);
        let (base, upper) = manifest.layers.split_at(Added::base_layers(manifest));
        let own = upper.len();
        if let Some(foreign) = upper.iter().find(|layer| !is_ours(layer)) {
            return Err(Error::Foreign { reference, layer: foreign.digest });
        }
        if upper.is_empty() && added.is_none() {
            return Err(Error::NotOurs { reference });
        }
        // config.md: "empty_layer: … this is used to mark if the history item created a filesystem diff"
        let told: Vec<&History> = config.history.iter().filter(|entry| !entry.empty_layer).collect();
        let histories = told.iter().skip(told.len().saturating_sub(own)).map(|entry| (*entry).clone());
        let histories = histories.chain(std::iter::repeat_with(History::default));
        let of_upper = upper.iter().zip(&config.rootfs.diff_ids[base.len()..]).zip(histories);
        let mut layers: Vec<Layer> = Vec::new();
        for ((descriptor, diff_id), history) in of_upper {
            let part = AppendixLayer { descriptor: descriptor.clone(), diff_id: *diff_id, history };
            match layers.last_mut() {
                Some(layer) if descriptor.annotations.contains_key(ANNOTATION_PART) => layer.rest.push(part),
                _ => layers.push(Layer::of(part)),
            }
        }
        Ok(Self {
            reference,
            base: config.rootfs.diff_ids[..base.len()].to_vec(),
            layers,
            added,
            created: config.created.clone(),
        })
    }

    /// What was added to the base besides layers.
    ///
    /// # Errors
    /// [`Error::Older`] if it does not tell.
    pub fn added(&self) -> Result<&Added, Error> {
        self.added.as_ref().ok_or_else(|| Error::Older { reference: self.reference.clone() })
    }

    /// What is to be put on another base.
    ///
    /// # Errors
    /// [`Error::Older`] if it does not tell.
    pub fn appendix(&self) -> Result<Appendix, Error> {
        Ok(Appendix {
            layers: self.layers.iter().flat_map(Layer::parts).cloned().collect(),
            added: self.added()?.clone(),
            created: self.created.clone(),
        })
    }

    /// Whether one of its layers has this blob.
    pub fn has(&self, blob: &Digest) -> bool {
        self.layers.iter().flat_map(Layer::parts).any(|part| part.descriptor.digest == *blob)
    }

    /// Checks that `steps`, which are of a lock on the base `base`, are what its layers were made of.
    ///
    /// # Errors
    /// [`Error::OtherRecipe`] with the first layer that differs; [`Error::Older`].
    pub fn is_of(&self, steps: &[Step], base: &[DiffId]) -> Result<(), Error> {
        let other = |layer: &str, differs| Error::OtherRecipe {
            reference: self.reference.clone(),
            layer: layer.to_owned(),
            differs,
        };
        let is_same_base = self.base == base;
        for at in 0..steps.len().max(self.layers.len()) {
            let (step, layer) = match (steps.get(at), self.layers.get(at)) {
                (Some(step), Some(layer)) if step.layer == layer.name => (step, layer),
                (Some(step), _) => return Err(other(&step.layer, "is not in it, or in another place")),
                (None, Some(layer)) => return Err(other(&layer.name, "is not in the lock")),
                (None, None) => break,
            };
            let Some(told) = &layer.told else { return Err(Error::Older { reference: self.reference.clone() }) };
            if inputs(told, is_same_base) != inputs(&step.inputs.told(None), is_same_base) {
                return Err(other(&step.layer, "is made of other things"));
            }
        }
        Ok(())
    }
}

/// What a layer was made of, but for what lies under it; `whole` if what follows from the base's
/// account files counts.
fn inputs(told: &Told, whole: bool) -> (&str, u32, u32, BTreeMap<&str, &str>) {
    let counts = |name: &str| !NO_INPUTS.contains(&name) && (whole || !OF_THE_BASE.contains(&name));
    let fields = told.fields.iter().filter(|(name, _)| counts(name));
    let fields = fields.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    (&told.kind, told.version, told.format, fields)
}

impl Layer {
    fn of(first: AppendixLayer) -> Self {
        let annotation = |name: &str| first.descriptor.annotations.get(name).map(String::as_str).unwrap_or_default();
        let name = annotation(ANNOTATION_LAYER).to_owned();
        let contents: Vec<Content> = serde_json::from_str(annotation(ANNOTATION_CONTENTS)).unwrap_or_default();
        let title = match contents.as_slice() {
            [] => name.clone(),
            [only] => only.name.clone(),
            [first, others @ ..] => format!("{} and {} more", first.name, others.len()),
        };
        let told = serde_json::from_str(annotation(ANNOTATION_INPUTS)).ok();
        Self { name, title, told, first, rest: Vec::new() }
    }
}
