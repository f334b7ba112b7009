//! The image's venv on this machine: what its Python and uv say of it, and what a second export
//! leaves alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use dlpack::oci::Digest;
use serde_json::Value;

use super::digest;
use crate::support::command::Dlpack;
use crate::support::index::wheel;
use crate::support::output;
use crate::support::shown::Shown;
use crate::support::uv::uv;

/// Writes the recipe of a venv with `requirements`.
pub(super) fn recipe(dlpack: &Dlpack, requirements: &str) {
    let venv = "kind = \"venv\"\npython = \"3.11\"\ninterpreter = \"/usr/bin/python3.11\"";
    dlpack.write("dlpack.toml", &format!("base = \"scratch\"\n[[layer]]\n{venv}\nrequirements = [{requirements}]\n"));
    let _ = fs::remove_file(dlpack.work().join("dlpack.lock"));
}

pub(super) const BOTH: &str = "\"six==1.16.0\", \"tqdm==4.66.5\"";

/// What is at each path of a venv but what exports note down: inode, ctime, and the file.
pub(super) fn inodes(venv: &Path) -> BTreeMap<String, (u64, i64, i64)> {
    let entries = walkdir::WalkDir::new(venv).min_depth(1).into_iter().map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| !entry.file_type().is_dir());
    let told = files.map(|entry| {
        let path = entry.path().strip_prefix(venv).expect("below").display().to_string();
        let stat = entry.path().symlink_metadata().expect("metadata");
        (path, (stat.ino(), stat.ctime(), stat.ctime_nsec()))
    });
    told.filter(|(path, _)| !path.starts_with(".dlpack/")).collect()
}

/// What Python says of all that is installed: whether each file is what its RECORD says.
pub(super) const RECORDS: &str = "
import base64, hashlib, importlib.metadata as metadata
for found in metadata.distributions():
    for path in found.files:
        content = path.locate().read_bytes()
        if path.hash:
            digest = base64.urlsafe_b64encode(hashlib.new(path.hash.mode, content).digest()).rstrip(b'=')
            assert digest.decode() == path.hash.value and len(content) == path.size, path
    print(found.metadata['Name'], found.version)
";

pub(super) fn python(venv: &Path, program: &str) -> String {
    let mut python = Command::new(venv.join("bin/python"));
    let said = output(python.args(["-c", program]).env("PYTHONDONTWRITEBYTECODE", "1"), "python3.11");
    String::from_utf8(said.stdout).expect("UTF-8")
}

#[test]
fn python_uv_and_scripts_find_an_exported_venv_in_order() {
    let dlpack = Dlpack::new();
    recipe(&dlpack, "\"numpy==1.26.4\", \"six==1.16.0\", \"tqdm==4.66.5\"");
    // what no path of an image has
    let venv = dlpack.work().join("a project's/.venv");
    fs::create_dir(venv.parent().expect("a parent")).expect("created");
    let told = dlpack.json(["export", "venv", "a project's/.venv"]);
    assert_eq!(told["path"], venv.to_str().expect("UTF-8"));
    assert_eq!(told["packages"], 3);
    let mut found: Vec<String> = python(&venv, RECORDS).lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, ["numpy 1.26.4", "six 1.16.0", "tqdm 4.66.5"]);
    let program = "import numpy, sys; print(sys.prefix); print(sys.base_prefix != sys.prefix, numpy.arange(4).sum())";
    assert_eq!(python(&venv, program), format!("{}\nTrue 6\n", venv.display()));
    output(Command::new(uv()).args(["pip", "check", "--python"]).arg(&venv), "uv");
    let script = output(Command::new(venv.join("bin/tqdm")).arg("--version"), "python3.11");
    assert_eq!(String::from_utf8_lossy(&script.stdout).trim(), "4.66.5");
    // by its activation script, too
    let activated = "cd /; . \"$0/bin/activate\" && command -v f2py && python -c 'import six; print(six.__version__)'";
    let ran = output(Command::new("bash").args(["-c", activated]).arg(&venv), "bash");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("{}/bin/f2py\n1.16.0\n", venv.display()));
}

