//! Registries as the OCI distribution-spec has them: references, credentials,
//! mirrors, pull and push.
//!
//! ```text
//! Registries ── repository(&Reference) ──▶ Repository ── manifest, pull_blob, tags …      pull.rs, repository.rs
//!  config.rs   which host, mirrors                    └─ push_blob, push_manifest         push.rs, upload/
//!                                                     └─ push_made                       making.rs
//!  auth.rs     whose credentials
//!  token.rs    which token, from where
//!  client.rs   one request, as often as it takes      http.rs  the client below it all
//! ```
//!
//! Credentials go to the host that they belong to and to its own token server
//! (see [`Error::Realm`]), never across a redirect.

mod auth;
mod body;
mod check;
mod client;
mod config;
pub mod download;
mod environment;
mod error;
mod fetch;
mod helper;
pub mod http;
mod interrupt;
mod keeping;
mod login;
mod making;
mod origin;
mod pull;
mod pull_limit;
mod push;
mod rate;
mod referrers;
mod registries;
mod repository;
mod retry;
mod revalidate;
pub mod serve;
mod source;
mod token;
mod upload;

pub use auth::{Credential, Credentials, Secret};
pub use config::{Config, Place, Places};
pub use environment::Environment;
pub use error::{Error, ErrorKind};
pub use interrupt::Interrupt;
pub use making::{Maker, Outlet};
pub use oci_client::{ParseError, Reference};
pub use origin::{BlobOrigin, BlobStream};
pub use pull_limit::PullLimit;
pub use push::{Pushed, Transfer};
pub use rate::{InvalidRate, Rate};
pub use referrers::{Referrer, Referrers};
pub use registries::{Observer, Registries, RequestEvent, RequestKind, Settings};
pub use repository::Repository;
pub use retry::Retry;
pub use source::{Source, SourceError};
pub use token::Challenge;
