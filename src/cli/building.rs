//! What verbs that build have in common: a plan, and what to carry it out with.

use std::sync::Arc;

use super::caching;
use super::context::{Context, Locked};
use super::error::Failure;
use super::secrets::{self, Secret};
use crate::assemble::{self, Work};
use crate::cache::Signer;
use crate::plan::{Places, Plan};
use crate::registry::{Registries, Repository};
use crate::sandbox::Host;
use crate::store::Store;

/// How an image is built.
#[derive(Debug, Default, clap::Args)]
// clap names a group after its struct, and each verb's is called the same.
#[group(id = "building")]
pub struct Arguments {
    /// Resolve the recipe anew first
    #[arg(long)]
    update: bool,
    /// How.
    #[command(flatten)]
    pub making: Making,
}

impl Arguments {
    /// What is built: the lock beside the recipe, made if there is none or if it is to be made anew.
    pub async fn locked(&self, context: &Context, store: &Store, registries: &Registries) -> Result<Locked, Failure> {
        context.locked(self.update, store, registries).await
    }
}

/// How missing layers are made.
#[derive(Debug, Default, clap::Args)]
#[group(id = "making")]
pub struct Making {
    /// Layers written at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// A file that `run` layers may ask for by this name, or an environment variable of this name;
    /// may be given more than once
    #[arg(long = "secret", value_name = "NAME[=FILE]", value_parser = secrets::parse)]
    secrets: Vec<Secret>,
    /// Open a shell where a layer's command failed
    #[arg(long)]
    shell_on_failure: bool,
    #[command(flatten)]
    caching: caching::Arguments,
}

/// Where an image goes, and who else may have its layers.
#[derive(Default)]
pub struct Ends<'a> {
    /// Where it goes, if it leaves this machine.
    pub target: Option<&'a Repository>,
    /// A repository with layers of it, and records of them.
    pub from: Option<&'a Repository>,
    /// Who signs what is recorded.
    pub signer: Option<Signer>,
}

/// Locks the recipe if need be, and goes on as [`Making::build`] does.
pub async fn build<T>(
    context: &Context,
    arguments: &Arguments,
    store: &Store,
    registries: &Registries,
    ends: Ends<'_>,
    assemble: impl AsyncFnOnce(&Work<'_>, &Plan) -> Result<T, assemble::Error>,
) -> Result<T, Failure> {
    let locked = arguments.locked(context, store, registries).await?;
    arguments.making.build(context, &locked, store, registries, ends, assemble).await
}

impl Making {
    /// Looks for the layers of `locked` in `store`, at both `ends` and in caches, and lets `assemble`
    /// do the rest.
    pub async fn build<T, E: Into<Failure>>(
        &self,
        context: &Context,
        locked: &Locked,
        store: &Store,
        registries: &Registries,
        ends: Ends<'_>,
        assemble: impl AsyncFnOnce(&Work<'_>, &Plan) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let Ends { target, from, signer } = ends;
        let mut caches = self.caching.caches(context, &locked.lock, store, registries, target, from)?;
        if let Some(signer) = signer {
            caches = caches.signed_by(signer)?;
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let secrets = secrets::open(&self.secrets)?;
        let host =
            Host { secrets: secrets.files.clone(), shell_on_failure: self.shell_on_failure, ..context.host(store)? };
        let host = Arc::new(host);
        let places = Places { store, target, caches: &caches };
        let plan = Plan::new(&locked.lock, &locked.directory, places, Arc::clone(&host)).await?;
        let work = Work {
            lock: &locked.lock,
            directory: &locked.directory,
            store,
            registries,
            target,
            caches: &caches,
            host,
            progress: context.progress(),
            jobs: self.jobs.map_or_else(cores, usize::from),
        };
        let done = assemble(&work, &plan).await.map_err(Into::into)?;
        context.sum_up();
        Ok(done)
    }
}
