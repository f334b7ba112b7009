//! What the OCI image-spec names: digests, media types, platforms, the image
//! config and the manifest. Everything else in the crate stands on this module;
//! it knows none of the others.

mod amendment;
mod config;
mod digest;
mod layout;
mod manifest;
pub mod media_type;
mod platform;
mod variable;

pub use amendment::Amendment;
pub use config::{ContainerConfig, DEFAULT_PATH, History, ImageConfig, RootFs};
pub use digest::{ChainId, DiffId, Digest, Hasher, InvalidDigest};
pub use layout::{Layout, LayoutError, LayoutReader, REF_NAME};
pub use manifest::{Descriptor, Index, InvalidManifest, MAX_MANIFEST, Manifest, ManifestOrIndex, parse_manifest};
pub use platform::{InvalidPlatform, Platform};
pub use variable::{Variable, Word, substitute};
