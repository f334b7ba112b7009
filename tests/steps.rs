//! `kind = "run"`: what a command is given, what of it becomes a layer, and what a
//! person sees when it fails; through the command line, as an ordinary user.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use dlpack::changeset::{Changeset, run};
use dlpack::oci::Digest;
use dlpack::recipe::{LayerKind, Recipe};

use crate::support::command::Dlpack;
use crate::support::image::debian;
use crate::support::sandbox::{UID, refusing};
use crate::support::shown::Shown;
use crate::support::{tiny, victim};

/// A home with the tiny base and a recipe of these layers on it.
pub fn world(layers: &str) -> Dlpack {
    let dlpack = Dlpack::unprivileged();
    tiny::layout(&dlpack.work());
    recipe(&dlpack, layers);
    dlpack
}

fn recipe(dlpack: &Dlpack, layers: &str) {
    dlpack.write("dlpack.toml", &format!("{}{layers}", tiny::BASE));
}

/// A `run` layer of this command, with more keys.
pub fn layer(command: &str, keys: &str) -> String {
    format!("[[layer]]\nkind = \"run\"\ncommand = '''{command}'''\n{keys}\n")
}

/// The entries of the last layer of the image `digest`: path, mode, owner, and content.
pub fn entries(dlpack: &Dlpack, digest: &str) -> Vec<(String, u32, (u64, u64), String)> {
    let last = dlpack.layers_of(digest).pop().expect("a layer");
    let blob = flate2::read::MultiGzDecoder::new(fs::File::open(dlpack.blob(&last)).expect("a blob"));
    let mut archive = tar::Archive::new(blob);
    let entry = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().trim_end_matches('/').to_owned();
        let header = entry.header();
        assert_eq!(header.mtime().expect("a time"), 315_532_800, "{path}");
        let (mode, owner) = (header.mode().unwrap(), (header.uid().unwrap(), header.gid().unwrap()));
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("text");
        (path, mode, owner, content)
    };
    archive.entries().expect("entries").map(entry).collect()
}

/// The content of `path` in the last layer.
fn content(dlpack: &Dlpack, digest: &str, path: &str) -> String {
    let entries = entries(dlpack, digest);
    let found = entries.iter().find(|entry| entry.0 == path);
    found.unwrap_or_else(|| panic!("no {path} in {entries:?}")).3.clone()
}

#[test]
fn what_a_command_changes_is_the_layer_with_the_owners_that_it_gave() {
    let script = "mkdir -p /srv/data && echo hello >/srv/data/greeting && chown 1234:50 /srv/data/greeting\n\
                  chmod 0600 /srv/data/greeting && ln -s greeting /srv/data/link && rm /etc/shadow\n\
                  echo gone >/tmp/gone && mkdir -p /run && echo gone >/run/gone";
    let dlpack = world(&layer(script, ""));
    let digest = dlpack.ok(["build"]);
    let found = entries(&dlpack, &digest);
    let owned: Vec<_> = found.iter().map(|(path, mode, owner, _)| (path.as_str(), mode & 0o777, *owner)).collect();
    let expected = [
        ("etc/.wh.shadow", 0o644, (0, 0)),
        ("srv/data", 0o755, (0, 0)),
        ("srv/data/greeting", 0o600, (1234, 50)),
        ("srv/data/link", 0o777, (0, 0)),
    ];
    for entry in expected {
        assert!(owned.contains(&entry) || entry.0.contains(".wh."), "{entry:?} is not in {owned:?}");
    }
    let paths: Vec<&str> = owned.iter().map(|entry| entry.0).collect();
    assert_eq!(paths, ["etc/.wh.shadow", "srv", "srv/data", "srv/data/greeting", "srv/data/link"]);
    assert_eq!(content(&dlpack, &digest, "srv/data/greeting"), "hello\n");

    // the same on another machine
    let other = world(&layer(script, ""));
    assert_eq!(other.ok(["build"]), digest);
}

