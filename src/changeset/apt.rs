//! Debian packages. Planned with the rest; written when there is a sandbox.

use super::{Changeset, Error, Inputs};
use crate::layer::LayerWriter;
use crate::recipe;
use crate::sandbox::Rootfs;

/// Installs Debian packages on the root filesystem under it.
#[derive(Debug)]
pub struct Apt {
    packages: Vec<String>,
}

/// The changeset of an `apt` layer.
pub fn changeset(recipe: &recipe::Apt) -> Apt {
    Apt { packages: recipe.packages.clone() }
}

impl Changeset for Apt {
    fn inputs(&self) -> Inputs {
        let packages = self.packages.join(" ");
        Inputs::new("apt", 1, format!("dlpack apt {packages}")).with("packages", self.packages.clone()).on_rootfs()
    }

    fn write(&self, _under: &Rootfs, _out: &mut LayerWriter) -> Result<(), Error> {
        Err(Error::NeedsSandbox { kind: "apt", what: self.packages.join(" ") })
    }
}
