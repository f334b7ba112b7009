//! `dlpack push`: the image in the registry.

use serde_json::json;

use super::context::Context;
use super::display::bytes;
use super::error::Failure;
use crate::assemble;
use crate::plan::Plan;
use crate::registry::Reference;

/// Build what is missing and push the image
///
/// Locks the recipe if there is no lock. Sends only what the registry doesn't
/// have; prints the manifest's digest.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to: NAME:TAG as docker writes it, such as yunseokim/dl-env:latest
    #[arg(value_parser = super::reference)]
    target: Reference,
    /// Resolve the recipe anew first
    #[arg(long)]
    update: bool,
    /// Layers written at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    let _lease = store.lease()?;
    let locked = context.locked(arguments.update, &store, &registries).await?;
    let target = registries.repository(&arguments.target)?;
    let plan = Plan::new(&locked.lock, &locked.directory, &store, Some(&target)).await?;
    let work = assemble::Work {
        lock: &locked.lock,
        directory: &locked.directory,
        store: &store,
        registries: &registries,
        progress: context.progress(),
        jobs: super::jobs(arguments.jobs),
    };
    let built = assemble::build(&work, &plan).await?;
    store.tag(&arguments.target.whole(), &built.image.descriptor)?;
    let pushed = assemble::push(&work, &built, &target).await?;
    if context.json() {
        println!(
            "{}",
            json!({
                "digest": built.image.descriptor.digest, "built": built.written,
                "present": pushed.present, "mounted": pushed.mounted, "uploaded": pushed.uploaded, "bytes": pushed.bytes,
            })
        );
        return Ok(());
    }
    if !context.quiet() {
        eprintln!(
            "{}: {} blobs there already, {} mounted, {} sent ({})",
            arguments.target,
            pushed.present,
            pushed.mounted,
            pushed.uploaded,
            bytes(pushed.bytes)
        );
    }
    println!("{}", built.image.descriptor.digest);
    Ok(())
}
