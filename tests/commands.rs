//! What each command prints, and what it says to every mistake that a person can make.
//! `SNAPSHOTS=overwrite cargo test commands::` writes what is printed now.

#[path = "commands/errors.rs"]
mod errors;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use snapbox::{file, str};

use crate::support::command::{Dlpack, Ran};
use crate::support::output;
use crate::support::registry::DebianRegistry;
use crate::support::shown::redacted;

const VERBS: [&str; 27] = [
    "init",
    "lock",
    "plan",
    "build",
    "push",
    "rebase",
    "pull",
    "images",
    "inspect",
    "diff",
    "verify",
    "export",
    "run",
    "shell",
    "exec",
    "ps",
    "stop",
    "rm",
    "test",
    "doctor",
    "serve",
    "login",
    "logout",
    "cache",
    "wheelhouse",
    "completions",
    "man",
];

/// Commands as they were typed, each with what it printed and how it ended.
struct Transcript<'a> {
    dlpack: &'a Dlpack,
    /// What differs from run to run, and what stands for it.
    replaced: Vec<(String, &'static str)>,
    text: String,
}

impl<'a> Transcript<'a> {
    fn new(dlpack: &'a Dlpack) -> Self {
        let home = (dlpack.home().display().to_string(), "HOME");
        Self { dlpack, replaced: vec![home], text: String::new() }
    }

    fn replace(mut self, what: &str, by: &'static str) -> Self {
        self.replaced.push((what.to_owned(), by));
        self
    }

    /// Runs `dlpack LINE`.
    fn run(&mut self, line: &str) -> Ran {
        let line = self.replaced.iter().skip(1).fold(line.to_owned(), |line, (what, by)| line.replace(by, what));
        self.run_command(&line, &mut self.dlpack.command(line.split_whitespace()))
    }

    /// Runs `command`, which is shown as `dlpack LINE`.
    fn run_command(&mut self, line: &str, command: &mut Command) -> Ran {
        let ran = Ran::from(command.output().expect("dlpack runs"));
        // layers and wheels are at work side by side
        let mut said: Vec<&str> = ran.stderr.lines().collect();
        let works = |line: &&str| ["build ", "fetch ", "push "].iter().any(|verb| line.starts_with(verb));
        if let (Some(first), Some(last)) = (said.iter().position(works), said.iter().rposition(works)) {
            said[first..=last].sort_unstable();
        }
        let mut text = format!("$ dlpack {line}\n{}", ran.stdout);
        if !said.is_empty() {
            text += &format!("--- stderr\n{}\n", said.join("\n"));
        }
        if ran.status != 0 {
            text += &format!("--- exit status {}\n", ran.status);
        }
        self.text += &redacted(&self.replaced.iter().fold(text, |text, (what, by)| text.replace(what, by)));
        self.text.push('\n');
        ran
    }

    /// Compares all of it with a snapshot.
    #[track_caller]
    fn is(&self, expected: impl snapbox::IntoData) {
        snapbox::Assert::new().action_env("SNAPSHOTS").eq(self.text.as_str(), expected);
    }
}

#[test]
fn each_verb_explains_itself() {
    let dlpack = Dlpack::new();
    let mut help = Transcript::new(&dlpack);
    help.run("--help");
    for verb in VERBS {
        help.run(&format!("{verb} --help"));
    }
    for verb in ["list", "verify", "gc"] {
        help.run(&format!("cache {verb} --help"));
    }
    help.run("wheelhouse push --help");
    help.run("export venv --help");
    help.is(file!["snapshots/commands/help.txt"]);
}

#[test]
fn the_whole_way_in_words() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    dlpack.write_recipe("\"scratch\"");
    let mut way = Transcript::new(&dlpack).replace(registry.address(), "REGISTRY");
    for line in [
        "lock",
        "lock --check",
        "plan REGISTRY/team/env:1",
        "build REGISTRY/team/env:1",
        "plan",
        "push REGISTRY/team/env:1",
        "push REGISTRY/team/env:1",
        "plan REGISTRY/team/env:1",
        "inspect REGISTRY/team/env:1",
        "verify REGISTRY/team/env:1",
        "pull REGISTRY/team/env:1",
        "cache list",
        "cache verify",
        "cache gc --max-size 0",
        "cache gc --max-size 0 --forget REGISTRY/team/env:1",
        "logout REGISTRY",
    ] {
        assert_eq!(way.run(line).status, 0, "{line}");
    }
    way.is(file!["snapshots/commands/way.txt"]);
}

#[test]
fn the_whole_way_in_json() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    dlpack.write_recipe("\"scratch\"");
    let mut way = Transcript::new(&dlpack).replace(registry.address(), "REGISTRY");
    for line in [
        "lock --json --quiet",
        "plan --json --quiet",
        "build --json --quiet",
        "push --json --quiet REGISTRY/team/env:1",
        "pull --json --quiet REGISTRY/team/env:1",
        "inspect --json REGISTRY/team/env:1",
        "cache --json list",
        "cache --json --quiet verify",
        "cache --json gc",
    ] {
        let ran = way.run(line);
        assert_eq!(ran.status, 0, "{line}");
        serde_json::from_str::<Value>(&ran.stdout).expect("one JSON value on stdout");
    }
    // in no order that a snapshot could have
    fs::remove_dir_all(dlpack.store()).unwrap();
    let built = dlpack.command(["build", "--json"]).output().map(Ran::from).unwrap();
    let events: Vec<Value> = built.stderr.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let count = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!((count("begin"), count("end")), (8, 8), "two wheels and six layers: {}", built.stderr);
    way.is(file!["snapshots/commands/json.txt"]);
}

