//! `dlpack run`: a command in an image is to whoever calls it like a program of this
//! machine's.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::steps::{layer, world};
use super::support::command::Dlpack;
use super::support::registry::DebianRegistry;
use super::support::sandbox::UID;
use super::support::shown::Shown;
use super::support::tiny;

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
    let mut command = dlpack.command(["run", "--quiet", "tiny", "--", "sh", "-c", script]);
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
    assert_eq!(dlpack.ok(["run", "--quiet", &name, "--", "cat", "/etc/motd"]), "Welcome.");
}

#[test]
fn signals_are_for_the_command() {
    let dlpack = tiny();
    let forwarded = [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("TERM", Signal::TERM),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
    ];
    for (name, signal) in forwarded {
        let (said, status) = (format!("heard {name}\n"), 3);
        let script = format!("trap 'echo heard {name}; exit {status}' {name}; echo ready; sleep 1000 & wait");
        let mut child = shell(&dlpack, &script);
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        kill_process(Pid::from_raw(child.id().cast_signed()).expect("a pid"), signal).expect("sent");
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("text");
        assert_eq!((rest, child.wait().expect("waited").code()), (said, Some(status)));
    }
    for (_, signal) in forwarded {
        let mut child = shell(&dlpack, "echo ready; exec sleep 1000");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        kill_process(Pid::from_raw(child.id().cast_signed()).expect("a pid"), signal).expect("sent");
        assert_eq!(child.wait().expect("waited").code(), Some(128 + signal.as_raw()));
    }
}

