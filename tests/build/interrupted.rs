//! Builds that end early: killed, asked to end, or without room on the disk.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::command::Dlpack;
use crate::support::output;

/// The small environment with a layer that takes a while to write.
fn slow() -> Dlpack {
    let dlpack = super::small();
    // no compressor makes less of it: xorshift
    let mut state = 1u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let noise: Vec<u8> = (0..1 << 21).flat_map(|_| step().to_le_bytes()).collect();
    fs::write(dlpack.work().join("noise"), noise).unwrap();
    let entry = "{ from = \"noise\", to = \"/srv/noise\" }";
    dlpack.edit("dlpack.toml", "files = [", &format!("files = [{entry}, "));
    dlpack.ok(["lock"]);
    dlpack
}

/// A build that tells each step as it begins and ends.
fn spawn(dlpack: &Dlpack) -> (Child, BufReader<ChildStderr>) {
    let mut build = dlpack.command(["build", "-v", "--jobs", "1"]);
    let mut child = build.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    (child, stderr)
}

#[test]
fn a_build_killed_at_any_step_is_made_to_its_end_by_the_next() {
    let dlpack = slow();
    let honest = dlpack.ok(["build"]);
    for lines in 1..=10 {
        fs::remove_dir_all(dlpack.store()).unwrap();
        let (mut child, stderr) = spawn(&dlpack);
        let told = stderr.lines().take(lines).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(dlpack.ok(["build"]), honest, "after {told} lines");
        assert_eq!(dlpack.leftovers(), 0, "after {told} lines");
        dlpack.ok(["cache", "verify"]);
    }
}

#[test]
fn a_build_that_is_interrupted_says_so_and_the_next_goes_on() {
    let dlpack = slow();
    for (signal, status, said) in [(Signal::INT, 130, "interrupted"), (Signal::TERM, 143, "terminated")] {
        if dlpack.store().exists() {
            fs::remove_dir_all(dlpack.store()).unwrap();
        }
        let (mut child, mut stderr) = spawn(&dlpack);
        let mut line = String::new();
        while !line.contains("build /etc/motd and 1 more …") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended");
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), Some(status), "{rest}");
        assert!(rest.contains(&format!("error: {said}\nhint: ")), "{rest}");
        assert!(!rest.contains("1 more: built"), "it did not wait for the layer: {rest}");
        dlpack.ok(["build"]);
        assert_eq!(dlpack.leftovers(), 0, "what was half-done is swept away");
    }
}

#[test]
fn a_full_disk_is_said_and_the_next_build_with_room_succeeds() {
    let dlpack = slow();
    let script = "mount -t tmpfs -o size=6m tmpfs \"$DLPACK_STORE\" && (\"$@\"; echo status $?) &&
        mount -o remount,size=64m \"$DLPACK_STORE\" && \"$@\" && ls \"$DLPACK_STORE\"/tmp | wc -l";
    fs::remove_dir_all(dlpack.store()).unwrap();
    fs::create_dir(dlpack.store()).unwrap();
    let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"];
    let ran = output(&mut dlpack.command_in(&namespace, ["build"]), "util-linux");
    let (said, errors) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "status 7", "{said}{errors}");
    assert!(errors.contains("No space left on device") && errors.contains("hint: "), "{errors}");
    assert!(lines[1].starts_with("sha256:"), "{said}{errors}");
    assert_eq!(lines[2], "0", "nothing is left in tmp: {said}");
}