#[test]
fn images_are_shown_by_name_with_what_of_them_is_here_and_a_look_is_no_use() {
    let dlpack = Dlpack::new();
    dlpack.write_recipe("\"scratch\"");
    let digest = dlpack.ok(["build", "team/env:1"]);
    dlpack.ok(["build", "alice/other"]);
    let images = || serde_json::from_str::<Value>(&dlpack.ok(["images", "--json"])).expect("JSON");
    let layers = dlpack.layers_of(&digest);
    let size: u64 = layers.iter().map(|layer| fs::metadata(dlpack.blob(layer)).expect("a layer").len()).sum();
    let found = images();
    let [other, env] = &found.as_array().expect("a list")[..] else { panic!("{found}") };
    assert_eq!(
        (&other["name"], &env["name"]),
        (&"docker.io/alice/other:latest".into(), &"docker.io/team/env:1".into())
    );
    for image in [other, env] {
        assert_eq!(
            (&image["digest"], &image["size"], &image["here"]),
            (&digest.clone().into(), &size.into(), &size.into())
        );
    }
    let manifest = fs::File::options().write(true).open(dlpack.blob(&digest)).expect("a manifest");
    manifest.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400)).expect("set");
    let gone = dlpack.blob(&layers[0]);
    let less = size - fs::metadata(&gone).expect("a layer").len();
    fs::remove_file(gone).expect("removed");
    dlpack.ok(["cache", "list"]);
    for _ in 0..2 {
        let env = images()[1].clone();
        assert_eq!((&env["here"], &env["lastUsed"]), (&less.into(), &"1970-01-02T00:00:00Z".into()));
    }
    let shown = dlpack.ok(["images"]);
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["name", "digest", "size", "here", "last", "used"]);
    assert_eq!((lines[2][0], lines.len()), ("docker.io/team/env:1", 3), "{shown}");
}

#[test]
fn quiet_is_the_result_alone() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    dlpack.write_recipe("\"scratch\"");
    let mut quiet = Transcript::new(&dlpack).replace(registry.address(), "REGISTRY");
    for line in ["lock", "lock --check", "build", "push REGISTRY/team/env:1", "pull REGISTRY/team/env:1"] {
        let ran = quiet.run(&format!("{line} -q"));
        assert_eq!(ran.stderr, "", "{line}");
    }
    quiet.is(str![[r#"
$ dlpack lock -q

$ dlpack lock --check -q

$ dlpack build -q
sha256:DIGEST

$ dlpack push REGISTRY/team/env:1 -q
sha256:DIGEST

$ dlpack pull REGISTRY/team/env:1 -q
sha256:DIGEST


"#]]);
}

#[test]
fn every_shell_gets_its_completions() {
    let dlpack = Dlpack::new();
    for (shell, says) in [("bash", "complete -F _dlpack"), ("zsh", "#compdef dlpack"), ("fish", "complete -c dlpack")] {
        let script = dlpack.ok(["completions", shell]);
        assert!(script.contains(says) && script.contains("inspect"), "{shell}: {script}");
        let path = dlpack.write(&format!("completions.{shell}"), &script);
        if shell == "bash" {
            let load = "source \"$1\" && COMP_WORDS=(dlpack ins) COMP_CWORD=1 && _dlpack dlpack ins dlpack && \
                        echo \"${COMPREPLY[@]}\"";
            let completed = output(Command::new("bash").args(["-c", load, "bash"]).arg(&path), "bash");
            assert_eq!(String::from_utf8_lossy(&completed.stdout), "inspect\n");
        }
    }
}

#[test]
fn there_is_a_manual_page_of_each_verb() {
    let dlpack = Dlpack::new();
    assert!(dlpack.ok(["man"]).contains(".TH dlpack 1"));
    let pages = dlpack.work().join("man1");
    dlpack.ok([Path::new("man"), &pages]);
    for verb in VERBS {
        let page = fs::read_to_string(pages.join(format!("dlpack-{verb}.1"))).expect("a page");
        assert!(page.contains(".SH SYNOPSIS"), "{verb}");
    }
}

#[test]
fn a_served_store_says_where_it_is_and_ends_when_asked() {
    let dlpack = Dlpack::new();
    let mut served = dlpack.serve();
    let other = Dlpack::new();
    other.write_recipe("\"scratch\"");
    let name = format!("{}/team/env:1", served.address);
    let digest = other.ok(["push", &name]);
    assert_eq!(Dlpack::new().ok(["pull", &name]), digest);
    kill_process(Pid::from_child(&served.child), Signal::TERM).unwrap();
    assert_eq!(served.child.wait().unwrap().code(), Some(143));
}

#[test]
fn who_reads_a_result_may_have_seen_enough() {
    let dlpack = Dlpack::new();
    let mut command = dlpack.command(["cache", "list"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.status, ran.stderr), (0, String::new()));
}

#[test]
fn a_name_in_capitals_is_refused_before_anything_is_built() {
    let dlpack = Dlpack::new();
    let said = dlpack.refuses(2, ["push", "-r", "quickstart", "Team/env:1"]);
    assert!(said.contains("a repository's name is lowercase"), "{said}");
    assert!(!dlpack.work().join("quickstart.lock").exists());
}
