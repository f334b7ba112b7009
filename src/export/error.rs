//! Why an image can't be exported.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::layer::read::ReadError;
use crate::oci::Digest;
use crate::sandbox::ExtractError;
use crate::store;

/// Why an image can't be exported. Nothing is left at its destination then.
#[derive(Debug, Error)]
pub enum Error {
    /// A blob of the image can't be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A layer can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A layer has what no layer has.
    #[error(transparent)]
    Layer(#[from] ExtractError),
    /// More users and groups than a squashfs has room for.
    #[error("the files of image {manifest} have more than 65535 owners")]
    TooManyOwners {
        /// The image's manifest.
        manifest: Digest,
    },
    /// The image has something else where a SIF has files of Apptainer's.
    #[error("image {manifest} has no room for `/{path}`, which Apptainer reads")]
    InTheWay {
        /// The image's manifest.
        manifest: Digest,
        /// The file.
        path: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A blob that is not in the store.
    #[error("{digest} of {size} bytes is not in the store")]
    Missing {
        /// The blob.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A config that has not as many DiffIDs as the manifest has layers.
    #[error("image {manifest} does not fit its config: layers {layers}, DiffIDs {diff_ids}")]
    DiffIds {
        /// The image's manifest.
        manifest: Digest,
        /// The layers in the manifest.
        layers: usize,
        /// The DiffIDs in the config.
        diff_ids: usize,
    },
    /// Something has the name that the export would get.
    #[error("{} is there already", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
        /// Whether it is a file, which may be replaced.
        is_file: bool,
    },
    /// Bytes on a terminal's screen.
    #[error("stdout is a terminal")]
    Terminal,
    /// A form that is a directory, or needs a file, on stdout.
    #[error("{format} can't be written to stdout")]
    Stdout {
        /// The form.
        format: &'static str,
    },
    /// The destination does not take it.
    #[error("can't {doing} {}", path.display())]
    Write {
        /// `create`, `write` …
        doing: &'static str,
        /// The destination.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is said of the image can't be JSON.
    #[error("what image {manifest} says of itself can't be written as JSON")]
    Encode {
        /// The image's manifest.
        manifest: Digest,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Nobody wants it any more.
    #[error("the export to {} was given up", path.display())]
    Stopped {
        /// The destination.
        path: PathBuf,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Read(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            Self::InTheWay { .. } => Some("the squashfs alone takes it: give --format squashfs".to_owned()),
            Self::TooManyOwners { .. } => Some("an archive or a layout takes it: give another --format".to_owned()),
            Self::Missing { .. } => Some("`dlpack pull` brings the image into the store again".to_owned()),
            Self::DiffIds { .. } => Some("the image is broken: take another tag".to_owned()),
            Self::Exists { is_file: true, .. } => Some("name another file, or replace it with --force".to_owned()),
            Self::Exists { .. } => Some("name a file or directory that is not there yet".to_owned()),
            Self::Terminal => Some("name a file, or pipe it to whoever reads it".to_owned()),
            Self::Stdout { .. } => Some("name a file or directory with --output".to_owned()),
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("free some space there, or name another place with --output".to_owned())
                }
                io::ErrorKind::NotFound => Some("make the directory first, or name another one".to_owned()),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("name a place that you can write to with --output".to_owned())
                }
                _ => None,
            },
            Self::Encode { .. } | Self::Stopped { .. } => None,
        }
    }

    pub(super) fn write(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Write { doing, path, source }
    }
}
