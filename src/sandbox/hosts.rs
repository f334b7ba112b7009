//! hosts(5) as a step has it: with the name of its own machine, which programs look up (sudo, for
//! one), and on the network with what this machine's says.

use std::fs;
use std::io;

use super::containment::{Containment, Isolation};
use super::spec::Task;
use super::upper::View;
use super::{Mount, MountKind, Network, Refusal};

/// Where programs look for it.
const HOSTS: &str = "/etc/hosts";

/// What a step without network reaches.
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// `task` with the file as a mount, unless it has one of its own there.
pub(super) fn given(view: &View, isolation: &Isolation, task: &Task) -> Result<Task, Refusal> {
    let mut task = task.clone();
    if task.mounts.iter().any(|mount| mount.to == HOSTS) {
        return Ok(task);
    }
    let from = view.directory.join("hosts");
    let content = content(isolation.containment, &task).map_err(|source| Refusal::call("read", HOSTS, source))?;
    fs::write(&from, content).map_err(|source| Refusal::call("write", &from, source))?;
    task.mounts.push(Mount { from, to: HOSTS.to_owned(), kind: MountKind::ReadOnly });
    Ok(task)
}

fn content(containment: Containment, task: &Task) -> io::Result<String> {
    let names = match task.network {
        Network::None => LOOPBACK.to_owned(),
        Network::Host => match fs::read_to_string(HOSTS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => LOOPBACK.to_owned(),
            machine => machine?,
        },
    };
    // only what has a UTS namespace has a name of its own
    let own = task.machine.hostname.clone().filter(|_| containment != Containment::Chroot);
    let name = own.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    // Debian reference, "The hostname resolution": 127.0.1.1 for a machine without a permanent address
    Ok(format!("{}\n127.0.1.1\t{name}\n", names.trim_end()))
}