#[test]
fn at_a_terminal_it_has_one_of_its_own() {
    let dlpack = tiny();
    let program = dlpack.command(["run"]);
    let line = format!("{} --quiet run tiny sh", program.get_program().display());
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

/// A home with the base image of `tiny`, to be run as `oci:base`.
fn base() -> Dlpack {
    let dlpack = Dlpack::unprivileged();
    tiny::layout(&dlpack.work());
    dlpack
}

/// A home with an image `tiny` whose user is `worker`.
fn of_worker(config: &str) -> Dlpack {
    let dlpack = base();
    let recipe = format!("{}[config]\nuser = \"worker\"\n{config}{FILES}", tiny::BASE);
    dlpack.write("dlpack.toml", &recipe);
    dlpack
}

/// What `run` with these options prints of a shell's script.
#[track_caller]
fn says(dlpack: &Dlpack, options: &[&str], script: &str) -> String {
    dlpack.ok([&["--quiet", "run"], options, &["--", "sh", "-c", script]].concat())
}

#[test]
fn the_caller_is_the_images_user_and_files_in_mounts_are_the_callers() {
    let dlpack = of_worker("");
    let data = dlpack.work().join("data");
    fs::create_dir(&data).expect("created");
    std::os::unix::fs::chown(&data, Some(UID), Some(UID)).expect("root may chown");
    let script = "id -u; id -g; echo $HOME $USER; echo mine >/data/file; stat -c %u:%g /data/file; echo x >/here";
    assert_eq!(says(&dlpack, &["-v", "./data:/data"], script), "1234\n50\n/home/worker worker\n1234:50");
    let made = fs::metadata(data.join("file")).expect("made");
    assert_eq!((made.uid(), made.gid()), (UID, UID));
    // nothing of it stays but what is in the mount
    assert_eq!(
        says(&dlpack, &["-v", "./data:/data:ro"], "cat /data/file; echo x >/data/file || test ! -e /here"),
        "mine"
    );
    assert_eq!(fs::read_to_string(data.join("file")).expect("text"), "mine\n");
}

#[test]
fn root_gives_files_away_and_another_user_is_one_of_the_images() {
    let dlpack = of_worker("");
    let script = "id -u; echo x >/x; chown worker:42 /x; stat -c %u:%g /x; stat -c %u /etc/shadow";
    assert_eq!(says(&dlpack, &["--root"], script), "0\n1234:42\n0");
    assert_eq!(says(&dlpack, &["--user", "77:78"], "id -u; id -g; cd; pwd"), "77\n78\n/");
    let unknown = dlpack.refuses(2, ["run", "--quiet", "--user", "nobody", "--", "id"]);
    assert!(unknown.contains("the image has no user `nobody`"), "{unknown}");
}

#[test]
fn a_shell_is_the_images_users_and_with_root_roots() {
    let dlpack = of_worker("");
    for (options, uid) in [(&[][..], "1234"), (&["--root"], "0")] {
        let mut command = dlpack.command([&["--quiet", "shell"], options].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        child.stdin.take().expect("a pipe").write_all(b"id -u; cat /etc/motd\n").expect("written");
        let ended = child.wait_with_output().expect("waited");
        assert_eq!(String::from_utf8_lossy(&ended.stdout), format!("{uid}\nWelcome.\n"));
    }
}

#[test]
fn the_command_is_the_images_unless_one_is_named() {
    let dlpack = of_worker("entrypoint = [\"/bin/printf\", \"<%s>\"]\ncmd = [\"own\"]\nworkdir = \"/home/worker\"\n");
    let run = |arguments: &[&str]| dlpack.ok([&["--quiet", "run"], arguments].concat());
    assert_eq!(run(&[]), "<own>");
    assert_eq!(run(&["--", "a", "-b"]), "<a><-b>");
    assert_eq!(run(&["--entrypoint", "/bin/sh", "--", "-c", "pwd"]), "/home/worker");
    assert_eq!(run(&["-w", "/made/for/it", "--entrypoint", "", "--", "sh", "-c", "pwd"]), "/made/for/it");
    dlpack.ok(["build", "tiny"]);
    assert_eq!(run(&["tiny", "a", "-b"]), "<a><-b>");
    assert_eq!(run(&["tiny", "--", "a", "-b"]), "<a><-b>");
    assert_eq!(run(&["-r", "dlpack.toml", "a", "-b"]), "<a><-b>");
}

#[test]
fn variables_are_the_images_then_those_of_files_then_those_given() {
    let dlpack = of_worker("env = { A = \"image\", B = \"image\", C = \"image\" }\n");
    dlpack.write("env", "# mine\nB=file\nC=file\nHELD\n");
    let options = ["--env-file", "env", "-e", "C=given", "-e", "HELD_TOO", "-e", "UNHELD"];
    let arguments =
        [&["--quiet", "run"], &options[..], &["--", "sh", "-c", "echo $A $B $C $HELD $HELD_TOO ${UNHELD-no}"]];
    let ran = dlpack.command(arguments.concat()).env("HELD", "held").env("HELD_TOO", "too").output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "image file given held too no\n");
}

#[test]
fn what_docker_is_told_of_terminals_and_networks_is_taken() {
    let dlpack = base();
    for options in [
        &["-it", "--network", "none"][..],
        &["-i", "-t", "--net=private"],
        &["--interactive", "--tty", "--net", "none"],
    ] {
        assert_eq!(says(&dlpack, &[options, &["oci:base"]].concat(), "ls /sys/class/net"), "lo");
    }
    let mut shown = Shown::new();
    for line in [
        "run -itd oci:base sh",
        "run --rm --ipc=host oci:base sh",
        "exec -d box sh",
        "build -t team/env:1 .",
        "build --file Dockerfile",
        "build .",
        "push --tag team/env:1",
        "run --memory 1g oci:base sh",
    ] {
        shown.run(line, &mut dlpack.command(line.split_whitespace()));
    }
    shown.is("run/habits");
}

#[test]
fn a_container_may_be_closed_small_and_alone() {
    let dlpack = base();
    let options = ["--read-only", "--shm-size", "16m", "--net", "private", "oci:base"];
    let script =
        "echo x >/x || echo closed; echo x >/tmp/x && cat /tmp/x; df /dev/shm | grep -c ' 16384 '; ls /sys/class/net";
    assert_eq!(says(&dlpack, &options, &format!("{{ {script}; }} 2>/dev/null")), "closed\nx\n1\nlo");
    // what is mounted lies over the places that can be written to
    let out = dlpack.work().join("out");
    fs::create_dir(&out).expect("created");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).expect("set");
    says(&dlpack, &["--read-only", "-v", "./out:/tmp/out", "-w", "/tmp/out", "oci:base"], "echo kept >file");
    assert_eq!(fs::read_to_string(out.join("file")).expect("written"), "kept\n");
}

