//! `dlpack export venv`: the image's venv on this machine, for an editor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::container::{self, What};
use super::context::{Context, Locked};
use super::display::{count, show};
use super::error::{ExitKind, Failure};
use super::export::GivenUp;
use super::{blocking, building};
use crate::assemble;
use crate::export::Stop;
use crate::export::venv::{Export, Exported, LeftOut, Origin, Python, Target};
use crate::lock::{LockedLayer, LockedVenv};
use crate::recipe::{LayerKind, Venv};
use crate::registry::{Reference, Registries};
use crate::sandbox::Rootfs;
use crate::store::Store;

/// Lay the venv of the recipe, or of an image, out on this machine, so that an editor completes and
/// checks types
///
/// The packages of the image, with the paths of where the venv lies. A second time, only packages
/// that changed are touched, and what you added stays. Locks the recipe if there is no lock.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The venv of this image, and not the recipe's: its name, or oci:DIRECTORY[:TAG]
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["update", "layer", "no_base"])]
    image: Option<String>,
    /// Where the image has it [default: what its environment says]
    #[arg(long, value_name = "PATH", requires = "image", value_parser = container::directory)]
    at: Option<String>,
    /// Resolve the recipe anew first
    #[arg(long)]
    update: bool,
    /// Which layer of the recipe, where several are a venv [default: the last one]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Leave out what the base's own Python has, and don't fetch the base for it
    #[arg(long)]
    no_base: bool,
    /// The Python that it runs with [default: the image's, if that is a standalone build, else one of
    /// its version in PATH, or of uv's]
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Replace another tool's venv, and files of yours that are in the way of a package's
    #[arg(long)]
    force: bool,
    /// Where [default: .venv beside the recipe, or here for an image]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// What an export works with.
struct World<'a> {
    context: &'a Context,
    store: Store,
    registries: Registries,
}

/// Why something is left out.
const NOT_BUILT: &str = "it is built from source, and `dlpack build` has not built it yet";
const NOT_MADE: &str = "the base is made of packages, and `dlpack build` has not made it yet";
const NOT_WANTED: &str = "--no-base leaves out what the base's Python has";

pub async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let (store, registries) = (context.store()?, context.registries()?);
    let _lease = store.lease()?;
    if let Some(directory) = &arguments.directory {
        refuse_image(directory, &store)?;
    }
    let world = World { context, store, registries };
    let export = match &arguments.image {
        Some(image) => world.of_image(image, &arguments).await?,
        None => world.of_recipe(&arguments).await?,
    };
    let stop = Stop::default();
    let _given_up = GivenUp(stop.clone());
    let (store, progress) = (world.store.clone(), context.progress().clone());
    let exported = blocking(move || Ok(export.write(&store, &progress, &stop)?)).await?;
    let mut left_out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for LeftOut { name, why } in &exported.left_out {
        left_out.entry(why).or_default().push(name);
    }
    for (why, names) in left_out {
        context.progress().warn(format!("left out: {}; {why}", some(&names)));
    }
    context.finish();
    if context.json() {
        let Exported { path, python, packages, written, removed, left_out, placed } = exported;
        let left_out = left_out.into_iter().map(|LeftOut { name, why }| json!({ "name": name, "why": why }));
        return show(json!({
            "path": path, "python": python, "packages": packages, "written": written, "removed": removed,
            "left_out": left_out.collect::<Vec<_>>(),
            "cloned": placed.cloned, "linked": placed.linked, "copied": placed.copied,
        }));
    }
    show(told(&exported))
}

impl World<'_> {
    /// The venv of the recipe: the wheels of its lock, what its image was built with besides, and what its
    /// base has under them.
    async fn of_recipe(&self, arguments: &Arguments) -> Result<Export, Failure> {
        let Self { context, store, registries } = self;
        let progress = context.progress();
        let recipe = context.locked(arguments.update, store, registries).await?;
        let (index, venv, locked) = chosen(context, &recipe, arguments.layer.as_deref())?;
        let path = arguments.directory.clone().unwrap_or_else(|| recipe.directory.join(".venv"));
        let mut origin = Origin::of_lock(locked, &recipe.lock.platform)?;
        let (target, python) = self.place(path, &origin, arguments).await?;
        if !locked.sources.is_empty() {
            let prefix =
                locked.scheme(&venv.path).map_or_else(|_| venv.path.clone(), |scheme| scheme.prefix().to_owned());
            for (name, layer) in self.built(&recipe, index).await? {
                match layer {
                    Some(layer) => origin.add_built(&name, store, &self.rootfs(layer)?, &prefix)?,
                    None => origin.leave_out([name], NOT_BUILT),
                }
            }
        }
        if let Some(user) = &locked.user {
            let present = || user.present.iter().map(|found| format!("{} {}", found.name, found.version));
            let base = match arguments.no_base {
                true => None,
                false => assemble::base_for_venv(&recipe.lock, &recipe.directory, store, registries, progress).await?,
            };
            match base {
                Some(base) => {
                    let (rootfs, interpreter) = (self.rootfs(vec![base])?, locked.interpreter.path.clone());
                    let store = store.clone();
                    origin = blocking(move || {
                        origin.add_base(&store, &rootfs, &interpreter).map(|()| origin).map_err(Failure::from)
                    })
                    .await?;
                }
                None => origin.leave_out(present(), if arguments.no_base { NOT_WANTED } else { NOT_MADE }),
            }
        }
        let export = blocking(move || Ok(Export::new(target, origin, python))).await?;
        assemble::fetch_for_venv(venv, &export.needs(), &recipe.directory, store, registries, progress).await?;
        Ok(export)
    }

    /// The venv of the image that is called `name`.
    async fn of_image(&self, name: &str, arguments: &Arguments) -> Result<Export, Failure> {
        let path = arguments.directory.clone().unwrap_or_else(|| PathBuf::from(".venv"));
        let what = What::of(Some(name))?;
        let (image, lower) = container::lay_out(self.context, &what, &self.store, &self.registries).await?;
        let (store, rootfs, at) = (self.store.clone(), self.rootfs(lower)?, arguments.at.clone());
        let origin = blocking(move || Ok(Origin::of_image(&store, &rootfs, &image.config, at.as_deref())?)).await?;
        let (target, python) = self.place(path, &origin, arguments).await?;
        blocking(move || Ok(Export::new(target, origin, python))).await
    }

    /// Where it is to be, and the Python that it runs with.
    async fn place(&self, path: PathBuf, origin: &Origin, arguments: &Arguments) -> Result<(Target, Python), Failure> {
        let (origin, named, force) = (origin.clone(), arguments.python.clone(), arguments.force);
        let placed = move || {
            let target = Target::open(&path, force)?;
            let python = Python::choose(&origin, &target, named.as_deref())?;
            Ok((target, python))
        };
        blocking(placed).await
    }

    /// What was built from source for the `index`th layer of `recipe`, as far as it was.
    async fn built(&self, recipe: &Locked, index: usize) -> Result<Vec<(String, Option<Vec<PathBuf>>)>, Failure> {
        let (making, ends) = (building::Making::default(), building::Ends::default());
        let Self { context, store, registries } = self;
        making
            .build(context, recipe, store, registries, ends, async |work, plan| {
                assemble::built_for_venv(work, plan, index).await
            })
            .await
    }

    fn rootfs(&self, lower: Vec<PathBuf>) -> Result<Rootfs, Failure> {
        Ok(Rootfs::new(lower, Arc::new(self.context.host(&self.store)?)))
    }
}

