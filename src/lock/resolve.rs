//! From a recipe to a lock.

use std::path::Path;
use std::sync::Arc;

use super::apt::Asking;
use super::base::{self, FileList, Needs, Resolved};
use super::error::Error;
use super::local;
use super::model::{Lock, LockedApt, LockedFile, LockedLayer, LockedVenv, VERSION};
use super::user;
use super::venv::{self, Context};
use crate::oci::Platform;
use crate::progress::Activity;
use crate::python::uv::Uv;
use crate::recipe::{Account, Apt, IdSetting, Layer, LayerKind, Loaded, Recipe};
use crate::registry::Registries;
use crate::sandbox::{Host, Rootfs};
use crate::store::Store;

/// How many layers an image has at most, the base's included. A runtime takes 127;
/// what is left is for whoever builds on the image.
const LAYERS: usize = 100;

/// The layers that a recipe layer becomes besides bins and wheels of their own: the
/// skeleton of a venv and its interpreter.
const OF_A_VENV: usize = 2;

/// What dlpack adds by itself: the entrypoint.
const OF_DLPACK: usize = 1;

/// The uid of an account whose recipe says none.
const UID: u32 = 1000;

/// Resolves everything that a build of `loaded` for `platform` consumes. What has to be
/// run for it runs on `host`. What a `previous` lock says of the packing is kept where it
/// still fits; versions are chosen anew.
///
/// # Errors
/// See [`Error`].
pub async fn resolve(
    loaded: &Loaded,
    platform: &Platform,
    previous: Option<&Lock>,
    registries: &Registries,
    store: &Store,
    host: &Arc<Host>,
) -> Result<Lock, Error> {
    let progress = &host.progress;
    let recipe = &loaded.recipe;
    // before what may take minutes: without it there is no lock
    let uv = match recipe.layers.iter().any(|layer| matches!(layer.kind, LayerKind::Venv(_))) {
        true => Some(find_uv().await?),
        false => None,
    };
    let needs = Needs::of(recipe);
    let base = base::resolve(&recipe.base, &loaded.directory, platform, needs, registries, store, host).await?;
    let mut packages = resolve_packages(recipe, &loaded.directory, &base, registries, store, host).await?.into_iter();
    let budget = wheel_layers(base.locked.diff_ids.len(), &recipe.layers)?;
    let mut layers = Vec::new();
    for layer in &recipe.layers {
        let has = |path: &str| {
            base.files.as_ref().is_some_and(|files| files.contains(path)) || brings_interpreter(&layers, path)
        };
        let locked = match &layer.kind {
            LayerKind::Apt(_) => match packages.next() {
                Some(locked) => LockedLayer::Apt(locked),
                None => return Err(Error::Interrupted { doing: "choosing packages" }),
            },
            LayerKind::Run(run) => LockedLayer::Run { files: local::run_files(&layer.name, run, &loaded.directory)? },
            LayerKind::Sshd(_) => LockedLayer::Sshd,
            LayerKind::Jupyter(_) => LockedLayer::Jupyter,
            LayerKind::Timezone(_) => LockedLayer::Timezone,
            LayerKind::Files(files) => {
                let files = local::files(&layer.name, files, &loaded.directory)?;
                check_links(&layer.name, &files, base.files.as_ref())?;
                LockedLayer::Files { files }
            }
            LayerKind::Account(account) => resolve_account(&layer.name, account, loaded)?,
            LayerKind::Venv(venv) => {
                let Some(uv) = &uv else { return Err(Error::Interrupted { doing: "looking for uv" }) };
                let context = Context {
                    uv,
                    layer: &layer.name,
                    directory: &loaded.directory,
                    platform,
                    base: &has,
                    files: base.files.as_ref(),
                    user: venv
                        .user
                        .as_ref()
                        .and_then(|user| user::of_account(user, &recipe.layers, &layers, &base.locked)),
                    layers: budget,
                    previous: previous.and_then(|lock| venv_of(lock, &layer.name)),
                    store,
                    http: registries.http(),
                    progress,
                };
                LockedLayer::Venv(venv::resolve(&context, venv).await?)
            }
        };
        layers.push(locked);
    }
    Ok(Lock {
        version: VERSION,
        platform: platform.clone(),
        settings: loaded.settings.clone(),
        base: base.locked,
        layers,
        recipe: recipe.clone(),
    })
}