#[test]
fn a_second_export_touches_only_the_wheels_that_changed() {
    let dlpack = Dlpack::new();
    recipe(&dlpack, BOTH);
    dlpack.ok(["export", "venv"]);
    let venv = dlpack.work().join(".venv");
    let site = venv.join("lib/python3.11/site-packages");
    let first = inodes(&venv);
    assert_eq!(dlpack.json(["export", "venv"])["written"], serde_json::json!([]));
    assert_eq!(inodes(&venv), first);
    // a person's own files, and bytecode of all modules
    dlpack.write(".venv/lib/python3.11/site-packages/mine.py", "MINE = 1\n");
    dlpack.write(".venv/lib/python3.11/site-packages/tqdm/mine.txt", "mine\n");
    output(Command::new(venv.join("bin/python")).args(["-m", "compileall", "-q"]).arg(&site), "python3.11");
    recipe(&dlpack, "\"six==1.16.0\", \"tqdm==4.66.4\"");
    let told = dlpack.json(["export", "venv"]);
    assert_eq!(told["written"], serde_json::json!(["tqdm 4.66.4"]));
    assert_eq!(told["removed"], serde_json::json!(["tqdm 4.66.5"]));
    let second = inodes(&venv);
    let of_six = |path: &&String| path.contains("six") && !path.contains("__pycache__");
    assert_eq!(first.keys().filter(of_six).count(), 7);
    for path in first.keys().filter(of_six) {
        assert_eq!(first[path], second[path], "{path}");
    }
    assert!(!second.keys().any(|path| path.contains("tqdm-4.66.5")));
    assert!(!second.keys().any(|path| path.contains("tqdm/__pycache__")), "of other files of the same length and time");
    assert!(second.contains_key("lib/python3.11/site-packages/__pycache__/six.cpython-311.pyc"));
    assert_eq!(python(&venv, "import tqdm, mine; print(tqdm.__version__, mine.MINE)"), "4.66.4 1\n");
    // a wheel that is no longer wanted goes, with all that was made of it
    recipe(&dlpack, "\"six==1.16.0\"");
    assert_eq!(dlpack.json(["export", "venv"])["removed"], serde_json::json!(["tqdm 4.66.4"]));
    let left: Vec<String> = inodes(&venv).into_keys().filter(|path| path.contains("tqdm")).collect();
    assert_eq!(left, ["lib/python3.11/site-packages/tqdm/mine.txt"]);
    assert!(!site.join("tqdm/contrib").exists());
}

#[test]
fn what_a_person_changed_or_a_killed_export_left_is_mended() {
    let dlpack = Dlpack::new();
    recipe(&dlpack, BOTH);
    dlpack.ok(["export", "venv"]);
    let venv = dlpack.work().join(".venv");
    let whole = digest(&venv);
    let six = venv.join("lib/python3.11/site-packages/six.py");
    fs::remove_file(&six).expect("removed");
    fs::write(venv.join("bin/tqdm"), "#!/bin/false\n").expect("written");
    fs::remove_file(venv.join("bin/python")).expect("removed");
    let told = dlpack.json(["export", "venv"]);
    assert_eq!(told["written"], serde_json::json!(["venv", "six 1.16.0", "tqdm 4.66.5"]));
    assert_eq!(digest(&venv), whole);
    // as it is while an export goes on: some files are noted as unfinished, one of them is half there
    let noted = venv.join(".dlpack/contents.json");
    let mut contents: Value = serde_json::from_slice(&fs::read(&noted).expect("read")).expect("JSON");
    let path = "lib/python3.11/site-packages/six.py";
    let part = contents["parts"].as_array_mut().expect("parts").iter_mut().find(|part| part["name"] == "six 1.16.0");
    let part = part.expect("six");
    part["whole"] = false.into();
    part["files"].as_object_mut().expect("files").remove(path);
    contents["unfinished"] = serde_json::json!([path, "lib/python3.11/site-packages/gone.py"]);
    fs::write(&noted, contents.to_string()).expect("written");
    fs::remove_file(&six).expect("removed");
    for (path, text) in [(&six, "import half"), (&six.with_file_name("gone.py"), "x"), (&venv.join(".dlpack/new"), "x")]
    {
        fs::write(path, text).expect("written");
    }
    dlpack.ok(["export", "venv"]);
    assert_eq!(digest(&venv), whole);
}

