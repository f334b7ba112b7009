//! What `run` and `shell` have in common: which image, and how a container of it is started.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::context::Context;
use super::error::{ExitKind, Failure};
use super::signals::{self, Signals};
use super::{blocking, building};
use crate::assemble::{self, Described};
use crate::oci::Layout;
use crate::recipe::{self, Bind, Net, container_path, memory_size};
use crate::registry::{Reference, Registries, SourceError};
use crate::run::{self, Container, Devices, Layers, Settings, Wanted};
use crate::sandbox::{Ending, ExtractError, Rootfs};
use crate::store::Store;

/// How a container is started.
#[derive(Debug, clap::Args)]
#[group(id = "container")]
pub struct Options {
    /// Mount a file or directory of this machine; may be given more than once
    #[arg(short = 'v', long = "volume", value_name = "HOST:CONTAINER[:ro]")]
    volumes: Vec<Bind>,
    /// Where the command starts [default: the image's]
    #[arg(short, long, value_name = "DIR", value_parser = directory)]
    workdir: Option<String>,
    /// A variable of its environment, with the caller's value if none is given; may be given
    /// more than once
    #[arg(short, long = "env", value_name = "KEY[=VALUE]", value_parser = variable)]
    env: Vec<(String, Option<String>)>,
    /// A file of such variables, one a line
    #[arg(long = "env-file", value_name = "FILE")]
    env_files: Vec<PathBuf>,
    /// The user to run as, `user`, `uid` or `uid:gid` [default: the image's]
    #[arg(short, long, conflicts_with = "root")]
    user: Option<String>,
    /// Run as root, who can install packages and give files away
    #[arg(long)]
    root: bool,
    /// How large /dev/shm may grow: 16g, 512m [default: half of the memory]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    shm_size: Option<u64>,
    /// The network: `host` is this machine's, `private` the container's own loopback
    /// [default: host]
    #[arg(long, value_name = "NET")]
    net: Option<Net>,
    /// Let nothing be written but /tmp, /var/tmp, /run and mounts
    #[arg(long)]
    read_only: bool,
    // in place of the option of every verb, whose -v is docker's --volume here
    /// Print every piece of work as it begins and ends
    #[arg(long)]
    verbose: bool,
}

impl Options {
    fn settings(&self) -> Result<Settings, Failure> {
        let caller = |name: &str| std::env::var(name).ok();
        let mut env = Vec::new();
        for file in &self.env_files {
            env.extend(run::read_file(file, caller)?);
        }
        let given =
            self.env.iter().filter_map(|(name, value)| Some((name.clone(), value.clone().or_else(|| caller(name))?)));
        env.extend(given);
        Ok(Settings {
            workdir: self.workdir.clone(),
            mounts: self.volumes.clone(),
            cwd: None,
            env,
            shm_size: self.shm_size,
            net: self.net,
            gpus: None,
            read_only: self.read_only,
            user: if self.root { Some("0".to_owned()) } else { self.user.clone() },
        })
    }
}

fn directory(text: &str) -> Result<String, String> {
    if text != "/" {
        container_path(text)?;
    }
    Ok(text.to_owned())
}

fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() { Err("write KEY=VALUE, or KEY".to_owned()) } else { Ok((name.to_owned(), value)) }
}

/// Of which image a container is.
pub enum What {
    /// The recipe's.
    Recipe,
    /// One of a registry, or of the store.
    Image(Reference),
    /// One on disk.
    Layout(PathBuf, Option<String>),
}

impl What {
    /// What a person names so.
    pub fn of(text: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = text else { return Ok(Self::Recipe) };
        if let Some(layout) = text.strip_prefix("oci:") {
            // skopeo(1), oci:path[:tag]
            return Ok(match layout.rsplit_once(':') {
                Some((path, tag)) => Self::Layout(path.into(), Some(tag.to_owned())),
                None => Self::Layout(layout.into(), None),
            });
        }
        if text.ends_with(".toml") && Path::new(text).is_file() {
            let failure = Failure::new(ExitKind::Usage, format!("`{text}` is a recipe, and no image"));
            return Err(failure.hint(format!("name it with `-r {text}`")));
        }
        let reference = super::reference(text).map(Self::Image);
        reference.map_err(|why| {
            Failure::new(ExitKind::Usage, format!("`{text}` is no image: {why}"))
                .hint("a command in the recipe's image stands after `--`: `dlpack run -- COMMAND`")
        })
    }
}

