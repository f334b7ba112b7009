//! `dlpack try`: a command in an image of the store, to see whether it works.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::blocking;
use super::context::Context;
use super::error::{ExitKind, Failure};
use crate::assemble;
use crate::oci::{Descriptor, DiffId, ImageConfig};
use crate::registry::Reference;
use crate::sandbox::{Host, Rootfs, Step, extract};
use crate::store::Store;

/// Run a command in an image, to try it out
///
/// The image is pulled if the store hasn't got it, and its files are laid out in the
/// store. The command sees this machine's network and none of its files; what it writes
/// is gone afterwards. It is emulation, not a security boundary.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The user to run as, `user`, `uid` or `uid:gid` [default: the image's]
    #[arg(long)]
    user: Option<String>,
    /// A variable of its environment, over those of the image
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::setting)]
    env: Vec<(String, String)>,
    /// The image, by tag or by digest
    #[arg(value_parser = super::reference)]
    image: Reference,
    /// The command with its arguments [default: the image's]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    let _lease = store.lease()?;
    let (platform, progress) = (context.platform(), context.progress());
    if store.resolve(&arguments.image.whole())?.is_none() {
        assemble::pull(&arguments.image, &platform, &store, &registries, progress).await?;
    }
    let image = assemble::describe(&arguments.image, &platform, &store, &registries).await?;
    let step = step(&image.config, arguments)?;
    let layers: Vec<_> = image.manifest.layers.into_iter().zip(image.config.rootfs.diff_ids).collect();
    let host = Arc::new(context.host(&store)?);
    blocking(move || try_out(&store, &layers, host, &step)).await
}

/// The command as the image's config has it, but for what `arguments` say.
fn step(config: &ImageConfig, arguments: Arguments) -> Result<Step, Failure> {
    let container = &config.config;
    let own = || container.entrypoint.iter().chain(&container.cmd).flatten().cloned().collect();
    let command: Vec<String> = if arguments.command.is_empty() { own() } else { arguments.command };
    if command.is_empty() {
        return Err(Failure::new(ExitKind::Usage, "the image has no command of its own").hint("name one"));
    }
    let mut step = Step::new(command).on_network();
    let of_image = container.env.iter().flatten().filter_map(|line| line.split_once('='));
    step.env.extend(of_image.map(|(name, value)| (name.to_owned(), value.to_owned())));
    step.env.extend(arguments.env);
    step.user = arguments.user.or_else(|| container.user.clone().filter(|user| !user.is_empty()));
    if let Some(directory) = container.working_dir.as_ref().filter(|directory| !directory.is_empty()) {
        step.workdir.clone_from(directory);
    }
    Ok(step)
}

fn try_out(store: &Store, layers: &[(Descriptor, DiffId)], host: Arc<Host>, step: &Step) -> Result<(), Failure> {
    let root: PathBuf = extract::base(store, layers)?;
    let mut sandbox = Rootfs::new(vec![root], host).open()?;
    let mut stdout = std::io::stdout();
    // Whoever reads has gone: the command goes on all the same.
    let outcome = sandbox.run(step, &mut |bytes| {
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    });
    Ok(outcome?)
}
