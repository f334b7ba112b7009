//! `dlpack build`: the image in the store.

use serde_json::json;

use super::building::{self, Ends};
use super::context::Context;
use super::display::show;
use super::error::Failure;
use crate::assemble;
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
    #[command(flatten)]
    building: building::Arguments,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    let _lease = store.lease()?;
    let built =
        building::build(context, &arguments.building, &store, &registries, Ends::default(), assemble::build).await?;
    if let Some(name) = &arguments.name {
        store.tag(&name.whole(), &built.image.descriptor)?;
    }
    context.finish();
    if context.json() {
        show(
            json!({ "digest": built.image.descriptor.digest, "layers": built.image.manifest.layers.len(), "built": built.written }),
        )?;
    } else {
        show(built.image.descriptor.digest)?;
    }
    Ok(())
}
