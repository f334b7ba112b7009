//! What of a venv is built from source: its sdists and source trees, what they say of
//! themselves, and the wheels that they are built with.

use std::fs::File;
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use url::Url;

use super::error::Error;
use super::local;
use super::model::{LockedInput, LockedOrigin, LockedSdist, LockedSource};
use super::venv::{AT_ONCE, Asked, Context, measured};
use crate::python::index;
use crate::python::pylock::Origin;
use crate::python::resolve::Chosen;
use crate::python::source::{self, BuildSystem, Metadata};
use crate::python::wheel::normalize;
use crate::store::{Area, Store};

/// A project that is to be built.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) metadata: Metadata,
    system: BuildSystem,
    from: LockedOrigin,
    /// What errors call it.
    shown: String,
}

impl Source {
    pub(super) fn name(&self) -> String {
        normalize(&self.metadata.name)
    }
}

/// The projects on disk at `paths`: source trees and sdists.
pub(super) async fn on_disk(context: &Context<'_>, paths: &[String]) -> Result<Vec<Source>, Error> {
    let mut sources: Vec<Source> = Vec::new();
    for path in paths {
        let disk = context.directory.join(path);
        let source = if disk.is_dir() {
            let tree = path.clone();
            let read = move || {
                let sha256 = source::files(&disk)?.digest()?;
                let (metadata, system) = (Metadata::of(&disk, source::Origin::Tree)?, BuildSystem::of(&disk)?);
                Ok((metadata, system, LockedOrigin::Tree(LockedInput { path: tree, sha256 })))
            };
            blocking(context.layer, path, read).await?
        } else {
            let hashed = local::hash(&disk);
            let (sha256, size) =
                hashed.map_err(|source| Error::File { layer: context.layer.to_owned(), path: disk, source })?;
            let file = path.rsplit('/').next().unwrap_or_default().to_owned();
            let sdist = LockedSdist { file, sha256, size, index: format!("local:{path}") };
            unpacked(context, None, path, sdist, None).await?
        };
        if let Some(same) = sources.iter().find(|same| same.name() == source.name()) {
            let (first, second) = (same.shown.clone(), path.clone());
            return Err(Error::SameProject { layer: context.layer.to_owned(), first, second, name: source.name() });
        }
        sources.push(source);
    }
    Ok(sources)
}

/// The projects of the sdists that were `chosen` from `indexes`.
pub(super) async fn of_sdists(
    context: &Context<'_>,
    indexes: &index::Indexes,
    chosen: Vec<Chosen>,
) -> Result<Vec<Source>, Error> {
    let sources = stream::iter(chosen).map(|Chosen { resolved, index }| async move {
        let url = match &resolved.origin {
            Origin::Index(url) | Origin::Direct(url) => Url::parse(url).ok(),
            Origin::Path(_) => None,
        };
        let size = match (resolved.size, &url) {
            (Some(size), _) => size,
            (None, Some(url)) => index::length(context.http, indexes, url).await?,
            (None, None) => 0,
        };
        let sdist = LockedSdist { file: resolved.file, sha256: resolved.sha256, size, index };
        let name = resolved.name;
        unpacked(context, Some((indexes, name.as_str())), &sdist.file.clone(), sdist, url).await
    });
    sources.buffered(AT_ONCE).try_collect().await
}

/// Fetches an sdist and reads what it says.
async fn unpacked(
    context: &Context<'_>,
    indexes: Option<(&index::Indexes, &str)>,
    shown: &str,
    sdist: LockedSdist,
    url: Option<Url>,
) -> Result<Source, Error> {
    let (indexes, name) = indexes.unzip();
    let wanted = index::Wheel { url, name: name.unwrap_or_default().to_owned(), ..index::Wheel::from(&sdist) };
    index::fetch(context.http, indexes, context.directory, context.store, &[wanted], context.progress).await?;
    let store = context.store.clone();
    let read = move || {
        let (metadata, system) = look_into(&store, &sdist)?;
        Ok((metadata, system, LockedOrigin::Sdist(sdist)))
    };
    blocking(context.layer, shown, read).await
}

fn look_into(store: &Store, sdist: &LockedSdist) -> Result<(Metadata, BuildSystem), source::Error> {
    let path = store.path(Area::Downloads, &sdist.sha256);
    let io = |doing, path: &Path, source| source::Error::Io { doing, path: path.to_owned(), source };
    let archive = File::open(&path).map_err(|source| io("read", &path, source))?;
    let scratch = store.root().join("tmp");
    let directory = tempfile::tempdir_in(&scratch).map_err(|source| io("write to", &scratch, source))?;
    let project = source::unpack(archive, &sdist.file, directory.path())?;
    Ok((Metadata::of(&project, source::Origin::Sdist)?, BuildSystem::of(&project)?))
}

/// Runs `read` on a thread that may block.
async fn blocking(
    layer: &str,
    shown: &str,
    read: impl FnOnce() -> Result<(Metadata, BuildSystem, LockedOrigin), source::Error> + Send + 'static,
) -> Result<Source, Error> {
    let outcome = tokio::task::spawn_blocking(read).await;
    let outcome = outcome.map_err(|_| Error::Interrupted { doing: "reading a project" })?;
    let failed = |source| Error::Source { layer: layer.to_owned(), project: shown.to_owned(), source };
    let (metadata, system, from) = outcome.map_err(failed)?;
    Ok(Source { metadata, system, from, shown: shown.to_owned() })
}

/// What the lock says of `source`: with the wheels that it is built with, resolved by
/// themselves, as an isolated build has it.
pub(super) async fn locked(context: &Context<'_>, asked: &Asked, source: Source) -> Result<LockedSource, Error> {
    let name = source.name();
    let mut requirements = source.system.requires;
    requirements.extend(asked.venv.build_requirements.iter().cloned());
    let chosen = asked.build_requirements(context, &name, requirements).await?;
    let (requires, _) = measured(context, &asked.indexes, chosen).await?;
    Ok(LockedSource { name, version: source.metadata.version, from: source.from, requires })
}

impl From<&LockedSdist> for index::Wheel {
    fn from(sdist: &LockedSdist) -> Self {
        // "{name}-{version}.tar.gz": a version has no hyphen.
        let name = sdist.file.rsplit_once('-').map_or("", |(name, _)| name);
        Self {
            name: normalize(name),
            file: sdist.file.clone(),
            sha256: sdist.sha256,
            size: sdist.size,
            index: sdist.index.clone(),
            url: None,
        }
    }
}
