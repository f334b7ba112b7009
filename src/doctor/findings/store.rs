//! Where layers and files lie.

use super::machine::bytes;
use super::{Finding, Problem, Section, Severity};
use crate::doctor::facts::{Class, Facts, Filesystem};
use crate::sandbox::{Fallback, Quota};

/// Below how many bytes an image with a GPU's libraries can't be extracted.
const SPACE: u64 = 20_000_000_000;
/// Below how many bytes hardly anything can be built.
const LEAST: u64 = 2_000_000_000;
/// How many files the root filesystem of such an image has, twice.
const INODES: u64 = 300_000;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let Some(store) = &facts.store else {
        let nowhere = fine("store", "there is no place for it: neither DLPACK_STORE nor HOME names one that is there");
        return vec![nowhere.but(Severity::Error, Problem::StoreNotWritable)];
    };
    let mut found = vec![place(store)];
    if store.writable && !store.read_only {
        found.push(space(store));
        found.extend(inodes(store));
        found.extend(quota(store));
    }
    if store.writable && facts.sandbox.works() && !facts.sandbox.fallbacks.contains(&Fallback::Copy) {
        found.extend(facts.scratch.as_ref().map(|scratch| steps_write(facts, store, scratch)));
    }
    found
}

fn fine(subject: &str, found: impl Into<String>) -> Finding {
    Finding::fine(Section::Store, subject, found)
}

fn place(store: &Filesystem) -> Finding {
    let at = store.path.display();
    let there = if store.path == store.exists { "" } else { ", to be made" };
    let found = |rest: &str| fine("store", format!("{at} on {}{there}{rest}", store.kind));
    let broken = |rest: &str| found(rest).but(Severity::Error, Problem::StoreNotWritable);
    match (store.read_only, store.writable, store.class) {
        (true, ..) => broken(", which is mounted read-only"),
        (_, false, _) => broken(", which you may not write to"),
        (.., Class::Remote) => found(", not a disk of this machine").but(Severity::Note, Problem::RemoteStore),
        (.., Class::Memory) => found(": it is gone when the machine restarts").noted(),
        _ => found(""),
    }
}

fn space(store: &Filesystem) -> Finding {
    let found = fine("space", format!("{} of {} free", bytes(store.free), bytes(store.size)));
    match store.free {
        free if free < LEAST => found.but(Severity::Error, Problem::LittleSpace),
        free if free < SPACE => found.but(Severity::Warning, Problem::LittleSpace),
        _ => found,
    }
}

fn inodes(store: &Filesystem) -> Option<Finding> {
    let free = store.free_inodes?;
    let found = fine("inodes", format!("{free} free"));
    Some(if free < INODES { found.but(Severity::Warning, Problem::FewInodes) } else { found })
}

fn quota(store: &Filesystem) -> Option<Finding> {
    match &store.quota {
        Some(Quota { limit: None, inode_limit: None, .. }) => None,
        Some(quota) => {
            let left = |limit: Option<u64>, used: u64| limit.map(|limit| limit.saturating_sub(used));
            let (space, inodes) = (left(quota.limit, quota.used), left(quota.inode_limit, quota.inodes));
            let said = [space.map(bytes), inodes.map(|inodes| format!("{inodes} files"))];
            let said = said.into_iter().flatten().collect::<Vec<_>>().join(" and ");
            let found = fine("quota", format!("{said} left"));
            let little = space.is_some_and(|space| space < SPACE) || inodes.is_some_and(|inodes| inodes < INODES);
            Some(if little { found.but(Severity::Warning, Problem::LittleQuota) } else { found })
        }
        None => {
            let problem = match store.kind.as_str() {
                kind if kind.starts_with("nfs") => Problem::NfsQuota,
                "lustre" => Problem::LustreQuota,
                "gpfs" => Problem::GpfsQuota,
                kind if kind.starts_with("beegfs") => Problem::BeegfsQuota,
                _ => return None,
            };
            let found = fine("quota", format!("{} tells it to its own tool alone", store.kind));
            Some(found.but(Severity::Note, problem).with("path", store.exists.display().to_string()))
        }
    }
}

fn steps_write(facts: &Facts, store: &Filesystem, scratch: &Filesystem) -> Finding {
    let at = scratch.path.display();
    let usable = scratch.writable && !scratch.read_only && scratch.takes_overlays();
    if usable {
        let apart = if scratch.path.starts_with(&store.path) { "" } else { ", since no overlay lies on the store's" };
        return fine("scratch", format!("steps write to {at} on {}{apart}", scratch.kind));
    }
    let found = fine("scratch", format!("steps write to memory: no overlay lies on {at} ({})", scratch.kind));
    let found = found.but(Severity::Warning, Problem::NoLocalScratch);
    match &facts.better_scratch {
        Some(better) => found.with("scratch", better.path.display().to_string()),
        None => found.with("scratch", "/a/local/directory"),
    }
}