#[test]
fn two_exports_to_one_place_are_the_same_and_the_store_is_not_what_a_person_edits() {
    // who is not root gets further names of the store's files where the filesystem clones none
    for dlpack in [Dlpack::new(), Dlpack::unprivileged()] {
        recipe(&dlpack, BOTH);
        let told = dlpack.json(["export", "venv"]);
        // root could write to a file that is the store's as well, whatever its mode
        assert_eq!(told[if dlpack.is_root() { "linked" } else { "copied" }], 0, "{told}");
        let venv = dlpack.work().join(".venv");
        let (first, modes) = (digest(&venv), modes(&venv));
        let six = venv.join("lib/python3.11/site-packages/six.py");
        assert_eq!(six.metadata().expect("a file").mode() & 0o777, 0o444);
        fs::remove_dir_all(&venv).expect("removed");
        dlpack.ok(["export", "venv"]);
        assert_eq!((digest(&venv), self::modes(&venv)), (first, modes));
        dlpack.ok(["cache", "verify"]);
        // as a person must who edits a file of a library all the same
        let text = fs::read_to_string(&six).expect("read");
        fs::set_permissions(&six, fs::Permissions::from_mode(0o644)).expect("set");
        fs::write(&six, text.replace("1.16.0", "mine")).expect("written");
        fs::remove_dir_all(&venv).expect("removed");
        dlpack.ok(["export", "venv"]);
        assert_eq!(digest(&venv), first);
        // what is unpacked goes, and comes again
        dlpack.ok(["cache", "gc", "--max-size", "0"]);
        assert_eq!(fs::read_dir(dlpack.store().join("unpacked/sha256")).expect("read").count(), 0);
        assert_eq!(python(&venv, "import six; print(six.__version__)"), "1.16.0\n");
        fs::remove_dir_all(&venv).expect("removed");
        dlpack.ok(["export", "venv"]);
        assert_eq!(digest(&venv), first);
    }
}

fn modes(venv: &Path) -> Vec<(PathBuf, u32, i64)> {
    let entries = walkdir::WalkDir::new(venv).min_depth(1).sort_by_file_name().into_iter();
    let told = entries.map(|entry| entry.expect("an entry")).filter(|entry| entry.file_type().is_file());
    let told = told.map(|entry| (entry.path().to_owned(), entry.metadata().expect("metadata")));
    let told = told.map(|(path, stat)| (path, stat.mode(), stat.mtime()));
    told.filter(|(path, ..)| !path.ends_with(".dlpack/contents.json")).collect()
}

#[test]
fn the_images_own_python_comes_along_and_damage_in_the_store_does_not() {
    let dlpack = Dlpack::new();
    // as standalone builds are: all of it in `python/`, wherever that is
    let mut tar = Command::new("tar");
    tar.args(["-C", "/usr", "--exclude=__pycache__", "--exclude=lib/python3.11/test", "--exclude=sitecustomize.py"]);
    tar.args(["--transform", "s,^,python/,S", "-czf", "python.tar.gz", "bin/python3.11", "lib/python3.11"]);
    let marker = "lib/python3.11/_sysconfigdata_standalone.py";
    dlpack.write(marker, "build_time_vars = {'PYTHON_BUILD_STANDALONE': 1}\n");
    output(tar.arg("-C").arg(dlpack.work()).arg(marker).current_dir(dlpack.work()), "python3.11");
    let sha256 = Digest::of(&fs::read(dlpack.work().join("python.tar.gz")).expect("read"));
    let interpreter = format!("interpreter = {{ url = \"python.tar.gz\", sha256 = \"{}\" }}", sha256.hex());
    let venv = format!("[[layer]]\nkind = \"venv\"\npython = \"3.11\"\n{interpreter}\n");
    dlpack.write("dlpack.toml", &format!("base = \"scratch\"\n{venv}requirements = [\"six==1.16.0\"]\n"));
    // no other Python is looked for
    dlpack.ok(["lock"]);
    let exported = dlpack.command(["export", "venv"]).env("PATH", "/none").output().expect("it runs");
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let venv = dlpack.work().join(".venv");
    let program = "import six, ssl, sys; print(six.__version__, sys.prefix, sys.base_prefix)";
    let said = format!("1.16.0 {0} {0}/.python\n", venv.display());
    assert_eq!(python(&venv, program), said);
    // of the image without its recipe, too
    dlpack.ok(["build", "mine"]);
    let mut of_image = dlpack.command(["export", "venv", "--image", "mine", "other"]);
    output(of_image.env("PATH", "/none"), "python3.11");
    let other = dlpack.work().join("other");
    assert_eq!(python(&other, program), format!("1.16.0 {0} {0}/.python\n", other.display()));
    let unpacked = dlpack.store().join("unpacked/sha256");
    let files = walkdir::WalkDir::new(&unpacked).into_iter().map(|entry| entry.expect("an entry").into_path());
    let six = files.into_iter().find(|path| path.ends_with("site-packages/six.py")).expect("six");
    fs::set_permissions(&six, fs::Permissions::from_mode(0o644)).expect("set");
    fs::write(&six, "damaged").expect("written");
    assert_eq!(dlpack.run(["cache", "verify"]).status, 6);
    fs::remove_dir_all(&venv).expect("removed");
    dlpack.ok(["export", "venv"]);
    assert_eq!(python(&venv, program), said);
    dlpack.ok(["cache", "verify"]);
}

