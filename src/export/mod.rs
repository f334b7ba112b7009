//! Images leave the store in the forms that other tools take: one file a form, each written
//! as one stream and the same byte for byte whenever, wherever and by whomever it is written.
//!
//! ```text
//! blobs as they are     oci, docker_archive ──▶ members: a directory, or a tar
//! files                 tree: the layers flattened ──▶ squashfs ──▶ sif
//!                                                  └──▶ rootfs
//! wheels of the lock    venv: on the host, with the paths of here
//! ```
//!
//! Every blob is verified as it is read. What is written has its name when it is whole, and
//! leaves nothing behind when it is not.

mod docker_archive;
mod error;
mod folder;
mod image;
mod members;
mod oci;
mod output;
mod rootfs;
mod sif;
mod singularity;
mod squashfs;
mod tree;
pub mod venv;

use std::path::Path;

pub use error::Error;
pub use image::{Document, Image, Layer};
pub use output::{Destination, Stop};

use crate::layer::Compression;
use crate::progress::{Activity, Progress};
use folder::Folder;
use members::{Directory, Tar};
use output::{Job, Output};
use tree::Tree;

/// The forms in which an image can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An OCI image layout in a directory (image-spec `image-layout.md`).
    Oci,
    /// A tar of such a layout.
    OciArchive,
    /// The tar that `docker save` writes and `docker load` reads.
    DockerArchive,
    /// A squashfs of the image's files, its layers flattened.
    Squashfs,
    /// A Singularity Image Format file with that squashfs.
    Sif,
    /// A directory with the image's files.
    Rootfs,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How a squashfs is compressed.
    pub compression: Compression,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Oci, Self::OciArchive, Self::DockerArchive, Self::Squashfs, Self::Sif, Self::Rootfs];

    /// Whether it is a directory.
    pub fn is_directory(self) -> bool {
        matches!(self, Self::Oci | Self::Rootfs)
    }

    /// Whether it can go through a pipe: each of its bytes is known when its turn comes.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::OciArchive | Self::DockerArchive)
    }

    /// Whether it has the layers' files, and not the layers.
    fn is_flat(self) -> bool {
        matches!(self, Self::Squashfs | Self::Sif | Self::Rootfs)
    }

    /// The form that a file's name asks for by its ending.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let endings = [
            (".oci.tar", Self::OciArchive),
            (".tar", Self::DockerArchive),
            (".sqsh", Self::Squashfs),
            (".sqfs", Self::Squashfs),
            (".squashfs", Self::Squashfs),
            (".sif", Self::Sif),
        ];
        endings.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format)
    }

    /// Its name, as skopeo and containers-transports(5) have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
            Self::Squashfs => "squashfs",
            Self::Sif => "sif",
            Self::Rootfs => "rootfs",
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
    options: Options,
    destination: &Destination,
    progress: &Progress,
    stop: &Stop,
) -> Result<u64, Error> {
    destination.check(format)?;
    if let Some(blob) = image.missing() {
        return Err(Error::Missing { digest: blob.digest, size: blob.size });
    }
    // files are known by all layers, and then read once more
    let passes = if format.is_flat() { 2 } else { 1 };
    let total = passes * image.layers.iter().map(|layer| layer.descriptor.size).sum::<u64>();
    let task = progress.task(Activity::Export, format!("{} {}", format.name(), destination.name()), Some(total));
    let job = Job::new(image, destination, task, stop.clone());
    let written = match format {
        Format::Oci => {
            let mut layout = Directory::new(Folder::create(destination)?);
            oci::write(&job, &mut layout)?;
            layout.finish().keep()?
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
        Format::Squashfs => {
            let tree = Tree::of(&job)?;
            let mut file = Output::create(destination)?;
            squashfs::write(&job, &tree, options.compression, &mut file)?;
            file.keep()?
        }
        Format::Sif => {
            let mut tree = Tree::of(&job)?;
            singularity::add(&job, &mut tree)?;
            let mut file = Output::create(destination)?;
            sif::write(&job, &tree, options.compression, &mut file)?;
            file.keep()?
        }
        Format::Rootfs => {
            let tree = Tree::of(&job)?;
            let mut folder = Folder::create(destination)?;
            let lost = rootfs::write(&job, &tree, &mut folder)?;
            let written = folder.keep()?;
            lost.warning().into_iter().for_each(|warning| progress.warn(warning));
            written
        }
    };
    job.end();
    Ok(written)
}
