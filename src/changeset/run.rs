//! A command. Planned with the rest; run when there is a sandbox.

use std::collections::BTreeMap;

use super::{Changeset, Error, Inputs};
use crate::layer::LayerWriter;
use crate::recipe;
use crate::sandbox::Rootfs;

/// Runs a shell command on the root filesystem under it.
#[derive(Debug)]
pub struct Run {
    command: String,
    network: bool,
    env: BTreeMap<String, String>,
}

/// The changeset of a `run` layer.
pub fn changeset(recipe: &recipe::Run) -> Run {
    Run { command: recipe.command.clone(), network: recipe.network, env: recipe.env.clone() }
}

impl Changeset for Run {
    fn inputs(&self) -> Inputs {
        Inputs::new("run", 1, format!("dlpack run {}", self.command))
            .with("command", self.command.as_str())
            .with("network", self.network)
            .with("env", serde_json::json!(self.env))
            .on_rootfs()
    }

    fn write(&self, _under: &Rootfs, _out: &mut LayerWriter) -> Result<(), Error> {
        Err(Error::NeedsSandbox { kind: "run", what: self.command.clone() })
    }
}