#[test]
fn a_step_has_the_environment_directory_and_user_that_the_recipe_says() {
    let keys = "env = { GREETING = \"hello\" }\nworkdir = \"/work/deep\"\nuser = \"worker\"";
    let dlpack = world(&layer("{ pwd; id -u; id -g; env; } >/tmp/said; cat /tmp/said >said", keys));
    let digest = dlpack.ok(["build"]);
    let said = content(&dlpack, &digest, "work/deep/said");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["/work/deep", "1234", "50"], "{said}");
    for variable in ["GREETING=hello", "HOME=/home/worker", "LC_ALL=C.UTF-8"] {
        assert!(lines.contains(&variable), "{said}");
    }
    assert!(!said.contains("DLPACK") && !said.contains(dlpack.home().to_str().unwrap()), "{said}");
}

#[test]
fn a_script_is_run_by_its_own_interpreter_and_is_part_of_the_lock() {
    let dlpack = world("[[layer]]\nkind = \"run\"\nscript = \"build.sh\"\n");
    dlpack.write("build.sh", "#!/bin/sh -eu\necho one >/made\n");
    let digest = dlpack.ok(["build"]);
    assert_eq!(content(&dlpack, &digest, "made"), "one\n");
    dlpack.write("build.sh", "#!/bin/sh -eu\necho two >/made\n");
    let refused = dlpack.refuses(3, ["build"]);
    assert!(refused.contains("build.sh changed"), "{refused}");
    let digest = dlpack.ok(["build", "--update"]);
    assert_eq!(content(&dlpack, &digest, "made"), "two\n");
}

#[test]
fn mounts_are_what_was_locked_and_cannot_be_written() {
    let script = "cat /src/a /src/deep/b >/seen; stat -c '%a %u %Y' /src/a /src/deep/b >>/seen\n\
                  if echo x >/src/a; then exit 1; fi";
    let dlpack = world(&layer(script, "mounts = [{ from = \"src\", to = \"/src\" }]"));
    dlpack.write("src/a", "A\n");
    dlpack.write("src/deep/b", "B\n");
    let digest = dlpack.ok(["build"]);
    assert_eq!(content(&dlpack, &digest, "seen"), "A\nB\n644 0 315532800\n644 0 315532800\n");
    assert!(entries(&dlpack, &digest).iter().all(|entry| !entry.0.starts_with("src")));
    dlpack.write("src/deep/b", "C\n");
    let refused = dlpack.refuses(3, ["build"]);
    assert!(refused.contains("src/deep/b changed"), "{refused}");
}

#[test]
fn a_secret_reaches_the_step_and_nothing_else() {
    let script = "grep -q ^sword /run/secrets/token && stat -c %a /run/secrets/token >/mode\n\
                  test ! -e /run/secrets/other";
    let keys = "secrets = [\"token\", { name = \"other\", optional = true }]";
    let dlpack = world(&layer(script, keys));
    let refused = dlpack.refuses(2, ["build"]);
    assert!(
        refused.contains("layer `run` needs the secret `token`") && refused.contains("--secret token=FILE"),
        "{refused}"
    );
    assert!(!dlpack.store().join("rootfs/sha256").exists(), "the base was extracted before it was missed");

    let secret = dlpack.write("secret", "swordfish\n");
    let ran = dlpack.run(["build", "--verbose", "--secret", &format!("token={}", secret.display())]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let digest = ran.stdout.trim();
    assert_eq!(content(&dlpack, digest, "mode"), "400\n");
    fs::remove_file(&secret).unwrap();
    assert_eq!(found(&dlpack.home().join("."), b"swordfish"), Vec::<String>::new());

    // another secret is no other layer
    let other =
        dlpack.command(["build", "--json", "--secret", "token"]).env("token", "swordfish, again").output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!((told["built"].as_u64(), told["digest"].as_str()), (Some(0), Some(digest)));

    fs::remove_dir_all(dlpack.store().join("keys")).unwrap();
    let mut again = dlpack.command(["build", "--secret", "token"]);
    let again = again.env("token", "swordfish").output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), digest);
    assert_eq!(found(&dlpack.home().join("."), b"swordfish"), Vec::<String>::new());
}

