//! `dlpack pull`: an image from a registry into the store.

use serde_json::json;

use super::context::Context;
use super::display::show;
use super::error::Failure;
use crate::assemble;
use crate::registry::Reference;

/// Pull an image into the store
///
/// Fetches what the store doesn't have, verifies it, and prints the manifest's
/// digest.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The image, by tag or by digest
    #[arg(value_parser = super::reference)]
    image: Reference,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    let _lease = store.lease()?;
    let pulled = assemble::pull(&arguments.image, &context.platform(), &store, &registries, context.progress()).await?;
    context.finish();
    if context.json() {
        show(json!({ "digest": pulled.descriptor.digest, "fetched": pulled.fetched, "bytes": pulled.bytes }))?;
    } else {
        show(pulled.descriptor.digest)?;
    }
    Ok(())
}
