//! Every error that a person can cause, as it is shown. Those of recipes, command
//! lines, wheels and registries' faults have their snapshots beside their tests.

#[path = "errors/apt.rs"]
mod apt;
#[path = "errors/bases.rs"]
mod bases;
#[path = "errors/build.rs"]
mod build;
#[path = "errors/caches.rs"]
mod caches;
#[path = "errors/complete.rs"]
mod complete;
#[path = "errors/doctor.rs"]
mod doctor;
#[path = "errors/images.rs"]
mod images;
#[path = "errors/indexes.rs"]
mod indexes;
#[path = "errors/init.rs"]
mod init;
#[path = "errors/locks.rs"]
mod locks;
#[path = "errors/registries.rs"]
mod registries;
#[path = "errors/sandbox.rs"]
mod sandbox;
#[path = "errors/source.rs"]
mod source;
#[path = "errors/stores.rs"]
mod stores;
#[path = "errors/uv.rs"]
mod uv;

use crate::support::command::Dlpack;
use crate::support::shown::Shown;

/// An empty gallery of what commands in `dlpack`'s home say.
fn shown_at(dlpack: &Dlpack) -> Shown {
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    shown
}
