//! An image on another base: which of its layers stand as they are, and why they can't, where they
//! can't. Nothing is written here.
//!
//! An assembled layer is no function of what lies under it, so that it may lie on any base that
//! what is in it works on. One that was made by running something is a function of the base's
//! files; only its recipe can make it again.

mod error;
mod fit;
mod image;

pub use error::Error;
pub use fit::{Fit, resolve};
pub use image::{Layer, Upper};
