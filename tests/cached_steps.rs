//! A step whose layer is known costs a look at its record: nothing of the sandbox starts, and
//! nothing of a root filesystem is looked at. Counted by what strace sees, not timed.

use std::fs;

use super::steps::{layer, world};
use super::support::command::{Dlpack, Ran};

/// Calls that start programs, make namespaces, or name a file.
const CALLS: &str = "trace=%file,%process,unshare,setns,seccomp";

/// The calls of `dlpack ARGUMENTS` and of all that it started, one a line.
fn calls(dlpack: &Dlpack, arguments: &[&str]) -> Vec<String> {
    let log = dlpack.home().join("strace");
    let strace = ["strace", "-f", "-qqq", "-s", "4096", "-o", log.to_str().expect("UTF-8"), "-e", CALLS];
    let ran = dlpack.command_in(&strace, arguments).output().map(Ran::from);
    let ran = ran.unwrap_or_else(|error| panic!("can't run strace: {error}\nhint: apt-get install strace"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    fs::read_to_string(&log).expect("strace's log").lines().map(str::to_owned).collect()
}

/// How many of `calls` have one of `parts` in them.
fn count(calls: &[String], parts: &[&str]) -> usize {
    calls.iter().filter(|call| parts.iter().any(|part| call.contains(part))).count()
}

/// What a sandbox, or a probe whether there can be one, does first.
const SANDBOX: [&str; 4] = ["CLONE_NEW", "setns(", "seccomp(", "sandbox-helper"];

#[test]
fn a_build_whose_steps_are_known_reads_their_records_and_starts_nothing() {
    let one = layer("echo one >/one", "name = \"one\"");
    let two = layer("cat /one >/two", "name = \"two\"");
    let dlpack = world(&format!("{one}{two}"));
    let store = dlpack.store().display().to_string();
    let trees = format!("{store}/rootfs");
    let first = calls(&dlpack, &["build"]);
    assert!(count(&first, &SANDBOX) > 0 && count(&first, &[&trees]) > 0, "strace does not see what it is to count");

    for arguments in [&["build"][..], &["plan"]] {
        let known = calls(&dlpack, arguments);
        let shown = known.join("\n");
        assert_eq!(count(&known, &SANDBOX), 0, "{shown}");
        assert_eq!(count(&known, &["execve("]), 1, "dlpack itself: {shown}");
        assert_eq!(count(&known, &[&trees, "/sandbox-"]), 0, "{shown}");
        assert_eq!(count(&known, &[&format!("{store}/keys/")]), 2, "a record each: {shown}");
    }
}
