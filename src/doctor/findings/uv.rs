//! uv: without it a recipe is built by the lock that it has, and can't be locked.

use super::{Finding, Problem, Section, Severity};
use crate::doctor::facts::{Facts, Uv};

pub(super) fn finding(facts: &Facts) -> Finding {
    let fine = |found: &str| Finding::fine(Section::Machine, "uv", found);
    match &facts.uv {
        Uv::Found(said) => fine(said),
        Uv::Unusable(why) => fine(why).but(Severity::Warning, Problem::NoUv),
    }
}
