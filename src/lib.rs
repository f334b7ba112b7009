//! dlpack assembles OCI images from wheels and content-addressed layers: no
//! daemon, no root; only what changed is built, only what changed is sent.
//!
//! ```text
//! recipe ──resolve──▶ lock ──plan──▶ plan ──assemble──▶ image ──▶ push (registry)
//!  what a person       what it        which layers,      manifest,
//!  wrote               came to        which are known    config,
//!                                     already            layers
//! ```
//!
//! Each arrow is one module's job, and data goes one way: [`recipe`], [`lock`],
//! [`plan`], [`assemble`], and [`cli`] over all of them. They stand on [`oci`],
//! [`store`] and [`registry`]. What layers are made of is in [`changeset`], on
//! [`layer`] (tar and compression) and [`python`] (wheels and venvs). Layers that
//! run commands wait for [`sandbox`]; [`run`] starts containers from images on it,
//! with the GPUs that [`gpu`] finds, [`export`] writes images in other tools' forms, and [`rebase`] puts them on other bases.
//! [`doctor`] says whether a machine can do all that.
//! [`init`] writes the first recipe of a project from the files that it has.

pub mod apt;
pub mod assemble;
pub mod cache;
pub mod changeset;
pub mod cli;
pub mod diff;
pub mod doctor;
pub mod export;
pub mod gpu;
pub mod init;
pub mod layer;
pub mod lock;
mod locked;
pub mod oci;
pub mod plan;
pub mod progress;
pub mod python;
pub mod rebase;
pub mod recipe;
pub mod registry;
pub mod run;
pub mod sandbox;
pub mod store;
mod text;
