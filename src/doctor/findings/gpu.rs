//! The GPU, its driver, and what gives it to containers.

use super::{Finding, Problem, Section, Severity};
use crate::doctor::facts::{Facts, Gpus};

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let Some(gpus) = &facts.gpus else { return Vec::new() };
    if gpus.cards == 0 && gpus.driver.is_none() {
        return vec![fine("GPU", "none of NVIDIA's here; images are built without")];
    }
    vec![cards(gpus), driver(facts, gpus), secure_boot(facts, gpus), cdi(gpus), toolkit(gpus)]
}

fn fine(subject: &str, found: impl Into<String>) -> Finding {
    Finding::fine(Section::Gpu, subject, found)
}

/// The models that are there, each with how often.
fn cards(gpus: &Gpus) -> Finding {
    let mut models: Vec<(String, usize)> = Vec::new();
    for gpu in &gpus.gpus {
        let capability = gpu.compute_capability.as_ref();
        let capability = capability.map(|capability| format!(", compute capability {capability}")).unwrap_or_default();
        let model = format!("{}{capability}", gpu.model);
        match models.iter_mut().find(|(known, _)| *known == model) {
            Some((_, count)) => *count += 1,
            None => models.push((model, 1)),
        }
    }
    let said: Vec<_> = models.iter().map(|(model, count)| format!("{count} × {model}")).collect();
    fine("GPU", if said.is_empty() { format!("{} of NVIDIA's", gpus.cards) } else { said.join("; ") })
}

fn driver(facts: &Facts, gpus: &Gpus) -> Finding {
    // without a recipe for it a card may lie idle
    let missing = match &facts.wanted {
        Some(wanted) if wanted.cuda.is_some() => Severity::Error,
        _ => Severity::Warning,
    };
    let signed = if facts.machine.secure_boot == Some(true) { "; Secure Boot is on" } else { "" };
    match &gpus.driver {
        Some(version) => {
            let module = if gpus.open_module { "open" } else { "proprietary" };
            let found = format!("{version}, {module} kernel module");
            match gpus.libraries {
                true => fine("driver", found),
                false => fine("driver", format!("{found}, and no libraries of its version"))
                    .but(missing, Problem::NoDriverLibraries),
            }
        }
        None if gpus.installed => {
            fine("driver", format!("installed, and not loaded{signed}")).but(missing, Problem::DriverNotLoaded)
        }
        None => fine("driver", format!("none{signed}")).but(missing, Problem::NoDriver),
    }
}

fn secure_boot(facts: &Facts, gpus: &Gpus) -> Finding {
    match (facts.machine.secure_boot, gpus.driver.is_some()) {
        (None, _) => {
            fine("Secure Boot", "not told: this machine's firmware is no UEFI, or its variables are not shown here")
        }
        (Some(false), _) => fine("Secure Boot", "off"),
        (Some(true), true) => fine("Secure Boot", "on; the driver's module is signed, since it is loaded"),
        (Some(true), false) => {
            fine("Secure Boot", "on: a driver's module must be signed with a key that the firmware knows").noted()
        }
    }
}

fn cdi(gpus: &Gpus) -> Finding {
    if let Some(wrong) = gpus.malformed_cdi.first() {
        return fine("CDI", wrong.clone()).but(Severity::Warning, Problem::MalformedCdi);
    }
    match gpus.cdi.as_slice() {
        [] => fine("CDI", "no specification; not needed").but(Severity::Note, Problem::NoCdi),
        devices => fine("CDI", devices.join(", ")),
    }
}

fn toolkit(gpus: &Gpus) -> Finding {
    match &gpus.toolkit {
        Some(program) => fine("container toolkit", program.display().to_string()),
        None => fine("container toolkit", "not here; not needed").but(Severity::Note, Problem::NoContainerToolkit),
    }
}
