//! A command in a container at a person's terminal: Ctrl-Z, `fg`, `bg` and another size are to
//! it what they are to a program of this machine's.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::support::command::Dlpack;
use super::support::terminal::{END, PROMPT, SUSPEND, Terminal};
use super::support::tiny;

/// A home with the base image of `tiny`, to be run as `oci:base`.
fn base() -> Dlpack {
    let dlpack = Dlpack::unprivileged();
    tiny::layout(&dlpack.work());
    dlpack
}

/// A line that runs `dlpack ARGS`.
fn line(dlpack: &Dlpack, arguments: &str) -> String {
    format!("{} {arguments}", dlpack.command(["run"]).get_program().display())
}

/// A shell that says what it reads; what is typed to start it does not look like what it prints.
const READER: &str = "sh -c 'echo up$((40+2)); while read line; do echo \"got:$line:\"; done; exit 7'";

#[test]
fn ctrl_z_stops_a_command_and_fg_lets_it_go_on() {
    let dlpack = base();
    let wrapped = format!("{}\nexit $?\n", line(&dlpack, &format!("run --quiet oci:base {READER}")));
    dlpack.write("wrapped", &wrapped);
    let mut other = Terminal::open(&dlpack);
    other.type_in(&format!("{}\n", line(&dlpack, &format!("run --quiet --name box oci:base {READER}"))));
    other.wait_for("up42");
    let lines = [
        line(&dlpack, &format!("run --quiet oci:base {READER}")),
        line(&dlpack, &format!("exec box {READER}")),
        // all of a process group is stopped, and not only who hears it
        "sh ./wrapped".to_owned(),
        // stdin is the terminal, and nothing else
        line(&dlpack, &format!("run --quiet oci:base {READER} | cat")),
    ];
    for line in lines {
        let mut terminal = Terminal::open(&dlpack);
        terminal.type_in(&format!("set -o pipefail\n{line}\n"));
        terminal.wait_for("up42");
        for round in ["one", "two"] {
            terminal.type_in(SUSPEND);
            terminal.wait_for("Stopped");
            terminal.type_in("echo back$((6*7))\n");
            terminal.wait_for("back42");
            terminal.type_in("fg\n");
            terminal.type_in(&format!("{round}\n"));
            terminal.wait_for(&format!("got:{round}:"));
        }
        terminal.type_in(END);
        terminal.wait_for(PROMPT);
        terminal.type_in("echo status$?\n");
        terminal.wait_for("status7");
    }
}

#[test]
fn ctrl_z_lets_a_command_go_on_whose_dlpack_nobody_could_let_go_on() {
    let dlpack = base();
    let mut other = Terminal::open(&dlpack);
    other.type_in(&format!("{}\n", line(&dlpack, &format!("run --quiet --name box oci:base {READER}"))));
    other.wait_for("up42");
    for start in ["run --quiet oci:base", "exec box"] {
        // setpgid(2): its process group is orphaned
        let mut terminal =
            Terminal::of(&dlpack, &["sh", "-c", &format!("exec {}", line(&dlpack, &format!("{start} {READER}")))]);
        terminal.wait_for("up42");
        for round in ["one", "two"] {
            terminal.type_in(SUSPEND);
            terminal.wait_for("^Z");
            terminal.type_in(&format!("{round}\n"));
            terminal.wait_for(&format!("got:{round}:"));
        }
    }
}

#[test]
fn a_command_that_runs_in_the_background_is_typed_to_after_fg() {
    let dlpack = base();
    let mut other = Terminal::open(&dlpack);
    other.type_in(&format!("{}\n", line(&dlpack, &format!("run --quiet --name box oci:base {READER}"))));
    other.wait_for("up42");
    for start in ["run --quiet oci:base", "exec box"] {
        let mut terminal = Terminal::open(&dlpack);
        terminal.type_in(&format!("{} &\n", line(&dlpack, &format!("{start} {READER}"))));
        terminal.wait_for("up42");
        terminal.type_in("fg\none\n");
        terminal.wait_for("got:one:");
        terminal.type_in(SUSPEND);
        terminal.wait_for("Stopped");
        terminal.type_in("bg; echo bg$((40+2))\n");
        terminal.wait_for("bg42");
        terminal.type_in("fg\ntwo\n");
        terminal.wait_for("got:two:");
        terminal.type_in(END);
        terminal.wait_for(PROMPT);
        terminal.type_in("echo status$?\n");
        terminal.wait_for("status7");
    }
}

#[test]
fn a_terminal_has_a_name_in_the_container() {
    let dlpack = base();
    let mut other = Terminal::open(&dlpack);
    other.type_in(&format!("{}\n", line(&dlpack, &format!("run --quiet --name box oci:base {READER}"))));
    other.wait_for("up42");
    let script =
        "sh -c 'name=$(busybox readlink /proc/self/fd/0) && test -c $name && echo \"$name\" is$((40+2)) >$name'";
    for (start, name) in [
        ("run --quiet oci:base", "/dev/pts/0 is42"),
        ("run --quiet --user 1234:50 oci:base", "/dev/pts/0 is42"),
        ("run --quiet --net private oci:base", "/dev/pts/0 is42"),
        // where 0 is its own command's
        ("exec box", "/dev/pts/1 is42"),
    ] {
        let mut terminal = Terminal::open(&dlpack);
        terminal.type_in(&format!("{}\n", line(&dlpack, &format!("{start} {script}"))));
        terminal.wait_for(name);
    }
}