/// The files below `directory` that have `bytes` in them, compressed ones unpacked.
fn found(directory: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry.expect("an entry");
        if !entry.file_type().is_file() {
            continue;
        }
        let raw = fs::read(entry.path()).expect("a file");
        let mut unpacked = Vec::new();
        let _ = flate2::read::MultiGzDecoder::new(&raw[..]).read_to_end(&mut unpacked);
        if [&raw, &unpacked].iter().any(|text| text.windows(bytes.len()).any(|window| window == bytes)) {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn a_cache_directory_persists_between_builds_and_is_in_no_layer() {
    let count = "n=$(cat /cache/n 2>/dev/null || echo 0); echo $((n + 1)) >/cache/n; cat /cache/n >/n";
    let dlpack = world(&layer(count, "caches = [\"/cache\"]"));
    let first = dlpack.ok(["build"]);
    assert_eq!(content(&dlpack, &first, "n"), "1\n");
    assert!(entries(&dlpack, &first).iter().all(|entry| !entry.0.starts_with("cache")));
    // another layer, the same cache under another path
    recipe(&dlpack, &layer(&count.replace("/cache", "/var/c"), "caches = [{ to = \"/var/c\", id = \"/cache\" }]"));
    let second = dlpack.ok(["build", "--update"]);
    assert_eq!(content(&dlpack, &second, "n"), "2\n");

    // the store knows of it, and of what the steps printed
    let listed = dlpack.json(["cache", "list"]);
    let kinds = |kind: &str| listed["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == kind).count();
    assert_eq!((kinds("cache"), kinds("log")), (1, 2), "{listed}");
    assert!(dlpack.ok(["cache", "list"]).contains(".log"));
    dlpack.ok(["cache", "verify"]);
    dlpack.ok(["cache", "gc", "--max-size", "0"]);
    for directory in ["caches", "logs"] {
        assert_eq!(fs::read_dir(dlpack.store().join(directory)).unwrap().count(), 0, "{directory}");
    }
}

#[test]
fn a_file_whose_first_name_is_in_no_layer_is_there_under_the_others() {
    let script = "mkdir /usr; echo text >/tmp/first; ln /tmp/first /usr/second; ln /tmp/first /usr/third";
    let dlpack = world(&layer(script, ""));
    let digest = dlpack.ok(["build"]);
    let found: Vec<_> = entries(&dlpack, &digest).into_iter().map(|(path, _, _, content)| (path, content)).collect();
    // the last is a hard link, which has no content of its own
    let expected = [("usr", ""), ("usr/second", "text\n"), ("usr/third", "")];
    assert_eq!(found, expected.map(|(path, content)| (path.to_owned(), content.to_owned())));
}

#[test]
fn one_cache_under_two_paths_is_one_cache() {
    let keys = "caches = [{ to = \"/a\", id = \"one\" }, { to = \"/b\", id = \"one\" }]";
    let dlpack = world(&layer("echo shared >/a/file; cat /b/file >/seen", keys));
    let digest = dlpack.ok(["build"]);
    assert_eq!(content(&dlpack, &digest, "seen"), "shared\n");
    let mode = fs::metadata(dlpack.store().join("caches")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "set-user-ID programs in it are for others to run");
}

#[test]
fn caches_are_taken_in_one_order_whatever_a_recipe_says() {
    let dlpack = world(&layer("echo both >/made", "caches = [\"/b\", \"/a\"]"));
    let caches = dlpack.store().join("caches");
    let lock = |id: &str| {
        let path = caches.join(Digest::of(id.as_bytes()).hex()).with_extension("lock");
        fs::File::options().create(true).append(true).open(path).unwrap()
    };
    dlpack.ok(["cache", "list"]); // makes the store
    fs::create_dir(&caches).unwrap();
    std::os::unix::fs::chown(&caches, Some(UID), Some(UID)).unwrap();
    let (first, last) = (lock("/a"), lock("/b"));
    for lock in [&first, &last] {
        std::os::unix::fs::fchown(lock, Some(UID), Some(UID)).unwrap();
    }
    // another build, which has the one that comes last
    last.lock().unwrap();
    let mut child = dlpack.command(["build"]).stdout(Stdio::piped()).spawn().unwrap();
    // proc_locks(5): `->` is before who waits
    let waits = format!(":{} ", last.metadata().unwrap().ino());
    while !fs::read_to_string("/proc/locks").unwrap().lines().any(|line| line.contains("->") && line.contains(&waits)) {
        assert!(child.try_wait().unwrap().is_none(), "it ended without a wait");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(first.try_lock().is_err(), "the other build could take the first one, and wait for this one");
    last.unlock().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    assert_eq!(content(&dlpack, String::from_utf8_lossy(&ended.stdout).trim(), "made"), "both\n");
}

#[test]
fn a_secret_that_is_too_large_is_refused_before_the_step() {
    let dlpack = world(&layer("echo it ran; exit 1", "secrets = [\"token\"]"));
    let secret = dlpack.write("secret", "");
    fs::File::options().write(true).open(&secret).unwrap().set_len((16 << 20) + 1).unwrap();
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    let secret = format!("token={}", secret.display());
    shown.run("a secret of 16 MiB and a byte", &mut dlpack.command(["build", "--quiet", "--secret", &secret]));
    shown.is("build/secret");
}

#[test]
fn a_step_can_look_up_the_name_of_its_machine_and_no_layer_has_it() {
    // what looks names up by files alone, as sudo does: the name, and where it leads
    let look_up = "grep -w \"$(cat /proc/sys/kernel/hostname)\" /etc/hosts; grep -w localhost /etc/hosts";
    let seen = |keys: &str| {
        let dlpack = world(&layer(&format!("{{ {look_up}; }} >/seen"), keys));
        let digest = dlpack.ok(["build"]);
        let paths: Vec<String> = entries(&dlpack, &digest).into_iter().map(|entry| entry.0).collect();
        assert_eq!(paths, ["seen"]);
        content(&dlpack, &digest, "seen")
    };
    let alone = "127.0.1.1\tsandbox\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    assert_eq!(seen(""), alone);
    assert!(seen("network = true").starts_with("127.0.1.1\tsandbox\n"));
}

#[test]
fn the_network_is_off_unless_a_step_asks_for_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let dlpack = world(&layer(&format!("if nc -w 2 127.0.0.1 {port} </dev/null; then exit 1; fi; echo off >/net"), ""));
    let digest = dlpack.ok(["build"]);
    assert_eq!(content(&dlpack, &digest, "net"), "off\n");
    let accepted = std::thread::spawn(move || listener.accept().map(drop));
    recipe(&dlpack, &layer(&format!("nc -w 2 127.0.0.1 {port} </dev/null && echo on >/net"), "network = true"));
    let digest = dlpack.ok(["build", "--update"]);
    assert_eq!(content(&dlpack, &digest, "net"), "on\n");
    accepted.join().unwrap().unwrap();
}

#[test]
fn a_failure_shows_the_last_lines_the_log_and_how_to_get_a_shell() {
    let dlpack = world(&layer("seq 100; echo it broke >&2; exit 3", ""));
    let ran = dlpack.run(["build"]);
    assert_eq!(ran.status, 9, "{}", ran.stderr);
    let shown = ran.stderr.split_once("error: ").expect("an error").1;
    assert!(shown.contains("can't build layer `run`") && shown.contains("ended with exit status 3"), "{shown}");
    assert!(shown.contains("\n  | 100\n  | it broke\n") && !shown.contains("| 10\n"), "{shown}");
    assert!(shown.contains("hint: `--shell-on-failure`"), "{shown}");
    let log = shown.split_whitespace().find(|word| word.ends_with(".log") || word.ends_with(".log:")).expect("a log");
    let log = fs::read_to_string(log.trim_end_matches(':')).expect("the log");
    assert!(log.starts_with("1\n2\n") && log.ends_with("it broke\n"), "{log}");
    // lines as they come, with the layer's name
    assert!(ran.stderr.contains("\nrun: 1\nrun: 2\n"), "{}", ran.stderr);
    assert_eq!(dlpack.leftovers(), 0);
    // and the next run works
    recipe(&dlpack, &layer("echo well >/made", ""));
    let digest = dlpack.ok(["build", "--update"]);
    assert_eq!(content(&dlpack, &digest, "made"), "well\n");
}

#[test]
fn whoever_asks_for_it_gets_a_shell_where_a_step_failed() {
    let keys = "env = { GREETING = \"hello\" }\nworkdir = \"/srv\"\nuser = \"worker\"\nmounts = [{ from = \"src\", to = \"/src\" }]";
    let dlpack = world(&layer("echo written >/tmp/before; echo it broke >&2; exit 3", keys));
    dlpack.write("src/given", "mounted");
    let program = dlpack.command(["build", "--shell-on-failure"]);
    let line = format!("{} build --shell-on-failure", program.get_program().display());
    // script(1): a terminal for it; its stdin is what is typed
    let mut command = dlpack.command_as_user("script", ["-q", "-e", "-c", &line, "/dev/null"]);
    command.env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = command.spawn().expect("script(1) of bsdutils");
    let (mut typed, mut shown) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let before = read_until(&mut shown, "leave it with `exit`");
    assert!(before.contains("  | it broke"), "{before}");
    let look = "echo \"<$(cat /tmp/before /src/given) $GREETING $(pwd) $(id -u) $((6 * 7))>\" >/dev/tty; exit 0\n";
    typed.write_all(look.as_bytes()).unwrap();
    let mut after = String::new();
    shown.read_to_string(&mut after).unwrap();
    assert!(after.contains("<written\r\nmounted hello /srv 1234 42>"), "{after}");
    assert!(after.contains("ended with exit status 3"), "{after}");
    assert_eq!(terminal.wait().unwrap().code(), Some(9), "{after}");
    assert_eq!(dlpack.leftovers(), 0);

    // and nobody waits where nobody sits
    let ran = dlpack.run(["build", "--shell-on-failure"]);
    assert!(ran.status == 9 && ran.stderr.contains("warning: no shell where the step failed"), "{}", ran.stderr);
}

/// What comes of `from`, as far as `end`.
fn read_until(from: &mut impl Read, end: &str) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end.as_bytes()) {
        let length = from.read(&mut byte).expect("readable");
        assert_ne!(length, 0, "it ended: {}", String::from_utf8_lossy(&text));
        text.extend(byte);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_program_that_a_signal_ends_or_that_is_not_there_is_called_so() {
    let cases = [
        ("a command that fails", "seq 30; echo it broke >&2; exit 3", ""),
        ("a signal", "kill -9 $$$$", ""),
        ("a shell that is not there", "true", "shell = [\"/bin/bash\", \"-ec\"]"),
        ("a user that is not there", "true", "user = \"nobody-here\""),
        ("a directory under a file", "true", "workdir = \"/etc/passwd/deep\""),
        ("a secret that nobody gave", "true", "secrets = [\"token\"]"),
    ];
    let dlpack = world("");
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    for (case, command, keys) in cases {
        recipe(&dlpack, &layer(command, keys));
        shown.run(case, &mut dlpack.command(["build", "--update", "--quiet"]));
    }
    shown.is("build/steps");
}

#[test]
fn a_cached_step_costs_nothing() {
    let both = layer("echo one >/one", "name = \"first\"") + &layer("cat /one >/two", "name = \"second\"");
    let dlpack = world(&both);
    let digest = dlpack.ok(["build"]);
    let extracted = dlpack.store().join("rootfs");
    assert!(extracted.join("sha256").is_dir());
    // gone: what was extracted, and what it was extracted from
    fs::remove_dir_all(&extracted).unwrap();
    fs::remove_dir_all(dlpack.work().join("base/blobs")).unwrap();
    let plan = dlpack.ok(["plan"]);
    assert_eq!(plan.matches("in the store").count(), 2, "{plan}");
    let again = dlpack.json(["build"]);
    assert_eq!((again["digest"].as_str(), again["built"].as_u64()), (Some(digest.as_str()), Some(0)));
    assert!(!extracted.exists(), "the base was extracted for nothing");
}

#[test]
fn a_step_sees_the_steps_before_it_and_of_other_layers_those_that_it_names() {
    let files = "[[layer]]\nkind = \"files\"\nfiles = [{ content = \"file\\n\", to = \"/file\" }]\n";
    let blind = layer("echo one >/one; test ! -e /file", "name = \"blind\"");
    let seeing = layer("cat /one /file >/two", "name = \"seeing\"\nsees = [\"files\"]");
    let apart = layer("cat /one >/three; test ! -e /two", "name = \"apart\"");
    let all = format!("{files}{blind}{seeing}{apart}");
    let dlpack = world(&all);
    let plan = dlpack.ok(["plan"]);
    assert_eq!(plan.matches("to be built in the sandbox").count(), 3, "{plan}");
    assert_eq!(dlpack.json(["build"])["built"], 4);
    // what is seen counts: another file makes the one that sees it anew, and no other
    recipe(&dlpack, &all.replace("file\\n", "other\\n"));
    assert_eq!(dlpack.json(["build", "--update"])["built"], 2);
}

#[test]
fn a_build_that_is_ended_leaves_no_process_and_the_next_one_works() {
    use rustix::process::Signal;

    ended_by(Signal::INT, 130);
    ended_by(Signal::TERM, 143);
}

fn ended_by(signal: rustix::process::Signal, status: i32) {
    let dlpack = world(&layer("sleep 1000 & sleep 1000 & echo forked; wait", ""));
    let mut child = dlpack.command(["build"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap() == "run: forked"), "it never ran");
    let own = victim::descendants(child.id());
    assert!(own.len() >= 3, "{own:?}");
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(status));
    // the pipe ends when the last of them has
    let _ = lines.count();
    victim::wait_for(&own);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dlpack.home().to_str().unwrap()), "{mounts}");
    recipe(&dlpack, &layer("echo well >/made", ""));
    let digest = dlpack.ok(["build", "--update"]);
    assert_eq!(content(&dlpack, &digest, "made"), "well\n");
    let scratch: Vec<_> = fs::read_dir(dlpack.store().join("scratch")).unwrap().collect();
    assert!(scratch.is_empty(), "{scratch:?}");
}

