//! A venv, resolved: its wheels, their packing, and what of them collides.

use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use rawzip::{FileReader, ReaderAt};
use url::Url;

use super::collisions;
use super::error::Error;
use super::model::{LockedVenv, LockedWheel};
use super::{interpreter, local, packing};
use crate::oci::Platform;
use crate::progress::{Activity, Progress};
use crate::python::index::{self, Indexes, Remote};
use crate::python::install::{self, Listed};
use crate::python::pylock::Origin;
use crate::python::resolve::{Chosen, Request};
use crate::python::scheme::Scheme;
use crate::python::uv::Uv;
use crate::python::wheel::Wheel;
use crate::recipe::Venv;
use crate::registry::http::Http;
use crate::store::{Area, Store};

/// How many wheels' directories are read at once.
const AT_ONCE: usize = 8;

/// What resolving a venv needs besides its recipe.
pub(super) struct Context<'a> {
    /// The layer's name.
    pub(super) layer: &'a str,
    /// The recipe's directory.
    pub(super) directory: &'a Path,
    /// Whose wheels.
    pub(super) platform: &'a Platform,
    /// Whether the base has a file.
    pub(super) base: &'a (dyn Fn(&str) -> bool + Sync),
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
    let (indexes, chosen) = choose(context, venv, &python).await?;
    let (mut wheels, urls) = measured(context, &indexes, chosen).await?;
    let previous = context.previous.map_or(&[][..], |previous| &previous.wheels);
    let bins = packing::pack(&mut wheels, context.layers, previous);
    let listings = listings(context, &indexes, &wheels, &urls, &Scheme::new(&venv.path, python.parse()?)).await?;
    for found in collisions::settle(layer, &mut wheels, &listings)? {
        let collisions::Trivial { path, winner, loser } = found;
        progress.warn(format!("layer `{layer}`: {winner} and {loser} both bring {path}; {winner}'s is taken"));
    }
    Ok(LockedVenv { interpreter, python, wheels, inputs, bins })
}

/// Asks uv, on a thread that may block.
async fn choose(context: &Context<'_>, venv: &Venv, python: &str) -> Result<(Indexes, Vec<Chosen>), Error> {
    let task = context.progress.task(Activity::Resolve, format!("{} (Python {python})", context.layer), None);
    let glibc = interpreter::glibc(context.layer, context.platform, context.base)?;
    let (layer, directory, platform) =
        (context.layer.to_owned(), context.directory.to_owned(), context.platform.clone());
    let (venv, python) = (venv.clone(), python.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let uv = Uv::find().map_err(crate::python::resolve::Error::from)?;
        let indexes = Indexes::configured(&directory, venv.index_url.as_deref(), &venv.extra_index_url)?;
        let request = Request {
            directory: &directory,
            layer: &layer,
            python: &python,
            platform: &platform,
            glibc,
            requirements: &venv.requirements,
            requirements_files: &venv.requirements_files,
            constraints: &venv.constraints,
            wheels: &venv.wheels,
            pip: venv.pip,
        };
        let chosen = request.resolve(&uv, &indexes)?;
        Ok::<_, Error>((indexes, chosen))
    });
    let (indexes, chosen) = asked.await.map_err(|_| Error::Interrupted { doing: "resolving" })??;
    task.end(format!("{} wheels", chosen.len()));
    Ok((indexes, chosen))
}

/// The wheels with their sizes, and where each was found in this run.
async fn measured(
    context: &Context<'_>,
    indexes: &Indexes,
    chosen: Vec<Chosen>,
) -> Result<(Vec<LockedWheel>, Vec<Option<Url>>), Error> {
    let measured = stream::iter(chosen).map(|Chosen { wheel, index }| async move {
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

/// What each wheel brings into the venv. Of a big wheel the end alone is read, by a
/// range; a small one is downloaded, as the build needs it anyway.
async fn listings(
    context: &Context<'_>,
    indexes: &Indexes,
    wheels: &[LockedWheel],
    urls: &[Option<Url>],
    scheme: &Scheme,
) -> Result<Vec<Vec<Listed>>, Error> {
    let listings = stream::iter(wheels.iter().zip(urls)).map(|(wheel, url)| async move {
        let wanted = index::Wheel { url: url.clone(), ..index::Wheel::from(wheel) };
        let here = context.store.size(Area::Downloads, &wheel.sha256) == Some(wheel.size);
        if !here
            && url.is_some()
            && wheel.size >= packing::ALONE
            && let Some(remote) = Remote::open(context.http, indexes, &wanted).await?
        {
            return list(remote, wheel, scheme).await;
        }
        index::fetch(context.http, Some(indexes), context.directory, context.store, &[wanted], context.progress)
            .await?;
        let path = context.store.path(Area::Downloads, &wheel.sha256);
        let opened = std::fs::File::open(&path);
        let file = opened.map_err(|source| Error::File { layer: context.layer.to_owned(), path, source })?;
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
