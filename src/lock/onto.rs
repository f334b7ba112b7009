//! A lock on another base: wheels and all else that was chosen stay as they are. Packages alone are
//! chosen anew, for which of them are missing is for the base to say.

use std::path::Path;
use std::sync::Arc;

use super::base::{self, FileList, Needs};
use super::error::Error;
use super::model::{Lock, LockedLayer};
use super::resolve::{check_links, resolve_packages};
use crate::recipe::{Base, LayerKind, Recipe};
use crate::registry::Registries;
use crate::sandbox::Host;
use crate::store::Store;

/// `lock` as it is on `base`, and the files of that, if they were needed; `directory` is the
/// recipe's.
///
/// # Errors
/// See [`Error`]: those of the base, of its apt, and of files that it has links for.
pub async fn onto(
    lock: &Lock,
    base: Base,
    directory: &Path,
    registries: &Registries,
    store: &Store,
    host: &Arc<Host>,
) -> Result<(Lock, Option<FileList>), Error> {
    let recipe = Recipe { base, ..lock.recipe.clone() };
    // A recipe that vouches for its interpreter does so for its own base.
    let has_venv = recipe.layers.iter().any(|layer| matches!(layer.kind, LayerKind::Venv(_)));
    let of_recipe = Needs::of(&recipe);
    let needs = Needs { list: of_recipe.list || has_venv, ..of_recipe };
    let base = base::resolve(&recipe.base, directory, &lock.platform, needs, registries, store, host).await?;
    let mut layers = lock.layers.clone();
    for (layer, locked) in recipe.layers.iter().zip(&layers) {
        if let LockedLayer::Files { files } = locked {
            check_links(&layer.name, files, base.files.as_ref())?;
        }
    }
    if base.locked.diff_ids != lock.base.diff_ids {
        let chosen = resolve_packages(&recipe, directory, &base, registries, store, host).await?;
        let packages = layers.iter_mut().filter(|layer| matches!(layer, LockedLayer::Apt(_)));
        packages.zip(chosen).for_each(|(layer, chosen)| *layer = LockedLayer::Apt(chosen));
    }
    Ok((Lock { base: base.locked, layers, recipe, ..lock.clone() }, base.files))
}
