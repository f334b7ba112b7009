//! A venv, resolved: its wheels, their packing, and what of them collides.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use rawzip::{FileReader, ReaderAt};
use url::Url;

use super::base::FileList;
use super::collisions;
use super::error::Error;
use super::model::{LockedPresent, LockedUser, LockedVenv, LockedWheel};
use super::source::{self, Source};
use super::{interpreter, local, packing, user};
use crate::oci::Platform;
use crate::progress::{Activity, Progress};
use crate::python::index::{self, Indexes, Remote};
use crate::python::install::{self, Listed};
use crate::python::pylock::Origin;
use crate::python::resolve::{self, Chosen, Request};
use crate::python::scheme::Scheme;
use crate::python::source::Metadata;
use crate::python::uv::Uv;
use crate::python::wheel::{Wheel, normalize};
use crate::recipe::Venv;
use crate::registry::http::Http;
use crate::store::{Area, Store};

/// How many wheels' directories are read at once.
pub(super) const AT_ONCE: usize = 8;

/// What resolving a venv needs besides its recipe.
pub(super) struct Context<'a> {
    /// What resolves it.
    pub(super) uv: &'a Uv,
    /// The layer's name.
    pub(super) layer: &'a str,
    /// The recipe's directory.
    pub(super) directory: &'a Path,
    /// Whose wheels.
    pub(super) platform: &'a Platform,
    /// Whether the base has a file.
    pub(super) base: &'a (dyn Fn(&str) -> bool + Sync),
    /// The base's files, as far as they were needed.
    pub(super) files: Option<&'a FileList>,
    /// Whose packages they are, if they are in no venv.
    pub(super) user: Option<LockedUser>,
    /// How many layers the wheels may take.
    pub(super) layers: usize,
    /// The same venv in the previous lock.
    pub(super) previous: Option<&'a LockedVenv>,
    pub(super) store: &'a Store,
    pub(super) http: &'a Http,
    pub(super) progress: &'a Progress,
}

/// Resolves `venv`.
pub(super) async fn resolve(context: &Context<'_>, venv: &Venv) -> Result<LockedVenv, Error> {
    let Context { layer, directory, progress, .. } = *context;
    let (interpreter, python) = interpreter::resolve(context, venv).await?;
    let inputs = local::inputs(layer, &venv.requirements_files, directory)?;
    let asked = Asked::of(context, venv, &python).await?;
    let present = user::present(context, &interpreter, &venv.python);
    let (chosen, sources, relied_on) = choose(context, &asked, &present).await?;
    let (mut wheels, urls) = measured(context, &asked.indexes, chosen).await?;
    let sources = stream::iter(sources).map(|source| source::locked(context, &asked, source));
    let mut sources: Vec<_> = sources.buffered(AT_ONCE).try_collect().await?;
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    let previous = context.previous.map_or(&[][..], |previous| &previous.wheels);
    let bins = packing::pack(&mut wheels, packing::left(context.layers, sources.len(), venv.bytecode), previous);
    let user = context.user.clone().map(|user| Box::new(LockedUser { present: relied_on, ..user }));
    let locked = LockedVenv { interpreter, user, python, inputs, sources, bins, ..LockedVenv::default() };
    let scheme = locked.scheme(&venv.path)?;
    let Context { store, http, .. } = *context;
    let from = Wheels { layer, directory, store, http, indexes: &asked.indexes, progress };
    let listings = listings(&from, &wheels, &urls, &scheme).await?;
    let mut shadowed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for found in collisions::settle(layer, &mut wheels, &listings)? {
        let collisions::Trivial { path, winner, loser } = found;
        progress.warn(format!("layer `{layer}`: {winner} and {loser} both bring {path}; {winner}'s is taken"));
        if venv.bytecode && path.ends_with(".py") {
            shadowed.entry(loser).or_default().push(path);
        }
    }
    Ok(LockedVenv { wheels, shadowed, ..locked })
}

/// What uv is asked about a venv.
pub(super) struct Asked {
    pub(super) venv: Venv,
    pub(super) indexes: Indexes,
    uv: Uv,
    python: String,
    glibc: u32,
}

/// A question to uv: the venv's own, or another in the same circumstances.
#[derive(Clone, Default)]
struct Question {
    layer: String,
    venv: Venv,
    projects: Vec<Metadata>,
    sdists: Vec<Metadata>,
    present: Vec<Metadata>,
}