#[test]
fn a_layer_is_the_same_whether_owners_are_recorded_or_real() {
    let script = "mkdir -p /srv/data/deep; echo hello >/srv/data/file; chown 1:2 /srv/data /srv/data/file\n\
                  ln -s file /srv/data/link; chown -h 3:4 /srv/data/link; chgrp 5 /etc/debian_version\n\
                  cp /bin/true /srv/data/root; chmod 4755 /srv/data/root; install -o 6 -g 7 -m 6755 /bin/true /srv/data/other\n\
                  useradd --create-home --uid 1234 worker; ln /srv/data/file /srv/data/deep/hard; rm -r /usr/share/zoneinfo\n\
                  ls /proc >/dev/null; stat -c '%n %u:%g %a' /srv/data /srv/data/* /home/worker >/srv/seen";
    let after = layer("id -u >/home/worker/id; id -G >>/home/worker/id", "name = \"after\"\nuser = \"worker\"");
    let build = |dlpack: &Dlpack, wrapper: &[&str], fallback: &str| {
        symlink(debian().path(), dlpack.work().join("base")).unwrap();
        let base = "base = { layout = \"base\", tag = \"gzip\" }\n";
        dlpack.write("dlpack.toml", &format!("{base}{}{after}", layer(script, "")));
        let mut command = match wrapper {
            [] => dlpack.command(["build"]),
            wrapper => dlpack.command_in(wrapper, ["build"]),
        };
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains(fallback), "{said}");
        let layers = dlpack.layers_of(String::from_utf8_lossy(&output.stdout).trim());
        layers[layers.len() - 2..].to_vec()
    };
    let recorded = build(&Dlpack::unprivileged(), &[], "");
    let mounts = build(&Dlpack::new(), &refusing(&["unshare-user=ENOSPC"]), "steps run as this machine's root");
    assert_eq!(mounts, recorded);
    let nothing = refusing(&["unshare=EPERM", "clone-new=EPERM", "mount=EPERM", "pivot_root=EPERM"]);
    assert_eq!(build(&Dlpack::new(), &nothing, "steps run in a chroot"), recorded);
}

