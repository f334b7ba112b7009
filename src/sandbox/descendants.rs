//! The end of all processes that came from this one, for where they have no process
//! namespace that ends with its process 1.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

/// prctl(2), PR_SET_CHILD_SUBREAPER: from now on who loses its parent gets this process.
pub(super) fn adopt() {
    let _ = set_child_subreaper(Some(getpid()));
}

/// Kills and reaps until there is none. Whose parent is killed becomes a child of this
/// process, and is among the next.
pub(super) fn kill() {
    loop {
        children().into_iter().for_each(|child| {
            let _ = kill_process(child, Signal::KILL);
        });
        if let Err(Errno::CHILD) = wait(WaitOptions::empty()) {
            return;
        }
    }
}

/// The processes whose parent is this one.
fn children() -> Vec<Pid> {
    let me = getpid();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(*pid) == Some(me.as_raw_nonzero().get())).filter_map(Pid::from_raw).collect()
}

/// proc_pid_stat(5): pid, comm in parentheses, which may hold any byte, state, ppid.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = String::from_utf8_lossy(stat.get(after + 1..)?).into_owned();
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}
