//! What a container is given with devices that specifications describe.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, getgroups};

use super::super::given::Collected;
use super::super::{Error, Root};
use super::hooks::Action;
use super::registry::{Found, Registry};
use super::specification::{DeviceNode, Edits, Mount};
use crate::sandbox::MountKind;

impl Registry {
    /// Adds what the devices `names`, each of a kind, bring with them to `collected`.
    ///
    /// # Errors
    /// [`Error::Unknown`], or one of a file.
    pub fn give(&self, root: &Root, names: &[(String, String)], collected: &mut Collected) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        for (kind, name) in names {
            let found = self.device(kind, name)?.ok_or_else(|| Error::Unknown {
                name: name.clone(),
                known: self.names(kind).into_iter().map(str::to_owned).collect(),
            })?;
            // "MUST be made if any of the device defined in the devices field are requested"
            if seen.insert(found.path.to_owned()) {
                apply(root, found, &found.specification.container_edits, collected)?;
            }
            apply(root, found, &found.device.container_edits, collected)?;
        }
        Ok(())
    }
}

fn apply(root: &Root, found: Found<'_>, edits: &Edits, collected: &mut Collected) -> Result<(), Error> {
    for node in &edits.device_nodes {
        let from = host_node(root, found.path, node)?;
        collected.node(&from, &node.path)?;
    }
    for mount in edits.mounts.iter().filter(|mount| mount.is_bind()) {
        bind(root, found.path, mount, collected)?;
    }
    for line in &edits.env {
        if let Some((name, value)) = line.split_once('=') {
            collected.devices.env.insert(name.to_owned(), value.to_owned());
        }
    }
    for hook in &edits.hooks {
        match Action::of(hook) {
            Some(Action::Links(links)) => collected.devices.links.extend(links),
            Some(Action::Libraries(directories)) => collected.libraries(directories),
            Some(Action::Compatibility { directory, driver }) => collected.compatibility(directory, driver),
            Some(Action::Nothing) => {}
            None => {
                let words: Vec<&str> =
                    std::iter::once(&hook.path).chain(hook.args.iter().skip(1)).map(String::as_str).collect();
                let hook = format!("has the hook `{}`, which dlpack does not know, and does not run", words.join(" "));
                collected.warn(says(found.path, &hook));
            }
        }
    }
    for left in edits.left_out(&groups()) {
        collected.warn(says(found.path, &left));
    }
    Ok(())
}

fn says(file: &Path, what: &str) -> String {
    format!("the CDI specification {} {what}", file.display())
}

/// The caller's groups, which a container keeps.
fn groups() -> Vec<u32> {
    let mut groups: Vec<u32> = getgroups().unwrap_or_default().into_iter().map(|gid| gid.as_raw()).collect();
    groups.push(getegid().as_raw());
    groups
}

/// "hostPath: if not specified the value for path is used".
fn host_node(root: &Root, file: &Path, node: &DeviceNode) -> Result<PathBuf, Error> {
    there(root, file, node.host_path.as_ref().unwrap_or(&node.path))
}

fn bind(root: &Root, file: &Path, mount: &Mount, collected: &mut Collected) -> Result<(), Error> {
    let from = there(root, file, &mount.host_path)?;
    let read_only = mount.options.iter().any(|option| option == "ro");
    collected.mount(from, &mount.container_path, if read_only { MountKind::ReadOnly } else { MountKind::Writable });
    Ok(())
}

/// "surface an error when a non-existent resource is requested".
fn there(root: &Root, file: &Path, path: &str) -> Result<PathBuf, Error> {
    root.find(path).map_err(|_| Error::Missing { path: file.to_owned(), missing: path.into() })
}
