//! The inputs of a new layer beside those of the layer of the image that it takes the place of.

use std::collections::{BTreeMap, BTreeSet};

use super::before::{Before, LayerBefore};
use super::cause::{Cause, Change};
use super::lines::Lines;
use crate::changeset::{Part, Told};
use crate::plan::Step;

/// Fields that follow from others and from dlpack's own files: told only if nothing else is.
const DERIVED: [&str; 6] = ["settings", "service", "account-files", "home-files", "payload", "libc"];

/// Which recipe layer's, of which kind, which field, which part.
type PartOf = (String, String, String, String);

/// All parts of the plan's layers and of the image's: one that is not in a layer any more may be
/// in another.
pub(super) struct Parts {
    now: BTreeSet<PartOf>,
    before: BTreeMap<PartOf, Part>,
}

impl Parts {
    pub(super) fn of(told: &[Told], steps: &[Step], before: &Before) -> Self {
        let now = steps.iter().zip(told).flat_map(|(step, told)| named(&step.layer, told)).map(|(of, _)| of);
        let of_image = before.layers.iter().filter_map(|layer| Some((&layer.layer, layer.told.as_ref()?)));
        let earlier = of_image.flat_map(|(layer, told)| named(layer, told)).map(|(of, part)| (of, part.clone()));
        Self { now: now.collect(), before: earlier.collect() }
    }

    /// What of a layer of the image is in no layer of the plan.
    pub(super) fn gone(&self, layer: &LayerBefore) -> Vec<Cause> {
        let parts = layer.told.iter().flat_map(|told| named(&layer.layer, told));
        let removed = parts.filter(|(of, _)| !self.now.contains(of)).map(|((.., field, name), part)| {
            let change = Change::Removed { version: part.version().map(str::to_owned) };
            Cause::Part { field, name, change, at: None }
        });
        removed.collect()
    }

    /// Whether the image has something of the recipe's layer and this kind.
    fn has_kind(&self, layer: &str, kind: &str) -> bool {
        self.before.keys().any(|of| of.0 == layer && of.1 == kind)
    }
}

fn named<'a>(layer: &'a str, told: &'a Told) -> impl Iterator<Item = (PartOf, &'a Part)> {
    told.parts.iter().flat_map(move |(field, parts)| {
        parts.iter().map(move |(name, part)| ((layer.to_owned(), told.kind.clone(), field.clone(), name.clone()), part))
    })
}

/// Which of the image's layers that are `left` the new one takes the place of: one of the same name
/// and kind; of several, that which has most in common with it.
pub(super) fn counterpart(step: &Step, told: &Told, before: &Before, left: &[usize]) -> Option<usize> {
    let names = |told: &Told| -> BTreeSet<(String, String)> {
        let of_field = |(field, parts): (&String, &BTreeMap<String, Part>)| {
            parts.keys().map(|name| (field.clone(), name.clone())).collect::<Vec<_>>()
        };
        told.parts.iter().flat_map(of_field).collect()
    };
    let (wanted, mut best) = (names(told), None);
    for at in left {
        let layer = &before.layers[*at];
        let Some(earlier) = layer.told.as_ref().filter(|_| layer.layer == step.layer) else { continue };
        if earlier.kind != told.kind {
            continue;
        }
        let common = names(earlier).intersection(&wanted).count();
        let alike = common > 0 || is_only_one(told);
        if alike && best.is_none_or(|(most, _)| common > most) {
            best = Some((common, *at));
        }
    }
    best.map(|(_, at)| at)
}

/// Whether a recipe's layer has one layer of this kind at most, whatever lies in it.
fn is_only_one(told: &Told) -> bool {
    !["wheels", "bytecode", "source"].contains(&told.kind.as_str())
}

/// What of the inputs differs.
pub(super) fn causes(step: &Step, told: &Told, earlier: Option<&Told>, parts: &Parts, lines: &Lines<'_>) -> Vec<Cause> {
    let mut causes = of_parts(step, told, earlier, parts, lines);
    let Some(earlier) = earlier else {
        // What is in it may have been in another layer, or in another version.
        let is_new = |cause: &Cause| matches!(cause, Cause::Part { change: Change::Added { .. }, .. });
        let first = causes.iter().all(is_new) && !parts.has_kind(&step.layer, &told.kind);
        return if first { vec![Cause::Added] } else { causes };
    };
    causes.extend(of_fields(step, told, earlier, !causes.is_empty(), lines));
    if (told.version, told.format) != (earlier.version, earlier.format) {
        let version = |told: &Told| format!("{}.{}", told.format, told.version);
        causes.push(Cause::Format { from: version(earlier), to: version(told) });
    }
    causes
}

fn of_parts(step: &Step, told: &Told, earlier: Option<&Told>, parts: &Parts, lines: &Lines<'_>) -> Vec<Cause> {
    let none = BTreeMap::new();
    let then = earlier.map_or(&none, |earlier| &earlier.parts);
    // Where there were too many to be told, the field's digest alone speaks.
    let is_cut = |field: &String| {
        earlier.is_some_and(|earlier| earlier.fields.contains_key(field) && !earlier.parts.contains_key(field))
    };
    let fields: BTreeSet<&String> = told.parts.keys().chain(then.keys()).filter(|field| !is_cut(field)).collect();
    let mut causes = Vec::new();
    for field in fields {
        let none = BTreeMap::new();
        let (now, then) = (told.parts.get(field).unwrap_or(&none), then.get(field).unwrap_or(&none));
        for name in now.keys().chain(then.keys()).collect::<BTreeSet<_>>() {
            let of = (step.layer.clone(), told.kind.clone(), field.clone(), name.clone());
            let change = match (now.get(name), then.get(name)) {
                (Some(now), Some(then)) => differs(now, then),
                (Some(now), None) => Some(match parts.before.get(&of) {
                    Some(then) => differs(now, then).unwrap_or(Change::Moved),
                    None => Change::Added { version: now.version().map(str::to_owned) },
                }),
                (None, Some(_)) if parts.now.contains(&of) => Some(Change::Moved),
                (None, then) => then.map(|then| Change::Removed { version: then.version().map(str::to_owned) }),
            };
            causes.extend(change.map(|change| {
                let at = lines.part(step, field, name);
                Cause::Part { field: field.clone(), name: name.clone(), change, at }
            }));
        }
    }
    causes
}

fn differs(now: &Part, then: &Part) -> Option<Change> {
    match (now.version(), then.version()) {
        _ if now == then => None,
        (Some(to), Some(from)) if from != to => Some(Change::Version { from: from.into(), to: to.into() }),
        _ => Some(Change::Content),
    }
}

/// The fields that differ, but for those whose parts are `explained` already.
fn of_fields(step: &Step, told: &Told, earlier: &Told, explained: bool, lines: &Lines<'_>) -> Vec<Cause> {
    let names: BTreeSet<&String> = told.fields.keys().chain(earlier.fields.keys()).collect();
    let differing = names.into_iter().filter(|name| told.fields.get(*name) != earlier.fields.get(*name));
    let has_parts = |name: &str| told.parts.contains_key(name) || earlier.parts.contains_key(name);
    let (derived, own): (Vec<&String>, Vec<&String>) =
        differing.filter(|name| !(explained && has_parts(name))).partition(|name| DERIVED.contains(&name.as_str()));
    let told_ones = if own.is_empty() && !explained { derived } else { own };
    let cause = |name: &String| Cause::Field {
        name: name.clone(),
        from: earlier.fields.get(name).cloned(),
        to: told.fields.get(name).cloned(),
        at: lines.field(step, name),
    };
    told_ones.into_iter().map(cause).collect()
}
