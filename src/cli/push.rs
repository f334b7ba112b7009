//! `dlpack push`: the image in the registry.

use std::path::PathBuf;

use serde_json::json;

use super::building::{self, Ends};
use super::context::Context;
use super::display::{bytes, show};
use super::error::Failure;
use super::sending;
use super::testing::{self, Testing, Trial};
use crate::assemble::{self, Work};
use crate::cache::Signer;
use crate::plan::Plan;
use crate::registry::Reference;

/// Build what is missing and push the image
///
/// Locks the recipe if there is no lock. Sends only what the registry doesn't
/// have, layers of wheels while they are made; prints the manifest's digest.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to: NAME:TAG as docker writes it, such as yunseokim/dl-env:latest
    #[arg(value_parser = super::reference)]
    target: Reference,
    #[command(flatten)]
    sending: sending::Options,
    #[command(flatten)]
    building: building::Arguments,
    #[command(flatten)]
    testing: testing::Arguments,
    /// Sign the records that are written with this key: PEM, as `openssl genpkey -algorithm ed25519` writes it
    #[arg(long, value_name = "FILE", env = "DLPACK_SIGN_KEY")]
    sign_key: Option<PathBuf>,
    /// Keep layers in the store that could be made again from their wheels
    #[arg(long)]
    keep_blobs: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    if arguments.target.digest().is_some() {
        return Err(Failure::usage("an image is pushed to a tag: its digest is what it turns out to be"));
    }
    let store = context.store()?;
    let registries = context.registries_to_push(&store, &arguments.sending)?;
    let _lease = store.lease()?;
    let target = registries.repository(&arguments.target)?;
    let signer = arguments.sign_key.as_deref().map(Signer::read).transpose()?;
    let keep_blobs = arguments.keep_blobs;
    let ends = || Ends { target: Some(&target), signer: signer.clone(), ..Ends::default() };
    let (making, testing) = (&arguments.building.making, &arguments.testing);
    let locked = arguments.building.locked(context, &store, &registries).await?;
    let tests = &locked.tests;
    let testing = testing.wants(&locked).then_some(Testing {
        context,
        store: &store,
        registries: &registries,
        tests,
        target: Some(&target),
    });
    let push = async |work: &Work<'_>, plan: &Plan, tested| {
        Ok::<_, Failure>(assemble::push(work, plan, &target, keep_blobs, tested).await?)
    };
    let sent = making.build(context, &locked, &store, &registries, ends(), async |work, plan| match &testing {
        None => push(work, plan, None).await.map(Ok),
        Some(testing) => match testing.try_known(work, plan).await? {
            Trial::Passed(image) => push(work, plan, Some(image)).await.map(Ok),
            Trial::Untried(image) => Ok(Err((testing, image))),
        },
    });
    let (built, pushed) = match sent.await? {
        Ok(sent) => sent,
        Err((testing, image)) => {
            testing.pass(&image).await?;
            // A plan of its own: what was missing before is here now.
            let push = async |work: &Work<'_>, plan: &Plan| push(work, plan, Some(image.descriptor.digest)).await;
            making.build(context, &locked, &store, &registries, ends(), push).await?
        }
    };
    // Here, too, the name is what the registry has under it: only once it has.
    store.tag(&arguments.target.whole(), &built.image.descriptor)?;
    // What a limit let through says nothing about the line.
    if !context.is_limited() {
        // A store that can't be written has said so above; for a measurement alone no push fails.
        let _ = store.put_rate(&target.place().host, pushed.bytes, pushed.took);
    }
    context.finish();
    if context.json() {
        show(json!({
            "digest": built.image.descriptor.digest, "built": built.written,
            "present": pushed.present, "mounted": pushed.mounted, "uploaded": pushed.uploaded, "bytes": pushed.bytes,
            "resumed": pushed.resumed,
        }))?;
        return Ok(());
    }
    if !context.quiet() {
        let resumed = match pushed.resumed {
            0 => String::new(),
            there => format!(" after {} of an earlier run", bytes(there)),
        };
        eprintln!(
            "{}: {} blobs there already, {} mounted, {} sent ({}{resumed})",
            arguments.target,
            pushed.present,
            pushed.mounted,
            pushed.uploaded,
            bytes(pushed.bytes)
        );
    }
    show(built.image.descriptor.digest)?;
    Ok(())
}
