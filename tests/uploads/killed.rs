//! `dlpack push` that is killed or asked to end in the middle of a blob, or of a wait
//! that has no end, and the next one.

use std::fs::File;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Embedded;
use crate::support::command::Dlpack;
use crate::support::line::Line;

/// The length of the big file, which no compressor makes less of.
const BIG: usize = 6 << 20;

/// An image with one big layer, built.
fn big() -> Dlpack {
    let dlpack = Dlpack::new();
    let mut bytes = vec![0; BIG];
    fastrand::Rng::with_seed(41).fill(&mut bytes);
    std::fs::write(dlpack.work().join("noise"), bytes).unwrap();
    let layer = "[[layer]]\nkind = \"files\"\nfiles = [{ from = \"noise\", to = \"/srv/noise\" }]\n";
    dlpack.write("dlpack.toml", &format!("base = \"scratch\"\n{layer}"));
    dlpack.ok(["build"]);
    dlpack
}

fn start(dlpack: &Dlpack, arguments: &[&str]) -> Child {
    let mut command = dlpack.command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How `child` ends, and what it says.
fn ended(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn a_push_that_is_killed_or_ended_in_the_middle_of_a_blob_is_finished_by_the_next() {
    let dlpack = big();
    for (signal, status) in [(Signal::KILL, None), (Signal::TERM, Some(143)), (Signal::INT, Some(130))] {
        let served = Embedded::start();
        let line = Line::to(served.address(), Vec::new());
        let target = format!("{}/team/env:1", line.address());
        // six seconds for the blob
        let child = start(&dlpack, &["push", "--max-chunk", "1M", "--limit-rate", "1M", &target]);
        line.wait_for(2 << 20);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let (code, said) = ended(child);
        assert_eq!(code, status, "{said}");
        assert_eq!(said.contains("hint: what has come into the store stays there"), status.is_some(), "{said}");

        let next = dlpack.json(["push", &target]);
        let resumed = next["resumed"].as_u64().unwrap();
        assert!(resumed > 1 << 20, "{next}");
        let whole = BIG as u64 + 100_000;
        assert!(served.received() < whole, "{} of {whole} bytes: none was taken twice", served.received());
        assert_eq!(dlpack.json(["push", &target])["present"], 2);
    }
}

#[test]
fn another_machine_goes_on_with_an_upload_that_was_noted_down_where_both_can_look() {
    let (here, there) = (big(), big());
    let served = Embedded::start();
    let line = Line::to(served.address(), Vec::new());
    let target = format!("{}/team/env:1", line.address());
    let shared = tempfile::tempdir().unwrap();
    let journal = shared.path().to_str().unwrap();
    let child = start(&here, &["push", "--journal", journal, "--max-chunk", "1M", "--limit-rate", "1M", &target]);
    line.wait_for(2 << 20);
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    ended(child);

    let next = there.json(["push", "--journal", journal, &target]);
    assert!(next["resumed"].as_u64().unwrap() > 1 << 20, "{next}");
    let whole = BIG as u64 + 100_000;
    assert!(served.received() < whole, "{} of {whole} bytes: none was taken twice", served.received());
}

#[test]
fn a_registry_that_says_nothing_holds_nobody_up() {
    let dlpack = big();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("{}/team/env:1", silent.local_addr().unwrap());
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let child = start(&dlpack, &["push", &target]);
        let _asked = silent.accept().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let (code, said) = ended(child);
        assert_eq!(code, Some(status), "{said}");
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
    }
}

#[test]
fn a_store_that_is_being_collected_holds_nobody_up() {
    let dlpack = big();
    let lock = File::options().write(true).open(dlpack.store().join("lock")).unwrap();
    lock.lock().unwrap();
    let mut child = start(&dlpack, &["push", "127.0.0.1:9/team/env:1"]);
    // proc(5), /proc/locks: whoever waits has a line with `->` and its pid
    let waits = format!(" {} ", child.id());
    while !std::fs::read_to_string("/proc/locks").unwrap().lines().any(|it| it.contains("->") && it.contains(&waits)) {
        assert!(child.try_wait().unwrap().is_none(), "it ended without a wait");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let (code, said) = ended(child);
    assert_eq!(code, Some(143), "{said}");
    assert!(said.contains("error: terminated"), "{said}");
}
