//! Debian archives and packages (Debian policy, `deb(5)`, `sources.list(5)`).
//!
//! ```text
//! sources ──▶ release ──────▶ packages ──▶ closure ──▶ fetch ──▶ deb
//! which       signed by a     what there   what a      into the  what is in
//! mirror      key (openpgp)   is           base has    store     a package
//! ```

pub mod auth;
pub mod base;
pub mod closure;
pub mod compression;
pub mod deb;
pub mod deb822;
pub mod dependency;
pub mod fetch;
pub mod index;
pub mod made;
pub mod mirrors;
pub mod openpgp;
pub mod packages;
pub mod proxy;
pub mod release;
pub mod script;
pub mod scrub;
pub mod sources;
pub mod unpacked;
pub mod version;

use crate::oci::Platform;

/// Debian's name of a platform's architecture (Debian policy 11.1), as far as there are
/// images for it.
pub fn architecture(platform: &Platform) -> &'static str {
    match (platform.architecture.as_str(), platform.variant.as_deref()) {
        ("386", _) => "i386",
        ("arm64", _) => "arm64",
        ("arm", Some("v5" | "v6")) => "armel",
        ("arm", _) => "armhf",
        ("ppc64le", _) => "ppc64el",
        ("riscv64", _) => "riscv64",
        ("s390x", _) => "s390x",
        _ => "amd64",
    }
}
