//! `dlpack verify`: whether an image is what its lock makes.

use std::sync::Arc;

use serde_json::json;

use super::context::Context;
use super::display::{count, show, table};
use super::error::{ExitKind, Failure};
use super::secrets::{self, Secret};
use crate::assemble::{self, Blob, Checked, Compared, Verdict, Verified, Work};
use crate::cache::Caches;
use crate::lock;
use crate::plan::{Places, Plan};
use crate::registry::Reference;
use crate::sandbox::Host;

/// Make an image again from its lock and compare every digest
///
/// No layer is taken from the store, from a cache or from a record: each that dlpack adds is made
/// anew from what the lock names, in the sandbox if it runs something, and held against the
/// manifest and the config that the registry has. Nothing is pushed, and the store has no layer
/// more afterwards.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The image in its registry, by tag or by digest
    #[arg(value_parser = super::reference)]
    image: Reference,
    /// Layers written at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// A file that `run` layers may ask for by this name, or an environment variable of this name;
    /// may be given more than once
    #[arg(long = "secret", value_name = "NAME[=FILE]", value_parser = secrets::parse)]
    secrets: Vec<Secret>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    let _lease = store.lease()?;
    let locked = context.fitting(false)?.ok_or_else(|| no_lock(context))?;
    let apart = store.apart()?;
    let image = registries.repository(&arguments.image)?;
    let image = assemble::describe_remote(&image, &locked.lock.platform, apart.store()).await?;
    let caches = Caches::none();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let secrets = secrets::open(&arguments.secrets)?;
    // What steps leave for the next build may be what made the image, too: they begin without.
    let host = Host { secrets: secrets.files.clone(), caches: apart.store().caches(), ..context.host(&store)? };
    let host = Arc::new(host);
    let places = Places { store: apart.store(), target: None, caches: &caches };
    let plan = Plan::new(&locked.lock, &locked.directory, places, Arc::clone(&host)).await?;
    let work = Work {
        lock: &locked.lock,
        directory: &locked.directory,
        store: apart.store(),
        registries: &registries,
        target: None,
        caches: &caches,
        host,
        progress: context.progress(),
        jobs: arguments.jobs.map_or_else(cores, usize::from),
    };
    let verified = assemble::verify(&work, &plan, &image).await?;
    context.finish();
    if context.json() {
        let mut told = json!(verified);
        told["verdict"] = json!(verified.verdict());
        show(told)?;
    } else {
        show(as_table(&verified).trim_end())?;
    }
    judge(&arguments.image, &verified)
}

fn no_lock(context: &Context) -> Failure {
    let path = lock::path_for(&context.recipe_path());
    Failure::new(ExitKind::Recipe, format!("there is no lock at {}", path.display()))
        .hint("an image is verified against the lock that it was built from: put it beside its recipe")
}

/// What is not proved is a failure, with a status of its own.
fn judge(image: &Reference, verified: &Verified) -> Result<(), Failure> {
    let layers = |verdict| verified.layers.iter().filter(|layer| layer.verdict == verdict).count();
    match verified.verdict() {
        Verdict::Proved => Ok(()),
        Verdict::Differs => {
            let what = match layers(Verdict::Differs) {
                0 => "its layers are, its config or its manifest is not".to_owned(),
                differing => format!("{} of {} differ", differing, count(verified.layers.len(), "layer")),
            };
            Err(Failure::new(ExitKind::Differs, format!("{image} is not what its lock makes: {what}")).hint(
                "it was built from another lock or by another version of dlpack, or a command gives other bytes each \
                 time: `dlpack build` and `dlpack diff --files` show which",
            ))
        }
        Verdict::Unproved => {
            let what = match layers(Verdict::Unproved) {
                // The sandbox lacked something, and no layer shows it; the manifest tells of it.
                0 => format!("the layers of {image} are what its lock makes, its manifest can't be proved here"),
                unproved => format!("{} of {image} can't be proved here", count(unproved, "layer")),
            };
            Err(Failure::new(ExitKind::Sandbox, what).hint("verify it where the sandbox is whole: docs/sandbox.md"))
        }
    }
}

fn as_table(verified: &Verified) -> String {
    let mut rows = vec![["", "layer", "what", "in the registry", "made here", ""].map(str::to_owned).to_vec()];
    rows.extend(verified.layers.iter().map(row));
    let document = |name: &str, Compared { verdict, expected, made }: &Compared| {
        let made = if expected == made { String::new() } else { made.short() };
        vec![verdict.to_string(), name.to_owned(), String::new(), expected.short(), made]
    };
    rows.push(document("config", &verified.config));
    rows.push(document("manifest", &verified.manifest));
    table(&rows, &[])
}

fn row(layer: &Checked) -> Vec<String> {
    let short = |blob: &Option<Blob>| blob.as_ref().map_or_else(|| "-".to_owned(), |blob| blob.digest.short());
    let name = layer.layer.clone().unwrap_or_else(|| "base".to_owned());
    let what: String = layer.what.chars().take(50).collect();
    let made = layer.reason.map(|_| short(&layer.made)).unwrap_or_default();
    let reason = layer.reason.map(|reason| reason.to_string()).unwrap_or_default();
    vec![layer.verdict.to_string(), format!("{} {name}", layer.position), what, short(&layer.expected), made, reason]
}
