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
    /// The directories of its layers, without links.
    pub trees: Vec<PathBuf>,
    /// Whether it is to be gone on with when it has ended. While one runs, nothing is collected.
    kept: bool,
}

impl Store {
    /// Where there is a directory for each container.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// What each container that is kept needs, by its name. What can't be read needs nothing.
    pub(super) fn needs_of_containers(&self) -> Vec<(String, Needs)> {
        let entries = fs::read_dir(self.containers()).into_iter().flatten().flatten();
        let mut needs: Vec<_> = entries
            .filter_map(|entry| {
                let needs: Needs = serde_json::from_slice(&fs::read(entry.path().join(CONTAINER)).ok()?).ok()?;
                // the store may have been named otherwise: through a link, or from another directory
                let trees = needs.trees.iter().filter_map(|tree| tree.canonicalize().ok()).collect();
                let name = format!("container {}", entry.file_name().display());
                needs.kept.then_some((name, Needs { trees, ..needs }))
            })
            .collect();
        needs.sort_by(|a: &(String, Needs), b| a.0.cmp(&b.0));
        needs
    }
}