#[test]
fn a_file_that_is_given_is_seen_in_place_of_this_machines() {
    let dlpack = base();
    for name in ["resolv.conf", "hosts"] {
        dlpack.write(name, &format!("own {name}\n"));
    }
    let options = ["-v", "./resolv.conf:/etc/resolv.conf:ro", "-v", "./hosts:/etc//hosts:ro", "oci:base"];
    assert_eq!(says(&dlpack, &options, "cat /etc/resolv.conf /etc/hosts"), "own resolv.conf\nown hosts");
}

#[test]
fn a_mount_behind_a_link_stays_inside_of_the_root() {
    let dlpack = base();
    dlpack.write("dlpack.toml", &format!("{}{}", tiny::BASE, layer("ln -s ../../../../work /way; mkdir /work", "")));
    let victim = dlpack.write("data/file", "seen\n");
    let data = format!("{}:/way/in", victim.parent().expect("a directory").display());
    assert_eq!(says(&dlpack, &["-v", &data], "cat /work/in/file"), "seen");
    assert!(!Path::new("/work/in").exists());
}

#[test]
fn a_link_at_the_end_of_a_place_is_followed_inside_of_the_root() {
    let dlpack = base();
    let links =
        "ln -s etc/motd /greeting; ln -s ../../srv /data; ln -s none/there /nowhere; ln -s proc /kernel; ln -s / /all";
    dlpack.write(
        "dlpack.toml",
        &format!("{}{}", tiny::BASE, layer(&format!("{links}; mkdir /srv; echo >/etc/motd"), "")),
    );
    dlpack.write("here/file", "seen\n");
    let mounts = ["-v", "./here:/data", "-v", "./here/file:/greeting", "-v", "./here/file:/nowhere"];
    let script = "cat /srv/file /etc/motd /nowhere; test -L /data && test -L /greeting && ls /srv";
    assert_eq!(says(&dlpack, &mounts, script), "seen\nseen\nseen\nfile");
    // /dev is the container's own, and has room for a device of this machine's
    let device = ["-v", "/dev/zero:/dev/nought", "-v", "/dev/shm:/dev/shm:ro"];
    assert_eq!(
        says(
            &dlpack,
            &device,
            "test -c /dev/null && dd if=/dev/nought of=/dev/null bs=4 count=1 2>&1 | grep -c '^1+0'"
        ),
        "2"
    );
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    for place in ["kernel", "all", "nowhere"] {
        let mount = format!("./here:/{place}");
        shown.run(place, &mut dlpack.command(["run", "--quiet", "-v", &mount, "--", "true"]));
    }
    shown.is("run/links");
}

#[test]
fn images_that_share_layers_share_their_trees() {
    let dlpack = of_worker("");
    says(&dlpack, &[], "true");
    let trees = || {
        let count = |area: &str| fs::read_dir(dlpack.store().join(area).join("sha256")).map_or(0, Iterator::count);
        (count("rootfs"), count("overlays"))
    };
    assert_eq!(trees(), (1, 1));
    let more =
        "[[layer]]\nkind = \"files\"\nname = \"more\"\nfiles = [{ content = \"More.\\n\", to = \"/etc/more\" }]\n";
    let recipe = fs::read_to_string(dlpack.work().join("dlpack.toml")).expect("a recipe");
    dlpack.write("dlpack.toml", &format!("{recipe}{more}"));
    dlpack.ok(["lock"]);
    assert_eq!(says(&dlpack, &[], "cat /etc/motd /etc/more"), "Welcome.\nMore.");
    assert_eq!(trees(), (1, 2));
    assert_eq!(says(&dlpack, &["oci:base"], "echo the base"), "the base");
    assert_eq!(trees(), (1, 2));
}