#[test]
fn each_thing_that_a_step_is_given_is_part_of_its_key() {
    let key = |keys: &str| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dlpack.toml");
        fs::write(directory.path().join("f"), "f").unwrap();
        fs::write(&path, format!("base = \"scratch\"\n[[layer]]\nkind = \"run\"\n{keys}\n")).unwrap();
        let recipe = Recipe::load(&path, &[]).unwrap_or_else(|error| panic!("{error}")).recipe;
        let LayerKind::Run(of_run) = &recipe.layers[0].kind else { panic!("run") };
        run::changeset(of_run, &[], directory.path()).inputs().key(None)
    };
    let cases = [
        "command = \"a\"",
        "command = \"b\"",
        "script = \"f\"",
        "command = \"a\"\nshell = [\"/bin/bash\", \"-ec\"]",
        "command = \"a\"\nenv = { A = \"b\" }",
        "command = \"a\"\nworkdir = \"/w\"",
        "command = \"a\"\nuser = \"1\"",
        "command = \"a\"\nnetwork = true",
        "command = \"a\"\nsecrets = [\"s\"]",
        "command = \"a\"\nsecrets = [{ name = \"s\", optional = true }]",
        "command = \"a\"\nsecrets = [{ name = \"s\", to = \"/s\" }]",
        "command = \"a\"\ncaches = [\"/c\"]",
        "command = \"a\"\ncaches = [{ to = \"/c\", id = \"d\" }]",
        "command = \"a\"\nmounts = [{ from = \"f\", to = \"/f\" }]",
    ];
    let keys: Vec<_> = cases.iter().map(|keys| key(keys)).collect();
    for (n, one) in keys.iter().enumerate() {
        assert!(!keys[..n].contains(one), "{} has the key of another", cases[n]);
    }
}

