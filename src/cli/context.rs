//! What every verb starts from: the options, the store, the registries, the
//! recipe and its lock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::Access;
use rustix::io::Errno;

use super::Options;
use super::error::{ExitKind, Failure};
use super::limits;
use super::progress::{Detail, Display};
use super::sending;
use crate::doctor::facts::{self, Filesystem};
use crate::lock::{self, Lock};
use crate::locked::locked;
use crate::oci::Platform;
use crate::progress::Progress;
use crate::recipe::{self, Base, Container, Loaded, Recipe, Sources, Tests};
use crate::registry::{Environment, Interrupt, Registries, Settings};
use crate::sandbox::Host;
use crate::store::Store;

/// What a recipe is called where none is named.
const RECIPE: &str = "dlpack.toml";

/// The options of this run and what follows from them.
pub struct Context {
    options: Options,
    progress: Progress,
    display: Display,
    /// Those that were spoken to, if there is something to be said of them in the end.
    registries: Mutex<Option<Registries>>,
    interrupt: Interrupt,
}

/// A lock and the directory that its local files are relative to.
pub struct Locked {
    /// The lock.
    pub lock: Lock,
    /// The recipe's directory.
    pub directory: PathBuf,
    /// Where the recipe says what, if it is there beside its lock.
    pub sources: Option<Sources>,
    /// What the recipe tests its image by; nothing without one.
    pub tests: Tests,
}

impl Locked {
    /// `lock`, which fits the recipe that was `loaded`.
    fn of(lock: Lock, loaded: Loaded) -> Self {
        let Loaded { directory, sources, tests, .. } = loaded;
        Self { lock, directory, sources: Some(sources), tests }
    }
}

impl Context {
    /// The context of `options`.
    pub fn new(options: Options) -> Self {
        let detail = match (options.quiet, options.verbose) {
            (true, _) => Detail::Quiet,
            (_, true) => Detail::Verbose,
            _ => Detail::Normal,
        };
        let display = Display::new(options.json, detail);
        Self {
            options,
            progress: display.progress(),
            display,
            registries: Mutex::default(),
            interrupt: Interrupt::default(),
        }
    }

    /// Says how much was fetched and built since this was last called.
    pub fn sum_up(&self) {
        self.display.sum_up();
    }

    /// Says so for what is left, and takes what is drawn off the screen: for results
    /// and errors to be printed.
    pub fn finish(&self) {
        self.display.clear();
        self.display.sum_up();
        let spoken_to = locked(&self.registries).take();
        if let Some(registries) = spoken_to.filter(|_| self.verbose() && !self.json()) {
            limits::pulls(&registries).iter().for_each(|line| eprintln!("{line}"));
        }
    }

    /// Tells uploads that the process is about to end.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Whether results are JSON.
    pub fn json(&self) -> bool {
        self.options.json
    }

    /// Whether everything is to be said.
    pub fn verbose(&self) -> bool {
        self.options.verbose
    }

    /// Whether nothing is to be said but results and errors.
    pub fn quiet(&self) -> bool {
        self.options.quiet
    }

    /// Whether transfers are kept slower than the line.
    pub fn is_limited(&self) -> bool {
        self.options.limit_rate.is_some()
    }

