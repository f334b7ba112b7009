//! `[test]` and `dlpack test`: what fails in the image stops it before it has a name.

use std::fs;

use serde_json::Value;

use crate::steps::{layer, world};
use crate::support::command::{Dlpack, Ran};
use crate::support::machine::Machine;
use crate::support::registry::DebianRegistry;
use crate::support::shown::Shown;

/// A home with a recipe on the tiny base whose `[test]` has these commands.
fn tested(commands: &str) -> Dlpack {
    let dlpack = world(&layer("echo made >/made", ""));
    let recipe = fs::read_to_string(dlpack.work().join("dlpack.toml")).expect("a recipe");
    dlpack.write("dlpack.toml", &format!("{recipe}[config]\nuser = \"worker\"\n[test]\ncommands = [{commands}]\n"));
    dlpack
}

/// How many tests a run of `dlpack ARGS` began, by its events.
fn tests_in(dlpack: &Dlpack, arguments: &[&str]) -> usize {
    let ran = dlpack.command(arguments).arg("--json").output().map(Ran::from).expect("dlpack runs");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let events = ran.stderr.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
    events.filter(|event| event["event"] == "begin" && event["activity"] == "test").count()
}

#[test]
fn a_test_runs_in_the_image_as_its_user_and_alone() {
    let dlpack = tested(
        "'test \"$(id -u)\" = 1234; test \"$(cat /made)\" = made; echo mine >/tmp/mine', \
         { name = \"as root\", user = \"0\", command = 'test \"$(id -u)\" = 0; test ! -e /tmp/mine; test \"$(ls /sys/class/net)\" = lo' }, \
         { name = \"a product\", gpu = true, command = 'nvidia-smi; ls /dev/nvidia0 /dev/nvidia1' }",
    );
    let ran = dlpack.run(["test"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "2 tests passed, 1 skipped\n"), "{}", ran.stderr);
    for said in ["test as root: passed", "test a product: skipped: there is no GPU here"] {
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    let told = dlpack.json(["test", "--quiet"]);
    assert_eq!((told["passed"].as_u64(), told["skipped"].as_u64()), (Some(2), Some(1)), "{told}");
    let machine = Machine::with_driver();
    let ran = dlpack.command(["test"]).env("DLPACK_DRIVER_ROOT", machine.root()).output().map(Ran::from);
    let ran = ran.expect("dlpack runs");
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "3 tests passed\n"), "{}", ran.stderr);
}

#[test]
fn a_failing_test_leaves_the_old_image_under_its_name_here_and_there() {
    let (dlpack, registry) = (tested("'cat /made'"), DebianRegistry::start());
    let name = registry.reference("team/env:1");
    let digest = dlpack.ok(["push", &name]);
    dlpack.edit("dlpack.toml", "echo made", "echo unmade");
    dlpack.edit("dlpack.toml", "'cat /made'", "'cat /made; exit 7'");
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    shown.replace(registry.address(), "REGISTRY");
    shown.run("a push", &mut dlpack.command(["push", "--update", "--quiet", &name]));
    shown.run("a build", &mut dlpack.command(["build", "--quiet", &name]));
    shown.run("a test", &mut dlpack.command(["test", "--quiet"]));
    let before = dlpack.ok(["inspect", "--json", &name]);
    assert!(before.contains(&digest), "{before}");
    assert_eq!(Dlpack::with_docker_io(registry.address()).ok(["pull", "--quiet", &name]), digest);
    let other = dlpack.ok(["push", "--no-test", "--quiet", &name]);
    assert_ne!(other, digest);
    dlpack.edit("dlpack.toml", "[test]\n", "[other]\n");
    shown.run("a table that is none", &mut dlpack.command(["test", "--quiet"]));
    dlpack.edit(
        "dlpack.toml",
        "[other]\ncommands = ['cat /made; exit 7']\n",
        "[test]\ncommands = [{ name = \"x\" }]\n",
    );
    shown.run("a test without a command", &mut dlpack.command(["test", "--quiet"]));
    dlpack.edit("dlpack.toml", "[{ name = \"x\" }]", "[{ command = \"true\", user = \"nobody\" }]");
    shown.run("a user that is not there", &mut dlpack.command(["test", "--quiet"]));
    dlpack.edit("dlpack.toml", "[test]\ncommands = [{ command = \"true\", user = \"nobody\" }]\n", "");
    shown.run("no tests", &mut dlpack.command(["test", "--quiet"]));
    shown.is("test/refused");
}

#[test]
fn what_has_passed_is_not_tested_again_until_it_or_its_tests_change() {
    let (dlpack, registry) = (tested("'cat /made', 'true'"), DebianRegistry::start());
    let name = registry.reference("team/env:1");
    assert_eq!(tests_in(&dlpack, &["push", &name]), 2);
    assert_eq!(tests_in(&dlpack, &["push", &name]), 0);
    assert_eq!(tests_in(&dlpack, &["build", "other"]), 0);
    assert_eq!(tests_in(&dlpack, &["test"]), 2, "whoever asks for tests gets them");
    dlpack.edit("dlpack.toml", "'true'", "'id -u'");
    assert_eq!(tests_in(&dlpack, &["push", &name]), 2);
    dlpack.edit("dlpack.toml", "echo made", "echo unmade");
    assert_eq!(tests_in(&dlpack, &["push", "--update", &name]), 2);

    // what nobody uses any more goes with the rest
    let remembered = || fs::read_dir(dlpack.store().join("tests")).expect("read").count();
    let listed = dlpack.json(["cache", "list"]);
    let kept = listed["entries"].as_array().expect("entries").iter().filter(|entry| entry["kind"] == "test").count();
    assert_eq!((remembered(), kept), (3, 3), "{listed}");
    dlpack.ok(["cache", "verify"]);
    dlpack.ok(["cache", "gc", "--max-size", "0"]);
    assert_eq!(remembered(), 0);
}

#[test]
fn layers_that_only_the_target_has_are_brought_back_for_a_test() {
    let (dlpack, registry) = (tested(""), DebianRegistry::start());
    let files = "[[layer]]\nkind = \"files\"\nfiles = [{ content = \"Welcome.\\n\", to = \"/etc/motd\" }]\n";
    let recipe = fs::read_to_string(dlpack.work().join("dlpack.toml")).expect("a recipe");
    dlpack.write("dlpack.toml", &format!("{recipe}{files}"));
    let name = registry.reference("team/env:1");
    let digest = dlpack.ok(["push", &name]);
    assert!(dlpack.layers_of(&digest).iter().any(|layer| !dlpack.blob(layer).exists()), "the store has not all of it");
    dlpack.edit("dlpack.toml", "commands = []", "commands = ['cat /etc/motd']");
    assert_eq!(tests_in(&dlpack, &["push", &name]), 1);
    assert_eq!(dlpack.ok(["push", "--quiet", &name]), digest);
}
