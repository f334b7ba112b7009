//! `dlpack try`: a command in an image is to whoever calls it like a program of this
//! machine's.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::steps::{layer, world};
use super::support::command::Dlpack;
use super::support::registry::DebianRegistry;

/// A layer that is made without running anything.
const FILES: &str = "[[layer]]\nkind = \"files\"\nfiles = [{ content = \"Welcome.\\n\", to = \"/etc/motd\" }]\n";

/// A home with the image `tiny` in its store.
fn tiny() -> Dlpack {
    let dlpack = world(&layer("echo made >/made", ""));
    dlpack.ok(["build", "tiny"]);
    dlpack
}

/// A shell of the image, with pipes for its streams.
fn shell(dlpack: &Dlpack, script: &str) -> Child {
    let mut command = dlpack.command(["try", "--quiet", "tiny", "--", "sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

#[test]
fn it_has_the_streams_of_its_caller_and_its_own_exit_status() {
    let dlpack = tiny();
    let mut child = shell(&dlpack, "cat; cat /made; echo aside >&2; exit 7");
    child.stdin.take().expect("a pipe").write_all(b"typed\n").expect("written");
    let ended = child.wait_with_output().expect("waited");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "typed\nmade\n");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "aside\n");
    assert_eq!(ended.status.code(), Some(7));
    let killed = shell(&dlpack, "kill -9 $$").wait_with_output().expect("waited");
    assert_eq!((killed.status.code(), killed.status.signal()), (Some(137), None), "as a shell has it");
}

#[test]
fn layers_that_were_pushed_while_they_were_made_are_brought_back() {
    let (dlpack, registry) = (world(FILES), DebianRegistry::start());
    let name = registry.reference("team/env:1");
    let digest = dlpack.ok(["push", &name]);
    assert!(dlpack.layers_of(&digest).iter().any(|layer| !dlpack.blob(layer).exists()), "the store has not all of it");
    assert_eq!(dlpack.ok(["try", "--quiet", &name, "--", "cat", "/etc/motd"]), "Welcome.");
}

#[test]
fn signals_are_for_the_command() {
    let dlpack = tiny();
    let script =
        "trap 'echo interrupted; exit 3' INT; trap 'echo terminated; exit 4' TERM; echo ready; sleep 1000 & wait";
    for (signal, said, status) in [(Signal::INT, "interrupted\n", 3), (Signal::TERM, "terminated\n", 4)] {
        let mut child = shell(&dlpack, script);
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        kill_process(Pid::from_raw(child.id().cast_signed()).expect("a pid"), signal).expect("sent");
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("text");
        assert_eq!((rest.as_str(), child.wait().expect("waited").code()), (said, Some(status)));
    }
    let mut child = shell(&dlpack, "echo ready; exec sleep 1000");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    kill_process(Pid::from_raw(child.id().cast_signed()).expect("a pid"), Signal::TERM).expect("sent");
    assert_eq!(child.wait().expect("waited").code(), Some(143));
}

#[test]
fn at_a_terminal_it_has_one_of_its_own() {
    let dlpack = tiny();
    let program = dlpack.command(["try"]);
    let line = format!("{} --quiet try tiny -- sh", program.get_program().display());
    // script(1): a terminal for it; its stdin is what is typed
    let mut command = dlpack.command_as_user("script", ["-q", "-e", "-c", &line, "/dev/null"]);
    command.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = command.spawn().expect("script(1) of bsdutils");
    let typed = b"test -t 0 && test -t 1 && echo \"<$((6 * 7)) $(cat /made)>\"; exit 5\n";
    terminal.stdin.take().expect("a pipe").write_all(typed).expect("written");
    let ended = terminal.wait_with_output().expect("waited");
    let shown = String::from_utf8_lossy(&ended.stdout);
    assert!(shown.contains("<42 made>"), "{shown}");
    assert_eq!(ended.status.code(), Some(5), "{shown}");
}

#[test]
fn a_directory_as_stdin_is_no_way_out() {
    let dlpack = tiny();
    let mut command = dlpack.command(["try", "tiny", "--", "true"]);
    let ran = command.stdin(std::fs::File::open("/").expect("opened")).output().expect("it runs");
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("error: stdin is a directory"));
}
