//! What a manifest says of each layer that dlpack added: the recipe's layer, the key, the inputs,
//! and what lies in it.

use std::collections::BTreeMap;

use super::appended::Appended;
use crate::changeset::{ANNOTATION_INPUTS, ANNOTATION_KEY, ANNOTATION_LAYER, ANNOTATION_PART, Content, Told};
use crate::oci::{ChainId, DiffId};
use crate::plan::Plan;

/// The annotation that lists what lies in the layer, as JSON.
pub const ANNOTATION_CONTENTS: &str = "dev.dlpack.contents";

/// The annotation that names the image's base (image-spec `annotations.md`).
pub(super) const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// How many things a manifest names in one layer; a venv's bin has some dozens.
const MAX_CONTENTS: usize = 100;

/// The annotations of the layers of `plan`, in its order; of one that is in parts those of the
/// first. `finished` are those layers.
pub(super) fn of(plan: &Plan, finished: &[Appended]) -> Vec<BTreeMap<String, String>> {
    let under = |at: usize| -> Vec<DiffId> {
        let below = plan.steps[at].under.iter().filter_map(|below| finished.get(*below));
        below.flat_map(|layer| layer.record.diff_ids()).collect()
    };
    let chain = |at: usize| ChainId::of(&[plan.base.as_slice(), &under(at)].concat());
    let lacks = |at: usize| finished.get(at).map(|layer| layer.lacks.clone()).unwrap_or_default();
    let told = plan.steps.iter().enumerate().map(|(at, step)| step.inputs.told(chain(at)).made_without(&lacks(at)));
    let told: Vec<Told> = told.collect();
    let inputs = Told::annotations(&told);
    let annotations = plan.steps.iter().zip(inputs).enumerate().map(|(at, (step, inputs))| {
        let key = lacks(at).key(step.key_over(&plan.base, &under(at)));
        let contents = told_contents(step.inputs.contents());
        let contents = (!contents.is_empty()).then(|| serde_json::to_string(&contents).ok()).flatten();
        [
            (ANNOTATION_LAYER, Some(step.layer.clone())),
            (ANNOTATION_KEY, Some(key.to_string())),
            (ANNOTATION_INPUTS, inputs),
            (ANNOTATION_CONTENTS, contents),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    });
    annotations.collect()
}

/// The annotations of part `number`, from 2, of the layer whose first part has `first`.
pub(super) fn of_part(first: &BTreeMap<String, String>, number: usize) -> BTreeMap<String, String> {
    let common = first.iter().filter(|(name, _)| [ANNOTATION_LAYER, ANNOTATION_KEY].contains(&name.as_str()));
    let mut annotations: BTreeMap<_, _> = common.map(|(name, value)| (name.clone(), value.clone())).collect();
    annotations.insert(ANNOTATION_PART.to_owned(), number.to_string());
    annotations
}

/// What a manifest says of a layer's contents: all of it, or the biggest and how many
/// more. A directory of many files must not make a manifest that registries refuse.
fn told_contents(contents: &[Content]) -> Vec<Content> {
    let mut told = contents.to_vec();
    if told.len() > MAX_CONTENTS {
        told.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        let rest = told.split_off(MAX_CONTENTS);
        told.push(Content { name: format!("{} more", rest.len()), bytes: rest.iter().map(|one| one.bytes).sum() });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_the_biggest_of_many_files_and_counts_the_rest() {
        let files = |count: u64| (0..count).map(|bytes| Content { name: format!("/{bytes}"), bytes });
        let few: Vec<Content> = files(100).collect();
        assert_eq!(told_contents(&few), few);
        let many = told_contents(&files(50_000).collect::<Vec<_>>());
        assert_eq!((many.len(), many[0].name.as_str()), (101, "/49999"));
        assert_eq!(many[100].name, "49900 more");
        assert_eq!(many.iter().map(|one| one.bytes).sum::<u64>(), (0..50_000).sum::<u64>());
    }
}
