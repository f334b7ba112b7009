//! Projects and sdists that can't be locked or built. `tests/from_source.rs` meets most
//! of them in a real build; here is what a person then reads.

use std::io;
use std::path::PathBuf;

use dlpack::changeset::source::Error;
use dlpack::lock;
use dlpack::python::{pylock, resolve, source};
use dlpack::sandbox::{self, Ending};
use rustix::io::Errno;

use super::sandbox::{of_layer, said};
use super::shown_at;
use crate::support::command::Dlpack;
use crate::support::shown::Shown;

#[test]
fn a_project_that_cannot_be_locked() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let root = tempfile::tempdir().expect("a directory");
    shown.replace(root.path().display().to_string(), "PROJECT");
    let mut add = |case: &str, source: source::Error| {
        let (layer, project) = ("venv".to_owned(), "odd-1.0.tar.gz".to_owned());
        shown.add(case, lock::Error::Source { layer, project, source });
    };
    let unpacked = root.path().join("unpacked");
    let cut = source::unpack(&b"no archive"[..], "odd-1.0.tar.gz", &unpacked).expect_err("no archive");
    add("a file that is no sdist", cut);
    let archive = || "odd-1.0.tar.gz".to_owned();
    add("a bomb", source::Error::Bomb { archive: archive(), what: "bytes", limit: 4 << 30 });
    let why = "it links to something outside";
    add("an sdist that leads out", source::Error::Entry { archive: archive(), path: "odd-1.0/link".into(), why });
    let path = || PathBuf::from("../odd");
    add("no project", source::Error::NotAProject { path: path() });
    let toml = toml::from_str::<toml::Table>("name = odd\n").expect_err("no TOML");
    let pyproject = path().join("pyproject.toml");
    add("a pyproject.toml that is no TOML", source::Error::Pyproject { path: pyproject, source: Box::new(toml) });
    add("a field that a build gives", source::Error::Dynamic { path: path(), field: "dependencies" });
    let what = "neither a file, a directory nor a symbolic link";
    add("a named pipe", source::Error::NotAFile { path: path().join("pipe"), what });
    let io = |errno: Errno| source::Error::Io { doing: "write", path: "STORE/tmp/odd".into(), source: errno.into() };
    add("a full disk", io(Errno::NOSPC));
    add("a directory that nobody may write", io(Errno::ACCESS));
    let same = lock::Error::SameProject {
        layer: "venv".into(),
        first: "odd".into(),
        second: "vendor/odd".into(),
        name: "odd".into(),
    };
    shown.add("one project twice", same);
    let none = pylock::Error::NoSdist { name: "odd".into(), version: "1.0".into() };
    shown.add("a package without an sdist", lock::Error::from(resolve::Error::from(none)));
    shown.is("source/locks");
}

#[test]
fn a_project_that_cannot_be_built() {
    let mut shown = Shown::new();
    let mut add = |case: &str, error: Error| shown.add(case, of_layer(error));
    let project = || "odd 1.0".to_owned();
    let build = |lines: &[&str]| {
        let ending = sandbox::Error::Step { command: "python -m build".into(), ending: Ending::Exit(1) };
        Error::Build { project: project(), ending, tail: said(lines) }
    };
    add("no compiler", build(&["error: command 'gcc' failed: No such file or directory"]));
    add("no headers", build(&["odd.c:1:10: fatal error: Python.h: No such file or directory"]));
    add("no module", build(&["ModuleNotFoundError: No module named 'numpy'"]));
    add("something else", build(&["assertion failed"]));
    let missing = vec!["six>=1.16".to_owned(), "cython".to_owned()];
    add("requirements of the build", Error::Unmet { project: project(), missing });
    add("no wheel", Error::Wheels { project: project(), found: 0 });
    let (file, what) = ("even-1.0-py3-none-any.whl".into(), "which is another project's");
    add("another wheel", Error::Other { project: project(), file, what });
    let requirement = "six".into();
    add("a requirement that it kept to itself", Error::Requires { project: project(), requirement });
    add("a tree that changed", Error::Changed { path: "../odd".into() });
    let io = |source: io::Error| Error::Io { doing: "copy", path: "STORE/tmp/odd".into(), source };
    add("a full disk", io(Errno::NOSPC.into()));
    add("a sandbox that is refused", sandbox::Error::Helper { source: io::ErrorKind::UnexpectedEof.into() }.into());
    shown.is("source/builds");
}
