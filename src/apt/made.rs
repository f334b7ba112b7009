//! A base out of packages: unpacked as one layer, configured in the sandbox as another
//! on it.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use super::script::Scripts;
use super::scrub;
use super::unpacked::{self, Unpacked};
use crate::layer::{self, Compression, EPOCH, Layer, LayerWriter};
use crate::oci::Digest;
use crate::progress::Activity;
use crate::sandbox::{self, ExtractError, Host, Lacks, Rootfs, Tail, extract};
use crate::store::{self, Area, Store};

/// Why packages can't become a base.
#[derive(Debug, Error)]
pub enum Error {
    /// A package that is not in the store.
    #[error("{package} ({sha256}) is not in the store")]
    NotDownloaded {
        /// Its file's name.
        package: String,
        /// Its digest.
        sha256: Digest,
    },
    /// A package can't be unpacked.
    #[error(transparent)]
    Unpack(#[from] unpacked::Error),
    /// The store can't be read, or what was there was damaged.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The layer can't be written.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// What was unpacked can't be laid out on disk.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// There is no sandbox for it.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// A package can't be configured.
    #[error("dpkg could not configure the base's packages")]
    Configure {
        /// What was said last.
        #[source]
        said: Tail,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unpack(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::Extract(error) => error.hint(),
            Self::Sandbox(error) => error.hint(),
            Self::Configure { .. } => {
                Some("leave packages out of the base, and install them in an `apt` layer: apt resolves them".into())
            }
            Self::NotDownloaded { .. } => None,
        }
    }
}

/// A package of a base, in the store's downloads.
#[derive(Clone, Debug)]
pub struct Deb {
    /// What errors call it.
    pub name: String,
    /// Its sha256.
    pub sha256: Digest,
}

/// A file that is in a base and in none of its packages: where apt finds more of them.
#[derive(Clone, Debug)]
pub struct Extra {
    /// Relative to the root.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// What became of packages.
pub struct Made {
    /// The base's layers, lowest first; their blobs are in the store.
    pub layers: [Layer; 2],
    /// What the sandbox did without in which they were made.
    pub lacks: Lacks,
}

/// The base of `debs` and `extras`. The caller holds a lease.
///
/// # Errors
/// See [`Error`].
pub fn make(debs: &[Deb], extras: &[Extra], store: &Store, host: &Arc<Host>) -> Result<Made, Error> {
    let mut unpacked = Unpacked::new(&host.scratch)?;
    for Deb { name, sha256 } in debs {
        let missing = || Error::NotDownloaded { package: name.clone(), sha256: *sha256 };
        let mut blob = store.open_blob(Area::Downloads, sha256)?.ok_or_else(missing)?;
        let added = unpacked.add(name, &mut blob);
        // The end is past what was read: only there is it known whether the whole is right.
        match io::copy(&mut blob, &mut io::sink()) {
            Ok(_) => added?,
            Err(error) => return Err(blob.explain(error).into()),
        }
    }
    for Extra { path, content } in extras {
        unpacked.own(path, 0o644, content.clone());
    }
    let mut out = LayerWriter::new(store, Compression::default(), EPOCH)?;
    unpacked.write(&mut out)?;
    let lower = out.complete()?;
    let root = extract::base(store, &[(lower.descriptor.clone(), lower.diff_id)])?;
    let mut out = LayerWriter::new(store, Compression::default(), EPOCH)?;
    let task = host.progress.task(Activity::Build, "base", None);
    let under = Rootfs::new(vec![root], Arc::clone(host)).labelled("base", task.output());
    configure(&under, &mut out)?;
    task.end("made");
    Ok(Made { layers: [lower, out.complete()?], lacks: under.lacks() })
}

/// Configures what lies unpacked in `under`.
fn configure(under: &Rootfs, out: &mut LayerWriter) -> Result<(), Error> {
    let given = Scripts::new(under.host()?)?;
    given.write("configure.sh", include_str!("configure.sh"))?;
    // debconf(7): what is installed later asks only what was never asked
    let step = given.step("configure.sh", &[]).env("DEBCONF_NONINTERACTIVE_SEEN", "true");
    let mut log = under.log()?;
    let mut sandbox = under.open()?;
    match sandbox.run_logged(&step, &mut log) {
        Ok(()) => {}
        Err(sandbox::Error::Step { .. }) => return Err(Error::Configure { said: log.tail() }),
        Err(error) => return Err(error.into()),
    }
    sandbox.changes(&mut |change, content| Ok::<_, Error>(scrub::write(change, content, out)?))
}
