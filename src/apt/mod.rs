//! Debian archives and packages (Debian policy, `deb(5)`, `sources.list(5)`).
//!
//! ```text
//! sources ──▶ release ──────▶ packages ──▶ closure ──▶ fetch ──▶ deb
//! which       signed by a     what there   what a      into the  what is in
//! mirror      key (openpgp)   is           base has    store     a package
//! ```

pub mod closure;
pub mod compression;
pub mod deb;
pub mod deb822;
pub mod dependency;
pub mod fetch;
pub mod index;
pub mod openpgp;
pub mod packages;
pub mod release;
pub mod sources;
pub mod version;
