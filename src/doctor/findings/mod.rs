//! What the facts mean: a line for each subject, with its severity.

mod cuda;
mod docker;
mod gpu;
mod machine;
mod registry;
mod store;
mod uv;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::{Manager, Remedies};
use crate::gpu::Compatibility;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is lost.
    Note,
    /// It works, and something is lost: time, space, or what a layer holds.
    Warning,
    /// Something does not work.
    Error,
}

/// What a finding is about: the heading that it stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// The machine and what a sandbox needs of it.
    Machine,
    /// Where layers and files lie.
    Store,
    /// The registries.
    Registries,
    /// The GPU, and what the recipe wants of it.
    Gpu,
    /// Docker, for those who want it.
    Docker,
}

/// What may be the matter; each has its entry in the table of remedies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// No os-release(5), or one whose distribution has no package manager here.
    UnknownDistribution,
    /// Linux before 5.12.
    OldKernel,
    /// `user.max_user_namespaces` is 0.
    NoUserNamespaces,
    /// All user namespaces are in use.
    TooManyUserNamespaces,
    /// Debian's `kernel.unprivileged_userns_clone` is 0.
    UsernsCloneOff,
    /// Ubuntu's AppArmor restriction.
    Apparmor,
    /// A container's seccomp filter.
    ContainerProfile,
    /// dlpack runs in a chroot.
    Chrooted,
    /// The kernel has no user namespaces.
    NoKernelSupport,
    /// They are refused, and nobody says why.
    NamespacesRefused,
    /// No user namespaces, but root: steps are this machine's root.
    RealRoot,
    /// No user namespaces and no mounts, but root.
    ChrootOnly,
    /// No overlays for ordinary users.
    NoOverlay,
    /// A fresh /proc may not be mounted.
    MaskedProc,
    /// No network namespaces.
    NoNetworkNamespace,
    /// Owners are recorded but not shown.
    RecordedOwners,
    /// Owners are lost.
    LostOwners,
    /// Few files may be open.
    FewOpenFiles,
    /// Few processes may run.
    FewProcesses,
    /// Files may not be long.
    ShortFiles,
    /// Little memory.
    LittleMemory,
    /// A person's own table of remedies can't be read.
    UnreadableRemedies,
    /// No uv, or one that is too old.
    NoUv,
    /// The store can't be written to.
    StoreNotWritable,
    /// The store is on a filesystem of other machines.
    RemoteStore,
    /// What steps write can't be written to an overlay on disk.
    NoLocalScratch,
    /// Little space.
    LittleSpace,
    /// Few inodes.
    FewInodes,
    /// Little of the quota is left.
    LittleQuota,
    /// NFS keeps quotas to itself.
    NfsQuota,
    /// Lustre keeps quotas to itself.
    LustreQuota,
    /// GPFS keeps quotas to itself.
    GpfsQuota,
    /// BeeGFS keeps quotas to itself.
    BeegfsQuota,
    /// A registry does not answer.
    Unreachable,
    /// A registry's settings or credentials can't be used.
    Misconfigured,
    /// A registry is used without credentials.
    NotLoggedIn,
    /// A registry does not take the credentials.
    Rejected,
    /// Few pulls are left.
    FewPulls,
    /// The recipe can't be read.
    UnreadableRecipe,
    /// No driver.
    NoDriver,
    /// A driver that is not loaded.
    DriverNotLoaded,
    /// A driver without libraries of its version.
    NoDriverLibraries,
    /// A driver too old for the recipe's CUDA.
    OldDriver,
    /// A driver that runs the recipe's CUDA, but compiles none of its PTX.
    OlderDriver,
    /// A card that the recipe's CUDA has no code for any more.
    OldCard,
    /// A card that the recipe's CUDA has no code for yet.
    NewCard,
    /// A card that the recipe's cuDNN has no code for any more.
    OldCardForCudnn,
    /// A card that the recipe's cuDNN has no code for yet.
    NewCardForCudnn,
    /// No CDI specification.
    NoCdi,
    /// A CDI specification that can't be used.
    MalformedCdi,
    /// No container toolkit.
    NoContainerToolkit,
    /// No Docker.
    NoDocker,
    /// Docker's daemon may not be talked to.
    DockerNotPermitted,
    /// Docker gives its containers no GPU.
    DockerWithoutGpu,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The heading that it stands under.
    pub section: Section,
    /// What it is about.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in one line.
    pub found: String,
    /// What is the matter, if something is.
    pub problem: Option<Problem>,
    /// Why it matters.
    pub why: Option<String>,
    /// What to do, where commands alone don't say it.
    pub advice: Option<String>,
    /// What to type on this distribution.
    pub commands: Vec<String>,
    /// What stands for `{name}` in remedies.
    #[serde(skip)]
    pub values: BTreeMap<&'static str, String>,
}

impl Finding {
    /// That something is as it should be.
    fn fine(section: Section, subject: &str, found: impl Into<String>) -> Self {
        Self {
            section,
            subject: subject.to_owned(),
            severity: Severity::Ok,
            found: found.into(),
            problem: None,
            why: None,
            advice: None,
            commands: Vec::new(),
            values: BTreeMap::new(),
        }
    }

    /// The same with something the matter.
    fn but(self, severity: Severity, problem: Problem) -> Self {
        Self { severity, problem: Some(problem), ..self }
    }

    /// The same as something worth knowing, with nothing to do about it.
    fn noted(self) -> Self {
        Self { severity: Severity::Note, ..self }
    }

    /// The same with what stands for `{name}` in remedies.
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.values.insert(name, value.into());
        self
    }
}

/// What `facts` mean, in the order of a person's questions, with what to do about it.
pub fn findings(facts: &Facts, compatibility: &Compatibility, remedies: &Remedies) -> Vec<Finding> {
    let manager: Option<Manager> = facts.machine.release.as_ref().and_then(|release| release.manager());
    let found = [
        machine::findings(facts),
        vec![uv::finding(facts)],
        store::findings(facts),
        registry::findings(facts),
        gpu::findings(facts),
        cuda::findings(facts, compatibility),
        docker::findings(facts),
    ];
    found.into_iter().flatten().map(|finding| remedies.to(finding, manager)).collect()
}