#[test]
fn what_a_container_cannot_be_started_with() {
    let dlpack = base();
    dlpack.write("env", "A=1\nnot a line\n");
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    let mut run = |case: &str, arguments: &[&str]| {
        shown.run(case, &mut dlpack.command([&["run", "--quiet"], arguments].concat()));
    };
    run("an image without a command", &["oci:base"]);
    run("a mount of nothing", &["-v", "./none:/data", "oci:base", "true"]);
    run("a mount without a place", &["-v", "./none", "oci:base", "true"]);
    run("a mount of the root", &["-v", "./none:/", "oci:base", "true"]);
    run("a mount with another option", &["-v", ".:/data:z", "oci:base", "true"]);
    run("two mounts at one place", &["-v", ".:/data", "-v", "./base:/data/", "oci:base", "true"]);
    run("a place that is a file", &["-v", ".:/etc/passwd", "oci:base", "true"]);
    dlpack.write("file", "a file\n");
    run("a place that is a directory", &["-v", "./file:/etc/", "oci:base", "true"]);
    run("a place under a file", &["-v", ".:/etc/passwd/data", "oci:base", "true"]);
    run("a place under a mount of a file", &["-v", "./file:/a", "-v", ".:/a/data", "oci:base", "true"]);
    run("a mount on /proc", &["-v", ".:/proc/1", "oci:base", "true"]);
    run("a user that is not there", &["--user", "bob", "oci:base", "true"]);
    run("a group that is not there", &["--user", "worker:bobs", "oci:base", "true"]);
    run("no user", &["--user", "", "oci:base", "true"]);
    run("a file of variables that is not there", &["--env-file", "none", "oci:base", "true"]);
    run("a line that is no variable", &["--env-file", "env", "oci:base", "true"]);
    run("a working directory that is a file", &["-w", "/etc/passwd", "oci:base", "true"]);
    run("a program that is not there", &["oci:base", "nothing"]);
    run("a program that is none", &["oci:base", "/etc/passwd"]);
    run("a layout that is not there", &["oci:none", "true"]);
    run("a layout without this tag", &["oci:base:none", "true"]);
    dlpack.write("dlpack.toml", tiny::BASE);
    run("a recipe in place of an image", &["dlpack.toml", "true"]);
    run("a command in place of an image", &["Train", "--now"]);
    run("a word that may be an image or a command", &["python", "train.py"]);
    run("a list of no GPUs", &["--gpus", "", "oci:base", "true"]);
    run("a layout without a name", &["oci:", "true"]);
    fs::write(dlpack.work().join("latin"), b"A=1\nB=\xe9\n").expect("written");
    run("variables that are no text", &["--env-file", "latin", "oci:base", "true"]);
    run("a size that is none", &["--shm-size", "much", "oci:base", "true"]);
    run("a network that is none", &["--net", "bridge", "oci:base", "true"]);
    let mut homeless = dlpack.command(["run", "--quiet", "-v", "~/data:/data", "oci:base", "true"]);
    shown.run("a home that is nowhere", homeless.env_remove("HOME"));
    dlpack.write("dlpack.toml", &format!("{}[run]\ncwd = true\n", tiny::BASE));
    shown.run("a directory at the root", &mut dlpack.command(["run", "--quiet", "--", "true"]));
    let mut inside = dlpack.command(["run", "--quiet", "oci:base", "true"]);
    shown.run("a directory as stdin", inside.stdin(fs::File::open("/").expect("opened")));
    shown.is("run/refused");
}

