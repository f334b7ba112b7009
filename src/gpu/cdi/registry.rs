//! The specifications of a machine, and the devices that they name.

use std::path::{Path, PathBuf};

use super::super::{Error, Root};
use super::specification::{Device, Specification};

/// Where specifications are, those that count more last.
const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// The specifications of a machine.
pub(crate) struct Registry {
    files: Vec<File>,
}

struct File {
    path: PathBuf,
    /// Which of [`DIRECTORIES`] it lies in.
    priority: usize,
    specification: Result<Specification, Error>,
}

/// A device with the specification that names it.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub path: &'a Path,
    pub specification: &'a Specification,
    pub device: &'a Device,
}

impl Registry {
    /// Reads those of `root`.
    pub fn open(root: &Root) -> Self {
        let mut files = Vec::new();
        for (priority, directory) in DIRECTORIES.iter().enumerate() {
            // "*.json" and "*.yaml", in the directory itself
            let names =
                root.names(directory).into_iter().filter(|name| name.ends_with(".json") || name.ends_with(".yaml"));
            files.extend(names.map(|name| {
                let path = Path::new(directory).join(name);
                let text = root.find(&path).and_then(std::fs::read_to_string);
                let text = text.map_err(|source| Error::Unreadable { path: path.clone(), source });
                let specification = text.and_then(|text| Specification::read(&path, &text));
                File { path, priority, specification }
            }));
        }
        Self { files }
    }

    /// Whether any specification is of `kind`.
    pub fn has(&self, kind: &str) -> bool {
        self.specifications().any(|(_, specification)| specification.kind == kind)
    }

    /// The error of the first file that is no specification.
    pub fn take_malformed(&mut self) -> Option<Error> {
        let broken = self.files.iter().position(|file| file.specification.is_err())?;
        self.files.remove(broken).specification.err()
    }

    /// The names of the devices of `kind`, in the order of their files, each once.
    pub fn names(&self, kind: &str) -> Vec<&str> {
        let of_kind = self.specifications().filter(|(_, specification)| specification.kind == kind);
        let mut names = Vec::new();
        for device in of_kind.flat_map(|(_, specification)| &specification.devices) {
            if !names.contains(&device.name.as_str()) {
                names.push(device.name.as_str());
            }
        }
        names
    }

    /// The device `name` of `kind`.
    pub(super) fn device(&self, kind: &str, name: &str) -> Result<Option<Found<'_>>, Error> {
        let mut found: Option<(usize, Found<'_>)> = None;
        for (file, specification) in self.specifications().filter(|(_, specification)| specification.kind == kind) {
            let Some(device) = specification.devices.iter().find(|device| device.name == name) else { continue };
            if let Some((priority, other)) = &found
                && *priority == file.priority
            {
                let (one, other) = (other.path.to_owned(), file.path.clone());
                return Err(Error::Conflict { device: format!("{kind}={name}"), one, other });
            }
            found = Some((file.priority, Found { path: &file.path, specification, device }));
        }
        Ok(found.map(|(_, found)| found))
    }

    fn specifications(&self) -> impl Iterator<Item = (&File, &Specification)> {
        self.files.iter().filter_map(|file| Some((file, file.specification.as_ref().ok()?)))
    }

    /// What a person is told of them.
    pub fn into_specifications(self) -> Vec<super::super::facts::Specification> {
        let told = |file: File| super::super::facts::Specification {
            path: file.path,
            devices: file.specification.map(|specification| {
                (specification.kind, specification.devices.into_iter().map(|device| device.name).collect())
            }),
        };
        self.files.into_iter().map(told).collect()
    }
}
