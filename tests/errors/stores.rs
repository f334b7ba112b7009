//! Stores on a disk that is full, or with something else in their files.

use std::fs;

use super::shown_at;
use crate::support::command::Dlpack;

const ZONE: &str =
    "base = \"scratch\"\nplatform = \"linux/amd64\"\n[[layer]]\nkind = \"timezone\"\nzone = \"Asia/Seoul\"\n";

#[test]
fn a_store_on_a_full_disk() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let noise: String = (0..200_000).map(|_| fastrand::alphanumeric()).collect();
    dlpack.write("noise", &noise);
    let files = "[[layer]]\nkind = \"files\"\nfiles = [{ from = \"noise\", to = \"/noise\" }]\n";
    dlpack.write("dlpack.toml", &format!("base = \"scratch\"\nplatform = \"linux/amd64\"\n{files}"));
    dlpack.ok(["lock"]);
    let script = "mount -t tmpfs -o size=64k none \"$DLPACK_STORE\" && exec \"$@\"";
    let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"];
    shown.run("a full disk", &mut dlpack.command_in(&namespace, ["build"]));
    shown.is("stores/full");
}

#[test]
fn a_store_with_something_else_in_its_files() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    dlpack.write("dlpack.toml", ZONE);
    let digest = dlpack.ok(["build", "team/env:1"]);
    let keys: Vec<_> = walkdir::WalkDir::new(dlpack.store().join("keys")).into_iter().filter_map(Result::ok).collect();
    for key in keys.iter().filter(|entry| entry.file_type().is_file()) {
        fs::write(key.path(), "{").unwrap();
    }
    assert_eq!(dlpack.ok(["build"]), digest, "a record that is none is made anew");
    let manifest = fs::read(dlpack.blob(&digest)).unwrap();
    fs::write(dlpack.store().join("index.json"), manifest).unwrap();
    shown.run("a manifest for its index", &mut dlpack.command(["cache", "list"]));
    shown.is("stores/files");
}
