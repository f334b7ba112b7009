//! What registries said.

use std::time::Duration;

use super::{Finding, Problem, Section, Severity};
use crate::doctor::facts::{Asked, Facts, Login};

/// Below how many pulls left a build may run out of them.
const PULLS: u64 = 10;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    facts.registries.iter().flat_map(|asked| [Some(login(asked)), pulls(asked)]).flatten().collect()
}

fn login(asked: &Asked) -> Finding {
    let found = |said: String| {
        Finding::fine(Section::Registries, &asked.registry, said).with("registry", asked.registry.clone())
    };
    // one that nobody named may not matter here
    let missing = if asked.named { Severity::Error } else { Severity::Warning };
    match &asked.login {
        Login::LoggedIn => found("answers, and takes your credentials".to_owned()),
        Login::Anonymous => found("answers; you are not logged in, which does to pull what is public".to_owned())
            .but(Severity::Note, Problem::NotLoggedIn),
        Login::Required => {
            found("wants credentials, and you have none for it".to_owned()).but(missing, Problem::NotLoggedIn)
        }
        Login::Rejected => found("does not take your credentials".to_owned()).but(Severity::Error, Problem::Rejected),
        Login::Unreachable(why) => found(format!("does not answer: {why}")).but(missing, Problem::Unreachable),
        Login::Misconfigured(why) => {
            found(format!("can't be asked: {why}")).but(Severity::Error, Problem::Misconfigured)
        }
    }
}

fn pulls(asked: &Asked) -> Option<Finding> {
    let limit = asked.pull_limit.as_ref()?;
    let window = limit.window().map(hours).unwrap_or_default();
    let said = format!("{} of {}{window} left", limit.remaining, limit.limit);
    let found = Finding::fine(Section::Registries, "pulls", said).with("registry", asked.registry.clone());
    Some(match limit.remaining {
        0 => found.but(Severity::Error, Problem::FewPulls),
        few if few < PULLS => found.but(Severity::Warning, Problem::FewPulls),
        _ => found,
    })
}

fn hours(window: Duration) -> String {
    format!(" in {} h", window.as_secs().div_ceil(3600))
}