impl Asked {
    async fn of(context: &Context<'_>, venv: &Venv, python: &str) -> Result<Self, Error> {
        let glibc = interpreter::glibc(context.layer, context.platform, context.base)?;
        let (directory, venv, python) = (context.directory.to_owned(), venv.clone(), python.to_owned());
        let uv = context.uv.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let indexes = Indexes::configured(&directory, venv.index_url.as_deref(), &venv.extra_index_url)?;
            Ok::<_, Error>(Self { venv, indexes, uv, python, glibc })
        });
        asked.await.map_err(|_| Error::Interrupted { doing: "resolving" })?
    }

    /// Asks uv on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        context: &Context<'_>,
        question: &Question,
        ask: impl FnOnce(&Request<'_>, &Uv, &Indexes) -> Result<T, resolve::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (directory, platform, glibc) = (context.directory.to_owned(), context.platform.clone(), self.glibc);
        let (question, python) = (question.clone(), self.python.clone());
        let (uv, indexes) = (self.uv.clone(), self.indexes.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let Question { layer, venv, projects, sdists, present } = &question;
            let request = Request {
                directory: &directory,
                layer,
                python: &python,
                platform: &platform,
                glibc,
                requirements: &venv.requirements,
                requirements_files: &venv.requirements_files,
                constraints: &venv.constraints,
                wheels: &venv.wheels,
                projects,
                sdists,
                present,
                pip: venv.pip,
            };
            ask(&request, &uv, &indexes)
        });
        Ok(asked.await.map_err(|_| Error::Interrupted { doing: "resolving" })??)
    }

    /// The wheels of what `project` is built with.
    pub(super) async fn build_requirements(
        &self,
        context: &Context<'_>,
        project: &str,
        requirements: Vec<String>,
    ) -> Result<Vec<Chosen>, Error> {
        let venv = Venv { requirements, ..Venv::default() };
        let layer = format!("{}, to build {project}", context.layer);
        let question = Question { layer, venv, ..Question::default() };
        Ok(self.ask(context, &question, |request, uv, indexes| request.resolve(uv, indexes)).await?.wheels)
    }
}

/// The wheels, what is built for want of wheels or because the recipe says so, and what of
/// `present` is relied on.
async fn choose(
    context: &Context<'_>,
    asked: &Asked,
    present: &[Metadata],
) -> Result<(Vec<Chosen>, Vec<Source>, Vec<LockedPresent>), Error> {
    let named = format!("{} (Python {})", context.layer, asked.python);
    let task = context.progress.task(Activity::Resolve, named, None);
    let projects = source::on_disk(context, &asked.venv.projects).await?;
    let mut question = Question {
        layer: context.layer.to_owned(),
        venv: asked.venv.clone(),
        projects: projects.iter().map(|source| source.metadata.clone()).collect(),
        sdists: Vec::new(),
        present: present.to_vec(),
    };
    let mut sdists: Vec<Source> = Vec::new();
    let mut wanted: Vec<String> = asked.venv.no_binary.iter().map(|name| normalize(name)).collect();
    // Each time that a package turns out to have no wheel, one more has an sdist.
    let resolution = loop {
        if !wanted.is_empty() {
            let names = wanted.clone();
            let found =
                asked.ask(context, &question, move |request, uv, indexes| request.find_sdists(uv, indexes, &names));
            match found.await {
                Ok(chosen) => {
                    sdists.extend(source::of_sdists(context, &asked.indexes, chosen).await?);
                    wanted.clear();
                }
                Err(error) if add_missing(&error, &sdists, &mut wanted) => continue,
                Err(error) => return Err(user::explained(context.layer, error, present)),
            }
            question.sdists = sdists.iter().map(|source| source.metadata.clone()).collect();
        }
        match asked.ask(context, &question, |request, uv, indexes| request.resolve(uv, indexes)).await {
            Err(error) if add_missing(&error, &sdists, &mut wanted) => {}
            outcome => break outcome.map_err(|error| user::explained(context.layer, error, present))?,
        }
    };
    let mut sources: Vec<Source> = projects.into_iter().chain(sdists).collect();
    sources.retain(|source| resolution.sources.contains(&source.name()));
    task.end(match sources.len() {
        0 => format!("{} wheels", resolution.wheels.len()),
        count => format!("{} wheels, {count} to be built from source", resolution.wheels.len()),
    });
    Ok((resolution.wheels, sources, user::relied_on(present, &resolution.sources)))
}

