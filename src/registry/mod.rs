//! Registries as the OCI distribution-spec has them: references, credentials,
//! mirrors, pull and push.

pub mod http;
pub mod serve;
