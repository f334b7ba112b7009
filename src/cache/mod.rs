//! The remote cache: what is known of layers, kept in repositories under their keys, so
//! that a machine whose disk is empty need not make what was made before.
//!
//! ```text
//! Caches ── look_up(keys) ──▶ Hit      one list of referrers, or one tag a key     caches.rs, listing.rs
//!    └───── keep(layers) ────▶         an artifact a layer, after a push           keep.rs
//!    └───── pushed_to(blob) ──▶        another repository that can be mounted from   pushed.rs
//! collect ───────────────▶ Collected  old records, removed                          collect.rs
//! Record     key → blob, DiffID, size, history; signed if there is a key           record.rs, signature.rs
//! ```
//!
//! A record is an artifact of its own (image-spec, "Guidelines for Artifact Usage"): its
//! one layer is the blob that it tells of, so that the registry's garbage collection keeps
//! that; its subject is the same for all records of a repository, so that one request
//! lists them; its tag is made of the key, for registries that list nothing.

mod caches;
mod collect;
mod error;
mod keep;
mod listing;
mod pushed;
mod record;
mod signature;

pub use caches::{Cache, Caches, Hit};
pub use collect::{Collected, Policy, Stored, collect};
pub use error::Error;
pub use keep::Layer;
pub use record::{ANNOTATION_RECORD, ANNOTATION_SIGNATURE, ARTIFACT_TYPE, Record};
pub use signature::{InvalidKey, Signer, VerifyingKey};