#[test]
fn a_container_that_ctrl_z_stopped_can_be_ended() {
    let dlpack = base();
    let mut terminal = Terminal::open(&dlpack);
    terminal.type_in(&format!("{}\n", line(&dlpack, &format!("run --quiet --name box oci:base {READER}"))));
    terminal.wait_for("up42");
    terminal.type_in(SUSPEND);
    terminal.wait_for("Stopped");
    // bash(1) waits for it: wait(2), WUNTRACED
    let refused = dlpack.refuses(8, ["exec", "box", "true"]);
    assert!(refused.contains("the container is stopped"), "{refused}");
    dlpack.ok(["stop", "--time", "1000", "box"]);
    assert_eq!(dlpack.json(["ps", "-a"]).as_array().map(Vec::len), Some(0));
}

#[test]
fn a_command_goes_on_in_the_background() {
    let dlpack = base();
    let data = dlpack.work().join("data");
    fs::create_dir(&data).expect("created");
    let door = data.join("door");
    mknodat(CWD, &door, FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("made");
    fs::set_permissions(&door, fs::Permissions::from_mode(0o666)).expect("set");
    let command = "run --quiet -v ./data:/data oci:base sh -c 'echo up$((40+2)); read x </data/door; echo $x$((40+2))'";
    let mut terminal = Terminal::open(&dlpack);
    terminal.type_in(&format!("{}\n", line(&dlpack, command)));
    terminal.wait_for("up42");
    terminal.type_in(SUSPEND);
    terminal.wait_for("Stopped");
    terminal.type_in("bg; echo bg$((40+2))\n");
    terminal.wait_for("bg42");
    fs::write(&door, "opened\n").expect("written");
    terminal.wait_for("opened42");
    terminal.type_in("wait; echo back$((6*7))\n");
    terminal.wait_for("back42");
}

#[test]
fn a_shell_in_a_container_has_job_control_of_its_own() {
    let dlpack = base();
    let mut other = Terminal::open(&dlpack);
    other.type_in(&format!("{}\n", line(&dlpack, &format!("run --quiet --name box oci:base {READER}"))));
    other.wait_for("up42");
    for arguments in ["shell --quiet oci:base", "exec box sh"] {
        let mut terminal = Terminal::open(&dlpack);
        terminal.type_in(&format!("{}\n", line(&dlpack, arguments)));
        terminal.type_in("echo in$((40+2))\n");
        terminal.wait_for("in42");
        terminal.type_in("sh -c 'echo up$((40+2)); exec cat'\n");
        terminal.wait_for("up42");
        terminal.type_in(SUSPEND);
        terminal.wait_for("Stopped");
        // who sees it is the shell in there
        terminal.type_in("jobs; ls -d /etc/shadow /usr; echo in$((40+3))\n");
        terminal.wait_for("in43");
        terminal.type_in("fg\n");
        // what is typed before that is the shell's to edit
        terminal.wait_for("exec cat");
        terminal.type_in("typed\n");
        terminal.wait_for("typed\r\ntyped\r\n");
        terminal.type_in(END);
        terminal.wait_for("# ");
        terminal.type_in("exit 5\n");
        terminal.wait_for(PROMPT);
        terminal.type_in("echo status$?\n");
        terminal.wait_for("status5");
    }
}

#[test]
fn a_terminal_of_another_size_is_one_in_a_container_too() {
    let dlpack = base();
    let mut other = Terminal::open(&dlpack);
    other.type_in(&format!("{}\n", line(&dlpack, &format!("run --quiet --name box oci:base {READER}"))));
    other.wait_for("up42");
    for start in ["run --quiet oci:base", "exec box"] {
        let mut terminal = Terminal::open(&dlpack);
        terminal.resize(24, 80);
        // signal(7), SIGWINCH: it ends the shell's wait
        let script = "trap \"busybox stty size; exit\" WINCH; busybox stty size; sleep 1000 & wait";
        terminal.type_in(&format!("{}\n", line(&dlpack, &format!("{start} sh -c '{script}'"))));
        terminal.wait_for("24 80");
        terminal.resize(33, 99);
        terminal.wait_for("33 99");
    }
}

#[test]
fn what_a_command_says_aside_goes_where_its_callers_does() {
    let dlpack = base();
    let mut terminal = Terminal::open(&dlpack);
    let command = "run --quiet oci:base sh -c 'echo aside >&2; test -t 1 && echo at$((40+2))' 2>aside";
    terminal.type_in(&format!("{}\n", line(&dlpack, command)));
    terminal.wait_for("at42");
    terminal.wait_for(PROMPT);
    assert_eq!(fs::read_to_string(dlpack.work().join("aside")).expect("text"), "aside\n");
}
