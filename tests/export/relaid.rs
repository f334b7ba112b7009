//! Venvs of images made by hand: what lies in them decides, and not what their times and names say.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::installed::left_out;
use super::venv::{RECORDS, python};
use crate::support::command::Dlpack;
use crate::support::image::{Layout, Packing, Tar, debian};
use crate::support::wheel;

/// Site-packages of a venv, relative to it.
fn site() -> String {
    format!("lib/python{}/site-packages", wheel::python())
}

/// A venv at `/opt/venv` with the distribution `one 1.0`.
fn venv() -> Tar {
    let config = format!("home = /usr/bin\nversion = {}\n", wheel::python());
    distribution(Tar::new().file("opt/venv/pyvenv.cfg", config), &format!("opt/venv/{}", site()), "one", "1.0")
}

/// Adds a distribution without files of its own to the directory `site`.
fn distribution(tar: Tar, site: &str, name: &str, version: &str) -> Tar {
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    let directory = format!("{site}/{name}-{version}.dist-info");
    let record = format!("{name}-{version}.dist-info/METADATA,,\n{name}-{version}.dist-info/RECORD,,\n");
    tar.file(&format!("{directory}/METADATA"), metadata).file(&format!("{directory}/RECORD"), record)
}

fn tag(layout: &Layout, tag: &str, tar: Tar) {
    layout.image().layer(Packing::Plain, tar).tagged(tag);
}

fn exported(dlpack: &Dlpack, tag: &str, directory: &str) -> Value {
    dlpack.json(["export", "venv", "--image", &format!("oci:images:{tag}"), directory])
}

#[test]
fn a_file_that_changed_is_told_by_what_is_in_it() {
    let dlpack = Dlpack::new();
    let layout = Layout::create(dlpack.work().join("images"));
    let module = format!("opt/venv/{}/waits.py", site());
    // of one name, length and time
    for seconds in ["60", "90", "91"] {
        tag(&layout, seconds, venv().file(&module, format!("SECONDS = {seconds}\n")));
    }
    let said = |directory: &str| python(&dlpack.work().join(directory), "import waits; print(waits.SECONDS)");
    for seconds in ["60", "90", "91"] {
        let told = exported(&dlpack, seconds, ".venv");
        assert!(told["written"].as_array().expect("a list").contains(&json!("other files")), "{told}");
        assert_eq!(said(".venv"), format!("{seconds}\n"));
        assert_eq!(exported(&dlpack, seconds, ".venv")["written"], json!([]));
    }
    // nor has the store what another image had
    exported(&dlpack, "60", "other");
    assert_eq!(said("other"), "60\n");
    dlpack.ok(["cache", "verify"]);
}

#[test]
fn a_directory_with_a_persons_files_makes_no_way() {
    let dlpack = Dlpack::new();
    let layout = Layout::create(dlpack.work().join("images"));
    let at = |path: &str| format!("opt/venv/{}/{path}", site());
    tag(&layout, "before", venv().file(&at("foo/__init__.py"), "").file(&at("foo/deep/__init__.py"), ""));
    let bar = venv().file(&at("bar/__init__.py"), "").symlink(&at("foo"), "bar");
    tag(&layout, "after", bar);
    exported(&dlpack, "before", ".venv");
    let foo = dlpack.work().join(".venv").join(site()).join("foo");
    for mine in ["mine.py", "deep/mine.py"] {
        fs::write(foo.join(mine), "mine\n").expect("written");
        let refused = dlpack.run(["export", "venv", "--image", "oci:images:after"]);
        assert_eq!(refused.status, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(&format!("foo/{mine} is in the way")), "{}", refused.stderr);
        assert_eq!(fs::read_to_string(foo.join(mine)).expect("it is there"), "mine\n");
        fs::remove_file(foo.join(mine)).expect("removed");
    }
    // bytecode is nobody's
    dlpack.write(&format!(".venv/{}/foo/deep/__pycache__/gone.cpython-311.pyc", site()), "");
    exported(&dlpack, "after", ".venv");
    assert_eq!(fs::read_link(&foo).expect("a link"), Path::new("bar"));
    // with --force, a person's make way
    fs::remove_file(&foo).expect("removed");
    dlpack.write(&format!(".venv/{}/foo/mine.py", site()), "mine\n");
    dlpack.ok(["export", "venv", "--image", "oci:images:after", "--force"]);
    assert_eq!(fs::read_link(&foo).expect("a link"), Path::new("bar"));
}

#[test]
fn a_link_leads_up_at_its_beginning_alone() {
    let dlpack = Dlpack::new();
    let layout = Layout::create(dlpack.work().join("images"));
    let at = |path: &str| format!("opt/venv/{}/{path}", site());
    let links = venv()
        .file(&at("a/b/c/one.py"), "ONE = 1\n")
        .symlink(&at("a/b/c/l"), "../../..")
        .symlink(&at("absolute"), &format!("/{}", at("a/b")))
        .symlink(&at("down"), "./a/b/c")
        .symlink(&at("through"), "a/b/c/l/down/one.py")
        .symlink(&at("up"), "../../../..")
        .symlink(&at("up-by-a-link"), "a/b/c/l/../../../..")
        .symlink(&at("up-by-an-absolute-one"), &format!("/{}", at("a/../../../../..")));
    tag(&layout, "links", links);
    let left: Vec<String> = left_out(&exported(&dlpack, "links", ".venv")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["up", "up-by-a-link", "up-by-an-absolute-one"].map(|name| format!("{}/{name}", site())));
    let venv = dlpack.work().join(".venv");
    for kept in ["a/b/c/l/one-1.0.dist-info", "absolute/c/one.py", "down/one.py", "through"] {
        let real = fs::canonicalize(venv.join(site()).join(kept)).expect("it leads somewhere");
        assert!(real.starts_with(&venv), "{}", real.display());
    }
}

