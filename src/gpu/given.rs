//! What a container is given, as it is collected.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{Error, Root, Version};
use crate::run::Devices;
use crate::sandbox::{Mount, MountKind, Rootfs};

/// What a container is given, and what a person should know of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// What it is given.
    pub devices: Devices,
    /// What it is not given, and why.
    pub warnings: Vec<String>,
}

/// The same while it is collected.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub devices: Devices,
    pub warnings: Vec<String>,
    /// Directories of an image's own libcuda, with the driver's version.
    compatibility: Vec<(String, Option<String>)>,
}

impl Collected {
    /// Adds the device node `from` of the machine, unless there is one at `to`.
    ///
    /// # Errors
    /// [`Error::Forbidden`]: a program would only say that there is no GPU.
    pub fn node(&mut self, from: &Path, to: &str) -> Result<(), Error> {
        // a MIG part's capability, /dev/nvidia-caps/nvidia-capN, is for nobody to write
        let closed = from.metadata().is_ok_and(|metadata| metadata.mode() & 0o222 == 0);
        let wanted = if closed { Access::READ_OK } else { Access::READ_OK | Access::WRITE_OK };
        access(from, wanted).map_err(|source| Error::Forbidden { path: from.to_owned(), source: source.into() })?;
        self.mount(from.to_owned(), to, MountKind::Device);
        Ok(())
    }

    /// Adds the device node at `path` of `root`.
    ///
    /// # Errors
    /// [`Error::NoNode`], [`Error::Forbidden`].
    pub fn required(&mut self, root: &Root, path: &str) -> Result<(), Error> {
        let node = root.find(path).map_err(|_| Error::NoNode { path: root.at(path) })?;
        self.node(&node, path)
    }

    /// Adds something that a person should know, once.
    pub fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Adds `from` of the machine, unless there is something at `to`.
    pub fn mount(&mut self, from: PathBuf, to: &str, kind: MountKind) {
        if !self.devices.mounts.iter().any(|mount| mount.to == to) {
            self.devices.mounts.push(Mount::new(from, to, kind));
        }
    }

    /// Adds `directories` in which the loader is to find libraries, and those of the libraries
    /// that are mounted.
    pub fn libraries(&mut self, directories: impl IntoIterator<Item = String>) {
        let mounted: Vec<String> =
            self.devices.mounts.iter().filter_map(|mount| library_directory(&mount.to)).collect();
        for directory in directories.into_iter().chain(mounted) {
            if !self.devices.libraries.contains(&directory) {
                self.devices.libraries.push(directory);
            }
        }
    }

    /// Adds the `directory` of an image in which it may have a libcuda of its own.
    pub fn compatibility(&mut self, directory: String, driver: Option<String>) {
        self.compatibility.push((directory, driver));
    }

    /// What it comes to for a container of `image`.
    pub fn complete(mut self, image: &Rootfs, driver: Option<&Version>) -> Given {
        for (directory, version) in std::mem::take(&mut self.compatibility) {
            let version = version.and_then(|version| version.parse().ok()).or_else(|| driver.cloned());
            if version.is_some_and(|version| is_newer(image, &directory, &version)) {
                // before the driver's own
                self.devices.libraries.insert(0, directory);
            }
        }
        let Self { mut devices, warnings, .. } = self;
        // a link at a place where something is mounted can't be made, and is not needed
        devices.links.retain(|link| !devices.mounts.iter().any(|mount| mount.to == link.path));
        Given { devices, warnings }
    }
}

/// The directory of the library `path`, if it is one.
fn library_directory(path: &str) -> Option<String> {
    let (directory, name) = path.rsplit_once('/')?;
    (name.starts_with("lib") && name.contains(".so")).then(|| directory.to_owned())
}

/// CUDA Compatibility, "Forward Compatibility": the libcuda that an image has in `directory` is
/// for drivers of older branches than its own.
fn is_newer(image: &Rootfs, directory: &str, driver: &Version) -> bool {
    let names = image.names(directory.trim_start_matches('/')).unwrap_or_default();
    let versions = names.iter().filter_map(|name| name.strip_prefix("libcuda.so.")?.parse::<Version>().ok());
    // `libcuda.so.1` is the link
    versions.filter(|version| version.major() > 1).any(|version| version.major() > driver.major())
}
