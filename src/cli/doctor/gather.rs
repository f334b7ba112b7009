//! Where facts come from: this machine, the recipe's lock, the registries.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::blocking;
use crate::cli::context::{Context, program, scratch};
use crate::cli::error::Failure;
use crate::doctor::Facts;
use crate::doctor::facts::{
    self, Asked, Docker, Filesystem, Gpus, Limits, Login, Machine, Sandbox, Uv, Wanted, ask, filesystem, likely_scratch,
};
use crate::gpu;
use crate::lock::{self, Lock, LockedLayer};
use crate::oci::{Descriptor, ImageConfig, Layout};
use crate::python;
use crate::recipe::{self, Base};
use crate::registry::{Reference, Registries};

/// How long a registry may take to send a config.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that is known of this machine, of what the recipe wants, and of `named` registries.
pub async fn facts(context: &Context, named: &[String]) -> Result<Facts, Failure> {
    let (program, store) = (program()?, context.store_root().ok());
    let registries = context.registries_asked_once().map_err(|failure| failure.in_one_line());
    let recipe = Recipe::of(context);
    let mut asked = Vec::new();
    for (registry, image, named) in to_ask(named, recipe.as_ref())? {
        asked.push(match &registries {
            Ok(registries) => ask(registries, &registry, image.as_ref(), named).await,
            Err(why) => Asked { registry, named, login: Login::Misconfigured(why.clone()), pull_limit: None },
        });
    }
    let wanted = match recipe {
        Some(recipe) => Some(recipe.wanted(store.as_deref(), registries.as_ref().ok()).await),
        None => None,
    };
    blocking(move || Ok(local(&program, store, asked, wanted))).await
}

/// What this machine itself says.
fn local(program: &Path, store: Option<PathBuf>, registries: Vec<Asked>, wanted: Option<Wanted>) -> Facts {
    let root = facts::root();
    let (uid, user) = (rustix::process::getuid().as_raw(), std::env::var("USER").ok());
    let on = |path: PathBuf| Filesystem::of(root, &path);
    let scratch = store.as_deref().map(scratch).and_then(on);
    let better_scratch = match &scratch {
        Some(scratch) if !scratch.takes_overlays() => filesystem::scratch_among(root, &likely_scratch()),
        _ => None,
    };
    Facts {
        machine: Machine::read(root, uid, user.as_deref()),
        sandbox: Sandbox::tried(program),
        limits: Limits::read(root),
        uv: match python::uv::Uv::find() {
            Ok(uv) => Uv::Found(uv.said().to_owned()),
            Err(error) => Uv::Unusable(error.to_string()),
        },
        store: store.and_then(on),
        scratch,
        better_scratch,
        registries,
        gpus: Some(Gpus::read(&gpu::Root::of_machine().at("/"))),
        docker: Docker::read(root),
        wanted,
        unreadable_remedies: None,
    }
}

/// The recipe, as far as it can be read.
struct Recipe {
    path: PathBuf,
    directory: PathBuf,
    base: Option<Base>,
    lock: Option<Lock>,
    unreadable: Option<String>,
}

impl Recipe {
    /// That which the command line names, or the one here, if there is one.
    fn of(context: &Context) -> Option<Self> {
        let path = context.recipe_path();
        let locked = lock::path_for(&path);
        if !context.names_recipe() && !path.exists() && !locked.exists() {
            return None;
        }
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let recipe = Self { path, directory, base: None, lock: None, unreadable: None };
        let lock = match lock::read(&locked) {
            Ok(lock) => lock,
            Err(error) => return Some(Self { unreadable: Some(Failure::from(error).in_one_line()), ..recipe }),
        };
        if let Some(lock) = lock {
            return Some(Self { base: Some(lock.recipe.base.clone()), lock: Some(lock), ..recipe });
        }
        Some(match context.load(&recipe.path, None) {
            Ok(recipe::Loaded { recipe: loaded, .. }) => Self { base: Some(loaded.base), ..recipe },
            Err(failure) => Self { unreadable: Some(failure.in_one_line()), ..recipe },
        })
    }

    /// The base as an image of a registry.
    fn image(&self) -> Option<Reference> {
        match &self.base {
            Some(Base::Image(name)) => name.parse().ok(),
            _ => None,
        }
    }

    /// What it wants of a GPU.
    async fn wanted(self, store: Option<&Path>, registries: Option<&Registries>) -> Wanted {
        let mut wanted = Wanted { recipe: self.path.clone(), unreadable: self.unreadable.clone(), ..Wanted::default() };
        if let Some(image) = self.image() {
            wanted = wanted.of_tag(image.repository(), image.tag());
        }
        if let Some(config) = self.config(store, registries).await {
            let variables = config.config.env.unwrap_or_default();
            let labels = config.config.labels.unwrap_or_default();
            let variables = variables.iter().filter_map(|variable| variable.split_once('='));
            let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            wanted = wanted.of_base(variables.chain(labels));
        }
        let layers = self.lock.iter().flat_map(|lock| &lock.layers);
        let venvs = layers.filter_map(|layer| match layer {
            LockedLayer::Venv(venv) => Some(venv),
            _ => None,
        });
        let wheels = venvs.flat_map(|venv| &venv.wheels);
        wanted.of_wheels(wheels.map(|wheel| (wheel.name.as_str(), wheel.version.as_str())))
    }

    /// The base's config: the store's, the layout's, or the registry's.
    async fn config(&self, store: Option<&Path>, registries: Option<&Registries>) -> Option<ImageConfig> {
        let pin = self.lock.as_ref()?.base.config.as_ref()?;
        let config = Descriptor::new(&pin.media_type, pin.digest, pin.size);
        let beside = match &self.base {
            Some(Base::Layout { path, .. }) => Some(self.directory.join(path)),
            _ => None,
        };
        // the store is a layout, too
        let layouts = store.map(Path::to_owned).into_iter().chain(beside);
        let on_disk = layouts.filter_map(|path| Layout::open(&path).ok()?.read(&config).ok()).next();
        let bytes = match (on_disk, self.image()) {
            (Some(bytes), _) => bytes,
            (None, Some(image)) => {
                let repository = registries?.repository(&image).ok()?;
                tokio::time::timeout(PATIENCE, repository.read_blob(&config)).await.ok()?.ok()?
            }
            (None, None) => return None,
        };
        serde_json::from_slice(&bytes).ok()
    }
}

/// Which registries are asked, each with an image of it and whether somebody named it.
fn to_ask(named: &[String], recipe: Option<&Recipe>) -> Result<Vec<(String, Option<Reference>, bool)>, Failure> {
    let mut asked = Vec::new();
    for name in named {
        asked.push(match name.contains('/') {
            // an image; without a slash it is a host, with or without a port
            true => {
                let image = super::super::reference(name).map_err(|why| Failure::usage(&format!("`{name}`: {why}")))?;
                (image.registry().to_owned(), Some(image), true)
            }
            false => (name.clone(), None, true),
        });
    }
    if let Some(image) = recipe.and_then(Recipe::image) {
        match asked.iter_mut().find(|(registry, ..)| registry == image.registry()) {
            Some((_, known, _)) => *known = known.take().or(Some(image)),
            None => asked.push((image.registry().to_owned(), Some(image), false)),
        }
    }
    // a base on disk, or of packages, needs no registry
    if asked.is_empty() && recipe.is_none_or(|recipe| recipe.base.is_none()) {
        asked.push(("docker.io".to_owned(), None, false));
    }
    Ok(asked)
}
