//! `dlpack try`: a command in an image of the store, to see whether it works.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use rustix::fs::FileType;
use tokio::signal::unix::{SignalKind, signal};

use super::blocking;
use super::context::Context;
use super::error::{ExitKind, Failure};
use super::signals::{self, Signals};
use crate::assemble;
use crate::oci::ImageConfig;
use crate::registry::Reference;
use crate::sandbox::{self, Ending, ExtractError, Rootfs, Sandbox, Step, extract};
use crate::store::Store;

/// Run a command in an image, to try it out
///
/// The image is pulled if the store hasn't got it, and its files are laid out in the
/// store. The command has dlpack's stdin, stdout and stderr, gets SIGINT and SIGTERM, and
/// dlpack exits as it does (128 and the number if a signal ended it). It sees this machine's
/// network and none of its files; what it writes is gone afterwards. It is emulation, not a
/// security boundary.
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

pub async fn run(context: &Context, arguments: Arguments) -> Result<ExitCode, Failure> {
    let heard = |kind| signal(kind).map_err(|source| Failure::new(ExitKind::Other, source));
    let store = context.store()?;
    let _lease = store.lease()?;
    let (mut sandbox, step) = {
        let listening = Signals::listen()?;
        signals::until_heard(lay_out(context, &store, arguments), listening.heard(), context.interrupt()).await?
    };
    let (signals, mut to_command) = std::io::pipe().map_err(|source| Failure::new(ExitKind::Other, source))?;
    let (mut interrupt, mut terminate) = (heard(SignalKind::interrupt())?, heard(SignalKind::terminate())?);
    let progress = context.progress().clone();
    let ended = blocking(move || {
        let mut ended = None;
        progress.aside(&mut || ended = Some(sandbox.attach(&step, &signals)));
        Ok(ended)
    });
    tokio::pin!(ended);
    loop {
        let signal = tokio::select! {
            ended = &mut ended => break status(ended?),
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
        };
        // nobody reads any more: the command is ending
        let _ = to_command.write_all(&[signal.as_raw_value() as u8]);
    }
}

/// The status to exit with, as a shell has it for a program of its own.
fn status(ended: Option<Result<Ending, sandbox::Error>>) -> Result<ExitCode, Failure> {
    Ok(match ended.transpose()? {
        Some(Ending::Exit(status)) => ExitCode::from(status as u8),
        Some(Ending::Signal(number)) => ExitCode::from(128 + number as u8),
        None => ExitCode::FAILURE,
    })
}

/// Lays the image out on disk, and opens a sandbox on it.
async fn lay_out(context: &Context, store: &Store, arguments: Arguments) -> Result<(Sandbox, Step), Failure> {
    let registries = context.registries()?;
    let (platform, progress) = (context.platform(), context.progress());
    // from a directory a step could go up, and out of its root
    if rustix::fs::fstat(std::io::stdin())
        .is_ok_and(|stdin| FileType::from_raw_mode(stdin.st_mode) == FileType::Directory)
    {
        return Err(Failure::new(ExitKind::Usage, "stdin is a directory"));
    }
    if store.resolve(&arguments.image.whole())?.is_none() {
        assemble::pull(&arguments.image, &platform, store, &registries, progress).await?;
    }
    let image = assemble::describe(&arguments.image, &platform, store, &registries).await?;
    let name = arguments.image.clone();
    let step = step(&image.config, arguments)?;
    let layers: Vec<_> = image.manifest.layers.into_iter().zip(image.config.rootfs.diff_ids).collect();
    let extracted = || {
        let (store, layers) = (store.clone(), layers.clone());
        blocking(move || Ok(extract::base(&store, &layers)))
    };
    let root = match extracted().await? {
        // A layer that was pushed while it was made is at its registry alone.
        Err(ExtractError::Missing { .. }) => {
            assemble::pull(&name, &platform, store, &registries, progress).await?;
            extracted().await??
        }
        root => root?,
    };
    let host = Arc::new(context.host(store)?);
    Ok((blocking(move || Ok(Rootfs::new(vec![root], host).open()?)).await?, step))
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
