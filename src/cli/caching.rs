//! Which remote caches a verb asks.

use super::context::Context;
use crate::cache::Caches;
use crate::lock::Lock;
use crate::registry::{Error, Reference, Registries, Repository};

/// Remote caches.
#[derive(Debug, Default, clap::Args)]
#[group(id = "caching")]
pub struct Arguments {
    /// A repository with records of layers, which need not be made then; may be given more than once.
    /// The first is written to when a push succeeds [default: the target's]
    #[arg(long = "cache", value_name = "REPOSITORY", value_parser = super::reference, conflicts_with = "no_cache")]
    caches: Vec<Reference>,
    /// Ask no remote cache, and write to none
    #[arg(long)]
    no_cache: bool,
}

impl Arguments {
    /// The caches that a build of `lock` asks: the target's own, then those that are named.
    pub fn caches(
        &self,
        context: &Context,
        lock: &Lock,
        registries: &Registries,
        target: Option<&Repository>,
    ) -> Result<Caches, Error> {
        if self.no_cache {
            return Ok(Caches::none());
        }
        let pinned = lock.recipe.cache_keys.clone();
        let mut caches = Caches::new(pinned, context.progress().clone());
        let named = self.caches.iter().map(|reference| registries.repository(reference));
        let named = named.collect::<Result<Vec<Repository>, Error>>()?;
        if let Some(target) = target.filter(|target| !named.iter().any(|named| named.is(target))) {
            caches = caches.with_target(target);
        }
        Ok(named.iter().fold(caches, Caches::with_named))
    }
}
