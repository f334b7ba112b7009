//! Where a command runs on a root filesystem without privileges, with the owners
//! that a real root would give. It is emulation for building, not a security
//! boundary; still, nothing in it reaches a file outside its root.
//!
//! ```text
//! layers of the base ─extract─▶ Rootfs ─open─▶ Sandbox ─run(Step)…─▶ Changes ─▶ a layer
//!                               lower,          upper                 what differs,
//!                               never written                        with its owners
//! ```

mod attached;
mod changes;
mod chroot;
mod containment;
mod copy;
mod descendants;
mod devices;
mod diff;
mod enter;
mod error;
mod exec;
pub mod extract;
mod fallback;
mod helper;
mod host;
mod hosts;
mod init;
mod lacks;
mod launch;
mod log;
mod lookup;
mod mounts;
mod network;
mod owners;
mod places;
mod porter;
mod probe;
mod program;
mod real_owners;
pub(crate) mod record;
mod refusal;
mod rootfs;
mod scratch;
mod session;
mod shell;
mod spec;
mod step;
mod supervisor;
mod sys;
mod terminal;
mod upper;
mod user;
mod watch;

pub use changes::{Change, ChangeKind};
pub use error::Error;
pub use exec::{Call, Door, Exec, call, hear, stop};
pub use extract::ExtractError;
pub use fallback::Fallback;
pub use helper::main;
pub use host::Host;
pub use lacks::Lacks;
pub use launch::fallbacks;
pub use log::{Log, Tail};
pub use lookup::{Below, Entry, EntryKind};
pub(crate) use lookup::{MOST_LINKS, components};
pub use network::CA_BUNDLE;
pub use probe::{Attempt, Facts, Obstacle, diagnose};
pub use refusal::{Refusal, Unfit};
pub use rootfs::{Lasting, Rootfs, Sandbox};
pub use scratch::Directory;
pub use spec::VERB;
pub use step::{Ending, Link, Machine, Mount, MountKind, Network, Step};
pub use sys::quota::{Quota, quota};
pub use user::{Account, Identity};
