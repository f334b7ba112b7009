//! From a copy of process 1 to the command: streams, credentials, execve(2).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CString, NulError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, remove_capability_from_bounding_set,
    set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::containment::Containment;
use super::init::{Streams, tell};
use super::places::Root;
use super::spec::Task;
use super::sys::process::execute;
use super::sys::signals::reset_signals;
use super::user::Credentials;
use super::{Refusal, porter, session, supervisor};

/// Where a command starts, and as whom.
pub(super) struct Place<'a> {
    pub containment: Containment,
    /// Whether a supervisor emulates owners.
    pub supervised: bool,
    /// Whether its loopback is not this machine's.
    pub own_network: bool,
    /// The root, if it is not this process' yet.
    pub chroot: Option<&'a Root>,
    pub user: &'a Credentials,
}

/// Becomes the command of `task`, or says over `failure` why not. Its supervisor is on the
/// other end of `supervisor`; without one, the kernel itself changes credentials.
pub(super) fn become_command(
    task: &Task,
    place: &Place<'_>,
    streams: &Streams,
    supervisor: Option<UnixStream>,
    failure: OwnedFd,
) -> ! {
    let ready = || {
        enter(place)?;
        if let Some(supervisor) = supervisor {
            supervisor::submit(&supervisor).map_err(|source| Refusal::call("set", "a seccomp filter", source))?;
        }
        if let Some(door) = &streams.door {
            porter::post(door, task, place).map_err(|source| Refusal::call("make", "a process", source))?;
        }
        let attached = streams.signals.is_some();
        prepare(task, streams, if attached { session::Standing::Led } else { session::Standing::Alone })?;
        // the supervisor takes who is in a step for its user, until they become another
        if !place.supervised {
            become_user(place)?;
        }
        run(task)
    };
    let Err(refusal) = ready();
    tell(failure, &refusal);
    std::process::exit(127)
}

/// Becomes a further command of a step, in whose root this process is, and under its
/// supervisor; or says over `failure` why not.
pub(super) fn become_further(task: &Task, place: &Place<'_>, streams: &Streams, failure: OwnedFd) -> ! {
    let Err(refusal) =
        prepare(task, streams, session::Standing::Led).and_then(|()| become_user(place)).and_then(|()| run(task));
    tell(failure, &refusal);
    std::process::exit(127)
}

fn prepare(task: &Task, streams: &Streams, standing: session::Standing) -> Result<(), Refusal> {
    let failed = |what: &'static str| move |source: Errno| Refusal::call("set", what, source);
    session::take(standing, task.interactive.then_some(&streams.input))?;
    rustix::stdio::dup2_stdin(&streams.input).map_err(failed("stdin"))?;
    rustix::stdio::dup2_stdout(&streams.output).map_err(failed("stdout"))?;
    rustix::stdio::dup2_stderr(&streams.error).map_err(failed("stderr"))?;
    reset_signals();
    rustix::process::chdir(&*task.workdir)
        .map_err(|source| Refusal::Workdir { path: task.workdir.clone(), source: source.into() })
}

/// Goes into the root of the step, and gives up what it may not have.
fn enter(place: &Place<'_>) -> Result<(), Refusal> {
    if let Some(root) = place.chroot {
        let entered = rustix::process::fchdir(root.descriptor()).and_then(|()| rustix::process::chroot("."));
        entered.map_err(|source| Refusal::call("chroot to", root.path(), source))?;
    }
    match place.containment {
        Containment::UserNamespace => Ok(()),
        Containment::MountNamespace | Containment::Chroot => {
            keep_few_capabilities().map_err(|source| Refusal::call("give up", "capabilities", source))
        }
    }
}

/// credentials(7): groups first, since who is not root may not set them.
fn become_user(place: &Place<'_>) -> Result<(), Refusal> {
    // user_namespaces(7): one id is mapped, which this process has
    if place.containment == Containment::UserNamespace && !place.supervised {
        return Ok(());
    }
    let user = place.user;
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let became = set_thread_groups(&groups)
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid));
    became.map_err(|source| Refusal::call("become", "the user of the step", source))
}

/// capabilities(7): what real root needs to install packages, and nothing with which it
/// leaves its root: no CAP_SYS_CHROOT, CAP_MKNOD, CAP_SYS_ADMIN, CAP_SYS_PTRACE,
/// CAP_DAC_READ_SEARCH.
fn keep_few_capabilities() -> Result<(), Errno> {
    let kept = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::KILL
        | CapabilitySet::NET_BIND_SERVICE
        | CapabilitySet::SETFCAP
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID;
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        // prctl(2): EINVAL for what this kernel does not know
        if !kept.contains(capability) && capability_is_in_bounding_set(capability) == Ok(true) {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    let sets = capabilities(None)?;
    let few = CapabilitySets {
        effective: sets.effective & kept,
        permitted: sets.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, few)
}

/// execvp(3), with the PATH that the command gets.
fn run(task: &Task) -> Result<Infallible, Refusal> {
    let name = task.command.first().map(String::as_str).unwrap_or_default();
    let refused = |source: io::Error| Refusal::Program { program: name.to_owned(), source };
    let arguments: Result<Vec<CString>, NulError> = task.command.iter().map(|text| CString::new(&**text)).collect();
    let arguments = arguments.map_err(|error| refused(error.into()))?;
    let environment = environment(&task.env).map_err(|error| refused(error.into()))?;
    let mut last = io::Error::from(Errno::NOENT);
    for candidate in candidates(name, &task.env) {
        let candidate = CString::new(candidate).map_err(|error| refused(error.into()))?;
        let error = execute(&candidate, &arguments, &environment);
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) => {}
            // the file is there but can't be run: others may, and this is what is wrong if none can
            Some(Errno::ACCESS) => last = error,
            _ => return Err(refused(error)),
        }
    }
    Err(refused(last))
}

fn environment(env: &BTreeMap<String, String>) -> Result<Vec<CString>, NulError> {
    env.iter().map(|(name, value)| CString::new(format!("{name}={value}"))).collect()
}

/// execvp(3): a name with a slash is a path; others are looked up in PATH.
fn candidates(name: &str, env: &BTreeMap<String, String>) -> Vec<String> {
    if name.is_empty() || name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = env.get("PATH").map_or("/bin:/usr/bin", String::as_str);
    let directory =
        |directory: &str| if directory.is_empty() { format!("./{name}") } else { format!("{directory}/{name}") };
    path.split(':').map(directory).collect()
}
