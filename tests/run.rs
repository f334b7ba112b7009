//! The whole way: a recipe with real wheels on a real Debian is pushed to a real
//! registry, pulled from there by real runtimes, and Python runs in it.

use std::path::Path;

use crate::support::command::Dlpack;
use crate::support::image;
use crate::support::registry::DebianRegistry;
use crate::support::runtime::{Docker, Runc, Runtime};
use crate::support::{uv, wheel};

const ROOT: &str = "0:0";
const DEV: &str = "1234:1234";

/// Every file of every distribution against its line in RECORD.
const VERIFY: &str = r#"
import base64, hashlib, importlib.metadata, sys
names, files = set(), 0
for distribution in importlib.metadata.distributions():
    if not str(distribution.locate_file("")).startswith("/opt/venv/"):
        continue
    names.add(distribution.metadata["Name"])
    for file in distribution.files:
        content = file.locate().read_bytes()
        if file.hash is None:
            assert file.name in ("RECORD", "RECORD.jws", "RECORD.p7s"), file
            continue
        digest = hashlib.new(file.hash.mode, content).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value, file
        assert file.size in (None, len(content)), file
        files += 1
assert files > 100
print(*sorted(names))
"#;

fn recipe(base: &str) -> String {
    let python = wheel::python();
    format!(
        r#"base = "{base}"

[config]
env = {{ GREETING = "hello" }}
workdir = "/srv"

[[layer]]
kind = "files"
files = [{{ content = "Welcome.\n", to = "/srv/motd" }}]

[[layer]]
kind = "venv"
python = "{python}"
requirements = ["numpy", "tqdm"]
pip = true

[[layer]]
kind = "account"
user = "dev"
uid = 1234
venv = "/opt/venv"
"#
    )
}

#[test]
fn a_pushed_image_is_pulled_and_runs_python() {
    let registry = DebianRegistry::start();
    let dlpack = Dlpack::new();
    image::push_debian(&registry, "library/debian:tests");
    dlpack.write("dlpack.toml", &recipe(&registry.reference("library/debian:tests")));
    let name = registry.reference("yunseokim/dl-env:tests");
    let digest = dlpack.ok(["push", &name]);

    let other = Dlpack::new();
    assert_eq!(other.ok(["pull", &name]), digest);
    let runc = Runc::unpack(&other.store(), &name);
    let docker = Docker::pull(&name);
    for runtime in [&runc as &dyn Runtime, &docker] {
        eprintln!("with {}", runtime.name());
        python_runs(runtime);
        the_venv_is_what_an_installer_makes(runtime);
        pip_installs_for_the_account(runtime);
    }
}

/// What `command` prints.
fn printed(runtime: &dyn Runtime, user: &str, mounts: &[(&Path, &str)], command: &[&str]) -> String {
    String::from_utf8(runtime.run(user, mounts, command).stdout).expect("UTF-8").trim().to_owned()
}

fn python_runs(runtime: &dyn Runtime) {
    let say = "import numpy, os, sys, tqdm; \
        print(numpy.arange(10).sum(), os.getuid(), os.getcwd(), os.environ['GREETING'], numpy.__file__.split('/lib/')[0])";
    for (user, uid) in [(ROOT, 0), (DEV, 1234)] {
        let said = printed(runtime, user, &[], &["python", "-c", say]);
        assert_eq!(said, format!("45 {uid} /srv hello /opt/venv"));
        let script = printed(runtime, user, &[], &["sh", "-c", "command -v tqdm && seq 3 | tqdm 2>&1 >/dev/null"]);
        assert!(script.starts_with("/opt/venv/bin/tqdm\n") && script.contains("3it"), "{script}");
    }
    assert_eq!(printed(runtime, "", &[], &["cat", "motd"]), "Welcome.", "in the working directory");
}

fn the_venv_is_what_an_installer_makes(runtime: &dyn Runtime) {
    let names = printed(runtime, ROOT, &[], &["/opt/venv/bin/python", "-c", VERIFY]);
    assert_eq!(names, "numpy pip tqdm");
    let uv = uv::uv().canonicalize().expect("uv");
    let check = ["/mnt/uv", "pip", "check", "--no-cache", "--python", "/opt/venv/bin/python"];
    let checked = runtime.run(ROOT, &[(&uv, "/mnt/uv")], &check);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(said.contains("All installed packages are compatible"), "{said}");
}

fn pip_installs_for_the_account(runtime: &dyn Runtime) {
    let six = wheel::real("six==1.16.0");
    let there = format!("/mnt/{}", six.file_name().expect("a name").to_string_lossy());
    let script = format!(
        "pip install --quiet --no-index --no-cache-dir --disable-pip-version-check {there} && \
         python -c 'import six, numpy; print(six.__file__, numpy.__file__)'"
    );
    let said = printed(runtime, DEV, &[(&six, &there)], &["sh", "-ec", &script]);
    let python = wheel::python();
    let site = format!("lib/python{python}/site-packages");
    let expected = format!("/home/dev/.venv/{site}/six.py /opt/venv/{site}/numpy/__init__.py");
    assert_eq!(said, expected);
}
