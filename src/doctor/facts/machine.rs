//! The machine itself: distribution, kernel, whether it is a container, Secure Boot, and who
//! may use subordinate ids.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::release::Release;

/// The machine itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The distribution; none where no file says it.
    pub release: Option<Release>,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m` as Rust has it: `x86_64`, `aarch64`.
    pub architecture: &'static str,
    /// Whether dlpack runs in a container of another runtime.
    pub in_container: bool,
    /// Whether the firmware runs only what is signed; none where it is no UEFI, or doesn't say.
    pub secure_boot: Option<bool>,
    /// Whether subuid(5) has a range for this user.
    pub subordinate_ids: bool,
}

impl Machine {
    /// What the files under `root` say, for the user of `uid` and `user`.
    pub fn read(root: &Path, uid: u32, user: Option<&str>) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        // podman and docker leave these in their containers
        let markers = ["run/.containerenv", ".dockerenv"];
        Self {
            release: Release::read(root),
            kernel: read("proc/sys/kernel/osrelease").trim().to_owned(),
            architecture: std::env::consts::ARCH,
            in_container: markers.iter().any(|marker| root.join(marker).exists()),
            secure_boot: secure_boot(root),
            subordinate_ids: has_range(&read("etc/subuid"), uid, user),
        }
    }

    /// The kernel's version as far as it is two numbers: `(6, 8)`.
    pub fn kernel_version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.kernel.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// UEFI specification, 3.3 "Globally Defined Variables": `SecureBoot`, one byte, 1 if "the
/// platform firmware is operating in Secure Boot mode".
fn secure_boot(root: &Path) -> Option<bool> {
    let variable = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let bytes = fs::read(root.join(variable)).ok()?;
    // Documentation/filesystems/efivarfs.rst: the data comes after four bytes of attributes
    bytes.get(4).map(|value| *value == 1)
}

/// subuid(5): each line is "login name or UID", ":", first id, ":", count.
fn has_range(subuid: &str, uid: u32, user: Option<&str>) -> bool {
    let mut owners = subuid.lines().filter_map(|line| line.split(':').next());
    owners.any(|owner| Some(owner) == user || owner.parse() == Ok(uid))
}
