//! Where a command runs on a root filesystem without privileges, with the owners
//! that a real root would give. It is emulation for building, not a security
//! boundary; still, nothing in it reaches a file outside its root.
//!
//! ```text
//! layers of the base ─extract─▶ Rootfs ─open─▶ Sandbox ─run(Step)…─▶ Changes ─▶ a layer
//!                               lower,          upper                 what differs,
//!                               never written                        with its owners
//! ```

mod changes;
mod error;
pub mod extract;
mod host;
mod log;
#[allow(dead_code, reason = "its users land one after the other")]
mod record;
mod rootfs;
mod step;

pub use changes::{Change, ChangeKind};
pub use error::Error;
pub use host::Host;
pub use log::{Log, Tail};
pub use rootfs::{Rootfs, Sandbox};
pub use step::{Mount, MountKind, Network, Step};
