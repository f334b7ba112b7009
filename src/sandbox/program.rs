//! From a copy of process 1 to the command: streams, credentials, execve(2).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CString, NulError};
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::Refusal;
use super::init::{Streams, tell};
use super::spec::Task;
use super::sys::process::{execute, reset_signals};

/// Becomes the command of `task`, or says over `failure` why not.
pub(super) fn become_command(task: &Task, streams: &Streams, failure: OwnedFd) -> ! {
    let Err(refusal) = prepare(task, streams).and_then(|()| run(task));
    tell(failure, &refusal);
    std::process::exit(127)
}

fn prepare(task: &Task, streams: &Streams) -> Result<(), Refusal> {
    let failed = |what: &'static str| move |source: Errno| Refusal::call("set", what, source);
    if !task.interactive {
        rustix::process::setsid().map_err(failed("a session"))?;
    }
    rustix::stdio::dup2_stdin(&streams.input).map_err(failed("stdin"))?;
    rustix::stdio::dup2_stdout(&streams.output).map_err(failed("stdout"))?;
    rustix::stdio::dup2_stderr(&streams.output).map_err(failed("stderr"))?;
    reset_signals();
    rustix::process::chdir(&*task.workdir)
        .map_err(|source| Refusal::Workdir { path: task.workdir.clone(), source: source.into() })
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