    /// Where work tells what it does.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The store: `--store`, `DLPACK_STORE`, or `dlpack` in the user's cache directory
    /// (XDG base directory specification).
    pub fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.store_root()?)?)
    }

    /// Where the store is, or is to be made.
    pub fn store_root(&self) -> Result<PathBuf, Failure> {
        match self.options.store.as_ref().filter(|store| !store.as_os_str().is_empty()) {
            Some(root) => Ok(root.clone()),
            None => Ok(cache_directory().ok_or_else(Failure::no_home)?.join("dlpack")),
        }
    }

    /// The registries, as this machine is set up for them.
    pub fn registries(&self) -> Result<Registries, Failure> {
        self.speaking_to(self.settings_of_registries()?)
    }

    /// The same, for pushing: uploads are noted down, in `store` unless elsewhere, and those of
    /// earlier runs are gone on with.
    pub fn registries_to_push(&self, store: &Store, sending: &sending::Options) -> Result<Registries, Failure> {
        let journal = match &sending.journal {
            Some(directory) => {
                let journal = Store::open(directory)?;
                // whoever comes to a store that nobody uses sweeps away what nobody remembers
                drop(journal.lease()?);
                journal
            }
            None => store.clone(),
        };
        let chunk = sending.max_chunk;
        self.speaking_to(Settings { journal: Some(journal), chunk, ..self.settings_of_registries()? })
    }

    /// The same, for asking once and not waiting long.
    pub fn registries_asked_once(&self) -> Result<Registries, Failure> {
        let mut settings = self.settings_of_registries()?;
        settings.retry.attempts = 1;
        self.speaking_to(settings)
    }

    fn speaking_to(&self, settings: Settings) -> Result<Registries, Failure> {
        let registries = Registries::new(settings)?;
        *locked(&self.registries) = Some(registries.clone());
        Ok(registries)
    }

    fn settings_of_registries(&self) -> Result<Settings, Failure> {
        let mut settings = Settings {
            limit_rate: self.options.limit_rate,
            interrupt: self.interrupt.clone(),
            ..Settings::from_environment(&Environment::of_process())?
        };
        if !self.quiet() {
            let progress = self.progress.clone();
            settings.retry = settings.retry.with_notice(move |error| {
                let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
                let why = causes.last().map(|cause| format!(": {cause}")).unwrap_or_default();
                progress.warn(format!("{error}{why}; trying again"));
            });
        }
        Ok(settings)
    }

    /// What this machine gives to steps that run on a root filesystem, without secrets.
    pub fn host(&self, store: &Store) -> Result<Host, Failure> {
        Ok(Host {
            program: program()?,
            scratch: scratch(store.root()),
            caches: store.caches(),
            logs: store.logs(),
            secrets: BTreeMap::new(),
            shell_on_failure: false,
            progress: self.progress.clone(),
        })
    }

    /// The platform that an image from a registry is wanted for.
    pub fn platform(&self) -> Platform {
        self.options.platform.clone().unwrap_or_else(Platform::host)
    }

    /// Whether the command line names the recipe.
    pub fn names_recipe(&self) -> bool {
        self.options.recipe.is_some()
    }

    /// Where the recipe is: what the command line names, or `dlpack.toml` in the directory that it
    /// names, or here.
    pub fn recipe_path(&self) -> PathBuf {
        match &self.options.recipe {
            Some(directory) if directory.is_dir() && recipe::shipped(&directory.to_string_lossy()).is_none() => {
                directory.join(RECIPE)
            }
            Some(path) => path.clone(),
            None => PathBuf::from(RECIPE),
        }
    }

    /// Whether there is a recipe, or the lock of one.
    pub fn has_recipe(&self) -> bool {
        let path = self.recipe_path();
        path.exists() || lock::path_for(&path).exists()
    }

    /// Resolves the recipe anew and writes its lock.
    pub async fn resolve(&self, store: &Store, registries: &Registries) -> Result<Locked, Failure> {
        self.resolve_at(&self.recipe_path(), store, registries).await
    }

    async fn resolve_at(&self, recipe: &Path, store: &Store, registries: &Registries) -> Result<Locked, Failure> {
        let path = lock::path_for(recipe);
        // An earlier lock has a say in the packing alone; one that can't be read has none.
        let earlier = lock::read(&path).ok().flatten();
        let loaded = self.load(recipe, earlier.as_ref())?;
        loaded.check_files()?;
        let platform = self.options.platform.clone().or_else(|| loaded.recipe.platform.clone());
        let platform = platform.unwrap_or_else(Platform::host);
        let host = Arc::new(self.host(store)?);
        let lock = lock::resolve(&loaded, &platform, earlier.as_ref(), registries, store, &host).await?;
        lock::write(&path, &lock)?;
        Ok(Locked::of(lock, loaded))
    }

    /// The lock that a build goes by: the one beside the recipe, which must fit the
    /// recipe if that is there, too; made if there is none, or if `update` says so.
    pub async fn locked(&self, update: bool, store: &Store, registries: &Registries) -> Result<Locked, Failure> {
        self.locked_at(&self.recipe_path(), update, store, registries).await
    }

    /// The same for the recipe at `recipe`.
    pub async fn locked_at(
        &self,
        recipe: &Path,
        update: bool,
        store: &Store,
        registries: &Registries,
    ) -> Result<Locked, Failure> {
        match self.fitting_at(recipe, update)? {
            Some(locked) => Ok(locked),
            None => self.resolve_at(recipe, store, registries).await,
        }
    }

    /// The lock beside the recipe, which must fit; nothing if there is none or if it
    /// is to be made anew.
    pub fn fitting(&self, update: bool) -> Result<Option<Locked>, Failure> {
        self.fitting_at(&self.recipe_path(), update)
    }

    fn fitting_at(&self, recipe: &Path, update: bool) -> Result<Option<Locked>, Failure> {
        let lock = if update { None } else { lock::read(&lock::path_for(recipe))? };
        let Some(lock) = lock else { return Ok(None) };
        if !recipe.exists() && recipe::shipped(&recipe.to_string_lossy()).is_none() {
            self.nothing_to_resolve(&lock, recipe)?;
            let directory = recipe::directory_of(recipe).to_owned();
            return Ok(Some(Locked { lock, directory, sources: None, tests: Tests::default() }));
        }
        let loaded = self.load(recipe, Some(&lock))?;
        let platform = self.options.platform.clone().or_else(|| loaded.recipe.platform.clone());
        lock::fits(&lock, &loaded, &platform.unwrap_or_else(|| lock.platform.clone()))?;
        Ok(Some(Locked::of(lock, loaded)))
    }

    /// How the recipe starts containers of its image; nothing said where there is none.
    pub fn container(&self) -> Result<Container, Failure> {
        let recipe = self.recipe_path();
        if !recipe.exists() && recipe::shipped(&recipe.to_string_lossy()).is_none() {
            return Ok(Container::default());
        }
        // a lock that can't be read is the build's to tell of
        let lock = lock::read(&lock::path_for(&recipe)).ok().flatten();
        let loaded = self.load(&recipe, lock.as_ref())?;
        Ok(loaded.container.located_in(&loaded.directory))
    }

    /// The lock beside the recipe, which must fit but for the base that the recipe names; and that
    /// base.
    pub fn fitting_but_for_the_base(&self) -> Result<(Locked, Base), Failure> {
        let recipe = self.recipe_path();
        let path = lock::path_for(&recipe);
        let lock = lock::read(&path)?.ok_or_else(|| {
            Failure::new(ExitKind::Recipe, format!("there is no lock {}", path.display()))
                .hint("write it with `dlpack lock`")
        })?;
        let loaded = self.load(&recipe, Some(&lock))?;
        let base = loaded.recipe.base.clone();
        let on_its_base = Recipe { base: base.clone(), ..lock.recipe.clone() };
        let platform = self.options.platform.clone().unwrap_or_else(|| lock.platform.clone());
        lock::fits(&Lock { recipe: on_its_base, ..lock.clone() }, &loaded, &platform)?;
        Ok((Locked::of(lock, loaded), base))
    }

    /// Writes the lock beside the recipe.
    pub fn write_lock(&self, lock: &Lock) -> Result<(), Failure> {
        Ok(lock::write(&lock::path_for(&self.recipe_path()), lock)?)
    }

    /// Where there is a lock alone, nothing can become of options that a recipe takes.
    fn nothing_to_resolve(&self, lock: &Lock, recipe: &Path) -> Result<(), Failure> {
        let options = &self.options;
        let other_setting = options.settings.iter().any(|(name, value)| lock.settings.get(name) != Some(value));
        if other_setting || options.platform.as_ref().is_some_and(|platform| !lock.platform.accepts(platform)) {
            let what = "the lock was made with another --set or --platform, and there is no recipe to resolve anew";
            return Err(Failure::new(ExitKind::Recipe, what)
                .hint(format!("put {} beside its lock, or leave the option out", recipe.display())));
        }
        Ok(())
    }

    /// The recipe, with the values that its variables had when `lock` was made. One
    /// that the recipe no longer declares is of the past.
    pub fn load(&self, recipe: &Path, lock: Option<&Lock>) -> Result<Loaded, Failure> {
        let mut settings = self.settings(lock);
        loop {
            match Recipe::load(recipe, &settings) {
                Err(recipe::Error::UnknownSetting { name, .. })
                    if !self.options.settings.iter().any(|(given, _)| *given == name) =>
                {
                    settings.retain(|(earlier, _)| *earlier != name);
                }
                loaded => return Ok(loaded?),
            }
        }
    }

    /// The variables' values: those that the lock was made with, and over them those
    /// of this command line.
    fn settings(&self, lock: Option<&Lock>) -> Vec<(String, String)> {
        let earlier = lock.iter().flat_map(|lock| lock.settings.clone());
        let mut settings: BTreeMap<String, String> = earlier.collect();
        settings.extend(self.options.settings.iter().cloned());
        settings.into_iter().collect()
    }
}

/// Where steps write: `DLPACK_SCRATCH`, else the store at `store` if it is on a filesystem that
/// overlayfs can write to, and this user, too; else the directory for temporary files.
pub fn scratch(store: &Path) -> PathBuf {
    let named = std::env::var_os("DLPACK_SCRATCH").map(PathBuf::from).filter(|path| path.is_absolute());
    let lies_on = Filesystem::of(facts::root(), store);
    let closed = || matches!(rustix::fs::access(store, Access::WRITE_OK), Err(Errno::ROFS | Errno::ACCESS));
    let own = || lies_on.is_some_and(|lies_on| lies_on.takes_overlays() && !closed());
    named.or_else(|| own().then(|| Store::scratch_under(store))).unwrap_or_else(std::env::temp_dir)
}

/// dlpack's own program.
pub fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|source| Failure::new(ExitKind::Sandbox, source).about("can't find dlpack's own program"))
}

/// The user's own configuration of dlpack.
pub fn config_directory() -> Option<PathBuf> {
    absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config"))).map(|path| path.join("dlpack"))
}

fn cache_directory() -> Option<PathBuf> {
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}

/// XDG base directory specification: "All paths … must be absolute. … consider the path invalid and ignore it."
fn absolute(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