#[test]
fn the_recipes_run_table_is_a_default_and_no_part_of_the_lock() {
    let dlpack = of_worker("workdir = \"/home/worker\"\n");
    dlpack.ok(["lock"]);
    let lock = fs::read(dlpack.work().join("dlpack.lock")).expect("a lock");
    let recipe = fs::read_to_string(dlpack.work().join("dlpack.toml")).expect("a recipe");
    let table = "[vars]\nwhere = \"data\"\n\n[run]\nworkdir = \"/srv\"\nmounts = [\"./${where}:/data:ro\", \"~/own:/own\"]\n\
                 cwd = \"/app\"\nenv = { A = \"recipe\", B = \"recipe\" }\nshm-size = \"16m\"\ngpus = \"none\"\nnet = \"private\"\n";
    dlpack.write("dlpack.toml", &recipe.replace("[config]", &format!("{table}\n[config]")));
    dlpack.write("data/file", "data\n");
    fs::create_dir(dlpack.home().join("own")).expect("created");
    let script = "pwd; cat /data/file /app/data/file; ls -d /own; echo $A $B; ls /sys/class/net; df /dev/shm | grep -c ' 16384 '";
    let expected = "/srv\ndata\ndata\n/own\nrecipe given\nlo\n1";
    assert_eq!(says(&dlpack, &["-e", "B=given"], script), expected);
    assert_eq!(fs::read(dlpack.work().join("dlpack.lock")).expect("a lock"), lock);
    // what is given on the command line comes first
    fs::create_dir(dlpack.work().join("other")).expect("created");
    assert_eq!(says(&dlpack, &["-v", "./other:/data", "-w", "/", "--net", "host"], "ls /data; pwd"), "/");
    // the directory that it is called in, at the working directory
    dlpack.edit("dlpack.toml", "cwd = \"/app\"", "cwd = true");
    assert_eq!(says(&dlpack, &[], "pwd; cat data/file"), "/srv\ndata");
    for start in ["/", "/tmp", "/srv/data", "/made"] {
        assert_eq!(says(&dlpack, &["-w", start], "pwd; cat /srv/data/file"), format!("{start}\ndata"));
    }
    dlpack.edit("dlpack.toml", "cwd = true", "cwd = true\nuser = \"0\"");
    assert_eq!(says(&dlpack, &[], "id -u"), "0");
    assert_eq!(says(&dlpack, &["--user", "worker"], "id -u"), "1234");
    assert_eq!(says(&dlpack, &["-v", "./other:/srv"], "pwd; ls"), "/srv");
    dlpack.edit("dlpack.toml", "workdir = \"/srv\"\n", "");
    assert_eq!(says(&dlpack, &["-w", "/"], "pwd; cat /home/worker/data/file"), "/\ndata");
    // a container without what the recipe wants is none
    dlpack.edit("dlpack.toml", "gpus = \"none\"", "gpus = \"all\"");
    let mut shown = Shown::new();
    let mut machine = dlpack.command(["run", "--quiet", "--", "true"]);
    shown.replace(dlpack.home().display().to_string(), "HOME");
    shown.run("a GPU", machine.env("DLPACK_DRIVER_ROOT", dlpack.home()));
    shown.is("run/gpus");
}

#[test]
fn a_run_table_that_cannot_be() {
    let dlpack = base();
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    for (case, line) in [
        ("an unknown key", "volumes = [\"/a:/b\"]"),
        ("a mount without a place", "mounts = [\"/data\"]"),
        ("a mount that goes up", "mounts = [\"/data:/a/../b\"]"),
        ("a directory that is none of these", "cwd = 1"),
        ("a directory that is not absolute", "cwd = \"app\""),
        ("a size that is none", "shm-size = \"much\""),
        ("a network that is none", "net = \"bridge\""),
        ("a port that is none", "ports = [\"8888\"]"),
        ("a variable that is none", "env = { \"A B\" = \"1\" }"),
    ] {
        dlpack.write("dlpack.toml", &format!("{}[run]\n{line}\n", tiny::BASE));
        shown.run(case, &mut dlpack.command(["lock", "--quiet"]));
    }
    shown.is("run/table");
}