#[test]
fn an_accounts_venv_has_the_packages_that_it_shares() {
    let dlpack = Dlpack::unprivileged_on(&debian());
    let python_line = format!("python = \"{}\"\nrequirements = [\"six==1.16.0\", \"tqdm==4.66.5\"]\n", wheel::python());
    let account = "[[layer]]\nkind = \"account\"\nuser = \"dev\"\nuid = 1234\nvenv = \"/opt/venv\"\n";
    let base = "base = { layout = \"base\", tag = \"gzip\" }\n";
    dlpack.write("dlpack.toml", &format!("{base}[[layer]]\nkind = \"venv\"\n{python_line}{account}"));
    dlpack.ok(["build", "mine"]);
    let told = dlpack.json(["export", "venv", "--image", "mine"]);
    assert_eq!((&told["packages"], &told["left_out"]), (&json!(2), &json!([])), "{told}");
    let venv = dlpack.work().join(".venv");
    let mut found: Vec<String> = python(&venv, RECORDS).lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, ["six 1.16.0", "tqdm 4.66.5"]);
    assert!(!venv.join(site()).join("shared.pth").exists(), "it leads to a path of the image");
    assert_eq!(dlpack.json(["export", "venv", "--image", "mine"])["written"], json!([]));
}

#[test]
fn a_package_comes_along_once() {
    let dlpack = Dlpack::new();
    let layout = Layout::create(dlpack.work().join("images"));
    let (local, debian) =
        (format!("usr/local/lib/python{}/dist-packages", wheel::python()), "usr/lib/python3/dist-packages");
    let of_debian = |tar: Tar, name: &str, modules: &str| {
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n");
        let tar = tar.file(&format!("{debian}/{name}-0.1.egg-info/PKG-INFO"), metadata);
        tar.file(&format!("{debian}/{name}-0.1.egg-info/top_level.txt"), modules)
    };
    let mut tar = Tar::new().file(&format!("usr/bin/python{}", wheel::python()), "");
    tar = tar.symlink("bin", "usr/bin").symlink("usr/bin/python3", &format!("python{}", wheel::python()));
    tar = distribution(tar, &local, "two", "2.0").file(&format!("{local}/plain.py"), "IS = 'local'\n");
    tar = of_debian(tar, "two", "two\n").file(&format!("{debian}/two/__init__.py"), "IS = 'debian'\n");
    tar = of_debian(tar, "three", "three\n").file(&format!("{debian}/three.py"), "IS = 'debian'\n");
    tar = tar.file(&format!("{debian}/plain.py"), "IS = 'debian'\n");
    // merged-/usr: the Python is found by a link on the way
    let path = |config: &mut Value| config["config"] = json!({ "Env": ["PATH=/bin:/usr/bin"] });
    layout.image().config(path).layer(Packing::Plain, tar).tagged("debian");
    let told = exported(&dlpack, "debian", ".venv");
    assert_eq!(told["written"], json!(["other files of the base", "three 0.1", "two 2.0", "venv"]));
    assert_eq!(told["packages"], json!(2));
    let program = "import plain, three; print(plain.IS, three.IS)\n\
                   from importlib.metadata import distributions\n\
                   print(sorted(one.metadata['Name'] + one.version for one in distributions()))";
    let said = python(&dlpack.work().join(".venv"), program);
    assert_eq!(said, "local debian\n['three0.1', 'two2.0']\n");
    assert!(!dlpack.work().join(".venv").join(site()).join("two").exists(), "of the package that is not seen");
}

#[test]
fn a_python_comes_along_only_if_it_is_a_standalone_build() {
    let dlpack = Dlpack::new();
    let layout = Layout::create(dlpack.work().join("images"));
    for (name, variables) in [("pyenv", "{'prefix': '/opt/own'}"), ("standalone", "{'PYTHON_BUILD_STANDALONE': 1}")] {
        let library = format!("opt/own/lib/python{}", wheel::python());
        let mut tar = Tar::new().file(&format!("opt/own/bin/python{}", wheel::python()), "");
        tar = tar.symlink("opt/own/bin/python3", &format!("python{}", wheel::python()));
        tar = tar.file(&format!("{library}/os.py"), "").symlink(&format!("{library}/out.py"), "/etc/out.py");
        tar = tar.file(&format!("{library}/_sysconfigdata__linux_.py"), format!("build_time_vars = {variables}\n"));
        tar = distribution(tar, &format!("{library}/site-packages"), "one", "1.0");
        tag(&layout, name, tar);
        let image = format!("oci:images:{name}");
        let told = dlpack.json(["export", "venv", "--image", &image, "--at", "/opt/own", name]);
        let own = dlpack.work().join(name).join(".python");
        assert_eq!(own.exists(), name == "standalone", "{told}");
        assert_eq!(told["packages"], json!(1), "{told}");
        assert!(!own.join("lib").join(format!("python{}", wheel::python())).join("site-packages").exists());
        assert_eq!(left_out(&told).len(), usize::from(name == "standalone"), "{told}");
    }
}
