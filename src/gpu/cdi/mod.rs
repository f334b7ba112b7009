//! Devices as their vendors' specifications describe them: the Container Device Interface,
//! <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>.

mod edits;
mod hooks;
mod registry;
mod rules;
mod specification;

pub(super) use hooks::COMPATIBILITY;
pub(super) use registry::Registry;
