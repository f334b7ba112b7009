//! What a step gets of this machine's network: resolv.conf(5), the proxies' variables,
//! and the certificates that this machine trusts.

use super::Step;
use super::spec::Task;

/// `step` with what this machine adds to it.
pub(super) fn task(step: &Step) -> Task {
    let Step { command, env, workdir, user, network, mounts } = step.clone();
    Task { command, env, workdir, user, network, mounts, interactive: false }
}
