//! The recipe resolved: every byte that a build consumes, by sha256 and size.
//! The only input of a build; no URL in it, so that it works on every mirror.

mod apt;
pub mod base;
pub mod collisions;
mod error;
mod file;
mod fits;
mod interpreter;
mod local;
mod model;
mod onto;
mod packing;
mod present;
mod resolve;
mod source;
mod user;
mod venv;

pub use apt::Error as AptError;
pub use error::Error;
pub use file::{path_for, read, write};
pub use fits::fits;
pub use interpreter::fetch as fetch_archive;
pub use local::SCRIPT;
pub use model::{
    BaseFile, FileKind, Lock, LockedApt, LockedArchive, LockedBase, LockedDeb, LockedFile, LockedInput,
    LockedInterpreter, LockedLayer, LockedOrigin, LockedPresent, LockedSdist, LockedSource, LockedSuite, LockedUser,
    LockedVenv, LockedWheel, Pin, VERSION,
};
pub use onto::onto;
pub use packing::{bytecode_bin, bytecode_bins};
pub use present::{directories as package_directories, distributions};
pub use resolve::resolve;
pub use venv::{Wheels, listings};
