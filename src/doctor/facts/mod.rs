//! What is: the facts that findings are made of.

mod container_tools;
pub mod filesystem;
mod gpus;
mod limits;
mod machine;
mod registry;
mod release;
mod sandbox;
mod uv;
mod wanted;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use container_tools::Docker;
pub use filesystem::{Class, Filesystem};
pub use gpus::{Gpu, Gpus};
pub use limits::Limits;
pub use machine::Machine;
pub use registry::{Asked, Login, ask};
pub use release::{Manager, Release};
pub use sandbox::Sandbox;
pub use uv::Uv;
pub use wanted::{Stated, Wanted};

/// Everything that is known.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The machine itself.
    pub machine: Machine,
    /// Whether commands can be run on a root filesystem, and how.
    pub sandbox: Sandbox,
    /// What this process may use.
    pub limits: Limits,
    /// What resolves Python packages.
    pub uv: Uv,
    /// What the store lies on, or would.
    pub store: Option<Filesystem>,
    /// What steps write to.
    pub scratch: Option<Filesystem>,
    /// A better directory for what steps write, where `scratch` is none.
    pub better_scratch: Option<Filesystem>,
    /// What registries said.
    pub registries: Vec<Asked>,
    /// GPUs and their driver; none where nobody looked.
    pub gpus: Option<Gpus>,
    /// Docker, for those who want it.
    pub docker: Docker,
    /// What the recipe wants of a GPU; none without a recipe.
    pub wanted: Option<Wanted>,
    /// Why a person's own table of remedies counts for nothing, if it does.
    pub unreadable_remedies: Option<String>,
}

/// Directories that are on local disk on many machines, the likeliest first.
pub fn likely_scratch() -> Vec<PathBuf> {
    // Slurm's job_container/tmpfs and most sites' prologs name a job's own directory so
    let named = ["SLURM_TMPDIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let usual = ["/scratch", "/local", "/local/scratch", "/localscratch", "/var/tmp", "/tmp"].map(PathBuf::from);
    named.filter(|path| path.is_absolute()).chain(usual).collect()
}

/// The root of this machine's files.
pub fn root() -> &'static Path {
    Path::new("/")
}
