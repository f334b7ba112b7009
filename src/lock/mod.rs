//! The recipe resolved: every byte that a build consumes, by sha256 and size.
//! The only input of a build; no URL in it, so that it works on every mirror.

pub mod base;
mod model;

pub use model::{
    BaseFile, FileKind, Lock, LockedBase, LockedFile, LockedInterpreter, LockedLayer, LockedVenv, LockedWheel, Pin,
    VERSION,
};
