//! A venv that a cloned repository brings along: what it says of itself leads to no file elsewhere.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::venv::recipe;
use crate::support::command::Dlpack;
use crate::support::shown::Shown;

#[test]
fn what_a_venv_says_of_itself_leads_to_no_file_outside_of_it() {
    let dlpack = Dlpack::new();
    recipe(&dlpack, "\"six==1.16.0\"");
    dlpack.ok(["export", "venv"]);
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    let theirs = dlpack.home().join("theirs");
    fs::write(&theirs, "theirs\n").expect("written");
    let noted = dlpack.work().join(".venv/.dlpack/contents.json");
    let contents: Value = serde_json::from_slice(&fs::read(&noted).expect("read")).expect("JSON");
    for (case, path) in [
        ("a path that leads up", "../../theirs"),
        ("a path that leads up from within", "lib/../../../theirs"),
        ("an absolute path", theirs.to_str().expect("UTF-8")),
        ("an empty path", ""),
    ] {
        let mut of_part = contents.clone();
        of_part["parts"][0]["files"][path] = json!({ "mode": 0o100_644, "size": 7 });
        let mut unfinished = contents.clone();
        unfinished["unfinished"] = json!([path]);
        for contents in [of_part, unfinished] {
            fs::write(&noted, contents.to_string()).expect("written");
            shown.run(case, &mut dlpack.command(["export", "venv"]));
            assert_eq!(fs::read(&theirs).expect("it is there"), b"theirs\n", "{case}");
        }
    }
    // what is noted is somebody else's
    fs::write(&noted, contents.to_string()).expect("written");
    let elsewhere = dlpack.home().join("elsewhere");
    fs::rename(noted.parent().expect("a directory"), &elsewhere).expect("renamed");
    symlink(&elsewhere, noted.parent().expect("a directory")).expect("linked");
    shown.run("a link to what another venv has noted", &mut dlpack.command(["export", "venv"]));
    shown.is("export/venv-cloned");
    dlpack.ok(["export", "venv", "--force"]);
}

#[test]
fn nothing_is_removed_behind_a_link() {
    let dlpack = Dlpack::new();
    recipe(&dlpack, "\"six==1.16.0\"");
    dlpack.ok(["export", "venv"]);
    let site = dlpack.work().join(".venv/lib/python3.11/site-packages");
    dlpack.write("elsewhere/six.cpython-311.pyc", "mine");
    dlpack.write("elsewhere/gone.py", "mine");
    symlink(dlpack.work().join("elsewhere"), site.join("__pycache__")).expect("linked");
    symlink(dlpack.work().join("elsewhere"), site.join("linked")).expect("linked");
    let noted = dlpack.work().join(".venv/.dlpack/contents.json");
    let mut contents: Value = serde_json::from_slice(&fs::read(&noted).expect("read")).expect("JSON");
    contents["unfinished"] = json!(["lib/python3.11/site-packages/linked/gone.py"]);
    fs::write(&noted, contents.to_string()).expect("written");
    recipe(&dlpack, "\"tqdm==4.66.5\"");
    dlpack.ok(["export", "venv"]);
    assert!(!site.join("six.py").exists());
    assert_eq!(fs::read_dir(dlpack.work().join("elsewhere")).expect("read").count(), 2);
}
