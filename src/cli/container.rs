//! What `run` and `shell` have in common: which image, and how a container of it is started.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;

use super::context::Context;
use super::error::{ExitKind, Failure};
use super::habits::Terminal;
use super::signals::{self, Signals};
use super::{blocking, building, forward};
use crate::assemble::{self, Described};
use crate::gpu;
use crate::oci::Layout;
use crate::recipe::{Bind, Net, Port, container_path, memory_size};
use crate::registry::{Reference, Registries, SourceError};
use crate::run::{self, Claim, Container, Containers, Layers, Name, Ports, Record, Settings, Wanted};
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
    #[arg(short, long, conflicts_with = "root", value_parser = NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Run as root, who can install packages and give files away
    #[arg(long)]
    root: bool,
    /// How large /dev/shm may grow: 16g, 512m [default: half of the memory]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    shm_size: Option<u64>,
    /// The network: `host` is this machine's, `private`, or `none`, the container's own loopback
    /// [default: host]
    #[arg(long, alias = "network", value_name = "NET")]
    net: Option<Net>,
    /// Have a port of this machine lead to one of the container, which needs `--net private`; on
    /// loopback unless another address is given; may be given more than once
    #[arg(short = 'p', long = "publish", value_name = "[ADDRESS:]HOST:CONTAINER")]
    ports: Vec<Port>,
    /// The container's name, by which others find it [default: one is made up]
    #[arg(long)]
    name: Option<Name>,
    /// Remove the container when it ends, which is the default
    #[arg(long, conflicts_with = "keep")]
    rm: bool,
    /// Keep what it writes under its name: `run --name NAME` goes on with it, `rm` removes it
    #[arg(long, requires = "name")]
    keep: bool,
    /// Go on with a kept container of a machine that is gone and never said that it ended
    #[arg(long, requires = "name")]
    force: bool,
    /// The GPUs it has: all, none, or indexes and UUIDs with commas [default: those that the
    /// image asks for]
    #[arg(long, value_name = "GPUS", value_parser = gpus)]
    gpus: Option<String>,
    /// Let nothing be written but /tmp, /var/tmp, /run and mounts
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    _terminal: Terminal,
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
        let settings = Settings {
            workdir: self.workdir.clone(),
            mounts: self.volumes.clone(),
            cwd: None,
            env,
            shm_size: self.shm_size,
            net: self.net,
            ports: self.ports.clone(),
            gpus: self.gpus.clone(),
            read_only: self.read_only,
            user: if self.root { Some("0".to_owned()) } else { self.user.clone() },
        };
        Ok(settings.distinct()?)
    }
}

fn gpus(text: &str) -> Result<String, String> {
    text.parse::<gpu::Selection>().map(|_| text.to_owned())
}

pub(super) fn directory(text: &str) -> Result<String, String> {
    if text != "/" {
        container_path(text)?;
    }
    Ok(text.to_owned())
}