#[test]
fn what_is_in_the_way_of_a_venv() {
    let dlpack = Dlpack::new();
    recipe(&dlpack, BOTH);
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    let mut refused = |case: &str, arguments: &[&str]| {
        let all = ["export", "venv"].iter().chain(arguments);
        shown.run(case, &mut dlpack.command(all));
    };
    dlpack.write("mine/file", "mine");
    dlpack.write("other/pyvenv.cfg", "home = /usr/bin\n");
    refused("a directory that is no venv", &["mine"]);
    refused("a directory that is no venv, with --force", &["mine", "--force"]);
    refused("another tool's venv", &["other"]);
    refused("a file", &["mine/file"]);
    refused("no directory above it", &["nowhere/venv"]);
    refused("a name that PATH has no room for", &["./a:b"]);
    refused("no Python", &["--python", "/bin/false"]);
    refused("another Python", &["--python", "mine/python"]);
    refused("no such layer", &["--layer", "neither"]);
    dlpack.write("elsewhere/file", "mine");
    dlpack.ok(["export", "venv"]);
    recipe(&dlpack, "\"six==1.16.0\"");
    dlpack.ok(["export", "venv"]);
    // theirs are where tqdm's would be
    dlpack.write(".venv/lib/python3.11/site-packages/tqdm/utils.py", "mine");
    symlink(dlpack.work().join("elsewhere"), dlpack.work().join(".venv/lib/python3.11/site-packages/tqdm/contrib"))
        .expect("linked");
    recipe(&dlpack, BOTH);
    refused("files of a person's", &[]);
    let mut lonely = dlpack.command(["export", "venv", "new"]);
    shown.run("no Python on this machine", lonely.env("PATH", "/").env("UV_PYTHON_INSTALL_DIR", "/none"));
    let text = fs::read_to_string(dlpack.work().join("dlpack.toml")).expect("read");
    dlpack.write("arm.toml", &format!("platform = \"linux/arm64\"\n{text}"));
    shown.run("another machine's wheels", &mut dlpack.command(["-r", "arm.toml", "export", "venv", "arm"]));
    dlpack.write("bare.toml", "base = \"scratch\"\n");
    shown.run("a recipe without a venv", &mut dlpack.command(["-r", "bare.toml", "export", "venv"]));
    shown.is("export/venv");
    dlpack.ok(["export", "venv", "--force"]);
    assert_eq!(fs::read_dir(dlpack.work().join("elsewhere")).expect("read").count(), 1, "nothing goes through a link");
    dlpack.ok(["export", "venv", "other", "--force"]);
    for venv in [".venv", "other"] {
        assert_eq!(python(&dlpack.work().join(venv), "import tqdm; print(tqdm.__version__)"), "4.66.5\n");
    }
}

#[test]
fn a_full_disk_keeps_nothing_of_a_new_venv() {
    let dlpack = Dlpack::new();
    let big = wheel("big", &[("big/zeros.bin", &vec![0; 8 << 20])]);
    fs::write(dlpack.work().join("big-1.0-py3-none-any.whl"), big).expect("written");
    let venv = "kind = \"venv\"\npython = \"3.11\"\ninterpreter = \"/usr/bin/python3.11\"";
    let wheels = "wheels = [\"big-1.0-py3-none-any.whl\"]";
    dlpack.write("dlpack.toml", &format!("base = \"scratch\"\n[[layer]]\n{venv}\n{wheels}\n"));
    dlpack.ok(["lock"]);
    fs::create_dir(dlpack.work().join("small")).expect("created");
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    // what is left is listed where the small disk is mounted
    let script = "mount -t tmpfs -o size=$0 none small && { \"$@\"; status=$?; ls -A small >&2; exit $status; }";
    // the store has the wheel, and no room to unpack it
    for (case, size, arguments) in [
        ("a full disk", "4m", ["export", "venv", "small/venv"].as_slice()),
        ("a full store", "12m", ["export", "venv", "--store", "small/store"].as_slice()),
    ] {
        let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, size];
        shown.run(case, &mut dlpack.command_in(&namespace, arguments));
    }
    shown.is("export/venv-full");
    assert!(!dlpack.work().join(".venv").exists());
}
