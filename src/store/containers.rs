//! What containers need of the store: it is not collected while one may go on with it.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use super::Store;
use crate::oci::Descriptor;

/// The file in a container's directory that says what is known of it.
pub const CONTAINER: &str = "container.json";

/// What of such a file concerns the store.
#[derive(Deserialize)]
pub(super) struct Needs {
    /// The image's manifest.
    pub manifest: Descriptor,
    /// The directories of its layers.
    pub trees: Vec<PathBuf>,
}

impl Store {
    /// Where there is a directory for each container.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// What each container needs, by its name. What can't be read needs nothing.
    pub(super) fn needs_of_containers(&self) -> Vec<(String, Needs)> {
        let entries = fs::read_dir(self.containers()).into_iter().flatten().flatten();
        let mut needs: Vec<_> = entries
            .filter_map(|entry| {
                let needs = serde_json::from_slice(&fs::read(entry.path().join(CONTAINER)).ok()?).ok()?;
                Some((format!("container {}", entry.file_name().display()), needs))
            })
            .collect();
        needs.sort_by(|a: &(String, Needs), b| a.0.cmp(&b.0));
        needs
    }
}
