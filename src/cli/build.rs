//! `dlpack build`: the image in the store.

use serde_json::json;

use super::context::Context;
use super::error::Failure;
use crate::assemble;
use crate::plan::Plan;
use crate::registry::Reference;

/// Build what is missing and put the image into the store
///
/// Prints the manifest's digest. skopeo and umoci read the store as it is:
/// skopeo inspect oci:STORE:NAME.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name that the image gets in the store
    #[arg(value_parser = super::reference)]
    name: Option<Reference>,
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
    let plan = Plan::new(&locked.lock, &locked.directory, &store, None).await?;
    let work = assemble::Work {
        lock: &locked.lock,
        directory: &locked.directory,
        store: &store,
        registries: &registries,
        progress: context.progress(),
        jobs: super::jobs(arguments.jobs),
    };
    let built = assemble::build(&work, &plan).await?;
    if let Some(name) = &arguments.name {
        store.tag(&name.whole(), &built.image.descriptor)?;
    }
    if context.json() {
        println!(
            "{}",
            json!({ "digest": built.image.descriptor.digest, "layers": built.image.manifest.layers.len(), "built": built.written })
        );
    } else {
        println!("{}", built.image.descriptor.digest);
    }
    Ok(())
}
