//! Docker, for those who run images with it. Nothing here is needed.

use super::{Finding, Problem, Section, Severity};
use crate::doctor::facts::Facts;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let docker = &facts.docker;
    let fine = |found: &str| Finding::fine(Section::Docker, "docker", found);
    let found = match (docker.client, docker.socket, docker.permitted) {
        (false, false, _) => fine("not here; not needed").but(Severity::Note, Problem::NoDocker),
        (_, false, _) => fine("its daemon is not running; not needed").noted(),
        (_, true, false) => fine("its daemon runs, and you may not talk to it; not needed")
            .but(Severity::Note, Problem::DockerNotPermitted),
        (_, true, true) => fine("its daemon runs, and you may talk to it"),
    };
    let mut found = vec![found];
    // Docker 28.3 and later takes CDI's devices, too
    let gpus = facts.gpus.as_ref().filter(|gpus| gpus.driver.is_some() && gpus.cdi.is_empty());
    if docker.socket && !docker.nvidia_runtime && gpus.is_some() {
        found.push(fine("gives its containers no GPU; not needed").but(Severity::Note, Problem::DockerWithoutGpu));
    }
    found
}
