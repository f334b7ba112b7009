//! That the doctor writes nothing, by what strace(1) sees of it and of all that it starts.

use std::collections::BTreeSet;
use std::fs;

use super::NOBODY;
use crate::support::command::{Dlpack, Ran};
use crate::support::machine::Machine;

/// Parts of the names of calls that change a file or a directory.
const CHANGES: [&str; 13] = [
    "creat",
    "mkdir",
    "rmdir",
    "rename",
    "link",
    "mknod",
    "chmod",
    "chown",
    "truncate",
    "setxattr",
    "removexattr",
    "utime",
    "fallocate",
];

/// What `open(2)` is given for writing.
const FOR_WRITING: [&str; 4] = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];

/// What may be opened so: nothing of it is kept. user_namespaces(7) has the last three.
const NOTHING: [&str; 4] =
    ["\"/dev/null\"", "\"/proc/self/setgroups\"", "\"/proc/self/uid_map\"", "\"/proc/self/gid_map\""];

/// A call: who made it, its name, and its line.
struct Call<'a> {
    pid: &'a str,
    name: &'a str,
    line: &'a str,
}

impl<'a> Call<'a> {
    /// `1234  openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3`.
    fn parse(line: &'a str) -> Option<Self> {
        let (pid, call) = line.split_once(' ')?;
        let (name, _) = call.trim_start().split_once('(')?;
        Some(Self { pid, name, line })
    }

    fn changes(&self) -> bool {
        let reads = ["readlink", "readlinkat"].contains(&self.name);
        let opens = self.name.starts_with("open") && FOR_WRITING.iter().any(|flag| self.line.contains(flag));
        opens && !NOTHING.iter().any(|path| self.line.contains(path))
            || !reads && CHANGES.iter().any(|part| self.name.contains(part))
    }
}

#[test]
fn no_file_is_made_changed_or_opened_for_writing() {
    let (dlpack, machine) = (Dlpack::unprivileged(), Machine::with_driver());
    dlpack.write("dlpack.toml", "base = \"nvidia/cuda:12.4.1-base-ubuntu22.04\"\n");
    let log = dlpack.home().join("strace");
    let calls = "trace=%file,ftruncate,fallocate,fchmod,fchown,fsetxattr,fremovexattr,clone,clone3,move_mount";
    let strace = ["strace", "-f", "-qqq", "-s", "4096", "-o", log.to_str().expect("UTF-8"), "-e", calls];
    let mut doctor = dlpack.command_in(&strace, ["doctor", NOBODY[0], NOBODY[1]]);
    let ran = doctor.env("DLPACK_DRIVER_ROOT", machine.root()).output().map(Ran::from);
    let ran = ran.unwrap_or_else(|error| panic!("can't run strace: {error}\nhint: apt-get install strace"));
    assert!(ran.stdout.contains("A100-SXM4-40GB, compute capability 8.0"), "{}{}", ran.stdout, ran.stderr);
    let log = fs::read_to_string(&log).expect("strace's log");
    let calls: Vec<Call<'_>> = log.lines().filter_map(Call::parse).collect();
    assert!(calls.iter().any(|call| call.line.contains("/proc/self/uid_map")), "strace does not see a sandbox tried");

    // the sandbox that is tried mounts a filesystem in memory that nobody else sees, and is gone with it
    let mut in_memory = BTreeSet::new();
    let mut wrong = Vec::new();
    for call in &calls {
        if call.name == "move_mount" {
            in_memory.insert(call.pid);
        } else if call.changes() && !in_memory.contains(call.pid) {
            wrong.push(call.line);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let alone = |pid: &str| {
        calls.iter().any(|call| call.line.contains("CLONE_NEWNS") && call.line.contains(&format!("= {pid}")))
    };
    let resumed =
        |pid: &str| log.lines().any(|line| line.contains("clone resumed>") && line.ends_with(&format!("= {pid}")));
    assert!(in_memory.iter().all(|pid| alone(pid) || resumed(pid)), "{log}");
}
