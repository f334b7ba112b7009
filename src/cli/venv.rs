//! `dlpack export venv`: the image's venv on this machine, for an editor.

use std::path::PathBuf;

use serde_json::json;

use super::blocking;
use super::context::{Context, Locked};
use super::display::{count, show};
use super::error::{ExitKind, Failure};
use super::export::GivenUp;
use crate::assemble;
use crate::export::Stop;
use crate::export::venv::{Export, Exported, Request};
use crate::lock::{LockedLayer, LockedVenv};
use crate::recipe::{LayerKind, Venv};

/// Lay the recipe's venv out on this machine, so that an editor completes and checks types
///
/// The wheels of the lock, with the paths of where the venv lies. A second time, only wheels
/// that changed are touched, and what you added stays. Locks the recipe if there is no lock.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Resolve the recipe anew first
    #[arg(long)]
    update: bool,
    /// Which layer of the recipe, where several are a venv [default: the last one]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// The Python that it runs with, where the image's is not a standalone build [default: one of
    /// its version in PATH, or of uv's]
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Replace another tool's venv, and files of yours that are in the way of a wheel's
    #[arg(long)]
    force: bool,
    /// Where [default: .venv beside the recipe]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { update, layer, python, force, directory } = arguments;
    let (store, registries) = (context.store()?, context.registries()?);
    let _lease = store.lease()?;
    let recipe = context.locked(update, &store, &registries).await?;
    let (venv, locked) = chosen(context, &recipe, layer.as_deref())?;
    let path = directory.unwrap_or_else(|| recipe.directory.join(".venv"));
    let built: Vec<String> = locked.sources.iter().map(|source| source.label()).collect();
    let present = locked.user.iter().flat_map(|user| &user.present);
    let present: Vec<String> = present.map(|found| format!("{} {}", found.name, found.version)).collect();
    let request = Request { locked, platform: recipe.lock.platform.clone(), path, python, force };
    let export = blocking(move || Ok(Export::prepare(request)?)).await?;
    let progress = context.progress();
    assemble::fetch_for_venv(&venv, &export.needs(), &recipe.directory, &store, &registries, progress).await?;
    if !built.is_empty() {
        progress.warn(format!("built from source in the image, and left out here: {}", built.join(", ")));
    }
    if !present.is_empty() {
        progress.warn(format!("the base's Python has them, and they are left out here: {}", present.join(", ")));
    }
    let stop = Stop::default();
    let _given_up = GivenUp(stop.clone());
    let (store, progress) = (store.clone(), progress.clone());
    let exported = blocking(move || Ok(export.write(&store, &progress, &stop)?)).await?;
    context.finish();
    if context.json() {
        let Exported { path, python, wheels, written, removed, placed } = exported;
        return show(json!({
            "path": path, "python": python, "wheels": wheels, "written": written, "removed": removed,
            "cloned": placed.cloned, "linked": placed.linked, "copied": placed.copied,
        }));
    }
    show(told(&exported))
}

/// What a person is told of it.
fn told(exported: &Exported) -> String {
    let Exported { path, python, wheels, written, removed, .. } = exported;
    let what = |names: &[String], done: &str| match names {
        [] => String::new(),
        names if names.len() <= 5 => format!(", {done} {}", names.join(", ")),
        names => format!(", {done} {} parts", names.len()),
    };
    let changed = match (written.is_empty(), removed.is_empty()) {
        (true, true) => ", nothing changed".to_owned(),
        _ => what(written, "wrote") + &what(removed, "removed"),
    };
    format!("{}: Python {python}, {}{changed}", path.display(), count(*wheels, "wheel"))
}

/// The venv of the recipe that is meant, and what it is resolved to.
fn chosen(context: &Context, recipe: &Locked, name: Option<&str>) -> Result<(Venv, LockedVenv), Failure> {
    let layers = recipe.lock.recipe.layers.iter().zip(&recipe.lock.layers);
    let venvs = layers.filter_map(|(layer, locked)| match (&layer.kind, locked) {
        (LayerKind::Venv(venv), LockedLayer::Venv(locked)) => Some((&layer.name, venv, locked)),
        _ => None,
    });
    let venvs: Vec<_> = venvs.collect();
    let found = match name {
        Some(name) => venvs.iter().find(|(layer, ..)| *layer == name),
        None => venvs.last(),
    };
    if let Some((_, venv, locked)) = found {
        return Ok(((*venv).clone(), (*locked).clone()));
    }
    let recipe = context.recipe_path();
    let what = match name {
        Some(name) => format!("{} has no venv `{name}`", recipe.display()),
        None => format!("{} has no venv", recipe.display()),
    };
    let names: Vec<&str> = venvs.iter().map(|(layer, ..)| layer.as_str()).collect();
    let failure = Failure::new(ExitKind::Recipe, what);
    Err(match names.is_empty() {
        true => failure.hint("name a recipe with a layer `kind = \"venv\"`: -r FILE"),
        false => failure.hint(format!("its venvs are {}", names.join(", "))),
    })
}
