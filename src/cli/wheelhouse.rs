//! `dlpack wheelhouse`: layers of wheels in a repository, for everybody to take.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::context::Context;
use super::display::{bytes, count, show};
use super::error::{ExitKind, Failure};
use super::sending;
use crate::assemble::{self, Published, Work};
use crate::cache::{Caches, Signer};
use crate::plan::{Places, Plan};
use crate::registry::{Reference, Registries, Repository};
use crate::store::Store;

/// Publish layers of wheels that others need not make
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Push the layers of recipes that are the same for everybody, and records of them
    ///
    /// Those are of interpreters and wheels. A recipe or `--wheelhouse` names the repository to
    /// builds and pushes, which then mount the layers or stream them across. Locks a recipe if
    /// there is no lock.
    Push(Push),
}

#[derive(Debug, clap::Args)]
struct Push {
    /// The repository: REGISTRY/NAME
    #[arg(value_parser = super::reference)]
    repository: Reference,
    // In place of the global option, which takes one.
    /// The recipes [default: dlpack.toml here]
    #[arg(id = "recipe", short, long = "recipe", value_name = "FILE", num_args = 1..)]
    recipes: Vec<PathBuf>,
    /// Resolve the recipes anew first
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    sending: sending::Options,
    /// Sign the records with this key: PEM, as `openssl genpkey -algorithm ed25519` writes it
    #[arg(long, value_name = "FILE", env = "DLPACK_SIGN_KEY")]
    sign_key: Option<PathBuf>,
    /// Keep layers in the store that could be made again from their wheels
    #[arg(long)]
    keep_blobs: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let Verb::Push(arguments) = arguments.verb;
    if arguments.repository.digest().is_some() {
        return Err(Failure::usage("layers are pushed to a repository: a digest names one image in it"));
    }
    let store = context.store()?;
    let registries = context.registries_to_push(&store, &arguments.sending)?;
    let _lease = store.lease()?;
    let wheelhouse = registries.repository(&arguments.repository)?;
    let recipes = match &arguments.recipes[..] {
        [] => vec![context.recipe_path()],
        recipes => recipes.to_vec(),
    };
    let mut published = Vec::new();
    for recipe in &recipes {
        published.push(push(context, &arguments, recipe, &store, &registries, &wheelhouse).await?);
    }
    context.finish();
    if context.json() {
        let told = recipes.iter().zip(&published).map(|(recipe, Published { layers, written, records, pushed })| {
            json!({
                "recipe": recipe, "layers": layers, "built": written, "records": records, "present": pushed.present,
                "mounted": pushed.mounted, "uploaded": pushed.uploaded, "bytes": pushed.bytes,
                "resumed": pushed.resumed,
            })
        });
        return show(json!(told.collect::<Vec<_>>()));
    }
    for (recipe, Published { layers, pushed, .. }) in recipes.iter().zip(&published) {
        show(format_args!(
            "{}: {}, {} there already, {} mounted, {} sent ({})",
            recipe.display(),
            count(*layers, "layer"),
            pushed.present,
            pushed.mounted,
            pushed.uploaded,
            bytes(pushed.bytes)
        ))?;
    }
    Ok(())
}

/// Publishes the layers of one recipe. Each recipe finds what those before it have left.
async fn push(
    context: &Context,
    arguments: &Push,
    recipe: &Path,
    store: &Store,
    registries: &Registries,
    wheelhouse: &Repository,
) -> Result<Published, Failure> {
    let locked = context.locked_at(recipe, arguments.update, store, registries).await?;
    let pinned = &locked.lock.recipe.cache_keys;
    let mut caches = Caches::new(pinned.clone(), context.progress().clone()).with_published(wheelhouse);
    caches = caches.with_pushed(store, registries, wheelhouse)?;
    match arguments.sign_key.as_deref() {
        Some(path) => caches = caches.signed_by(Signer::read(path)?)?,
        None if pinned.is_empty() => {}
        None => {
            let what =
                format!("{} has `cache-keys`, and nobody would use records without a signature", recipe.display());
            return Err(Failure::new(ExitKind::Usage, what).hint("give the secret key of one of them: --sign-key FILE"));
        }
    }
    let places = Places { store, target: Some(wheelhouse), caches: &caches };
    let host = Arc::new(context.host(store)?);
    let plan = Plan::for_everybody(&locked.lock, &locked.directory, places, Arc::clone(&host)).await?;
    let work = Work {
        lock: &locked.lock,
        directory: &locked.directory,
        store,
        registries,
        target: Some(wheelhouse),
        caches: &caches,
        host,
        progress: context.progress(),
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
    };
    Ok(assemble::publish(&work, &plan, wheelhouse, arguments.keep_blobs).await?)
}
