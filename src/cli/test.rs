//! `dlpack test`: a recipe's tests in its image.

use serde_json::json;

use super::building::{self, Ends};
use super::context::Context;
use super::display::{count, show};
use super::error::{ExitKind, Failure};
use super::testing::{Summary, Testing};
use crate::assemble;

/// Run the recipe's tests in its image
///
/// Builds what is missing. Each command of `[test]` runs in a container of its own, as the
/// image's user; the first that fails ends it. `build` and `push` do so before the image gets
/// its name.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    building: building::Arguments,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    let _lease = store.lease()?;
    let Arguments { building } = arguments;
    let locked = building.locked(context, &store, &registries).await?;
    if locked.tests.commands.is_empty() {
        let recipe = context.recipe_path();
        return Err(Failure::new(ExitKind::Recipe, format!("{} has no tests", recipe.display()))
            .hint("write some: [test] commands = [\"python -c 'import torch'\"]"));
    }
    let ends = Ends::default();
    let image = building.making.build(context, &locked, &store, &registries, ends, async |work, plan| {
        let built = assemble::build(work, plan).await?;
        assemble::lay_out_base(work).await?;
        assemble::describe_stored(&store, &built.image.descriptor)
    });
    let image = image.await?;
    let testing = Testing { context, store: &store, registries: &registries, tests: &locked.tests, target: None };
    let Summary { passed, skipped } = testing.run(&image).await?;
    context.finish();
    if context.json() {
        return show(json!({ "digest": image.descriptor.digest, "passed": passed, "skipped": skipped }));
    }
    let without = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    show(format_args!("{} passed{without}", count(passed, "test")))
}
