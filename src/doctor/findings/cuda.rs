//! Whether a driver and its cards run the recipe's CUDA and cuDNN.

use super::{Finding, Problem, Section, Severity};
use crate::doctor::facts::{Facts, Gpu, Gpus, Stated, Wanted};
use crate::gpu::{Compatibility, Fit, Version, fit};

pub(super) fn findings(facts: &Facts, compatibility: &Compatibility) -> Vec<Finding> {
    let Some(wanted) = &facts.wanted else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(why) = &wanted.unreadable {
        let said = format!("{} can't be read: {why}", wanted.recipe.display());
        found.push(fine("recipe", said).but(Severity::Warning, Problem::UnreadableRecipe));
    }
    found.extend(wanted.cuda.as_ref().map(|cuda| runs_cuda(cuda, facts.gpus.as_ref(), compatibility)));
    found.extend(wanted.cudnn.as_ref().map(|cudnn| runs_cudnn(cudnn, facts.gpus.as_ref(), compatibility)));
    if found.is_empty() {
        found.push(fine("recipe", format!("{} wants no CUDA, as far as it says", shown(wanted))));
    }
    found
}

fn fine(subject: &str, found: impl Into<String>) -> Finding {
    Finding::fine(Section::Gpu, subject, found)
}

fn shown(wanted: &Wanted) -> String {
    wanted.recipe.display().to_string()
}

fn runs_cuda(cuda: &Stated, gpus: Option<&Gpus>, compatibility: &Compatibility) -> Finding {
    let said = |rest: &str| fine("CUDA", format!("the recipe has {} ({}){rest}", cuda.version, cuda.by));
    let Some(line) = compatibility.cuda(&cuda.version) else {
        return said(", which dlpack's table doesn't know").noted();
    };
    let Some(gpus) = gpus.filter(|gpus| gpus.driver.is_some()) else {
        return said(&format!(": it needs a driver of {} or later", line.driver)).noted();
    };
    let found =
        |severity, problem, rest: String| said(&rest).but(severity, problem).with("cuda", cuda.version.to_string());
    if let Some(driver) = gpus.driver.as_ref().filter(|driver| **driver < line.driver) {
        let rest = format!(", and driver {driver} is too old for it");
        return found(Severity::Error, Problem::OldDriver, rest).with("needed", line.driver.to_string());
    }
    if let Some((gpu, fit)) = misfit(gpus, &line.cards) {
        return match fit {
            Fit::TooOld => found(Severity::Error, Problem::OldCard, format!(", and {} is too old for it", name(gpu))),
            _ => found(Severity::Warning, Problem::NewCard, format!(", and {} is newer than it", name(gpu))),
        };
    }
    if let Some(driver) = gpus.driver.as_ref().filter(|driver| **driver < line.own) {
        let rest = format!(", which driver {driver} runs, and compiles none of its PTX");
        return found(Severity::Note, Problem::OlderDriver, rest).with("needed", line.own.to_string());
    }
    said(", which driver and card run")
}

fn runs_cudnn(cudnn: &Stated, gpus: Option<&Gpus>, compatibility: &Compatibility) -> Finding {
    let said = |rest: &str| fine("cuDNN", format!("the recipe has {} ({}){rest}", cudnn.version, cudnn.by));
    let Some(line) = compatibility.cudnn(&cudnn.version) else {
        return said(", which dlpack's table doesn't know").noted();
    };
    let found =
        |severity, problem, rest: String| said(&rest).but(severity, problem).with("cudnn", cudnn.version.to_string());
    match gpus.and_then(|gpus| misfit(gpus, &line.cards)) {
        Some((gpu, Fit::TooOld)) => {
            found(Severity::Error, Problem::OldCardForCudnn, format!(", and {} is too old for it", name(gpu)))
        }
        Some((gpu, _)) => {
            found(Severity::Warning, Problem::NewCardForCudnn, format!(", and {} is newer than it", name(gpu)))
        }
        None if gpus.is_some_and(|gpus| gpus.gpus.iter().any(|gpu| gpu.compute_capability.is_some())) => {
            said(", which the card runs")
        }
        None => said(&format!(": it needs a card of compute capability {} or later", line.cards.0)).noted(),
    }
}

/// The first card that is not one of those that there is code for.
fn misfit<'a>(gpus: &'a Gpus, cards: &(Version, Version)) -> Option<(&'a Gpu, Fit)> {
    let each = gpus.gpus.iter().filter_map(|gpu| Some((gpu, fit(gpu.compute_capability.as_ref()?, cards))));
    each.into_iter().find(|(_, fit)| *fit != Fit::Runs)
}

fn name(gpu: &Gpu) -> String {
    match &gpu.compute_capability {
        Some(capability) => format!("{} ({capability})", gpu.model),
        None => gpu.model.clone(),
    }
}