/// Runs what is `wanted` in a container, and exits as it does.
pub async fn run(context: &Context, what: What, options: &Options, wanted: &Wanted) -> Result<ExitCode, Failure> {
    let heard = |kind| signal(kind).map_err(|source| Failure::new(ExitKind::Other, source));
    let store = context.store()?;
    let _lease = store.lease()?;
    let mut container = {
        let listening = Signals::listen()?;
        let work = open(context, &store, what, options, wanted);
        signals::until_heard(work, listening.heard(), context.interrupt()).await?
    };
    context.sum_up();
    let (forwarded, mut to_command) = std::io::pipe().map_err(|source| Failure::new(ExitKind::Other, source))?;
    let (mut interrupt, mut terminate) = (heard(SignalKind::interrupt())?, heard(SignalKind::terminate())?);
    let progress = context.progress().clone();
    let ended = blocking(move || {
        let mut ended = None;
        progress.aside(&mut || ended = Some(container.attach(&forwarded)));
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
fn status(ended: Option<Result<Ending, run::Error>>) -> Result<ExitCode, Failure> {
    Ok(match ended.transpose()? {
        Some(Ending::Exit(status)) => ExitCode::from(status as u8),
        Some(Ending::Signal(number)) => ExitCode::from(128 + number as u8),
        None => ExitCode::FAILURE,
    })
}

/// Brings the image here, lays its layers out, and opens a container on them.
async fn open(
    context: &Context,
    store: &Store,
    what: What,
    options: &Options,
    wanted: &Wanted,
) -> Result<Container, Failure> {
    let mut settings = options.settings()?;
    let registries = context.registries()?;
    let (platform, progress) = (context.platform(), context.progress());
    let image = match &what {
        What::Recipe => {
            let (image, container) = built(context, store, &registries).await?;
            settings = settings.over(&container);
            image
        }
        What::Image(name) => {
            if store.resolve(&name.whole())?.is_none() {
                assemble::pull(name, &platform, store, &registries, progress).await?;
            }
            assemble::describe(name, &platform, store, &registries).await?
        }
        What::Layout(path, tag) => {
            let layout = Layout::open(path).map_err(|error| assemble::Error::from(SourceError::from(error)))?;
            assemble::import(&layout, tag.as_deref(), &platform, store, progress).await?
        }
    };
    let lower = match (laid_out(context, store, &image).await?, &what) {
        // a layer that was pushed while it was made is at its registry alone, as a base's may be
        (Err(ExtractError::Missing { .. }), What::Image(name)) => {
            assemble::complete(&image, name, store, &registries, progress).await?;
            laid_out(context, store, &image).await??
        }
        (lower, _) => lower?,
    };
    let host = Arc::new(context.host(store)?);
    let (config, wanted) = (image.config.config, wanted.clone());
    blocking(move || Ok(Container::open(&Rootfs::new(lower, host), &config, &settings, &Devices::default(), &wanted)?))
        .await
}

/// The recipe's image, with its base on disk, and how the recipe starts containers of it.
async fn built(
    context: &Context,
    store: &Store,
    registries: &Registries,
) -> Result<(Described, recipe::Container), Failure> {
    let arguments = building::Arguments::default();
    let image =
        building::build(context, &arguments, store, registries, building::Ends::default(), async |work, plan| {
            let built = assemble::build(work, plan).await?;
            assemble::lay_out_base(work).await?;
            Ok(built.image.descriptor)
        });
    let image = assemble::describe_stored(store, &image.await?)?;
    let container = match context.fitting(false)? {
        Some(locked) => locked.container.located_in(&locked.directory),
        None => recipe::Container::default(),
    };
    Ok((image, container))
}

/// The directories of an image's layers, extracted unless they are there.
pub async fn laid_out(
    context: &Context,
    store: &Store,
    image: &Described,
) -> Result<Result<Vec<PathBuf>, ExtractError>, Failure> {
    let (store, layers, progress) = (store.clone(), Layers::of(image), context.progress().clone());
    blocking(move || Ok(run::trees(&store, &layers, &progress))).await
}
