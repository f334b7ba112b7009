//! How fast a registry took what was pushed to it last, so that a plan can say how long a push
//! will take. `rates/HEX.json`, HEX being the sha256 of the registry's name, sealed (`sealed.rs`).

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Error, Store, sealed};
use crate::oci::Digest;

/// From so many bytes on a push tells the line's rate; below, more of its time is spent waiting
/// for answers.
const TELLING: u64 = 1_000_000;

/// How fast a registry took what was pushed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The registry, `host` or `host:port`.
    pub registry: String,
    /// How many bytes it took.
    pub bytes: u64,
    /// In what time.
    pub took: Duration,
}

impl Rate {
    /// Bytes a second.
    pub fn per_second(&self) -> f64 {
        self.bytes as f64 / self.took.as_secs_f64().max(0.001)
    }

    /// How long so many bytes take.
    pub fn span(&self, bytes: u64) -> Duration {
        Duration::try_from_secs_f64(bytes as f64 / self.per_second().max(1.0)).unwrap_or(Duration::MAX)
    }
}

fn name(registry: &str) -> Digest {
    Digest::of(registry.as_bytes())
}

impl Store {
    fn rate_path(&self, registry: &str) -> PathBuf {
        self.root.join("rates").join(format!("{}.json", name(registry).hex()))
    }

    /// The rate measured last at `registry`. One that can't be read counts as none.
    ///
    /// # Errors
    /// [`Error::Io`] other than that there is no such file.
    pub fn rate(&self, registry: &str) -> Result<Option<Rate>, Error> {
        let path = self.rate_path(registry);
        match fs::read(&path) {
            Ok(bytes) => Ok(sealed::open(&name(registry), &bytes).filter(|rate: &Rate| rate.bytes > 0)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Keeps that `registry` took `bytes` in `span`, in place of an older measurement; but one of
    /// few bytes takes the place of none of many.
    ///
    /// # Errors
    /// [`Error::Io`]; the older one then still stands.
    pub fn put_rate(&self, registry: &str, bytes: u64, span: Duration) -> Result<(), Error> {
        let told_more = |rate: &Rate| rate.bytes >= TELLING && bytes < TELLING;
        if bytes == 0 || self.rate(registry)?.as_ref().is_some_and(told_more) {
            return Ok(());
        }
        let path = self.rate_path(registry);
        let rate = Rate { registry: registry.to_owned(), bytes, took: span };
        let text =
            sealed::seal(&name(registry), &rate).map_err(|source| Error::Format { path: path.clone(), source })?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        self.replace(&path, &text)
    }
}
