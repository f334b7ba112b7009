//! `dlpack build`: the image in the store.

use std::path::Path;

use serde_json::json;

use super::building::{self, Ends};
use super::context::Context;
use super::display::show;
use super::error::Failure;
use super::testing::{self, Testing};
use crate::assemble;
use crate::registry::Reference;

/// Build what is missing and put the image into the store
///
/// Prints the manifest's digest. skopeo and umoci read the store as it is:
/// skopeo inspect oci:STORE:NAME.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name that the image gets in the store
    #[arg(value_parser = name)]
    name: Option<Reference>,
    #[command(flatten)]
    building: building::Arguments,
    #[command(flatten)]
    testing: testing::Arguments,
}

/// An image's name: docker has the directory of its Dockerfile there.
fn name(text: &str) -> Result<Reference, String> {
    match super::reference(text) {
        Err(_) if Path::new(text).is_dir() => {
            Err("it is a directory: the recipe is ./dlpack.toml, or what `-r FILE` names".to_owned())
        }
        name => name,
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    let _lease = store.lease()?;
    let Arguments { name, building, testing } = arguments;
    let locked = building.locked(context, &store, &registries).await?;
    let is_tested = testing.wants(&locked);
    let built = building.making.build(context, &locked, &store, &registries, Ends::default(), async |work, plan| {
        let built = assemble::build(work, plan).await?;
        if is_tested {
            assemble::lay_out_base(work).await?;
        }
        Ok::<_, assemble::Error>(built)
    });
    let built = built.await?;
    if is_tested {
        let image = assemble::describe_stored(&store, &built.image.descriptor)?;
        let tests = &locked.tests;
        Testing { context, store: &store, registries: &registries, tests, target: None }.pass(&image).await?;
    }
    if let Some(name) = &name {
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
