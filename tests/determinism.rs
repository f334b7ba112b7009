//! The same lock gives the same manifest, whoever builds it, where, when and how.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::support::command::{Dlpack, Ran};
use crate::support::output;

/// Who is nobody on this machine, and on none.
const NOBODY: u32 = 54_321;

/// A home with the small environment and a directory of files, locked.
fn locked() -> Dlpack {
    let dlpack = Dlpack::new();
    dlpack.write_recipe("\"scratch\"");
    // an order that locales disagree on, and one that a file system need not keep
    for name in ["a", "B", "Z", "z", "ä", "ı", "I", "_", "10", "9"] {
        dlpack.write(&format!("tree/{name}/file"), name);
    }
    dlpack.write("tree/run", "#!/bin/sh\n");
    fs::set_permissions(dlpack.work().join("tree/run"), fs::Permissions::from_mode(0o755)).unwrap();
    dlpack.edit("dlpack.toml", "files = [", "files = [{ from = \"tree\", to = \"/srv/tree\" }, ");
    dlpack.ok(["lock"]);
    dlpack
}

/// Another home with the same recipe and lock, whose files have other times and modes.
fn copy_of(original: &Dlpack) -> Dlpack {
    let copy = Dlpack::new();
    let from = original.work().join(".");
    output(Command::new("cp").arg("-r").arg(from).arg(copy.work()), "coreutils");
    output(Command::new("chmod").args(["-R", "go-rwx"]).arg(copy.work()), "coreutils");
    copy
}

#[test]
fn a_build_is_the_same_in_another_directory_under_another_umask_locale_and_time_zone_on_one_thread_and_on_two() {
    let original = locked();
    let first = original.ok(["build", "--jobs", "1"]);
    let worlds = [
        ("umask 077", "C", "UTC", "2"),
        ("umask 000", "C.UTF-8", "Asia/Seoul", "1"),
        ("umask 027", "tr_TR.UTF-8", "America/St_Johns", "2"),
    ];
    for (umask, locale, zone, jobs) in worlds {
        let copy = copy_of(&original);
        let dlpack = copy.command(["build", "--jobs", jobs]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{umask} && exec \"$@\""), "sh"]).arg(dlpack.get_program()).args(dlpack.get_args());
        inherit(&mut shell, &dlpack);
        shell.env("LANG", locale).env("LC_ALL", locale).env("TZ", zone).env("SOURCE_DATE_EPOCH", "1700000000");
        let ran = Ran::from(shell.output().unwrap());
        assert_eq!(ran.stdout.trim_end(), first, "{umask} {locale} {zone}\n{}", ran.stderr);
    }
}

/// Gives `wrapper` the surroundings of `command`.
fn inherit(wrapper: &mut Command, command: &Command) {
    wrapper.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapper.env(name, value),
            None => wrapper.env_remove(name),
        };
    }
}

#[test]
fn a_build_is_the_same_by_root_and_by_somebody_without_any_privilege() {
    let original = locked();
    let first = original.ok(["build"]);
    assert!(rustix::process::geteuid().is_root(), "needs root, to become somebody else\nhint: sudo scripts/test");
    let copy = copy_of(&original);
    give_away(copy.home(), NOBODY);
    // the directory of the binary may be root's alone
    let program = copy.home().join("dlpack");
    fs::copy(env!("CARGO_BIN_EXE_dlpack"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let uv = copy.home().join("uv");
    fs::copy(crate::support::uv::uv(), &uv).unwrap();
    fs::set_permissions(&uv, fs::Permissions::from_mode(0o755)).unwrap();

    let dlpack = copy.command(["build"]);
    let mut setpriv = Command::new("setpriv");
    let id = NOBODY.to_string();
    setpriv.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs", "--inh-caps=-all"]);
    setpriv.arg(&program).args(dlpack.get_args());
    inherit(&mut setpriv, &dlpack);
    setpriv.env("UV_CACHE_DIR", copy.home().join("uv-cache"));
    setpriv.env("PATH", format!("{}:/usr/bin:/bin", copy.home().display()));
    let ran = Ran::from(setpriv.output().unwrap_or_else(|error| panic!("{error}\nhint: apt-get install util-linux")));
    assert_eq!(ran.stdout.trim_end(), first, "{}", ran.stderr);
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(copy.blob(&first)).unwrap());
    assert_eq!(owner, NOBODY, "it was built by somebody else");
}

fn give_away(directory: &Path, uid: u32) {
    for entry in walkdir::WalkDir::new(directory) {
        chown(entry.unwrap().path(), Some(uid), Some(uid)).unwrap();
    }
}

#[test]
fn a_recipe_locked_twice_has_the_same_lock() {
    let dlpack = locked();
    let path = dlpack.work().join("dlpack.lock");
    let first = fs::read(&path).unwrap();
    dlpack.ok(["lock"]);
    assert_eq!(fs::read(&path).unwrap(), first, "over an earlier lock");
    let copy = copy_of(&dlpack);
    fs::remove_file(copy.work().join("dlpack.lock")).unwrap();
    copy.ok(["lock"]);
    assert_eq!(fs::read(copy.work().join("dlpack.lock")).unwrap(), first, "from nothing, elsewhere");
}
