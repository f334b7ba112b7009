//! Why a layer is new: which of its inputs differs from those of the image that the target's tag
//! holds now, and where the recipe says so.

mod before;
mod cause;
mod compare;
mod lines;

use serde::Serialize;

use super::{Plan, Step};
use crate::changeset::Told;
use crate::lock::Lock;
use crate::oci::{ChainId, DiffId};
use crate::recipe::Base;
pub use before::{Before, Tells};
pub use cause::{Cause, Change};
use compare::Parts;
pub use lines::Lines;

/// What a plan makes new, and why.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// Why the base's layers are others, if they are.
    pub base: Option<Cause>,
    /// Why each of the plan's layers is new; empty for one that the image has.
    pub layers: Vec<Vec<Cause>>,
    /// The image's layers that nothing takes the place of.
    pub gone: Vec<Gone>,
}

/// A layer of the image that nothing takes the place of.
#[derive(Clone, Debug, Serialize)]
pub struct Gone {
    /// The name of the recipe's layer.
    pub layer: String,
    /// What was in it and is in no layer any more; all of it, if it has no parts with names.
    pub causes: Vec<Cause>,
}

/// Why `plan`'s layers are new against the image `before`; `lines` knows where the recipe says what.
pub fn why(plan: &Plan, lock: &Lock, before: &Before, lines: &Lines<'_>) -> Why {
    let base = base_change(plan, lock, before, lines);
    let matched = matched(plan, before);
    let is_new: Vec<bool> = matched.iter().map(|at| at.position.is_none()).collect();
    let told: Vec<Told> = plan.steps.iter().zip(&matched).map(|(step, at)| at.told(step)).collect();
    let mut left: Vec<usize> = (0..before.layers.len()).collect();
    left.retain(|at| !matched.iter().any(|found| found.position == Some(*at)));
    let parts = Parts::of(&told, &plan.steps, before);
    let mut layers = Vec::new();
    for (at, step) in plan.steps.iter().enumerate() {
        if !is_new[at] {
            layers.push(Vec::new());
            continue;
        }
        if before.tells != Tells::Inputs {
            layers.push(vec![Cause::Untold]);
            continue;
        }
        let earlier = compare::counterpart(step, &told[at], before, &left);
        left.retain(|other| Some(*other) != earlier);
        let earlier = earlier.and_then(|at| before.layers[at].told.as_ref());
        let mut causes = compare::causes(step, &told[at], earlier, &parts, lines);
        if step.inputs.needs_rootfs() && earlier.is_some_and(|earlier| earlier.under != told[at].under) {
            causes.extend(under(plan, step, &is_new, base.is_some()));
        }
        if causes.is_empty() {
            causes.push(Cause::Untold);
        }
        layers.push(causes);
    }
    let gone = left.into_iter().map(|at| &before.layers[at]);
    let gone = gone.map(|layer| Gone { layer: layer.layer.clone(), causes: parts.gone(layer) }).collect();
    Why { base, layers, gone }
}

/// A layer of the plan beside those of the image.
struct Matched {
    /// Which of the image's layers it is.
    position: Option<usize>,
    /// What lies under it, if that is known.
    under: Option<Vec<DiffId>>,
    /// The ChainId of that and the base.
    chain: Option<ChainId>,
    /// The digests of its parts' tars, if they are known.
    diff_ids: Option<Vec<DiffId>>,
}

impl Matched {
    fn told(&self, step: &Step) -> Told {
        let told = step.inputs.told(self.chain).made_without(&step.lacks);
        if self.under.is_some() { told } else { Told { under: None, ..told } }
    }
}

/// Which layer of the image each step's is: one of the same key, or of the same bytes. What the
/// image says of the layers below serves to know the key of a sandboxed one.
fn matched(plan: &Plan, before: &Before) -> Vec<Matched> {
    let mut matched: Vec<Matched> = Vec::new();
    for step in &plan.steps {
        let below = step.under.iter().map(|below| matched[*below].diff_ids.clone());
        let under: Option<Vec<DiffId>> = below.collect::<Option<Vec<_>>>().map(|below| below.concat());
        let key = step.known_key().or_else(|| Some(step.key_over(&plan.base, under.as_ref()?)));
        let built: Option<Vec<DiffId>> = step.place.record().map(|record| record.diff_ids().collect());
        let is_it =
            |layer: &before::LayerBefore| key.is_some() && layer.key == key || built.as_ref() == Some(&layer.diff_ids);
        let position = before.layers.iter().position(is_it);
        let chain = under.as_ref().and_then(|under| ChainId::of(&[plan.base.as_slice(), under].concat()));
        let diff_ids = built.or_else(|| position.map(|at| before.layers[at].diff_ids.clone()));
        matched.push(Matched { position, under, chain, diff_ids });
    }
    matched
}

/// Why what lies under a sandboxed layer is other than it was.
fn under(plan: &Plan, step: &Step, is_new: &[bool], base: bool) -> Option<Cause> {
    if base {
        return Some(Cause::UnderBase);
    }
    let mut layers: Vec<String> = Vec::new();
    for below in step.under.iter().filter(|below| is_new[**below]) {
        let name = &plan.steps[*below].layer;
        if !layers.contains(name) {
            layers.push(name.clone());
        }
    }
    Some(Cause::Under { layers })
}

fn base_change(plan: &Plan, lock: &Lock, before: &Before, lines: &Lines<'_>) -> Option<Cause> {
    if before.tells == Tells::Nothing || plan.base == before.base_layers {
        return None;
    }
    let name = match &lock.recipe.base {
        Base::Scratch => None,
        Base::Image(name) => Some(name.as_str()),
        Base::Layout { path, .. } => Some(path.as_str()),
        Base::Archive(archive) => Some(archive.suite.as_str()),
    };
    let to = before::base_name(name, lock.base.manifest.as_ref().map(|pin| pin.digest));
    Some(Cause::Base { from: before.base.clone(), to, at: lines.base() })
}
