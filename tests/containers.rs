//! Containers by name: `ps`, `exec`, `stop`, `rm`, and those that are kept.

mod kept;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::json;

use super::steps::layer;
use super::support::command::Dlpack;
use super::support::image::{Layout, Packing};
use super::support::sandbox::{UID, refusing};
use super::support::shown::Shown;
use super::support::tiny;

/// A home with the base image of `tiny`, to be run as `oci:base`.
fn base() -> Dlpack {
    let dlpack = Dlpack::unprivileged();
    tiny::layout(&dlpack.work());
    dlpack
}

/// A container that runs until it is told to end.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a shell's script in one of `dlpack`'s, and waits until it has said `ready`.
    #[track_caller]
    fn start(dlpack: &Dlpack, options: &[&str], script: &str) -> Self {
        Self::start_words(dlpack, &[options, &["oci:base", "sh", "-c", script]].concat())
    }

    /// The same for all that stands after `dlpack run`.
    #[track_caller]
    fn start_words(dlpack: &Dlpack, words: &[&str]) -> Self {
        Self::of(dlpack.command([&["run", "--quiet"], words].concat()))
    }

    /// The same for a command.
    #[track_caller]
    fn of(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut running = Self { child, stdout };
        assert_eq!(running.line(), "ready\n");
        running
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).expect("a pid"), signal).expect("sent");
    }

    /// Closes its stdin, and returns its status.
    fn ended(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().expect("waited").code()
    }
}

/// The containers that `ps` shows, each with its state.
fn ps(dlpack: &Dlpack, options: &[&str]) -> Vec<(String, bool, bool)> {
    let shown = dlpack.json([&["ps"], options].concat());
    let shown = shown.as_array().expect("a list").iter();
    let is = |container: &serde_json::Value, what: &str| container[what].as_bool().expect("yes or no");
    shown.map(|it| (it["name"].as_str().expect("a name").to_owned(), is(it, "running"), is(it, "kept"))).collect()
}

