//! uv, which resolves the Python packages of recipes.

use serde::Serialize;

/// What there is of uv.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "said")]
pub enum Uv {
    /// One that is new enough: what it says it is.
    Found(String),
    /// None that can be used, and why.
    Unusable(String),
}
