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
        let script = format!("{umask} && exec \"$@\"");
        let mut shell = copy.command_in(&["sh", "-c", &script, "sh"], ["build", "--jobs", jobs]);
        shell.env("LANG", locale).env("LC_ALL", locale).env("TZ", zone).env("SOURCE_DATE_EPOCH", "1700000000");
        let ran = Ran::from(shell.output().unwrap());
        assert_eq!(ran.stdout.trim_end(), first, "{umask} {locale} {zone}\n{}", ran.stderr);
    }
}

#[test]
fn a_build_is_the_same_by_root_and_by_somebody_without_any_privilege() {
    let original = locked();
    let first = original.ok(["build"]);
    assert!(rustix::process::geteuid().is_root(), "needs root, to become somebody else\nhint: sudo scripts/test");
    let copy = copy_of(&original);
    give_away(copy.home(), NOBODY);
    // the directories that they lie in may be root's alone
    let uv = crate::support::uv::uv();
    for (from, name) in [(Path::new(env!("CARGO_BIN_EXE_dlpack")), "dlpack"), (uv.as_path(), "uv")] {
        fs::copy(from, copy.home().join(name)).unwrap();
        fs::set_permissions(copy.home().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let id = NOBODY.to_string();
    let setpriv = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs", "--inh-caps=-all"];
    let the_copy = ["sh", "-c", "shift && exec dlpack \"$@\"", "sh"];
    let mut setpriv = copy.command_in(&[&setpriv[..], &the_copy].concat(), ["build"]);
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
