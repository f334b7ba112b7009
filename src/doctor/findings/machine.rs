//! The machine, and what a sandbox needs of it.

use super::{Finding, Problem, Section, Severity};
use crate::doctor::facts::Facts;
use crate::sandbox::{Fallback, Obstacle};

/// The oldest kernel that a sandbox works on: mount_setattr(2) came with it.
const KERNEL: (u32, u32) = (5, 12);
/// How many files dlpack may have open at once, with many layers and transfers, with room to spare.
const OPEN_FILES: u64 = 1024;
/// Below how many processes and threads a build with its steps may run out of them.
const PROCESSES: u64 = 256;
/// What a build with a few sandboxed steps may take, in bytes.
const MEMORY: u64 = 1 << 30;
/// How long the largest layers may be, in bytes: the libraries of a GPU.
const FILE_SIZE: u64 = 10 << 30;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![distribution(facts), kernel(facts), namespaces(facts), subordinate_ids(facts)];
    found.extend(overlay(facts));
    found.extend(facts.sandbox.fallbacks.iter().filter_map(|fallback| lacking(*fallback)));
    found.extend(limits(facts));
    let unreadable = facts.unreadable_remedies.as_deref().map(|why| fine("remedies", why));
    found.extend(unreadable.map(|found| found.but(Severity::Warning, Problem::UnreadableRemedies)));
    found
}

fn fine(subject: &str, found: impl Into<String>) -> Finding {
    Finding::fine(Section::Machine, subject, found)
}

fn distribution(facts: &Facts) -> Finding {
    let container = if facts.machine.in_container { ", in a container" } else { "" };
    match &facts.machine.release {
        None => fine("distribution", format!("unknown: there is no os-release file{container}"))
            .but(Severity::Note, Problem::UnknownDistribution),
        Some(release) => {
            let found = fine("distribution", format!("{}{container}", release.name));
            if release.manager().is_some() { found } else { found.but(Severity::Note, Problem::UnknownDistribution) }
        }
    }
}

fn kernel(facts: &Facts) -> Finding {
    let machine = &facts.machine;
    let found = fine("kernel", format!("Linux {} on {}", machine.kernel, machine.architecture));
    match machine.kernel_version() {
        Some(version) if version < KERNEL => found.but(Severity::Error, Problem::OldKernel),
        _ => found,
    }
}

fn namespaces(facts: &Facts) -> Finding {
    let sandbox = &facts.sandbox;
    let subject = "user namespaces";
    if let Some(refused) = &sandbox.refused {
        let problem = match sandbox.obstacle {
            Some(Obstacle::NoUserNamespaces) => Problem::NoUserNamespaces,
            Some(Obstacle::TooManyUserNamespaces) => Problem::TooManyUserNamespaces,
            Some(Obstacle::UsernsCloneOff) => Problem::UsernsCloneOff,
            Some(Obstacle::AppArmor) => Problem::Apparmor,
            Some(Obstacle::ContainerProfile) => Problem::ContainerProfile,
            Some(Obstacle::Chroot) => Problem::Chrooted,
            Some(Obstacle::NoKernelSupport) => Problem::NoKernelSupport,
            Some(Obstacle::Unknown) | None => Problem::NamespacesRefused,
        };
        let known = sandbox.obstacle.filter(|obstacle| *obstacle != Obstacle::Unknown);
        let cause = known.map_or_else(|| refused.clone(), |obstacle| obstacle.to_string());
        let also = if sandbox.settings.no_new_privs { "; no_new_privs is set" } else { "" };
        return fine(subject, format!("don't work: {cause}{also}")).but(Severity::Error, problem);
    }
    let has = |fallback| sandbox.fallbacks.contains(&fallback);
    if has(Fallback::Chroot) {
        return fine(subject, "don't work, and nothing may be mounted; dlpack is root, and uses chroot")
            .but(Severity::Warning, Problem::ChrootOnly);
    }
    if has(Fallback::RealRoot) {
        return fine(subject, "don't work; dlpack is root, and steps are, too")
            .but(Severity::Warning, Problem::RealRoot);
    }
    fine(subject, "work: steps run as root of their own, with one uid")
}

fn subordinate_ids(facts: &Facts) -> Finding {
    let has = if facts.machine.subordinate_ids { "has a range for you" } else { "has none for you" };
    fine("subuid", format!("/etc/subuid {has}; not needed"))
}

/// Whether this kernel lets an ordinary user mount overlays; where they may lie is the store's.
fn overlay(facts: &Facts) -> Option<Finding> {
    if !facts.sandbox.works() {
        return None;
    }
    let found = fine("overlay", "an ordinary user may mount overlays (userxattr)");
    let copies = facts.sandbox.fallbacks.contains(&Fallback::Copy);
    let said = "no overlays here: each step works on a copy of the root filesystem";
    Some(if copies { fine("overlay", said).but(Severity::Warning, Problem::NoOverlay) } else { found })
}

/// What is said of a fallback that has no subject of its own.
fn lacking(fallback: Fallback) -> Option<Finding> {
    let (subject, found, severity, problem) = match fallback {
        Fallback::HostProc => {
            ("/proc", "steps see this machine's: a fresh one may not be mounted", Severity::Note, Problem::MaskedProc)
        }
        Fallback::HostNetwork => (
            "network namespaces",
            "none: steps reach the network when they should not",
            Severity::Warning,
            Problem::NoNetworkNamespace,
        ),
        Fallback::RecordedOwners => {
            ("owners", "recorded, but steps don't see them", Severity::Warning, Problem::RecordedOwners)
        }
        Fallback::FakedOwners => {
            ("owners", "lost: there is no seccomp user notification", Severity::Warning, Problem::LostOwners)
        }
        Fallback::UpperInMemory | Fallback::Copy | Fallback::RealRoot | Fallback::Chroot => return None,
    };
    Some(fine(subject, found).but(severity, problem))
}

/// The limits that a build may run into; nothing is said of the others.
fn limits(facts: &Facts) -> Vec<Finding> {
    let limits = &facts.limits;
    let mut found = Vec::new();
    if let Some(files) = limits.open_files.filter(|files| *files < OPEN_FILES) {
        found.push(fine("open files", format!("at most {files}")).but(Severity::Warning, Problem::FewOpenFiles));
    }
    if let Some(processes) = limits.processes.filter(|processes| *processes < PROCESSES) {
        let processes = fine("processes", format!("at most {processes} of yours"));
        found.push(processes.but(Severity::Warning, Problem::FewProcesses));
    }
    if let Some(size) = limits.file_size.filter(|size| *size < FILE_SIZE) {
        let sizes = fine("file size", format!("files have at most {}", bytes(size)));
        found.push(sizes.but(Severity::Warning, Problem::ShortFiles));
    }
    let (group, free) = (limits.memory, limits.memory_available);
    if let Some(least) = [group, free].into_iter().flatten().min() {
        let said = match group.filter(|group| free.is_none_or(|free| *group < free)) {
            Some(group) => format!("{} of this control group (a job's or a session's)", bytes(group)),
            None => format!("{} free", bytes(least)),
        };
        let memory = fine("memory", said);
        found.push(if least < MEMORY { memory.but(Severity::Warning, Problem::LittleMemory) } else { memory });
    }
    found
}

/// Bytes in units of 10⁹ and 10⁶.
pub(super) fn bytes(count: u64) -> String {
    if count >= 1_000_000_000 {
        format!("{:.1} GB", count as f64 / 1e9)
    } else {
        format!("{:.0} MB", count as f64 / 1e6)
    }
}
