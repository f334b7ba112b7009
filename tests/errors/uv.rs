//! What uv says, or fails to say: a stand-in answers as it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::shown_at;
use crate::support::command::Dlpack;

const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A home with a recipe of one venv, and a program to take for uv.
fn with_uv(script: &str) -> (Dlpack, Command) {
    let dlpack = Dlpack::new();
    let index = "index-url = \"http://127.0.0.1:9/simple\"\nextra-index-url = [\"http://127.0.0.1:9/extra\"]";
    let venv = "[[layer]]\nkind = \"venv\"\npython = \"3.11\"\ninterpreter = \"/usr/bin/python3.11\"\n";
    let recipe = format!("base = \"scratch\"\nplatform = \"linux/amd64\"\n{venv}{index}\nrequirements = [\"made\"]\n");
    dlpack.write("dlpack.toml", &recipe);
    let uv = dlpack.write("../uv", &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&uv, fs::Permissions::from_mode(0o755)).unwrap();
    let mut lock = dlpack.command(["lock"]);
    lock.env("DLPACK_UV", uv);
    (dlpack, lock)
}

/// A uv that answers with this `pylock.toml`.
fn answering(pylock: &str) -> String {
    format!(
        "case \"$*\" in\n--version) echo 'uv 0.13.9' ;;\n\
         *--emit-index-annotation*) echo 'made==1.0'; echo '    # from http://elsewhere.example/simple' ;;\n\
         *) cat <<'END'\n{pylock}\nEND\n;;\nesac"
    )
}

fn package(rest: &str) -> String {
    answering(&format!("lock-version = \"1.0\"\n[[packages]]\nname = \"made\"\nversion = \"1.0\"\n{rest}"))
}

fn wheel(file: &str, hashes: &str) -> String {
    package(&format!("wheels = [{{ url = \"http://127.0.0.1:9/files/{file}\", {hashes} }}]"))
}

#[test]
fn an_answer_that_cannot_be_used() {
    let made = "made-1.0-py3-none-any.whl";
    let sha256 = format!("hashes = {{ sha256 = \"{HASH}\" }}");
    let mut shown = shown_at(&Dlpack::new());
    for (case, script) in [
        ("another program", "echo 'something 1.0'".to_owned()),
        ("an old uv", "echo 'uv 0.4.30'".to_owned()),
        ("a uv that is gone when it is asked", "echo 'uv 0.13.9'; rm \"$0\"".to_owned()),
        ("a uv that fails without a word", "[ \"$1\" = --version ] && echo 'uv 0.13.9'".to_owned()),
        ("no pylock.toml", answering("packages = 5")),
        ("another lock-version", answering("lock-version = \"2.0\"")),
        ("no wheel for the target", wheel("made-1.0-cp39-cp39-win_amd64.whl", &sha256)),
        ("no wheel at all", package("sdist = { url = \"http://127.0.0.1:9/made-1.0.tar.gz\" }")),
        ("a directory", package("directory = { path = \"made\" }")),
        ("a repository", package("vcs = { type = \"git\", url = \"http://127.0.0.1:9/made.git\" }")),
        ("no sha256", wheel(made, "hashes = {}")),
        ("a sha256 that is none", wheel(made, "hashes = { sha256 = \"abc\" }")),
        ("a file that is named as no wheel is", wheel("made.whl", &sha256)),
        ("an index that it does not list", wheel(made, &sha256)),
    ] {
        let (dlpack, mut lock) = with_uv(&script);
        shown.replace(dlpack.home().display().to_string(), "HOME");
        shown.run(case, &mut lock);
    }
    shown.is("uv/answers");
}

#[test]
fn a_machine_without_room_for_its_questions() {
    let (dlpack, mut lock) = with_uv("echo 'uv 0.13.9'");
    let mut shown = shown_at(&dlpack);
    shown.run("no directory for temporary files", lock.env("TMPDIR", "/nowhere"));
    shown.is("uv/scratch");
}
