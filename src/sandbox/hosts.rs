//! hosts(5) as a step has it: with the name of its own machine, which programs look up (sudo, for
//! one), and on the network with what this machine's says.

use std::fs;

use super::containment::{Containment, Isolation};
use super::spec::Task;
use super::upper::View;
use super::{Mount, MountKind, Network, Refusal};

/// Where programs look for it.
const HOSTS: &str = "/etc/hosts";

/// What a step without network reaches.
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// `task` with the file as a mount, unless it is given what lies there.
pub(super) fn given(view: &View, isolation: &Isolation, task: &Task) -> Result<Task, Refusal> {
    let mut task = task.clone();
    if task.mounts.iter().any(|mount| mount.covers(HOSTS)) {
        return Ok(task);
    }
    let from = view.directory.join("hosts");
    fs::write(&from, content(isolation.containment, &task)).map_err(|source| Refusal::call("write", &from, source))?;
    task.mounts.push(Mount { from, to: HOSTS.to_owned(), kind: MountKind::ReadOnly });
    Ok(task)
}

fn content(containment: Containment, task: &Task) -> Vec<u8> {
    let names = match task.network {
        Network::None => LOOPBACK.into(),
        // comments may be in any encoding; without the file, names are looked up elsewhere
        Network::Host => fs::read(HOSTS).unwrap_or_else(|_| LOOPBACK.into()),
    };
    // only what has a UTS namespace has a name of its own
    let own = task.machine.hostname.clone().filter(|_| containment != Containment::Chroot);
    let name = own.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    // Debian reference, "The hostname resolution": 127.0.1.1 for a machine without a permanent address
    [names.trim_ascii_end(), format!("\n127.0.1.1\t{name}\n").as_bytes()].concat()
}