pub(super) fn variable(text: &str) -> Result<(String, Option<String>), String> {
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
    /// How a person names it.
    fn name(&self, context: &Context) -> String {
        match self {
            Self::Recipe => context.recipe_path().display().to_string(),
            Self::Image(reference) => reference.to_string(),
            Self::Layout(path, None) => format!("oci:{}", path.display()),
            Self::Layout(path, Some(tag)) => format!("oci:{}:{tag}", path.display()),
        }
    }

    /// What a person names so.
    pub fn of(text: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = text else { return Ok(Self::Recipe) };
        if let Some(layout) = text.strip_prefix("oci:") {
            // skopeo(1), oci:path[:tag]
            let (path, tag) = match layout.rsplit_once(':') {
                Some((path, tag)) => (path, Some(tag.to_owned())),
                None => (layout, None),
            };
            if path.is_empty() {
                return Err(Failure::new(ExitKind::Usage, format!("`{text}` names no directory"))
                    .hint("write oci:DIRECTORY, or oci:DIRECTORY:TAG"));
            }
            return Ok(Self::Layout(path.into(), tag));
        }
        if text.ends_with(".toml") && Path::new(text).is_file() {
            let failure = Failure::new(ExitKind::Usage, format!("`{text}` is a recipe, and no image"));
            return Err(failure.hint(format!("name it with `-r {text}`")));
        }
        if Path::new(text).is_file() {
            let failure = Failure::new(ExitKind::Usage, format!("`{text}` is a file, and no image"));
            return Err(
                failure.hint("an image on disk is a directory in OCI's layout: oci:DIRECTORY, or oci:DIRECTORY:TAG")
            );
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
    // what can't be is refused before anything is fetched or made
    let settings = match what {
        What::Recipe => options.settings()?.over(&context.container()?),
        What::Image(_) | What::Layout(..) => options.settings()?,
    };
    settings.check()?;
    let store = context.store()?;
    let _lease = store.lease()?;
    let mut claim = claim(&store, options)?;
    let ports = Ports::listen(&settings.ports)?;
    let listening = Signals::listen()?;
    let work = open(context, &store, what, options, settings, wanted, claim.as_mut());
    let opened = signals::until_heard(work, listening.heard(), context.interrupt()).await;
    let (mut container, mut record) = opened?;
    // each is heard by one of the two, whenever it comes
    let (signals, heard, signal) = forward::pipe()?;
    listening.hand_over()?;
    context.sum_up();
    record.ports = ports.open().iter().map(ToString::to_string).collect();
    container.listen(&signal, ports)?;
    claim.as_mut().map_or(Ok(()), |claim| claim.note(&record))?;
    let progress = context.progress().clone();
    let ended = signals.during(blocking(move || {
        let mut ended = Ok(Ending::Exit(1));
        progress.aside(&mut || ended = container.attach(&heard, &signal));
        // it lets go of its directories before its name is another's
        drop(container);
        Ok(ended?)
    }));
    let ended = ended.await?;
    if let Some(claim) = claim.as_mut().filter(|_| record.kept) {
        record.ended = Some(ended.to_string());
        claim.note(&record)?;
    }
    Ok(status(ended))
}

/// The container's name, for as long as it runs. Where the store can't be written, it has none.
fn claim(store: &Store, options: &Options) -> Result<Option<Claim>, Failure> {
    let containers = Containers::of(store);
    let claimed = match &options.name {
        Some(name) => containers.claim(name, options.force),
        None => containers.claim_any(),
    };
    match claimed {
        Err(error) if error.is_of_a_closed_store() && options.name.is_none() => Ok(None),
        claimed => Ok(Some(claimed?)),
    }
}

/// The status to exit with, as a shell has it for a program of its own.
pub(super) fn status(ended: Ending) -> ExitCode {
    match ended {
        Ending::Exit(status) => ExitCode::from(status as u8),
        Ending::Signal(number) => ExitCode::from(128 + number as u8),
    }
}

/// Brings the image here, lays its layers out, and opens a container on them.
async fn open(
    context: &Context,
    store: &Store,
    what: What,
    options: &Options,
    settings: Settings,
    wanted: &Wanted,
    claim: Option<&mut Claim>,
) -> Result<(Container, Record), Failure> {
    let registries = context.registries()?;
    let progress = context.progress();
    let image = bring(context, &what, store, &registries).await?;
    let earlier = claim.as_deref().and_then(Claim::earlier).cloned();
    claim.as_deref().map_or(Ok(()), |claim| claim.fits(&image.descriptor.digest))?;
    let before = earlier.as_ref().map(|earlier| &earlier.trees).filter(|trees| trees.iter().all(|tree| tree.is_dir()));
    let lower = trees(context, &what, &image, store, &registries).await?;
    // what it wrote is over these
    let lower = before.cloned().unwrap_or(lower);
    let host = Arc::new(context.host(store)?);
    let kept = options.keep || earlier.is_some() && !options.rm;
    let (config, wanted, rootfs) = (image.config.config, wanted.clone(), Rootfs::new(lower.clone(), Arc::clone(&host)));
    let identity = Container::identity(&rootfs, &config, &settings)?;
    claim.as_deref().map_or(Ok(()), |claim| claim.fits_identity(identity))?;
    let begun = Record::begun(what.name(context), image.descriptor, lower, identity);
    let lasting = claim.filter(|_| kept || earlier.is_some());
    let lasting = lasting.map(|claim| claim.lasting(&host.scratch, &begun)).transpose()?;
    let progress = progress.clone();
    let container = blocking(move || {
        let env = settings.env_over(&config);
        let given = gpu::devices(&gpu::Root::of_machine(), settings.gpus.as_deref(), &env, &rootfs)?;
        given.warnings.iter().for_each(|warning| progress.warn(warning));
        Ok(Container::open(&rootfs, &config, &settings, &given.devices, &wanted, lasting.as_ref())?)
    });
    let container = container.await?;
    let record = container.record(begun, kept);
    Ok((container, record))
}

/// The recipe's image, with its base on disk.
async fn built(context: &Context, store: &Store, registries: &Registries) -> Result<Described, Failure> {
    let arguments = building::Arguments::default();
    let image =
        building::build(context, &arguments, store, registries, building::Ends::default(), async |work, plan| {
            let built = assemble::build(work, plan).await?;
            assemble::lay_out_base(work).await?;
            Ok(built.image.descriptor)
        });
    Ok(assemble::describe_stored(store, &image.await?)?)
}

/// Brings the image `what` into the store.
async fn bring(context: &Context, what: &What, store: &Store, registries: &Registries) -> Result<Described, Failure> {
    let (platform, progress) = (context.platform(), context.progress());
    Ok(match what {
        What::Recipe => built(context, store, registries).await?,
        What::Image(name) => assemble::bring(name, &platform, store, registries, progress).await?,
        What::Layout(path, tag) => {
            let layout = Layout::open(path).map_err(|error| assemble::Error::from(SourceError::from(error)))?;
            assemble::import(&layout, tag.as_deref(), &platform, store, progress).await?
        }
    })
}

/// Brings the image `what` here, and lays its layers out: the image, and their directories, lowest
/// first.
pub async fn lay_out(
    context: &Context,
    what: &What,
    store: &Store,
    registries: &Registries,
) -> Result<(Described, Vec<PathBuf>), Failure> {
    let image = bring(context, what, store, registries).await?;
    let lower = trees(context, what, &image, store, registries).await?;
    Ok((image, lower))
}

/// The same for `image`, which is `what`. A layer that was pushed while it was made is at its registry
/// alone, as a base's may be: it is fetched.
async fn trees(
    context: &Context,
    what: &What,
    image: &Described,
    store: &Store,
    registries: &Registries,
) -> Result<Vec<PathBuf>, Failure> {
    match (laid_out(context, store, image).await?, what) {
        (Err(ExtractError::Missing { .. }), What::Image(name)) => {
            assemble::complete(image, name, store, registries, context.progress()).await?;
            Ok(laid_out(context, store, image).await??)
        }
        (lower, _) => Ok(lower?),
    }
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
