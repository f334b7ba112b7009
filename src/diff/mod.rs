//! What differs between two images: their layers, what is installed in them, their configs, their
//! files. Of the layers only those that differ are read, and only for the files.

mod config;
mod contents;
mod files;
mod layers;

use std::collections::BTreeMap;

use serde::Serialize;

pub use files::{Error, FileChange, of_files};
pub use layers::LayerOf;

use crate::assemble::Described;

/// A value in one image and in the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What the first image has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What the second has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What differs between two images.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// How many layers both have.
    pub common: usize,
    /// Whether those stand in another order.
    pub reordered: bool,
    /// The layers that the first alone has, lowest first.
    pub removed: Vec<LayerOf>,
    /// The layers that the second alone has, lowest first.
    pub added: Vec<LayerOf>,
    /// Wheels and what was built from source, whose versions differ, by name.
    pub wheels: BTreeMap<String, Change>,
    /// Debian packages of layers over the base, by name.
    pub debs: BTreeMap<String, Change>,
    /// What the configs say: `env.PATH`, `user`, `labels.x` …
    pub config: BTreeMap<String, Change>,
}

impl Difference {
    /// Whether nothing differs but what says how the images came to be.
    pub fn is_none(&self) -> bool {
        let layers = self.removed.is_empty() && self.added.is_empty() && !self.reordered;
        layers && self.wheels.is_empty() && self.debs.is_empty() && self.config.is_empty()
    }
}

/// What differs between the images `one` and `other`, as far as manifests and configs say.
pub fn between(one: &Described, other: &Described) -> Difference {
    let (removed, added) = (layers::alone_in(one, other), layers::alone_in(other, one));
    let (before, after) = (contents::of(one), contents::of(other));
    Difference {
        common: layers::common(one, other).len(),
        reordered: layers::common(one, other) != layers::common(other, one),
        removed,
        added,
        wheels: changes(&before.wheels, &after.wheels),
        debs: changes(&before.debs, &after.debs),
        config: changes(&config::of(&one.config), &config::of(&other.config)),
    }
}

/// The names that stand for something else, or that one alone has.
fn changes(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> BTreeMap<String, Change> {
    let names = one.keys().chain(other.keys());
    let change = |name: &String| Change { from: one.get(name).cloned(), to: other.get(name).cloned() };
    names.map(|name| (name.clone(), change(name))).filter(|(_, change)| change.from != change.to).collect()
}
