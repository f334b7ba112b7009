//! Which Python a venv has: the base's own, one that the recipe vouches for, or a
//! standalone build.

use std::path::Path;

use url::Url;

use super::base::{GLIBC, Libc};
use super::error::Error;
use super::local;
use super::model::{FileKind, LockedFile, LockedInterpreter};
use super::venv::Context;
use crate::oci::{Digest, Platform};
use crate::progress::Progress;
use crate::python::index::{self, Indexes, Wheel};
use crate::recipe::{Interpreter, Venv};
use crate::registry::http::Http;
use crate::store::Store;

/// Where a standalone build lies in the image if the recipe doesn't say.
const STANDALONE: &str = "/opt/python";

/// The interpreter, resolved, and Python's version as far as it is known.
pub(super) async fn resolve(context: &Context<'_>, venv: &Venv) -> Result<(LockedInterpreter, String), Error> {
    let Context { layer, base, .. } = *context;
    let short = short(&venv.python);
    let missing = |path: String| {
        let candidates = (6..30).map(|minor| format!("python3.{minor}"));
        let found = candidates.filter(|name| base(&format!("/usr/bin/{name}"))).collect();
        Error::NoInterpreter { layer: layer.to_owned(), path, found }
    };
    match &venv.interpreter {
        // One whose packages are relied on is looked at anyway.
        Some(Interpreter::Path(path)) if venv.user.is_some() && !base(path) => Err(missing(path.clone())),
        Some(Interpreter::Path(path)) => {
            Ok((LockedInterpreter { path: path.clone(), archive: None }, venv.python.clone()))
        }
        Some(Interpreter::Standalone { url, sha256, path }) => {
            let to = path.as_deref().unwrap_or(STANDALONE).trim_end_matches('/').to_owned();
            let archive = archive(context, url, sha256, &to).await?;
            let version = version_in(url, &short).unwrap_or_else(|| venv.python.clone());
            let interpreter = LockedInterpreter { path: format!("{to}/bin/python{short}"), archive: Some(archive) };
            Ok((interpreter, version))
        }
        None => {
            let path = format!("/usr/bin/python{short}");
            match base(&path) {
                true => Ok((LockedInterpreter { path, archive: None }, venv.python.clone())),
                false => Err(missing(path)),
            }
        }
    }
}

/// `3.12` of `3.12.7`.
pub(super) fn short(version: &str) -> String {
    version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

/// The version in the name of a build such as `cpython-3.12.7+20241016-….tar.gz`.
fn version_in(url: &str, short: &str) -> Option<String> {
    let name = url.rsplit('/').next()?;
    let patch: String = name.split_once(&format!("{short}."))?.1.chars().take_while(char::is_ascii_digit).collect();
    (!patch.is_empty()).then(|| format!("{short}.{patch}"))
}

/// The archive, verified and in the store.
async fn archive(context: &Context<'_>, url: &str, sha256: &str, to: &str) -> Result<LockedFile, Error> {
    let Context { layer, directory, store, http, progress, .. } = *context;
    let not_hex = |_| Error::Setting { layer: layer.to_owned(), value: sha256.to_owned(), what: "a sha256" };
    let digest = Digest::from_hex(sha256).map_err(not_hex)?;
    let size = match Source::of(url)? {
        Source::Remote(indexes, at) => index::length(http, &indexes, &at).await?,
        Source::Local => {
            let path = directory.join(url);
            let hashed = local::hash(&path);
            hashed.map_err(|source| Error::File { layer: layer.to_owned(), path, source })?.1
        }
    };
    let file = LockedFile {
        from: url.to_owned(),
        to: to.trim_start_matches('/').to_owned(),
        kind: FileKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        sha256: digest,
        size,
    };
    fetch(&file, directory, store, http, progress).await?;
    Ok(file)
}

/// Brings a standalone build into the store, verified, unless it is there. A local
/// one's path is relative to `directory`.
///
/// # Errors
/// Those of an index.
pub async fn fetch(
    archive: &LockedFile,
    directory: &Path,
    store: &Store,
    http: &Http,
    progress: &Progress,
) -> Result<(), index::Error> {
    let name = archive.from.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = |index: String, url| Wheel {
        name: name.clone(),
        file: name.clone(),
        sha256: archive.sha256,
        size: archive.size,
        index,
        url,
    };
    let (indexes, wanted) = match Source::of(&archive.from)? {
        Source::Remote(indexes, url) => (Some(indexes), wanted("default".into(), Some(url))),
        Source::Local => (None, wanted(format!("local:{}", archive.from), None)),
    };
    index::fetch(http, indexes.as_ref(), directory, store, &[wanted], progress).await
}

/// Where a standalone build is.
enum Source {
    /// At a URL, whose credentials go to its host alone, as an index's do.
    Remote(Indexes, Url),
    Local,
}

impl Source {
    fn of(url: &str) -> Result<Self, index::Error> {
        match Url::parse(url) {
            Ok(parsed) => Ok(Self::Remote(Indexes::of(url, &[])?, parsed)),
            Err(_) => Ok(Self::Local),
        }
    }
}

/// The minor version of the base's glibc, as far as its file list tells.
///
/// # Errors
/// [`Error::Musl`] if the base has musl in its place.
pub(super) fn glibc(layer: &str, platform: &Platform, base: &(dyn Fn(&str) -> bool + Sync)) -> Result<u32, Error> {
    match Libc::of(platform, base) {
        Some(Libc::Musl(path)) => Err(Error::Musl { layer: layer.to_owned(), path, platform: platform.clone() }),
        Some(Libc::Glibc(minor)) => Ok(minor),
        None => Ok(GLIBC),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_standalone_build_is_read_from_its_name() {
        let url = "http://h/20241016/cpython-3.12.7%2B20241016-x86_64-unknown-linux-gnu-install_only.tar.gz";
        assert_eq!(version_in(url, "3.12").as_deref(), Some("3.12.7"));
        assert_eq!(version_in("python.tar.gz", "3.12"), None);
        assert_eq!(short("3.12.7"), "3.12");
    }
}
