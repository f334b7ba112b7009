//! Whether commands can be run on a root filesystem without privileges: tried as a build tries it.

use std::path::Path;

use serde::Serialize;

use crate::sandbox::{self, Fallback, Obstacle, Refusal};

/// How commands can be run on a root filesystem.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// What stands in the way, where they can't.
    pub obstacle: Option<Obstacle>,
    /// Why they can't, in full.
    pub refused: Option<String>,
    /// What is taken where this machine hasn't got what is wanted.
    pub fallbacks: Vec<Fallback>,
    /// What this machine is set to.
    pub settings: sandbox::Facts,
}

impl Sandbox {
    /// What comes of trying, with dlpack's own `program`.
    pub fn tried(program: &Path) -> Self {
        let settings = sandbox::Facts::read();
        match sandbox::fallbacks(program) {
            Ok(fallbacks) => Self { fallbacks, settings, ..Self::default() },
            Err(error) => {
                let obstacle = match &error {
                    sandbox::Error::Refused(Refusal::Namespaces { obstacle, .. }) => Some(*obstacle),
                    _ => None,
                };
                Self { obstacle, refused: Some(with_causes(&error)), settings, ..Self::default() }
            }
        }
    }

    /// Whether commands can be run.
    pub fn works(&self) -> bool {
        self.refused.is_none()
    }
}

/// What an error says with what lies behind it, in one line.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        let why = cause.to_string();
        // an error that passes its cause's words on says nothing new
        if !said.ends_with(&why) {
            said = format!("{said}: {why}");
        }
    }
    said
}
