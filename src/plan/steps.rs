//! From the lock's layers to changesets: one recipe layer becomes one or more.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{Error, Place, Step};
use crate::apt::architecture;
use crate::changeset::{Changeset, Inputs, Need, account, apt, entrypoint, files, jupyter, run, sshd, timezone, venv};
use crate::lock::{Lock, LockedLayer};
use crate::recipe::{LayerKind, Recipe};
use crate::sandbox::Lacks;
use crate::store::Store;

/// The steps of `lock`, lowest first, looked up nowhere yet.
pub(super) fn of(lock: &Lock, directory: &Path, store: &Store) -> Result<Vec<Step>, Error> {
    let mut accounts = account::changesets(lock, directory).map_err(crate::changeset::Error::from)?;
    let mut steps = Vec::new();
    for (index, (layer, locked)) in lock.recipe.layers.iter().zip(&lock.layers).enumerate() {
        let mut add = |changeset: Arc<dyn Changeset>, needs: Vec<Need>| {
            let step = step(&layer.name, index, changeset, needs, &lock.recipe);
            push(&mut steps, step);
        };
        match (&layer.kind, locked) {
            (LayerKind::Apt(recipe), LockedLayer::Apt(locked)) => {
                let apt = apt::changeset(recipe, locked, architecture(&lock.platform), store);
                let needs = apt.needs();
                add(Arc::new(apt), needs);
            }
            (LayerKind::Run(recipe), LockedLayer::Run { files }) => {
                add(Arc::new(run::changeset(recipe, files, directory)), Vec::new());
            }
            (LayerKind::Venv(recipe), LockedLayer::Venv(locked)) => {
                let layers =
                    venv::changesets(recipe, locked, directory, store).map_err(crate::changeset::Error::from)?;
                layers.into_iter().for_each(|layer| add(layer.changeset, layer.needs));
            }
            (LayerKind::Account(_), LockedLayer::Account { .. }) => {
                let made = accounts.iter().position(|(of, _)| *of == index);
                let made = made.ok_or_else(|| Error::Kind { layer: layer.name.clone() })?;
                add(Arc::new(accounts.swap_remove(made).1), Vec::new());
            }
            (LayerKind::Sshd(recipe), LockedLayer::Sshd) => {
                add(Arc::new(sshd::changeset(recipe, &lock.recipe.config)), Vec::new());
            }
            (LayerKind::Jupyter(recipe), LockedLayer::Jupyter) => {
                add(Arc::new(jupyter::changeset(recipe, &lock.recipe)), Vec::new());
            }
            (LayerKind::Files(recipe), LockedLayer::Files { files: locked }) => {
                let files = files::changeset(recipe, locked, directory).map_err(crate::changeset::Error::from)?;
                add(Arc::new(files), Vec::new());
            }
            (LayerKind::Timezone(recipe), LockedLayer::Timezone) => {
                let timezone = timezone::changeset(recipe).map_err(crate::changeset::Error::from)?;
                add(Arc::new(timezone), Vec::new());
            }
            _ => return Err(Error::Kind { layer: layer.name.clone() }),
        }
    }
    if let Some(entrypoint) = entrypoint::changeset(&lock.recipe) {
        let index = lock.recipe.layers.len();
        push(&mut steps, step("entrypoint", index, Arc::new(entrypoint), Vec::new(), &lock.recipe));
    }
    Ok(steps)
}

fn step(layer: &str, index: usize, changeset: Arc<dyn Changeset>, needs: Vec<Need>, recipe: &Recipe) -> Step {
    let mut inputs = changeset.inputs().with("compression", recipe.compression.name());
    // Where it is cut into parts.
    if let Some(ceiling) = recipe.max_layer_size {
        inputs = inputs.with("max-layer-size", ceiling);
    }
    Step {
        layer: layer.to_owned(),
        index,
        changeset,
        inputs,
        key: None,
        lacks: Lacks::default(),
        needs,
        under: Vec::new(),
        place: Place::Build,
    }
}

/// Adds `step` over those that are there.
fn push(steps: &mut Vec<Step>, mut step: Step) {
    if step.inputs.needs_rootfs() {
        step.under = under(steps, &step.inputs);
    }
    steps.push(step);
}

/// The steps that lie under one that sees the root filesystem: those that all such see,
/// those that it names, and those that these in turn were written on.
fn under(before: &[Step], inputs: &Inputs) -> Vec<usize> {
    let sees = |step: &Step| step.inputs.is_seen() || inputs.sees().contains(&step.layer);
    let seen = before.iter().enumerate().filter(|(_, step)| sees(step));
    let all: BTreeSet<usize> = seen.flat_map(|(at, step)| step.under.iter().copied().chain([at])).collect();
    all.into_iter().collect()
}
