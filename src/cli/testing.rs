//! What verbs that test have in common: which image, whether it has to be, and how.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::context::{Context, Locked};
use super::error::Failure;
use super::{blocking, container};
use crate::assemble::{self, Described, Work};
use crate::gpu;
use crate::oci::Digest;
use crate::plan::Plan;
use crate::progress::Activity;
use crate::recipe::Tests;
use crate::registry::{Registries, Repository};
use crate::run::{self, Settings};
use crate::sandbox::{ExtractError, Rootfs};
use crate::store::Store;

/// Whether an image is tested.
#[derive(Debug, Default, clap::Args)]
// clap names a group after its struct, and each verb's is called the same.
#[group(id = "testing")]
pub struct Arguments {
    /// Don't run the recipe's tests before the image gets its name
    #[arg(long)]
    no_test: bool,
}

/// What became of an image's tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many passed.
    pub passed: usize,
    /// How many are for another machine.
    pub skipped: usize,
}

/// The tests of a recipe, for the image that it makes.
pub struct Testing<'a> {
    pub context: &'a Context,
    pub store: &'a Store,
    pub registries: &'a Registries,
    pub tests: &'a Tests,
    /// Where the image's layers may be, if not here.
    pub target: Option<&'a Repository>,
}

/// What is known of an image's tests before it is pushed.
pub enum Trial {
    /// They have passed before: it may go out.
    Passed(Digest),
    /// It is made, and they are to be run.
    Untried(Box<Described>),
}

impl Arguments {
    /// Whether there is something to be tested of `locked`.
    pub fn wants(&self, locked: &Locked) -> bool {
        !self.no_test && !locked.tests.commands.is_empty()
    }
}

impl Testing<'_> {
    /// Whether the image of `plan` is known to have passed; if not, it is built.
    pub async fn try_known(&self, work: &Work<'_>, plan: &Plan) -> Result<Trial, Failure> {
        if let Some(digest) = assemble::known(work, plan).await?
            && self.has_passed(&digest)?
        {
            return Ok(Trial::Passed(digest));
        }
        let built = assemble::build(work, plan).await?;
        assemble::lay_out_base(work).await?;
        Ok(Trial::Untried(Box::new(assemble::describe_stored(self.store, &built.image.descriptor)?)))
    }

    /// Tests `image`, unless it is known to have passed, and remembers that it has.
    pub async fn pass(&self, image: &Described) -> Result<(), Failure> {
        let digest = image.descriptor.digest;
        if self.has_passed(&digest)? {
            return Ok(());
        }
        self.run(image).await?;
        Ok(self.store.put_passed(&self.tested(&digest))?)
    }

    fn has_passed(&self, image: &Digest) -> Result<bool, Failure> {
        Ok(self.store.has_passed(&self.tested(image))?)
    }

    /// What stands for the image, its tests, and which of them are for this machine.
    fn tested(&self, image: &Digest) -> Digest {
        Digest::of(json!([image, self.tests, has_gpu()]).to_string().as_bytes())
    }

    /// Runs every test in a container of its own; the first that fails ends it.
    pub async fn run(&self, image: &Described) -> Result<Summary, Failure> {
        let lower = self.laid_out(image).await?;
        let host = Arc::new(self.context.host(self.store)?);
        let (config, network) = (Arc::new(image.config.config.clone()), self.tests.network);
        let mut summary = Summary::default();
        for (n, test) in (1..).zip(&self.tests.commands) {
            let task = self.context.progress().task(Activity::Test, test.title(), None);
            if test.gpu && !has_gpu() {
                task.end("skipped: there is no GPU here");
                summary.skipped += 1;
                continue;
            }
            let label = format!("test-{}-{n}", image.descriptor.digest.short());
            let rootfs = Rootfs::new(lower.clone(), Arc::clone(&host)).labelled(label, task.output());
            let (test, config) = (test.clone(), Arc::clone(&config));
            let (env, gpus) = (Settings::default().env_over(&config), if test.gpu { "all" } else { "none" });
            let given = gpu::devices(&gpu::Root::of_machine(), Some(gpus), &env, &rootfs)?;
            blocking(move || Ok(run::test(&test, &rootfs, &config, network, &given.devices)?)).await?;
            task.end("passed");
            summary.passed += 1;
        }
        Ok(summary)
    }

    /// The directories of the image's layers. What was pushed while it was made is brought back.
    async fn laid_out(&self, image: &Described) -> Result<Vec<PathBuf>, Failure> {
        let Self { context, store, registries, target, .. } = self;
        match (container::laid_out(context, store, image).await?, target) {
            (Err(ExtractError::Missing { .. }), Some(target)) => {
                assemble::complete(image, target.reference(), store, registries, context.progress()).await?;
                Ok(container::laid_out(context, store, image).await??)
            }
            (lower, _) => Ok(lower?),
        }
    }
}

/// Whether this machine has a GPU for containers.
fn has_gpu() -> bool {
    gpu::is_there(&gpu::Root::of_machine())
}