/// Adds what has no wheel to `wanted`; false if there is nothing new.
fn add_missing(error: &Error, sdists: &[Source], wanted: &mut Vec<String>) -> bool {
    let Error::Resolve(error) = error else { return false };
    let known = |name: &String| wanted.contains(name) || sdists.iter().any(|source| source.name() == *name);
    let missing: Vec<String> = error.without_wheels().iter().filter(|name| !known(name)).cloned().collect();
    wanted.extend(missing.iter().cloned());
    !missing.is_empty()
}

/// The wheels with their sizes, and where each was found in this run.
pub(super) async fn measured(
    context: &Context<'_>,
    indexes: &Indexes,
    chosen: Vec<Chosen>,
) -> Result<(Vec<LockedWheel>, Vec<Option<Url>>), Error> {
    let measured = stream::iter(chosen).map(|Chosen { resolved: wheel, index }| async move {
        let url = match &wheel.origin {
            Origin::Index(url) | Origin::Direct(url) => Url::parse(url).ok(),
            Origin::Path(_) => None,
        };
        let size = match (wheel.size, &url) {
            (Some(size), _) => size,
            (None, Some(url)) => index::length(context.http, indexes, url).await?,
            (None, None) => {
                let path = context.directory.join(index.strip_prefix("local:").unwrap_or(&index));
                let length = std::fs::metadata(&path).map(|meta| meta.len());
                length.map_err(|source| Error::File { layer: context.layer.to_owned(), path, source })?
            }
        };
        let locked = LockedWheel {
            name: wheel.name,
            version: wheel.version,
            file: wheel.file,
            sha256: wheel.sha256,
            size,
            index,
            bin: None,
            without: Vec::new(),
        };
        Ok::<_, Error>((locked, url))
    });
    let measured: Vec<_> = measured.buffered(AT_ONCE).try_collect().await?;
    Ok(measured.into_iter().unzip())
}

/// Where the wheels of a venv are read.
pub struct Wheels<'a> {
    /// The layer's name.
    pub layer: &'a str,
    /// The recipe's directory.
    pub directory: &'a Path,
    /// Where they are kept.
    pub store: &'a Store,
    /// What asks indexes.
    pub http: &'a Http,
    /// Those of the venv.
    pub indexes: &'a Indexes,
    /// Who is told.
    pub progress: &'a Progress,
}

/// What each of `wheels` brings into the venv; `urls` has where each was found in this run, as
/// far as that is known. Of a big wheel the end alone is read, by a range; a small one is
/// downloaded, as the build needs it anyway.
///
/// # Errors
/// Those of the indexes; [`Error::File`], or whatever is wrong with a wheel.
pub async fn listings(
    from: &Wheels<'_>,
    wheels: &[LockedWheel],
    urls: &[Option<Url>],
    scheme: &Scheme,
) -> Result<Vec<Vec<Listed>>, Error> {
    let urls = urls.iter().cloned().chain(std::iter::repeat(None));
    let listings = stream::iter(wheels.iter().zip(urls)).map(|(wheel, url)| async move {
        let Wheels { layer, directory, store, http, indexes, progress } = *from;
        let wanted = index::Wheel { url: url.clone(), ..index::Wheel::from(wheel) };
        let here = store.size(Area::Downloads, &wheel.sha256) == Some(wheel.size);
        if !here
            && !wheel.index.starts_with("local:")
            && wheel.size >= packing::ALONE
            && let Some(remote) = Remote::open(http, indexes, &wanted).await?
        {
            return list(remote, wheel, scheme).await;
        }
        index::fetch(http, Some(indexes), directory, store, &[wanted], progress).await?;
        let path = store.path(Area::Downloads, &wheel.sha256);
        let opened = std::fs::File::open(&path);
        let file = opened.map_err(|source| Error::File { layer: layer.to_owned(), path, source })?;
        list(FileReader::from(file), wheel, scheme).await
    });
    listings.buffered(AT_ONCE).try_collect().await
}

async fn list<R: ReaderAt + Send + 'static>(
    reader: R,
    wheel: &LockedWheel,
    scheme: &Scheme,
) -> Result<Vec<Listed>, Error> {
    let (file, size, scheme) = (wheel.file.clone(), wheel.size, scheme.clone());
    let listed = tokio::task::spawn_blocking(move || install::listing(&Wheel::open(reader, size, &file)?, &scheme));
    Ok(listed.await.map_err(|_| Error::Interrupted { doing: "reading wheels" })??)
}

impl From<&LockedWheel> for index::Wheel {
    fn from(wheel: &LockedWheel) -> Self {
        Self {
            name: wheel.name.clone(),
            file: wheel.file.clone(),
            sha256: wheel.sha256,
            size: wheel.size,
            index: wheel.index.clone(),
            url: None,
        }
    }
}
