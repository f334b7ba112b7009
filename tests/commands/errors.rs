//! Mistakes, and what stands in the way: each is named, with its cause, a hint, and an
//! exit status of its kind.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use dlpack::store::Store;
use snapbox::file;

use super::Transcript;
use crate::support::command::Dlpack;
use crate::support::registry::{DebianRegistry, USER};

#[test]
fn a_wrong_command_line_is_explained() {
    let dlpack = Dlpack::new();
    let mut wrong = Transcript::new(&dlpack);
    for line in [
        "",
        "biuld",
        "build --updat",
        "build --jobs 0",
        "build --set greeting",
        "build --platform linux",
        "build -q -v",
        "push",
        "push team/UPPER:1",
        "push team/env@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "push --limit-rate fast team/env:1",
        "cache gc --max-size much",
        "cache gc --unused-for 3",
        "serve --address here",
        "completions tcsh",
        "login --password-stdin",
        "login --username me",
        "login",
        "push REGISTRY.example/Team/env:1",
        "inspect oci:layout",
    ] {
        assert_eq!(wrong.run(line).status, 2, "{line}");
    }
    wrong.is(file!["../snapshots/commands/usage.txt"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let dlpack = Dlpack::new();
    for line in [&["completions", "bash"][..], &["man"], &["run", "--help"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ran = dlpack.command(line).stdout(writer).output().expect("it runs");
        assert!(ran.status.success(), "{line:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    let full = fs::File::options().write(true).open("/dev/full").expect("a full disk");
    let ran = dlpack.command(["man"]).stdout(full).output().expect("it runs");
    assert_eq!(ran.status.code(), Some(7), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn what_is_wrong_with_recipes_and_locks_is_named() {
    let dlpack = Dlpack::new();
    let mut wrong = Transcript::new(&dlpack);
    for line in ["build", "lock --check", "plan -r elsewhere/other.toml", "build -r trch"] {
        assert_eq!(wrong.run(line).status, 3, "{line}");
    }
    dlpack.write_recipe("\"scratch\"");
    for line in ["lock --check", "build --set greting=hi"] {
        assert_eq!(wrong.run(line).status, 3, "{line}");
    }
    dlpack.ok(["lock"]);
    dlpack.edit("dlpack.toml", "Asia/Seoul", "Europe/Berlin");
    for line in ["build", "lock --check", "plan --platform linux/arm64"] {
        assert_eq!(wrong.run(line).status, 3, "{line}");
    }
    dlpack.edit("dlpack.toml", "[[layer]]\nkind = \"timezone\"", "[[layer]]\nkind = \"timezome\"");
    assert_eq!(wrong.run("plan").status, 3);
    dlpack.write("dlpack.toml", "base = \"scratch\"\n");
    dlpack.write("dlpack.lock", "version = 1\nplatform = 5\n");
    assert_eq!(wrong.run("build").status, 3);
    dlpack.write("dlpack.lock", "version = 99\n");
    assert_eq!(wrong.run("build").status, 3);
    let nowhere = "[[layer]]\nkind = \"venv\"\npython = \"3.11\"\ninterpreter = \"/usr/bin/python3.11\"\n";
    let recipe = format!("base = \"scratch\"\n{nowhere}requirements = [\"six==999\"]\n");
    dlpack.write("dlpack.toml", &recipe);
    assert_eq!(wrong.run("build --update").status, 3);
    wrong.is(file!["../snapshots/commands/recipes.txt"]);
}

#[test]
fn registries_that_cannot_be_used_are_named() {
    let registry = DebianRegistry::start_with_password();
    let open = DebianRegistry::start();
    let dlpack = Dlpack::new();
    dlpack.write("dlpack.toml", "base = \"scratch\"\n");
    let mut wrong = Transcript::new(&dlpack).replace(registry.address(), "PRIVATE").replace(open.address(), "OPEN");
    for (status, line) in [
        // port 9 is discard: nobody listens
        (4, "push 127.0.0.1:9/team/env:1"),
        (4, "pull OPEN/team/env:nothing"),
        (4, "inspect OPEN/team/env:nothing"),
        (5, "push PRIVATE/team/env:1"),
        (5, "pull PRIVATE/team/env:1"),
    ] {
        assert_eq!(wrong.run(line).status, status, "{line}");
    }
    let line = format!("login {} --username {USER} --password-stdin", registry.address());
    let mut guess = tempfile::tempfile().unwrap();
    guess.write_all(b"guess\n").unwrap();
    std::io::Seek::rewind(&mut guess).unwrap();
    let mut login = dlpack.command(line.split(' '));
    assert_eq!(wrong.run_command(&line, login.stdin(Stdio::from(guess))).status, 5);
    dlpack.write("dlpack.toml", &format!("base = \"{}/bases/none:1\"\n", open.address()));
    assert_eq!(wrong.run("lock").status, 4);
    dlpack.write("../registries.conf", "[[registry]\n");
    wrong.run("pull OPEN/team/env:1");
    wrong.is(file!["../snapshots/commands/registries.txt"]);
}

#[test]
fn a_store_that_cannot_be_used_is_named() {
    let dlpack = Dlpack::new();
    dlpack.write("dlpack.toml", "base = \"scratch\"\n[[layer]]\nkind = \"timezone\"\nzone = \"Asia/Seoul\"\n");
    dlpack.write("file", "");
    dlpack.write("directory/of/others", "");
    let mut wrong = Transcript::new(&dlpack);
    for line in ["build --store file", "build --store directory", "cache --store file/below list"] {
        assert_eq!(wrong.run(line).status, 7, "{line}");
    }
    let mut homeless = dlpack.command(["build"]);
    homeless.env_remove("HOME").env_remove("DLPACK_STORE");
    assert_eq!(wrong.run_command("build", &mut homeless).status, 7);

    dlpack.ok(["lock"]);
    let script = "mount --bind \"$DLPACK_STORE\" \"$DLPACK_STORE\" && \
                  mount -o remount,ro,bind \"$DLPACK_STORE\" && exec \"$@\"";
    let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"];
    let mut read_only = dlpack.command_in(&namespace, ["build"]);
    assert_eq!(wrong.run_command("build", &mut read_only).status, 7);

    dlpack.ok(["build", "small"]);
    let served = dlpack.serve();
    wrong.replaced.push((served.address.clone(), "ADDRESS"));
    assert_eq!(wrong.run("serve --address ADDRESS").status, 4);
    drop(served);
    let lease = Store::open(&dlpack.store()).unwrap().lease().unwrap();
    assert_eq!(wrong.run("cache gc").status, 7);
    drop(lease);

    let index = dlpack.store().join("index.json");
    fs::write(index, "{").unwrap();
    assert_eq!(wrong.run("cache list").status, 7);
    wrong.is(file!["../snapshots/commands/stores.txt"]);
}

#[test]
fn without_uv_it_says_how_to_get_it() {
    let dlpack = Dlpack::new();
    dlpack.write_recipe("\"scratch\"");
    let mut wrong = Transcript::new(&dlpack);
    let mut lock = dlpack.command(["lock"]);
    assert_eq!(wrong.run_command("lock", lock.env("PATH", "/nowhere")).status, 1);
    dlpack.ok(["build"]);
    let mut build = dlpack.command(["build"]);
    assert_eq!(wrong.run_command("build", build.env("PATH", "/nowhere")).status, 0, "what is built needs no uv");
    wrong.is(file!["../snapshots/commands/uv.txt"]);
}
