//! Indexes of an archive's suite, brought into the store under the hash that the
//! signed `Release` gives them, and unpacked.

use std::io::{self, Read};

use thiserror::Error;
use url::Url;

use super::auth;
use super::compression::{Compression, unpacked};
use super::release::{Listed, Release, directory};
use crate::progress::{Activity, Progress};
use crate::registry::download::{self, Wanted};
use crate::registry::http::Http;
use crate::store::{self, Area, Store};

/// The longest index that is unpacked, in bytes; Debian's main has 50 million.
const MAX: u64 = 512 << 20;

/// Why an index can't be read.
#[derive(Debug, Error)]
pub enum Error {
    /// It can't be had.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// It can't be read from the store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// `Release` lists none, in no compression that is known here.
    #[error("the suite `{suite}` of {url} has no {path}")]
    NotListed {
        /// The archive, without credentials.
        url: String,
        /// The suite.
        suite: String,
        /// The index, without what it is compressed with.
        path: String,
    },
    /// It can't be unpacked.
    #[error("can't unpack {path}")]
    Unpack {
        /// The index.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread that unpacks ended without a word.
    #[error("unpacking {path} was interrupted")]
    Interrupted {
        /// The index.
        path: String,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Download(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::NotListed { .. } => Some("check `components` of the base, and the platform".into()),
            Self::Unpack { .. } | Self::Interrupted { .. } => None,
        }
    }
}

/// The text of the index at `path` of `suite`, such as `main/binary-amd64/Packages`.
///
/// # Errors
/// See [`Error`].
pub async fn fetch(
    http: &Http,
    url: &Url,
    suite: &str,
    release: &Release,
    path: &str,
    store: &Store,
    progress: &Progress,
) -> Result<String, Error> {
    let listed = [(".xz", Compression::Xz), (".gz", Compression::Gzip), ("", Compression::None)];
    let found = listed.into_iter().find_map(|(suffix, compression)| {
        let path = format!("{path}{suffix}");
        release.index(&path).map(|listed| (path, compression, listed))
    });
    let Some((path, compression, Listed { sha256, size })) = found else {
        let url = crate::registry::http::redacted(url);
        return Err(Error::NotListed { url, suite: suite.to_owned(), path: path.to_owned() });
    };
    if store.size(Area::Downloads, &sha256) != Some(size) {
        // What an index is called changes its content while a mirror is updated; what
        // lies under its hash doesn't.
        let file = match path.rsplit_once('/') {
            Some((parent, _)) if release.by_hash => format!("{parent}/by-hash/SHA256/{}", sha256.hex()),
            _ => path.clone(),
        };
        let at = directory(url, suite, &file);
        let name = format!("{suite} {path}");
        let task = progress.task(Activity::Resolve, name.as_str(), Some(size));
        let wanted = Wanted { file: &name, sha256: &sha256, size };
        download::download(http, &|| auth::get(&at), store, wanted, &task).await?;
        task.end("downloaded");
    }
    let (store, of) = (store.clone(), path.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let Some(mut blob) = store.open_blob(Area::Downloads, &sha256)? else {
            let path = store.path(Area::Downloads, &sha256);
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(store::Error::Io { doing: "open", path, source }.into());
        };
        let mut compressed = Vec::new();
        if let Err(error) = blob.read_to_end(&mut compressed) {
            return Err(blob.explain(error).into());
        }
        let mut text = String::new();
        let read = unpacked(&compressed[..], compression).and_then(|file| file.take(MAX).read_to_string(&mut text));
        read.map_err(|source| Error::Unpack { path: of, source })?;
        Ok(text)
    });
    reading.await.map_err(|_| Error::Interrupted { path })?
}
