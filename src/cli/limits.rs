//! How the limits of registries are told: what of a plan they would refuse, and how many pulls
//! they still allow.

use std::time::Duration;

use super::display::{bytes, seconds};
use crate::plan::limits::Exceeded;
use crate::registry::{PullLimit, Registries};

/// What of a plan a registry would refuse, in words.
pub fn exceeded(exceeded: &Exceeded) -> String {
    match exceeded {
        Exceeded::Layer { layer, bytes: size, most, registry } => {
            format!("{layer} has about {}, and {registry} takes layers of at most {}", bytes(*size), bytes(*most))
        }
        Exceeded::Upload { layer, seconds: span, most, registry } => format!(
            "{layer} takes {} at the rate of the last push, and {registry} ends the upload of a layer after {}",
            seconds(Duration::from_secs(*span)),
            seconds(Duration::from_secs(*most))
        ),
        Exceeded::Manifest { bytes: size, most } => {
            format!("the manifest has about {}, and registries take at most {}", bytes(*size), bytes(*most))
        }
    }
}

/// How many pulls registries still allow, a line each.
pub fn pulls(registries: &Registries) -> Vec<String> {
    registries.pull_limits().iter().map(|(registry, limit)| pull_limit(registry, limit)).collect()
}

fn pull_limit(registry: &str, limit: &PullLimit) -> String {
    let window = match limit.window().map(|window| window.as_secs()) {
        Some(hours) if hours >= 3600 && hours % 3600 == 0 => format!(" in {} h", hours / 3600),
        Some(span) => format!(" in {}", seconds(Duration::from_secs(span))),
        None => String::new(),
    };
    format!("{registry}: {} of {} pulls{window} are left", limit.remaining, limit.limit)
}