/// Refuses to make a directory with the name of an image.
fn refuse_image(directory: &Path, store: &Store) -> Result<(), Failure> {
    let Some(text) = directory.to_str().filter(|_| !directory.exists()) else { return Ok(()) };
    let known = |name: &str| {
        let reference = name.parse::<Reference>().ok();
        reference.is_some_and(|reference| store.resolve(&reference.whole()).is_ok_and(|found| found.is_some()))
    };
    // containers' references: the first component is a registry if it has a dot or a colon, or is localhost
    let of_registry = |text: &str| {
        let first = text.split_once('/').map(|(first, _)| first);
        first.is_some_and(|first| first.contains(['.', ':']) && !first.starts_with('.') || first == "localhost")
    };
    let is_path = text.starts_with(['.', '/']);
    if is_path || !(text.contains([':', '@']) || of_registry(text) || known(text)) {
        return Ok(());
    }
    let failure = Failure::new(ExitKind::Usage, format!("`{text}` looks like an image, where a directory should be"));
    let or_else = if text.contains(':') { String::new() } else { format!("; a directory: ./{text}") };
    Err(failure.hint(format!("an image's venv: `dlpack export venv --image {text} [DIR]`{or_else}")))
}

/// `names` in few words.
fn some(names: &[&str]) -> String {
    match names {
        names if names.len() <= 5 => names.join(", "),
        names => format!("{} and {} more", names[..4].join(", "), names.len() - 4),
    }
}

/// What a person is told of it.
fn told(exported: &Exported) -> String {
    let Exported { path, python, packages, written, removed, .. } = exported;
    let what = |names: &[String], done: &str| match names {
        [] => String::new(),
        names if names.len() <= 5 => format!(", {done} {}", names.join(", ")),
        names => format!(", {done} {} parts", names.len()),
    };
    let changed = match (written.is_empty(), removed.is_empty()) {
        (true, true) => ", nothing changed".to_owned(),
        _ => what(written, "wrote") + &what(removed, "removed"),
    };
    format!("{}: Python {python}, {}{changed}", path.display(), count(*packages, "package"))
}

/// The venv of the recipe that is meant: which layer it is, and what it is resolved to.
fn chosen<'a>(
    context: &Context,
    recipe: &'a Locked,
    name: Option<&str>,
) -> Result<(usize, &'a Venv, &'a LockedVenv), Failure> {
    let layers = recipe.lock.recipe.layers.iter().zip(&recipe.lock.layers).enumerate();
    let venvs = layers.filter_map(|(index, (layer, locked))| match (&layer.kind, locked) {
        (LayerKind::Venv(venv), LockedLayer::Venv(locked)) => Some((&layer.name, index, venv, locked)),
        _ => None,
    });
    let venvs: Vec<_> = venvs.collect();
    let found = match name {
        Some(name) => venvs.iter().find(|(layer, ..)| *layer == name),
        None => venvs.last(),
    };
    if let Some((_, index, venv, locked)) = found {
        return Ok((*index, venv, locked));
    }
    let recipe = context.recipe_path();
    let what = match name {
        Some(name) => format!("{} has no venv `{name}`", recipe.display()),
        None => format!("{} has no venv", recipe.display()),
    };
    let names: Vec<&str> = venvs.iter().map(|(layer, ..)| layer.as_str()).collect();
    let failure = Failure::new(ExitKind::Recipe, what);
    Err(match names.is_empty() {
        true => failure.hint("name a recipe with a layer `kind = \"venv\"`: -r FILE"),
        false => failure.hint(format!("its venvs are {}", names.join(", "))),
    })
}
