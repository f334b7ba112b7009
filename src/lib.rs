//! dlpack assembles OCI images from wheels and content-addressed layers.

pub mod changeset;
pub mod cli;
pub mod layer;
pub mod lock;
pub mod oci;
pub mod progress;
pub mod python;
pub mod recipe;
pub mod registry;
pub mod sandbox;
pub mod store;
