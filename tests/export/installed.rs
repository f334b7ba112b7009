//! Venvs of what only an image has: one given without its recipe, wheels built from source, and
//! what a base's own Python has.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::venv::{BOTH, RECORDS, inodes, python, recipe};
use crate::support::command::Dlpack;
use crate::support::image::{Layout, Packing, debian};
use crate::support::output;
use crate::support::shown::Shown;
use crate::support::uv::uv;
use crate::support::wheel;

/// What is left out, each with why.
pub(super) fn left_out(told: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let all = told["left_out"].as_array().expect("a list").iter();
    all.map(|one| (text(&one["name"]), text(&one["why"]))).collect()
}

#[test]
fn the_venv_of_an_image_is_found_and_relocated_and_a_new_image_changes_what_is_new_in_it() {
    let dlpack = Dlpack::unprivileged();
    recipe(&dlpack, BOTH);
    dlpack.ok(["build", "mine"]);
    let venv = dlpack.work().join("there/venv");
    fs::create_dir(venv.parent().expect("a parent")).expect("created");
    std::os::unix::fs::chown(dlpack.work().join("there"), Some(crate::support::sandbox::UID), None).expect("given");
    // neither a recipe nor a lock says what is in it
    for file in ["dlpack.toml", "dlpack.lock"] {
        fs::rename(dlpack.work().join(file), dlpack.work().join("there").join(file)).expect("moved");
    }
    let told = dlpack.json(["export", "venv", "--image", "mine", "there/venv"]);
    assert_eq!((&told["packages"], &told["left_out"]), (&json!(2), &json!([])), "{told}");
    assert_eq!(told["written"], json!(["venv", "six 1.16.0", "tqdm 4.66.5"]));
    let mut found: Vec<String> = python(&venv, RECORDS).lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, ["six 1.16.0", "tqdm 4.66.5"]);
    let said = python(&venv, "import six, sys; print(six.__file__, sys.prefix != sys.base_prefix)");
    assert_eq!(said, format!("{}/lib/python3.11/site-packages/six.py True\n", venv.display()));
    output(Command::new(uv()).args(["pip", "check", "--python"]).arg(&venv), "uv");
    let script = output(Command::new(venv.join("bin/tqdm")).arg("--version"), "python3.11");
    assert_eq!(String::from_utf8_lossy(&script.stdout).trim(), "4.66.5");
    let first = inodes(&venv);
    assert_eq!(dlpack.json(["export", "venv", "--image", "mine", "there/venv"])["written"], json!([]));
    assert_eq!(inodes(&venv), first);
    recipe(&dlpack, "\"six==1.16.0\", \"tqdm==4.66.4\"");
    dlpack.ok(["build", "mine"]);
    let told = dlpack.json(["export", "venv", "--image", "mine", "there/venv"]);
    assert_eq!((&told["written"], &told["removed"]), (&json!(["tqdm 4.66.4"]), &json!(["tqdm 4.66.5"])));
    let second = inodes(&venv);
    for path in first.keys().filter(|path| path.contains("six")) {
        assert_eq!(first[path], second[path], "{path}");
    }
}

/// The layout `images` in `dlpack`'s work directory, with an image `two` that has two venvs as the venv
/// module and pip leave them, `none` that has none, and `python` that has packages without a venv.
fn images(dlpack: &Dlpack) -> Layout {
    let root = tempfile::tempdir().expect("a directory");
    let at = |path: &str| root.path().join(path);
    for (venv, options) in [("opt/one", ["-m", "venv", "--without-pip"].as_slice()), ("srv/two", &["-m", "venv"])] {
        output(Command::new("python3").args(options).arg(at(venv)), "python3-venv");
        symlink("/etc/hostname", at(venv).join("lib").join("out")).expect("linked");
    }
    let tar = |path: &str| {
        let mut tar = Command::new("tar");
        output(tar.arg("-C").arg(root.path()).args(["-cf", "-", "--owner=0", "--group=0", path]), "tar").stdout
    };
    let layout = Layout::create(dlpack.work().join("images"));
    let both = |config: &mut Value| {
        config["config"] = json!({ "Env": ["PATH=/opt/one/bin:/srv/two/bin:/usr/bin", "GREETING=hello"] });
    };
    let two = layout.image().config(both);
    two.layer_from(Packing::Gzip, tar("opt").as_slice()).layer_from(Packing::Gzip, tar("srv").as_slice()).tagged("two");
    layout.image().layer_from(Packing::Gzip, tar("opt/one/pyvenv.cfg").as_slice()).tagged("none");
    let site = format!("conda/lib/python{}/site-packages", wheel::python());
    fs::create_dir_all(at(&site)).expect("created");
    fs::create_dir_all(at("conda/bin")).expect("created");
    fs::write(at(&format!("conda/bin/python{}", wheel::python())), "").expect("written");
    symlink(format!("python{}", wheel::python()), at("conda/bin/python3")).expect("linked");
    fs::write(at(&format!("{site}/lonely.py")), "LONELY = 1\n").expect("written");
    symlink("lonely.py", at(&format!("{site}/linked.py"))).expect("linked");
    let path = |config: &mut Value| config["config"] = json!({ "Env": ["PATH=/usr/bin:/conda/bin"] });
    layout.image().config(path).layer_from(Packing::Gzip, tar("conda").as_slice()).tagged("python");
    layout
}