/// The uv of this machine, which resolves venvs.
async fn find_uv() -> Result<Uv, Error> {
    let found = tokio::task::spawn_blocking(Uv::find).await;
    let found = found.map_err(|_| Error::Interrupted { doing: "looking for uv" })?;
    Ok(found.map_err(crate::python::resolve::Error::from)?)
}

/// What each apt layer installs, in their order. The base is brought onto the disk for it.
pub(super) async fn resolve_packages(
    recipe: &Recipe,
    directory: &Path,
    base: &Resolved,
    registries: &Registries,
    store: &Store,
    host: &Arc<Host>,
) -> Result<Vec<LockedApt>, Error> {
    let layer = |layer: &Layer| match &layer.kind {
        LayerKind::Apt(apt) => Some((layer.name.clone(), apt.clone())),
        _ => None,
    };
    let asked: Vec<(String, Apt)> = recipe.layers.iter().filter_map(layer).collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let source = base::source(&recipe.base, directory, registries, store)?;
    let lower = base::extracted(&base.locked, source.as_ref(), store, &host.progress).await?;
    let task = host.progress.task(Activity::Resolve, "packages", None);
    let rootfs = Rootfs::new(lower.into_iter().collect(), Arc::clone(host)).labelled("lock-apt", task.output());
    let directory = directory.to_owned();
    let asking = tokio::task::spawn_blocking(move || {
        let mut apt = Asking::on(&rootfs, &directory, &asked[0].0)?;
        asked.iter().map(|(layer, recipe)| apt.resolve(layer, recipe)).collect::<Result<Vec<_>, _>>()
    });
    let locked = asking.await.map_err(|_| Error::Interrupted { doing: "choosing packages" })??;
    task.end(format!("{} packages", locked.iter().map(|layer| layer.debs.len()).sum::<usize>()));
    Ok(locked)
}

/// Whether an apt layer brings the interpreter at `path`: Debian's `python3.X-minimal`
/// has `/usr/bin/python3.X`.
fn brings_interpreter(layers: &[LockedLayer], path: &str) -> bool {
    let Some(name) = path.strip_prefix("/usr/bin/python") else { return false };
    let package = format!("python{name}-minimal");
    let brings = |layer: &LockedLayer| match layer {
        LockedLayer::Apt(apt) => apt.debs.iter().any(|deb| deb.name == package),
        _ => false,
    };
    layers.iter().any(brings)
}

/// A layer is unpacked by itself before it is laid over the others: a file below a
/// link of the base would make a directory there, and hide what the link leads to.
pub(super) fn check_links(layer: &str, files: &[LockedFile], base: Option<&FileList>) -> Result<(), Error> {
    let behind = |file: &LockedFile| Some((file.to.clone(), base?.behind_links(&file.to)?));
    match files.iter().find_map(behind) {
        Some((to, real)) => Err(Error::BehindLink { layer: layer.to_owned(), to, real }),
        None => Ok(()),
    }
}

/// How many layers the wheels of each venv may take.
fn wheel_layers(base: usize, layers: &[Layer]) -> Result<usize, Error> {
    let venvs = layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Venv(_))).count();
    let others = layers.len() - venvs + venvs * OF_A_VENV + OF_DLPACK;
    let left = LAYERS.saturating_sub(base + others) / venvs.max(1);
    match venvs > 0 && left < super::packing::LEAST {
        true => Err(Error::TooManyLayers { base, recipe: others }),
        false => Ok(left),
    }
}

fn venv_of<'a>(lock: &'a Lock, name: &str) -> Option<&'a LockedVenv> {
    let position = lock.recipe.layers.iter().position(|layer| layer.name == name)?;
    match lock.layers.get(position) {
        Some(LockedLayer::Venv(venv)) => Some(venv),
        _ => None,
    }
}

fn resolve_account(layer: &str, account: &Account, loaded: &Loaded) -> Result<LockedLayer, Error> {
    let uid = match account.uid {
        None => UID,
        Some(IdSetting::Id(uid)) => uid,
        Some(IdSetting::Host) => rustix::process::getuid().as_raw(),
    };
    let gid = match account.gid {
        None => uid,
        Some(IdSetting::Id(gid)) => gid,
        Some(IdSetting::Host) => rustix::process::getgid().as_raw(),
    };
    let authorized_keys = local::authorized_keys(layer, account, loaded)?;
    let inputs = local::key_files(layer, account, loaded)?;
    Ok(LockedLayer::Account { uid, gid, authorized_keys, inputs })
}
