//! Packages, brought from their archive into the store: four at a time, kept only if
//! sha256 and size are those of the lock.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use url::Url;

use super::auth;
use crate::oci::Digest;
use crate::progress::{Activity, Progress};
use crate::registry::download::{self, Wanted};
use crate::registry::http::Http;
use crate::store::{Area, Store};

/// How many packages are downloaded at once.
const AT_ONCE: usize = 4;

/// A package that is wanted.
#[derive(Clone, Debug)]
pub struct Deb {
    /// Where it lies.
    pub url: Url,
    /// Its sha256.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Deb {
    /// Its file's name, `hello_2.10-3_amd64.deb`.
    pub fn file(&self) -> &str {
        self.url.path().rsplit('/').next().unwrap_or_default()
    }
}

/// Brings those of `wanted` that are not in the store into [`Area::Downloads`].
///
/// # Errors
/// The first one; what was complete before it is kept.
pub async fn debs(http: &Http, wanted: &[Deb], store: &Store, progress: &Progress) -> Result<(), download::Error> {
    let missing = wanted.iter().filter(|deb| store.size(Area::Downloads, &deb.sha256) != Some(deb.size));
    // collected first: a lazy map borrows in a way that keeps the future from moving between threads
    let downloads: Vec<_> = missing.map(|deb| self::deb(http, deb, store, progress)).collect();
    stream::iter(downloads).buffer_unordered(AT_ONCE).try_collect().await
}

/// Brings one package into [`Area::Downloads`], whether or not it is there.
///
/// # Errors
/// See [`download::Error`]; nothing of a package with another hash is kept.
pub async fn deb(http: &Http, deb: &Deb, store: &Store, progress: &Progress) -> Result<(), download::Error> {
    let task = progress.task(Activity::Fetch, deb.file(), Some(deb.size));
    let wanted = Wanted { file: deb.file(), sha256: &deb.sha256, size: deb.size };
    download::download(http, &|| auth::get(&deb.url), store, wanted, &task).await?;
    task.end("downloaded");
    Ok(())
}
