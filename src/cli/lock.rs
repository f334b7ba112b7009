//! `dlpack lock`: the recipe resolved, written beside it.

use super::context::Context;
use super::display::{bytes, count, show};
use super::error::{ExitKind, Failure};
use crate::lock::{self, Lock, LockedLayer};

/// Resolve the recipe: every byte that a build consumes, by digest and size
///
/// Writes NAME.lock beside NAME.toml. Commit it with the recipe: a build uses the
/// lock alone.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write nothing; fail if the lock doesn't fit the recipe
    #[arg(long)]
    check: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let path = lock::path_for(&context.recipe_path());
    if arguments.check {
        return match context.fitting(false)? {
            Some(_) => Ok(()),
            None => Err(Failure::new(ExitKind::Recipe, format!("{} is not there", path.display()))
                .hint("`dlpack lock` without --check writes it")),
        };
    }
    let locked = context.resolve(&context.store()?, &context.registries()?).await?;
    let wheels: Vec<u64> = wheel_sizes(&locked.lock).collect();
    let total = wheels.iter().sum::<u64>();
    context.finish();
    if context.json() {
        show(serde_json::json!({ "lock": path, "wheels": wheels.len(), "bytes": total }))?;
    } else if !context.quiet() {
        show(format_args!(
            "{}: {}, {} of {}",
            path.display(),
            count(locked.lock.layers.len(), "layer"),
            count(wheels.len(), "wheel"),
            bytes(total)
        ))?;
    }
    Ok(())
}

fn wheel_sizes(lock: &Lock) -> impl Iterator<Item = u64> {
    lock.layers
        .iter()
        .flat_map(|layer| match layer {
            LockedLayer::Venv(venv) => venv.wheels.as_slice(),
            _ => &[],
        })
        .map(|wheel| wheel.size)
}
