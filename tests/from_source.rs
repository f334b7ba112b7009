//! Wheels that are built from source in the sandbox, as an ordinary user: sdists of the
//! machine's package index, projects and checkouts on disk, with and without a compiler.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::command::Dlpack;
use super::support::image::{Layout, debian, debian_with_compiler};
use super::support::index::{Manner, SimpleIndex};
use super::support::output;

/// A home with `base` and a recipe of a venv with these keys.
fn world(base: &Layout, keys: &str) -> Dlpack {
    let dlpack = Dlpack::unprivileged_on(base);
    recipe(&dlpack, keys);
    dlpack
}

fn recipe(dlpack: &Dlpack, keys: &str) {
    let python = super::support::wheel::python();
    let head = "base = { layout = \"base\", tag = \"gzip\" }\n[[layer]]\nkind = \"venv\"";
    dlpack.write("dlpack.toml", &format!("{head}\npython = \"{python}\"\n{keys}\n"));
}

/// A project `mine` 1.2 with the module `mine`, built by flit.
fn project(dlpack: &Dlpack, at: &str, more: &str) {
    let text = format!(
        "[build-system]\nrequires = [\"flit_core>=3\"]\nbuild-backend = \"flit_core.buildapi\"\n\
         [project]\nname = \"mine\"\nversion = \"1.2\"\ndescription = \"a test\"\n{more}\n"
    );
    dlpack.write(&format!("{at}/pyproject.toml"), &text);
    dlpack.write(&format!("{at}/mine.py"), "import six\nprint('mine', six.__name__)\n");
}

/// What Python prints in the image `digest`, whose layers are laid over one another.
pub fn python(dlpack: &Dlpack, digest: &str, program: &str) -> String {
    let root = tempfile::tempdir().expect("a directory");
    let base = Layout::at(dlpack.work().join("base"));
    for layer in dlpack.layers_of(digest) {
        let ours = dlpack.blob(&layer);
        // A base that is extracted already is not fetched.
        let blob = if ours.exists() { ours } else { base.blob(&layer) };
        let mut tar = Command::new("tar");
        output(tar.arg("-xzpf").arg(blob).arg("-C").arg(root.path()), "tar");
    }
    let mut python = Command::new("chroot");
    python.arg(root.path()).args(["/opt/venv/bin/python", "-c", program]);
    python.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    String::from_utf8(output(&mut python, "coreutils").stdout).expect("UTF-8").trim_end().to_owned()
}

