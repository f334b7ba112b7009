//! The program that a container starts with when the image has services.

use serde_json::json;

use super::{Changeset, Inputs};
use crate::layer::{Attributes, LayerWriter};
use crate::oci::{Amendment, Digest};
use crate::recipe::{LayerKind, Recipe};
use crate::sandbox::Rootfs;

const ENTRYPOINT: &str = include_str!("../../layers/entrypoint/usr/local/bin/dlpack-entrypoint");
const PROFILE: &str = include_str!("../../layers/entrypoint/etc/profile.d/dlpack.sh");

/// Writes the entrypoint, and what lets login shells keep the image's `PATH`.
#[derive(Debug)]
pub struct Entrypoint;

/// The changeset over all others, if `recipe` has services to start.
pub fn changeset(recipe: &Recipe) -> Option<Entrypoint> {
    let is_service = |kind: &LayerKind| matches!(kind, LayerKind::Sshd(_) | LayerKind::Jupyter(_));
    recipe.layers.iter().any(|layer| is_service(&layer.kind)).then_some(Entrypoint)
}

impl Changeset for Entrypoint {
    fn inputs(&self) -> Inputs {
        let payload = [ENTRYPOINT, PROFILE].map(|file| Digest::of(file.as_bytes()).to_string());
        Inputs::new("entrypoint", 1, "dlpack entrypoint").with("payload", json!(payload))
    }

    fn write(&self, _under: &Rootfs, out: &mut LayerWriter) -> Result<(), super::Error> {
        out.file("etc/profile.d/dlpack.sh", Attributes::root(0o644), PROFILE.as_bytes())?;
        out.file("usr/local/bin/dlpack-entrypoint", Attributes::root(0o755), ENTRYPOINT.as_bytes())?;
        Ok(())
    }

    /// A recipe's own entrypoint, which is set afterwards, takes the place of this one.
    /// The base's command goes: it is often a shell, which ends at once without a terminal.
    fn amendments(&self) -> Vec<Amendment> {
        vec![Amendment::Entrypoint(vec!["/usr/local/bin/dlpack-entrypoint".into()])]
    }
}
