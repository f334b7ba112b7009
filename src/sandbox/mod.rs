//! Where a command will run on a root filesystem without privileges. Layers that
//! need one (`apt`, `run`, sdists, bytecode) are parsed, locked by name and
//! planned today; this module is where they will be built.

use crate::oci::DiffId;

/// What a changeset sees beneath it. An assembled changeset looks at none of it.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    /// The base's layers and the sandboxed layers before this one, lowest first.
    pub layers: Vec<DiffId>,
}