/// The names of what lies in the layers.
fn contents(dlpack: &Dlpack) -> Vec<String> {
    let plan = dlpack.json(["plan"]);
    let layers = plan["layers"].as_array().expect("layers").iter();
    let contents = layers.flat_map(|layer| layer["contents"].as_array().cloned().unwrap_or_default());
    contents.map(|content| content["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_package_of_an_sdist_alone_is_built_and_gives_the_same_layer_on_another_machine() {
    let keys = "requirements = [\"docopt==0.6.2\"]";
    let dlpack = world(&debian(), keys);
    dlpack.ok(["lock"]);
    let lock = fs::read_to_string(dlpack.work().join("dlpack.lock")).expect("a lock");
    assert!(lock.contains("file = \"docopt-0.6.2.tar.gz\"") && lock.contains("name = \"setuptools\""), "{lock}");
    let digest = dlpack.ok(["build"]);
    let program = "import docopt, importlib.metadata as m; print(docopt.__version__, m.version('docopt'))";
    assert_eq!(python(&dlpack, &digest, program), "0.6.2 0.6.2");
    assert!(contents(&dlpack).contains(&"docopt 0.6.2 (from source)".to_owned()), "{:?}", contents(&dlpack));

    let other = world(&debian(), keys);
    other.write("dlpack.lock", &lock);
    assert_eq!(other.ok(["build"]), digest);
    assert_eq!(other.leftovers(), 0);

    // sdist and build requirements that are damaged in the store are fetched anew
    damage_downloads(&other);
    fs::remove_dir_all(other.store().join("keys")).expect("removed");
    assert_eq!(other.ok(["build"]), digest);
}

/// Changes one bit in the middle of all that was downloaded.
pub fn damage_downloads(dlpack: &Dlpack) {
    for download in fs::read_dir(dlpack.store().join("downloads/sha256")).expect("downloads") {
        let path = download.expect("an entry").path();
        let mut bytes = fs::read(&path).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("written");
    }
}

/// A project `counted` 1.0, one module in C.
fn c_extension(dlpack: &Dlpack) {
    let text = "[build-system]\nrequires = [\"setuptools>=61\"]\nbuild-backend = \"setuptools.build_meta\"\n\
                [project]\nname = \"counted\"\nversion = \"1.0\"\n";
    dlpack.write("counted/pyproject.toml", text);
    let setup = "from setuptools import Extension, setup\n\
                 setup(ext_modules=[Extension('counted', ['counted.c'])])\n";
    dlpack.write("counted/setup.py", setup);
    let source = r#"
#include <Python.h>
static PyObject *up(PyObject *self, PyObject *n) { return PyLong_FromLong(PyLong_AsLong(n) + 1); }
static PyMethodDef methods[] = {{"up", up, METH_O, NULL}, {NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "counted", NULL, -1, methods};
PyMODINIT_FUNC PyInit_counted(void) { return PyModule_Create(&module); }
"#;
    dlpack.write("counted/counted.c", source);
}

#[test]
fn a_c_extension_is_built_where_the_base_has_a_compiler_and_says_so_where_it_has_none() {
    let without = world(&debian(), "projects = [\"counted\"]");
    c_extension(&without);
    let said = without.fails(["build"]);
    assert!(said.contains("counted 1.0 can't be built"), "{said}");
    assert!(said.contains("hint: the base has no compiler"), "{said}");
    assert_eq!(without.leftovers(), 0);

    let dlpack = world(&debian_with_compiler(), "projects = [\"counted\"]");
    c_extension(&dlpack);
    let digest = dlpack.ok(["build"]);
    assert_eq!(python(&dlpack, &digest, "import counted; print(counted.up(41))"), "42");
    // Built once more: the same bytes.
    fs::remove_dir_all(dlpack.store().join("keys")).expect("removed");
    assert_eq!(dlpack.ok(["build"]), digest);
}

#[test]
fn a_project_on_disk_is_built_with_its_extras_and_its_change_makes_the_lock_unfit() {
    let dlpack = world(&debian(), "projects = [\"mine\"]\nrequirements = [\"mine[progress]>=1\"]");
    project(
        &dlpack,
        "mine",
        "dependencies = [\"six\"]\n[project.optional-dependencies]\nprogress = [\"tqdm==4.66.5\"]",
    );
    let digest = dlpack.ok(["build"]);
    assert_eq!(python(&dlpack, &digest, "import mine, tqdm; print(tqdm.__version__)"), "mine six\n4.66.5");

    // What is no source changes nothing.
    dlpack.write("mine/__pycache__/mine.cpython-311.pyc", "noise");
    dlpack.write("mine/dist/old.whl", "noise");
    assert_eq!(dlpack.ok(["build"]), digest);
    dlpack.write("mine/mine.py", "print('changed')\n");
    let said = dlpack.fails(["build"]);
    assert!(said.contains("mine changed after the recipe was locked"), "{said}");
    dlpack.ok(["lock"]);
    let changed = dlpack.ok(["build"]);
    let differ = dlpack.layers_of(&digest).iter().zip(dlpack.layers_of(&changed)).filter(|(a, b)| **a != *b).count();
    assert_eq!(differ, 1, "one project, one layer");
}

#[test]
fn what_a_built_wheel_brings_that_another_has_is_found_when_it_is_built() {
    let dlpack = world(&debian(), "projects = [\"mine\"]\nrequirements = [\"six==1.16.0\"]");
    project(&dlpack, "mine", "[tool.flit.external-data]\ndirectory = \"data\"");
    let path = format!("lib/python{}/site-packages/six.py", super::support::wheel::python());
    dlpack.write(&format!("mine/data/{path}"), "other = True\n");
    dlpack.ok(["lock"]);
    // nor is it remembered
    for _ in 0..2 {
        let said = dlpack.fails(["build"]);
        let expected = format!("mine 1.2 (from source) and six 1.16.0 both bring {path}, with different content");
        assert!(said.contains(&expected) && said.contains("hint: "), "{said}");
    }
}

#[test]
fn a_checkout_is_built_without_what_version_control_keeps() {
    let dlpack = world(&debian(), "projects = [\"checkout\"]\nrequirements = [\"six\"]");
    project(&dlpack, "checkout", "");
    dlpack.write("checkout/setup.py", "raise SystemExit('not this one')\n");
    dlpack.write("checkout/.git/HEAD", "ref: refs/heads/main\n");
    let digest = dlpack.ok(["build"]);
    dlpack.write("checkout/.git/index", "another commit of the same files");
    assert_eq!(dlpack.ok(["build"]), digest);
    assert_eq!(python(&dlpack, &digest, "import mine"), "mine six");
}

#[test]
fn an_sdist_on_disk_is_a_project_too() {
    let dlpack = world(&debian(), "projects = [\"made-1.0.tar.gz\"]");
    let made = tempfile::tempdir().expect("a directory");
    let sdist = made.path().join("made-1.0");
    fs::create_dir(&sdist).expect("created");
    fs::write(sdist.join("PKG-INFO"), "Metadata-Version: 1.0\nName: made\nVersion: 1.0\n").expect("written");
    let setup = "from setuptools import setup\nsetup(name='made', version='1.0', py_modules=['made'])\n";
    fs::write(sdist.join("setup.py"), setup).expect("written");
    fs::write(sdist.join("made.py"), "print('made')\n").expect("written");
    let mut tar = Command::new("tar");
    let archive = dlpack.work().join("made-1.0.tar.gz");
    output(tar.arg("-czf").arg(&archive).arg("-C").arg(made.path()).arg("made-1.0"), "tar");
    let digest = dlpack.ok(["build"]);
    assert_eq!(python(&dlpack, &digest, "import made"), "made");
}

#[test]
fn a_package_with_wheels_is_built_if_the_recipe_says_so() {
    let dlpack = world(&debian(), "requirements = [\"six==1.17.0\"]\nno-binary = [\"six\"]");
    let digest = dlpack.ok(["build"]);
    let program = "import importlib.metadata as m; print(m.distribution('six').read_text('INSTALLER'))";
    assert_eq!(python(&dlpack, &digest, program), "dlpack");
    assert!(contents(&dlpack).contains(&"six 1.17.0 (from source)".to_owned()), "{:?}", contents(&dlpack));
}

/// What a build of the project `odd` says whose own backend makes wheels like this.
#[track_caller]
fn backend_says(dlpack: &Dlpack, build_wheel: &str) -> String {
    let text = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n\
                [project]\nname = \"odd\"\nversion = \"1.0\"\n";
    dlpack.write("odd/pyproject.toml", text);
    let body: String = build_wheel.lines().map(|line| format!("    {line}\n")).collect();
    let hook = "import os\ndef build_wheel(directory, settings=None, metadata=None):\n";
    dlpack.write("odd/backend.py", &format!("{hook}{body}"));
    dlpack.ok(["lock"]);
    let said = dlpack.fails(["build"]);
    assert_eq!(dlpack.leftovers(), 0);
    said
}

#[test]
fn a_build_that_fails_shows_its_last_lines_and_gives_nothing_away() {
    let dlpack = world(&debian(), "projects = [\"odd\"]");
    let said = backend_says(&dlpack, "print('so far so good')\nraise SystemExit('and no further')");
    assert!(said.contains("odd 1.0 can't be built") && said.contains("| and no further"), "{said}");
    let said = backend_says(&dlpack, "return 'nothing'");
    assert!(said.contains("the build of odd 1.0 left 0 wheels instead of one"), "{said}");
    let link = "os.symlink('/etc/passwd', os.path.join(directory, 'odd-1.0-py3-none-any.whl'))";
    let said = backend_says(&dlpack, link);
    assert!(said.contains("left 0 wheels instead of one"), "{said}");
    let said = backend_says(&dlpack, "open(os.path.join(directory, 'odd-1.0-py3-none-any.whl'), 'w').write('no zip')");
    assert!(said.contains("odd-1.0-py3-none-any.whl"), "{said}");
    let said = backend_says(&dlpack, "import socket\nsocket.create_connection(('192.0.2.1', 80), 5)");
    assert!(said.contains("Network is unreachable"), "{said}");
}

#[test]
fn what_a_build_asks_for_beyond_the_lock_is_named_with_where_to_write_it() {
    let dlpack = world(&debian(), "projects = [\"odd\"]");
    let text = "[project]\nname = \"odd\"\nversion = \"1.0\"\n";
    dlpack.write("odd/pyproject.toml", text);
    dlpack.write("odd/setup.py", "from setuptools import setup\nsetup(setup_requires=['six>=1.16'], py_modules=[])\n");
    let said = dlpack.fails(["build"]);
    assert!(said.contains("odd 1.0 needs six>=1.16 to be built, which the lock has not"), "{said}");
    assert!(said.contains("hint: name them in `build-requirements`"), "{said}");
    recipe(&dlpack, "projects = [\"odd\"]\nbuild-requirements = [\"six>=1.16\"]");
    dlpack.ok(["lock"]);
    dlpack.ok(["build"]);
}

#[test]
fn what_a_project_does_not_say_before_it_is_built_is_an_error_when_it_is_locked() {
    let dlpack = world(&debian(), "projects = [\"odd\"]");
    dlpack.write("odd/pyproject.toml", "[project]\nname = \"odd\"\nversion = \"1\"\ndynamic = [\"dependencies\"]\n");
    let said = dlpack.fails(["lock"]);
    assert!(said.contains("does not say its dependencies"), "{said}");
    assert!(said.contains("hint: write `dependencies` into [project], or name the project's sdist"), "{said}");
    fs::remove_file(dlpack.work().join("odd/pyproject.toml")).expect("removed");
    let said = dlpack.fails(["lock"]);
    assert!(said.contains("is no Python project"), "{said}");
}

#[test]
fn what_a_wheel_requires_and_nothing_said_before_is_an_error() {
    let dlpack = world(&debian(), "projects = [\"sly-1.0.tar.gz\"]");
    let made = tempfile::tempdir().expect("a directory");
    let sdist = made.path().join("sly-1.0");
    fs::create_dir(&sdist).expect("created");
    fs::write(sdist.join("PKG-INFO"), "Metadata-Version: 1.0\nName: sly\nVersion: 1.0\n").expect("written");
    let setup = "from setuptools import setup\nsetup(name='sly', version='1.0', install_requires=['six'])\n";
    fs::write(sdist.join("setup.py"), setup).expect("written");
    let mut tar = Command::new("tar");
    let archive = dlpack.work().join("sly-1.0.tar.gz");
    output(tar.arg("-czf").arg(&archive).arg("-C").arg(made.path()).arg("sly-1.0"), "tar");
    let said = dlpack.fails(["build"]);
    assert!(said.contains("sly 1.0 requires six, which it did not say before it was built"), "{said}");
    assert!(said.contains("hint: add \"six\" to `requirements`"), "{said}");
}

#[test]
fn a_damaged_sdist_of_an_index_is_refused() {
    let index = SimpleIndex::start(Manner::Html, &[("odd-1.0.tar.gz", b"no archive")]);
    let dlpack = world(&debian(), &format!("requirements = [\"odd\"]\nindex-url = \"{}\"", index.url()));
    let said = dlpack.fails(["lock"]);
    assert!(said.contains("odd-1.0.tar.gz is not a .tar.gz that can be read"), "{said}");
    assert!(!Path::new(&dlpack.work().join("dlpack.lock")).exists());
}