#[test]
fn which_venv_of_an_image_is_meant_and_what_is_no_directory() {
    let dlpack = Dlpack::new();
    images(&dlpack);
    let mut shown = Shown::new();
    shown.replace(dlpack.home().display().to_string(), "HOME");
    let mut refused = |case: &str, arguments: &[&str]| {
        let all = ["export", "venv", "--quiet"].iter().chain(arguments);
        shown.run(case, &mut dlpack.command(all));
    };
    refused("several venvs", &["--image", "oci:images:two"]);
    refused("no venv", &["--image", "oci:images:none"]);
    refused("no venv there", &["--image", "oci:images:two", "--at", "/opt"]);
    refused("a venv without packages", &["--image", "oci:images:two", "--at", "/opt/one"]);
    refused("an image as a directory", &["docker.io/library/python"]);
    refused("an image with a tag as a directory", &["team/env:1"]);
    assert!(!dlpack.work().join("docker.io").exists());
    let told = dlpack.json(["export", "venv", "--image", "oci:images:two", "--at", "/srv/two"]);
    let why = "it is a link that may lead out of the venv".to_owned();
    assert_eq!(left_out(&told), [("lib/out".to_owned(), why)]);
    let venv = dlpack.work().join(".venv");
    let pip = output(Command::new(venv.join("bin/pip")).arg("--version"), "python3-venv");
    let said = String::from_utf8(pip.stdout).expect("UTF-8");
    assert!(said.contains(&format!("from {}/lib/", venv.display())), "{said}");
    assert!(!venv.join("lib/out").exists() && !venv.join("bin/Activate.ps1").exists());
    // an image of this name is in the store: a directory of this name is not what is meant
    recipe(&dlpack, "\"six==1.16.0\"");
    dlpack.ok(["build", "mine"]);
    refused("an image of the store as a directory", &["mine"]);
    shown.is("export/venv-image");
    dlpack.ok(["export", "venv", "./mine"]);
    // without a venv, it is the Python that is found first
    dlpack.ok(["export", "venv", "--image", "oci:images:python", "conda"]);
    assert_eq!(python(&dlpack.work().join("conda"), "import linked; print(linked.LONELY)"), "1\n");
    // a link that leads elsewhere than it did is not as it was
    let linked = dlpack.work().join(format!("conda/lib/python{}/site-packages/linked.py", wheel::python()));
    fs::remove_file(&linked).expect("removed");
    symlink("/nowhere", &linked).expect("linked");
    let told = dlpack.json(["export", "venv", "--image", "oci:images:python", "conda"]);
    assert_eq!(told["written"], json!(["other files of the base"]));
    assert_eq!(fs::read_link(&linked).expect("a link"), Path::new("lonely.py"));
}

#[test]
fn a_wheel_that_was_built_from_source_comes_along_from_its_layer() {
    let dlpack = Dlpack::unprivileged_on(&debian());
    let head = "base = { layout = \"base\", tag = \"gzip\" }\n[[layer]]\nkind = \"venv\"";
    let keys = format!("python = \"{}\"\nprojects = [\"mine\"]\nrequirements = [\"six==1.16.0\"]\n", wheel::python());
    dlpack.write("dlpack.toml", &format!("{head}\n{keys}"));
    let project = "[build-system]\nrequires = [\"flit_core>=3\"]\nbuild-backend = \"flit_core.buildapi\"\n\
                   [project]\nname = \"mine\"\nversion = \"1.2\"\ndescription = \"a test\"\n\
                   [project.scripts]\nsay-mine = \"mine:say\"\n";
    dlpack.write("mine/pyproject.toml", project);
    dlpack.write("mine/mine.py", "import six\ndef say():\n    print('mine', six.__version__)\n");
    let told = dlpack.json(["export", "venv"]);
    let why = "it is built from source, and `dlpack build` has not built it yet".to_owned();
    assert_eq!(left_out(&told), [("mine 1.2".to_owned(), why)]);
    dlpack.ok(["build"]);
    let told = dlpack.json(["export", "venv"]);
    assert_eq!((&told["written"], &told["left_out"]), (&json!(["mine 1.2"]), &json!([])), "{told}");
    let venv = dlpack.work().join(".venv");
    let said = output(&mut Command::new(venv.join("bin/say-mine")), "python3");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "mine 1.16.0\n");
    let mut found: Vec<String> = python(&venv, RECORDS).lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, ["mine 1.2", "six 1.16.0"]);
    assert_eq!(dlpack.json(["export", "venv"])["written"], json!([]));
}
