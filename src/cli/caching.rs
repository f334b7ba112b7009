//! Which remote caches a verb asks.

use super::context::Context;
use super::error::Failure;
use crate::cache::Caches;
use crate::lock::Lock;
use crate::registry::{Error, Reference, Registries, Repository};
use crate::store::Store;

/// Remote caches.
#[derive(Debug, Default, clap::Args)]
#[group(id = "caching")]
pub struct Arguments {
    /// A repository with records of layers, which need not be made then; may be given more than once.
    /// The first is written to when a push succeeds [default: the target's]
    #[arg(long = "cache", value_name = "REPOSITORY", value_parser = super::reference, conflicts_with = "no_cache")]
    caches: Vec<Reference>,
    /// A repository with layers of wheels, which need not be made then; may be given more than once.
    /// Asked after all caches and before those that the recipe names
    #[arg(
        long = "wheelhouse",
        value_name = "REPOSITORY",
        value_parser = super::reference,
        env = "DLPACK_WHEELHOUSE",
        value_delimiter = ','
    )]
    wheelhouses: Vec<Reference>,
    /// Ask no remote cache and no wheelhouse, and write to none
    #[arg(long)]
    no_cache: bool,
}

impl Arguments {
    /// The caches that a build of `lock` asks: the target's own, that of the image that it is made
    /// from, if it is, then those that are named, then wheelhouses.
    pub fn caches(
        &self,
        context: &Context,
        lock: &Lock,
        store: &Store,
        registries: &Registries,
        target: Option<&Repository>,
        from: Option<&Repository>,
    ) -> Result<Caches, Failure> {
        if self.no_cache {
            return Ok(Caches::none());
        }
        let pinned = lock.recipe.cache_keys.clone();
        let mut caches = Caches::new(pinned, context.progress().clone());
        let mut asked = self.caches.iter().map(|it| registries.repository(it)).collect::<Result<Vec<_>, Error>>()?;
        let is_new = |asked: &[Repository], repository: &Repository| !asked.iter().any(|other| other.is(repository));
        if let Some(target) = target {
            caches = caches.with_pushed(store, registries, target)?;
        }
        let target = target.filter(|target| is_new(&asked, target));
        if let Some(target) = target {
            caches = caches.with_target(target);
        }
        // An image's own repository has the records of its layers, too.
        let from = from.filter(|from| is_new(&asked, from) && !target.is_some_and(|target| target.is(from)));
        if let Some(from) = from {
            caches = caches.with_target(from);
        }
        caches = asked.iter().fold(caches, Caches::with_named);
        asked.extend([target, from].into_iter().flatten().cloned());
        for wheelhouse in self.wheelhouses(lock)? {
            let wheelhouse = registries.repository(&wheelhouse)?;
            if is_new(&asked, &wheelhouse) {
                caches = caches.with_wheelhouse(&wheelhouse);
                asked.push(wheelhouse);
            }
        }
        Ok(caches)
    }

    /// Those of the command line, then those of the recipe.
    fn wheelhouses(&self, lock: &Lock) -> Result<Vec<Reference>, Error> {
        let unusable = |name: &String| Error::Address { name: name.clone() };
        let of_recipe = lock.recipe.wheelhouses.iter().map(|name| name.parse().map_err(|_| unusable(name)));
        self.wheelhouses.iter().cloned().map(Ok).chain(of_recipe).collect()
    }
}