#[test]
fn one_that_runs_has_a_name_and_takes_commands() {
    let dlpack = base();
    let running = Running::start(&dlpack, &["--name", "box", "-e", "A=own"], "echo mine >/file; echo ready; cat");
    assert_eq!(ps(&dlpack, &[]), [("box".to_owned(), true, false)]);
    let listed = dlpack.json(["ps"]);
    assert_eq!((&listed[0]["image"], &listed[0]["user"]), (&json!("oci:base"), &json!("0")));
    assert_eq!(dlpack.ok(["exec", "box", "cat", "/file"]), "mine");
    assert_eq!(
        dlpack.ok(["exec", "-e", "B=given", "-w", "/etc", "box", "sh", "-c", "echo $A $B $PWD"]),
        "own given /etc"
    );
    // its streams and its status are the caller's
    let mut command = dlpack.command(["exec", "box", "sh", "-c", "cat; echo aside >&2; exit 7"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(b"typed\n").expect("written");
    let ended = child.wait_with_output().expect("waited");
    assert_eq!((&*ended.stdout, &*ended.stderr, ended.status.code()), (&b"typed\n"[..], &b"aside\n"[..], Some(7)));
    assert_eq!(dlpack.refuses(127, ["exec", "box", "nothing"]).lines().next(), Some("error: can't run `nothing`"));
    assert_eq!(running.ended(), Some(0));
    assert_eq!(ps(&dlpack, &["-a"]), []);
}

#[test]
fn a_command_that_comes_in_later_sees_the_same_owners_and_may_be_another_user() {
    let dlpack = base();
    let root = Running::start(&dlpack, &["--name", "root"], "echo x >/x; chown worker:42 /x; echo ready; cat");
    let script = "id -u; stat -c %u:%g /x; chown 7:8 /x; stat -c %u:%g /x; echo $HOME";
    assert_eq!(dlpack.ok(["exec", "root", "sh", "-c", script]), "0\n1234:42\n7:8\n/root");
    assert_eq!(
        dlpack.ok(["exec", "--user", "worker", "root", "sh", "-c", "id -u; id -g; echo $HOME; cat /x"]),
        "1234\n50\n/home/worker\nx"
    );
    assert_eq!(root.ended(), Some(0));
    let plain = Running::start(&dlpack, &["--name", "plain", "--user", "worker"], "echo ready; cat");
    assert_eq!(dlpack.ok(["exec", "plain", "id", "-u"]), "1234");
    assert_eq!(plain.ended(), Some(0));
}

#[test]
fn commands_come_in_whatever_this_machine_lacks() {
    let root = Dlpack::new();
    tiny::layout(&root.work());
    // a kernel before 5.9; what a container's profile refuses its root
    for (dlpack, lacks) in
        [(&base(), &["close_range=ENOSYS"][..]), (&root, &["unshare=EPERM", "clone-new=EPERM", "mount=EPERM"])]
    {
        let script = "echo mine >/file; echo ready; cat";
        let started = ["run", "--quiet", "--name", "box", "oci:base", "sh", "-c", script];
        let running = Running::of(dlpack.command_in(&refusing(lacks), started));
        let mut exec = dlpack.command(["exec", "box", "sh", "-c", "cat /file - >/said; cat /said; exit 7"]);
        let mut exec = exec.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        exec.stdin.take().expect("a pipe").write_all(b"typed\n").expect("written");
        let ended = exec.wait_with_output().expect("waited");
        assert_eq!((&*ended.stdout, ended.status.code()), (&b"mine\ntyped\n"[..], Some(7)), "{lacks:?}");
        assert_eq!(running.ended(), Some(0));
    }
}

#[test]
fn a_command_gets_no_directory_as_a_stream() {
    let dlpack = base();
    let running = Running::start(&dlpack, &["--name", "box"], "echo ready; cat");
    let directory = || fs::File::open("/").expect("a directory");
    for arguments in [&["exec", "box", "true"][..], &["run", "--quiet", "oci:base", "true"]] {
        for stream in ["stdin", "stdout"] {
            let mut command = dlpack.command(arguments);
            match stream {
                "stdin" => command.stdin(directory()),
                _ => command.stdout(directory()),
            };
            let ended = command.stderr(Stdio::piped()).output().expect("it runs");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(said.starts_with(&format!("error: {stream} is a directory\n")), "{arguments:?}: {said}");
        }
        // nobody can be told
        assert_eq!(dlpack.command(arguments).stderr(directory()).status().expect("it runs").code(), Some(2));
    }
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn a_command_that_comes_in_gets_signals_and_ends_with_the_container() {
    let dlpack = base();
    let running = Running::start(&dlpack, &["--name", "box"], "echo ready; cat");
    let exec = |script: &str| {
        let mut command = dlpack.command(["exec", "box", "sh", "-c", script]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut running = Running { child, stdout };
        assert_eq!(running.line(), "ready\n");
        running
    };
    let trapped = exec("trap 'exit 4' TERM; echo ready; sleep 1000 & wait");
    trapped.signal(Signal::TERM);
    assert_eq!(trapped.ended(), Some(4));
    let endless = exec("echo ready; exec sleep 1000");
    assert_eq!(running.ended(), Some(0));
    assert_eq!(endless.ended(), Some(137), "killed");
}

#[test]
fn what_a_command_that_comes_in_leaves_in_the_background_goes_on() {
    let dlpack = base();
    let running = Running::start(&dlpack, &["--name", "box"], "echo ready; cat");
    for _ in 0..16 {
        dlpack.ok(["exec", "box", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $! >>/left; exit 0"]);
    }
    // proc(5), stat: a process that was killed is no more, or a zombie
    let count = "while read pid; do grep -v ' Z ' /proc/$pid/stat; done </left | grep -c sleep";
    assert_eq!(dlpack.ok(["exec", "box", "sh", "-c", count]), "16");
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn stopping_is_a_signal_first_and_force_then() {
    let dlpack = base();
    let polite = Running::start(&dlpack, &["--name", "polite"], "trap 'exit 4' TERM; echo ready; sleep 1000 & wait");
    assert_eq!(dlpack.ok(["ps", "--quiet"]), "polite");
    // one that is not there keeps none from ending
    let said = dlpack.fails(["stop", "--time", "1000", "nobody", "polite", "nothing"]);
    assert!(said.contains("no container `nobody`") && said.contains("no container `nothing`"), "{said}");
    assert_eq!(ps(&dlpack, &["-a"]), [], "it is over when stop(1) is");
    assert_eq!(polite.ended(), Some(4));
    let deaf = Running::start(&dlpack, &["--name", "deaf"], "trap '' TERM; echo ready; sleep 1000");
    dlpack.ok(["stop", "--time", "0", "deaf"]);
    assert_eq!(deaf.ended(), Some(137));
}

#[test]
fn stopping_sends_the_images_stop_signal() {
    let dlpack = Dlpack::unprivileged();
    for (named, trapped) in [("SIGUSR2", "USR2"), ("3", "QUIT")] {
        let layout = Layout::create(dlpack.work().join(trapped));
        let config = |config: &mut serde_json::Value| config["config"]["StopSignal"] = json!(named);
        layout.image().layer(Packing::Gzip, tiny::tar()).config(config).tagged("base");
        let script = format!("trap 'exit 4' {trapped}; trap '' TERM; echo ready; sleep 1000 & wait");
        let image = format!("oci:{trapped}");
        let running = Running::start_words(&dlpack, &["--name", "box", &image, "sh", "-c", &script]);
        dlpack.ok(["stop", "--time", "1000", "box"]);
        assert_eq!(running.ended(), Some(4), "{named}");
    }
}

#[test]
fn ports_of_this_machine_lead_into_a_network_of_its_own() {
    let dlpack = base();
    // httpd(8) of busybox: it listens when it goes to the background
    let script = "busybox httpd -p 80 -h /etc; echo ready; cat";
    let running = Running::start(&dlpack, &["--net", "private", "-p", "0:80"], script);
    let ports = dlpack.json(["ps"])[0]["ports"].as_array().expect("ports").clone();
    let address = ports[0].as_str().and_then(|port| port.strip_suffix(":80")).expect("a port").to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    for _ in 0..2 {
        let mut connection = TcpStream::connect(&address).expect("connected");
        connection.write_all(b"GET /passwd HTTP/1.0\r\n\r\n").expect("written");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("text");
        assert!(answer.contains("worker:x:1234"), "{answer}");
    }
    assert_eq!(running.ended(), Some(0));
    // a recipe's lead to the same places, but for those that are given in their stead
    dlpack
        .write("dlpack.toml", &format!("{}[run]\nnet = \"private\"\nports = [\"[::1]:0:80\", \"0:81\"]\n", tiny::BASE));
    let running = Running::start_words(&dlpack, &["-p", "127.0.0.2:0:81", "--", "sh", "-c", "echo ready; cat"]);
    let ports = dlpack.json(["ps"])[0]["ports"].to_string();
    assert!(ports.contains("[::1]:") && ports.contains("127.0.0.2:") && !ports.contains("127.0.0.1:"), "{ports}");
    assert_eq!(running.ended(), Some(0));
    fs::remove_file(dlpack.work().join("dlpack.lock")).expect("removed");
    let root = Dlpack::new();
    tiny::layout(&root.work());
    let mut shown = Shown::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let number = taken.local_addr().expect("an address").port().to_string();
    shown.replace(number.clone(), "PORT");
    let mut run = |case: &str, options: &[&str]| {
        let arguments = [&["run", "--quiet"], options, &["oci:base", "true"]].concat();
        shown.run(case, &mut dlpack.command(arguments));
    };
    run("a port in use", &["--net", "private", "-p", &format!("{number}:80")]);
    run("a port of this machine's network", &["-p", "0:80"]);
    // nothing is pulled or built for it: docker.io leads nowhere, and there is no lock
    shown.run("a port, before anything is pulled", &mut dlpack.command(["run", "--quiet", "-p", "0:80", "none:1"]));
    dlpack.write("dlpack.toml", &format!("{}[run]\nports = [\"0:80\"]\n", tiny::BASE));
    shown.run("a port of a recipe, before anything is built", &mut dlpack.command(["run", "--quiet", "--", "true"]));
    assert!(!dlpack.work().join("dlpack.lock").exists());
    let mut run = |case: &str, options: &[&str]| {
        let arguments = [&["run", "--quiet"], options, &["oci:base", "true"]].concat();
        shown.run(case, &mut dlpack.command(arguments));
    };
    run("a port that is none", &["--net", "private", "-p", "http"]);
    for (case, dlpack, refused) in [
        ("a port where no network namespace is left", &dlpack, &["clone-net=ENOSPC"][..]),
        ("a port where there are no namespaces", &root, &["unshare=EPERM", "clone-new=EPERM", "mount=EPERM"]),
    ] {
        let arguments = ["run", "--quiet", "--net", "private", "-p", "0:80", "oci:base", "true"];
        shown.run(case, &mut dlpack.command_in(&refusing(refused), arguments));
    }
    shown.is("run/ports");
}

#[test]
fn a_command_that_comes_in_at_a_terminal_has_one_of_its_own() {
    let dlpack = base();
    let running = Running::start(&dlpack, &["--name", "box"], "echo ready; cat");
    let program = dlpack.command(["exec"]);
    let line = format!("{} exec box sh", program.get_program().display());
    // script(1): a terminal for it; its stdin is what is typed
    let mut command = dlpack.command_as_user("script", ["-q", "-e", "-c", &line, "/dev/null"]);
    command.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = command.spawn().expect("script(1) of bsdutils");
    let typed = b"test -t 0 && test -t 1 && echo \"<$((6 * 7))>\"; exit 5\n";
    terminal.stdin.take().expect("a pipe").write_all(typed).expect("written");
    let ended = terminal.wait_with_output().expect("waited");
    let shown = String::from_utf8_lossy(&ended.stdout);
    assert!(shown.contains("<42>"), "{shown}");
    assert_eq!(ended.status.code(), Some(5), "{shown}");
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn a_container_is_stopped_and_goes_on_with_its_dlpack() {
    let dlpack = base();
    let mut command = dlpack.command(["run", "--quiet", "oci:base", "sh", "-c", "echo ready; cat"]);
    // setpgid(2): a process group that nobody could make go on is not stopped
    command.process_group(0);
    let mut running = Running::of(command);
    running.signal(Signal::TSTP);
    let pid = Pid::from_raw(running.child.id().cast_signed());
    let status = waitpid(pid, WaitOptions::UNTRACED).expect("waited").expect("a child").1;
    assert!(status.stopped(), "{status:?}");
    running.signal(Signal::CONT);
    running.child.stdin.as_mut().expect("a pipe").write_all(b"typed\n").expect("written");
    assert_eq!(running.line(), "typed\n");
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn a_store_that_cannot_be_written_runs_what_it_has_and_a_full_one_says_so() {
    let dlpack = base();
    dlpack.write("dlpack.toml", &format!("{}{}", tiny::BASE, layer("echo made >/made", "")));
    dlpack.ok(["build", "tiny"]);
    let run = ["run", "--quiet", "tiny", "sh", "-c", "echo x >/x; cat /made /x"];
    assert_eq!(dlpack.ok(run), "made\nx");
    let namespace = |script| ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"];
    let closed = namespace(
        "mount --bind \"$DLPACK_STORE\" \"$DLPACK_STORE\"; mount -o remount,bind,ro \"$DLPACK_STORE\"; exec \"$@\"",
    );
    let ran = dlpack.command_in(&closed, run).output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "made\nx\n", "{}", String::from_utf8_lossy(&ran.stderr));
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    let named = ["run", "--quiet", "--name", "box", "tiny", "true"];
    shown.run("a name in a store that can't be written", &mut dlpack.command_in(&closed, named));
    // nothing is left of what had no room
    let full = namespace(
        "mount -t tmpfs -o size=64k none \"$DLPACK_STORE\"; status=0; \"$@\" || status=$?; cd \"$DLPACK_STORE\"; \
         ls -A tmp containers >&2; exit $status",
    );
    shown.run("a full disk", &mut dlpack.command_in(&full, ["run", "--quiet", "oci:base", "true"]));
    shown.is("run/stores");
}

#[test]
fn programs_run_from_the_places_to_write_of_a_closed_root() {
    let dlpack = base();
    let script = "cp /bin/busybox /tmp/true; chmod 755 /tmp/true; /tmp/true && echo ran; echo x >/x || echo closed";
    let ran = dlpack.run(["run", "--quiet", "--read-only", "oci:base", "sh", "-c", script]);
    assert_eq!(ran.stdout, "ran\nclosed\n", "{}", ran.stderr);
    // a person's own /etc gets no files of dlpack's
    let etc = dlpack.work().join("etc");
    fs::create_dir(&etc).expect("created");
    dlpack.ok(["run", "--quiet", "-v", "./etc:/etc", "--user", "0", "oci:base", "true"]);
    assert_eq!(fs::read_dir(&etc).expect("read").count(), 0);
}

#[test]
fn what_containers_cannot_be_asked_for() {
    let dlpack = base();
    let running = Running::start(&dlpack, &["--name", "box"], "echo ready; cat");
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    shown.replace(rustix::system::uname().nodename().to_string_lossy(), "MACHINE");
    let mut run = |case: &str, arguments: &[&str]| shown.run(case, &mut dlpack.command(arguments));
    run("a name in use", &["run", "--quiet", "--name", "box", "oci:base", "true"]);
    run("a name that is none", &["run", "--quiet", "--name", "../box", "oci:base", "true"]);
    run("one to keep without a name", &["run", "--quiet", "--keep", "oci:base", "true"]);
    run("a command in one that is not there", &["exec", "none", "true"]);
    run("the end of one that is not there", &["stop", "none"]);
    run("one that runs, to be removed", &["rm", "box"]);
    run("a user that is not there", &["exec", "-it", "--user", "nobody", "box", "true"]);
    run("a directory that is not there", &["exec", "-w", "/none", "box", "true"]);
    let record = dlpack.store().join("containers/box/container.json");
    let known = fs::read_to_string(&record).expect("text");
    let elsewhere = known.replace(
        &format!("\"host\":\"{}\"", rustix::system::uname().nodename().to_string_lossy()),
        "\"host\":\"node-7\"",
    );
    fs::write(&record, elsewhere).expect("written");
    run("a command in one on another machine", &["exec", "box", "true"]);
    let lost = known.replace("\"directory\":\"", "\"directory\":\"/none");
    fs::write(&record, lost).expect("written");
    run("one whose socket is gone", &["stop", "box"]);
    fs::write(&record, known).expect("written");
    let plain = Running::start(&dlpack, &["--name", "plain", "--user", "worker"], "echo ready; cat");
    run("root in a container of another user", &["exec", "--root", "plain", "id"]);
    // proc(5), stat: the fourth field is the parent's process ID; process 1 reaps it
    let kill = "read _ _ _ porter _ </proc/$PPID/stat; kill -9 $porter; while kill -0 $porter; do :; done 2>/dev/null";
    dlpack.ok(["exec", "plain", "sh", "-c", kill]);
    run("a command where nobody lets it in any more", &["exec", "plain", "true"]);
    assert_eq!(plain.ended(), Some(0));
    running.signal(Signal::STOP);
    let pid = Pid::from_raw(running.child.id().cast_signed());
    assert!(waitpid(pid, WaitOptions::UNTRACED).expect("waited").expect("a child").1.stopped());
    run("a command in one that is stopped", &["exec", "box", "true"]);
    running.signal(Signal::CONT);
    let containers = dlpack.store().join("containers");
    fs::rename(&containers, dlpack.store().join("aside")).expect("renamed");
    fs::write(&containers, "").expect("written");
    run("a store that has a file in the place of containers", &["run", "--quiet", "--name", "new", "oci:base", "true"]);
    fs::remove_file(&containers).expect("removed");
    fs::rename(dlpack.store().join("aside"), &containers).expect("renamed");
    shown.is("run/containers");
    assert_eq!(running.ended(), Some(0));
}
