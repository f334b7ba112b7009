//! Python as PyPA's specifications have it: what a wheel is, what it becomes when
//! it is installed into a venv, and the venv itself. Nothing here runs Python.

mod asking;
pub mod entry_points;
pub mod index;
pub mod install;
pub mod pylock;
pub mod record;
pub mod resolve;
pub mod scheme;
pub mod source;
pub mod standalone;
pub mod tags;
pub mod tree;
pub mod unpack;
pub mod uv;
pub mod venv;
pub mod wheel;