#[test]
fn an_account_is_made_on_what_the_steps_before_it_left_of_the_account_files() {
    let daemon = "echo 'daemon:x:2000:2000::/srv/daemon:/bin/false' >>/etc/passwd; echo 'daemon:x:2000:' >>/etc/group\n\
                  echo 'daemon:!:::::::' >>/etc/shadow; chown 0:42 /etc/shadow; mkdir -p /etc/skel; echo hi >/etc/skel/.hi";
    let account = |keys: &str| format!("[[layer]]\nkind = \"account\"\nuser = \"dev\"\ngroups = [\"daemon\"]\n{keys}");
    let dlpack = world(&(layer(daemon, "") + &account("")));
    let digest = dlpack.ok(["build"]);
    let passwd = content(&dlpack, &digest, "etc/passwd");
    let lines =
        ["worker:x:1234:50::/home/worker:/bin/sh", "daemon:x:2000:2000::/srv/daemon:/bin/false", "dev:x:1000:1000:"];
    assert!(lines.iter().all(|line| passwd.contains(line)), "{passwd}");
    assert!(content(&dlpack, &digest, "etc/group").contains("daemon:x:2000:dev\n"));
    assert_eq!(content(&dlpack, &digest, "home/dev/.hi"), "hi\n");
    let shadow = entries(&dlpack, &digest).into_iter().find(|entry| entry.0 == "etc/shadow").expect("shadow");
    assert_eq!((shadow.1 & 0o777, shadow.2), (0o640, (0, 42)));

    // a step after it does not see it, and is not made again when it changes
    let after = layer("! grep -q dev /etc/passwd; echo seen >/after", "name = \"after\"");
    let all = |account: &str| layer(daemon, "") + account + "\n" + &after;
    recipe(&dlpack, &all(&account("")));
    assert_eq!(dlpack.json(["build", "--update"])["built"], 1);
    recipe(&dlpack, &all(&account("shell = \"/bin/zsh\"")));
    assert_eq!(dlpack.json(["build", "--update"])["built"], 1);

    let taken = layer(daemon, "") + &account("uid = 2000");
    recipe(&dlpack, &taken);
    let refused = dlpack.refuses(3, ["build", "--update", "--quiet"]);
    assert!(refused.contains("uid 2000 is daemon's"), "{refused}");
    recipe(&dlpack, &(layer(daemon, "") + "[[layer]]\nkind = \"account\"\nuser = \"daemon\"\n"));
    let refused = dlpack.refuses(3, ["build", "--update", "--quiet"]);
    assert!(
        refused.contains("the home /srv/daemon, not /home/daemon") && refused.contains("hint: set `home"),
        "{refused}"
    );
}
