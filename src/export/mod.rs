//! Images leave the store in the forms that other tools take: one file a form, each written
//! as one stream and the same byte for byte whenever, wherever and by whomever it is written.
//!
//! ```text
//! blobs as they are     oci, docker_archive ──▶ members: a directory, or a tar
//! files                 tree: the layers flattened ──▶ squashfs ──▶ sif
//!                                                  └──▶ rootfs
//! ```
//!
//! Every blob is verified as it is read. What is written has its name when it is whole, and
//! leaves nothing behind when it is not.

mod docker_archive;
mod error;
mod image;
mod members;
mod oci;
mod output;

use std::path::Path;

pub use error::Error;
pub use image::{Document, Image, Layer};
pub use output::{Destination, Stop};

use crate::progress::{Activity, Progress};
use members::{Directory, Tar};
use output::{Job, Output};

/// The forms in which an image can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An OCI image layout in a directory (image-spec `image-layout.md`).
    Oci,
    /// A tar of such a layout.
    OciArchive,
    /// The tar that `docker save` writes and `docker load` reads.
    DockerArchive,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Oci, Self::OciArchive, Self::DockerArchive];

    /// Whether it is a directory.
    pub fn is_directory(self) -> bool {
        matches!(self, Self::Oci)
    }

    /// The form that a file's name asks for by its ending.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let endings = [(".oci.tar", Self::OciArchive), (".tar", Self::DockerArchive)];
        endings.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format)
    }

    /// Its name, as skopeo and containers-transports(5) have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
        }
    }
}

/// Writes `image` as `format` to `destination`, and returns how many bytes that was.
///
/// # Errors
/// [`Error`]; nothing is then left at the destination.
pub fn export(
    image: &Image,
    format: Format,
    destination: &Destination,
    progress: &Progress,
    stop: &Stop,
) -> Result<u64, Error> {
    destination.check(format)?;
    if let Some(blob) = image.missing() {
        return Err(Error::Missing { digest: blob.digest, size: blob.size });
    }
    let total = image.layers.iter().map(|layer| layer.descriptor.size).sum();
    let task = progress.task(Activity::Export, format!("{} {}", format.name(), destination.name()), Some(total));
    let job = Job::new(image, destination, task, stop.clone());
    let written = match format {
        Format::Oci => {
            let mut layout = Directory::create(destination)?;
            oci::write(&job, &mut layout)?;
            layout.keep()?
        }
        Format::OciArchive => {
            let mut archive = Tar::new(Output::create(destination)?);
            oci::write(&job, &mut archive)?;
            archive.finish()?.keep()?
        }
        Format::DockerArchive => {
            let mut archive = Tar::new(Output::create(destination)?);
            docker_archive::write(&job, &mut archive)?;
            archive.finish()?.keep()?
        }
    };
    job.end();
    Ok(written)
}
