//! The verb with which dlpack starts itself as a sandbox's first process. It is not for
//! people: neither help nor completions know it.

use std::process::ExitCode;

use crate::sandbox;

/// Serves as a sandbox's first process if the command line says so. This comes before
/// anything else has made a thread: namespaces are entered by a process with one.
pub fn helper() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    (first == sandbox::VERB && arguments.next().is_none()).then(sandbox::main)
}
