//! Package indexes that don't have what a lock names, or give something else.

use dlpack::registry::serve::{Fault, Options, Server, What};
use dlpack::store::Store;

use super::shown_at;
use crate::support::command::Dlpack;
use crate::support::index::{Manner, SimpleIndex, wheel};

const FILE: &str = "made-1.0-py3-none-any.whl";
const VENV: &str = "base = \"scratch\"\nplatform = \"linux/amd64\"\n[[layer]]\nkind = \"venv\"\npython = \"3.11\"\n\
                    interpreter = \"/usr/bin/python3.11\"\n";

/// A home with a lock of one wheel, and a store that doesn't have the wheel.
fn locked() -> Dlpack {
    let dlpack = Dlpack::new();
    dlpack.write("dlpack.toml", &format!("{VENV}requirements = [\"made\"]\n"));
    let index = SimpleIndex::start(Manner::Html, &[(FILE, &honest())]);
    let ran = dlpack.command(["lock"]).env("UV_DEFAULT_INDEX", index.url()).output().expect("dlpack runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    forget(&dlpack);
    dlpack
}

fn forget(dlpack: &Dlpack) {
    std::fs::remove_dir_all(dlpack.store().join("downloads")).unwrap();
}

fn honest() -> Vec<u8> {
    wheel("made", &[("made.py", b"x = 1\n")])
}

/// A server whose page of the project is this.
fn page(status: u16, content_type: &str, body: &str) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let answer = What::Answer(status, vec![("content-type", content_type.to_owned())], body.as_bytes().to_vec());
    let options = Options { faults: vec![Fault::on("GET", "/simple/", answer).always()], ..Options::default() };
    let store = Store::open(directory.path()).unwrap();
    (Server::bind("127.0.0.1:0".parse().unwrap(), store, options).unwrap(), directory)
}

#[test]
fn an_index_that_does_not_give_what_was_locked() {
    let dlpack = locked();
    let mut shown = shown_at(&dlpack);
    let html = format!("<a href=\"../../files/{FILE}#sha256={}\">{FILE}</a>", "ab".repeat(32));
    for (case, status, kind, body) in [
        ("credentials", 401, "text/plain", ""),
        ("forbidden", 403, "text/plain", ""),
        ("out of order", 501, "text/plain", ""),
        ("no such project", 404, "text/plain", ""),
        ("no such file", 200, "text/html", "<html></html>"),
        ("another hash", 200, "text/html", &html),
        ("no file where the page says", 200, "text/html", &format!("<a href=\"../../files/{FILE}\">{FILE}</a>")),
        ("no JSON", 200, "application/vnd.pypi.simple.v1+json", "{"),
    ] {
        let (server, _directory) = page(status, kind, body);
        shown.replace(server.address().to_string(), "INDEX");
        let url = format!("http://{}/simple/", server.address());
        shown.run(case, dlpack.command(["build"]).env("UV_DEFAULT_INDEX", url));
    }
    let mut longer = honest();
    longer.push(0);
    let shorter = &longer[..longer.len() - 2];
    for (case, manner, bytes) in [
        ("another content", Manner::Corrupts, &honest()[..]),
        ("a file that is too long", Manner::WithoutHashes, &longer),
        ("a file that is too short", Manner::WithoutHashes, shorter),
        ("a file that breaks off again and again", Manner::AlwaysBreaksOff, &honest()),
    ] {
        let index = SimpleIndex::start(manner, &[(FILE, bytes)]);
        shown.replace(index.url().replace("/simple/", "").replace("http://", ""), "INDEX");
        shown.run(case, dlpack.command(["build"]).env("UV_DEFAULT_INDEX", index.url()));
    }
    shown.is("indexes/downloads");
}

#[test]
fn an_index_that_cannot_be_asked() {
    let dlpack = locked();
    let mut shown = shown_at(&dlpack);
    // no uv, no pip, and nothing set
    let mut build = dlpack.command(["build"]);
    for name in ["PIP_CONFIG_FILE", "PIP_INDEX_URL", "UV_CONFIG_FILE", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX"] {
        build.env_remove(name);
    }
    shown.run("no index at all", build.env("PATH", "/nowhere").env("PIP_CONFIG_FILE", "/dev/null"));
    let mut build = dlpack.command(["build"]);
    build.env("PATH", "/nowhere").env("UV_DEFAULT_INDEX", "file:///srv/simple");
    shown.run("an index that is no URL of a server", &mut build);
    shown.is("indexes/settings");
}

#[test]
fn an_index_that_does_not_say_how_long_a_wheel_is() {
    let dlpack = Dlpack::new();
    dlpack.write("dlpack.toml", &format!("{VENV}requirements = [\"made\"]\n"));
    let index = SimpleIndex::start(Manner::WithoutLengths, &[(FILE, &honest())]);
    let mut shown = shown_at(&dlpack);
    shown.replace(index.url().replace("/simple/", "").replace("http://", ""), "INDEX");
    shown.run("no length", dlpack.command(["lock"]).env("UV_DEFAULT_INDEX", index.url()));
    shown.is("indexes/lengths");
}

#[test]
fn a_wheel_on_disk_that_cannot_be_used() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let locks = |name: &str| dlpack.write("dlpack.toml", &format!("{VENV}wheels = [\"{name}\"]\n"));
    dlpack.write("wheels/made.whl", "");
    locks("wheels/made.whl");
    shown.run("not named as a wheel", &mut dlpack.command(["lock"]));
    dlpack.write(&format!("wheels/{FILE}"), "not a zip");
    locks(&format!("wheels/{FILE}"));
    shown.run("no zip", &mut dlpack.command(["lock"]));
    std::fs::write(dlpack.work().join("wheels").join(FILE), honest()).unwrap();
    dlpack.ok(["lock"]);
    forget(&dlpack);
    std::fs::remove_file(dlpack.work().join("wheels").join(FILE)).unwrap();
    std::fs::remove_file(dlpack.work().join("dlpack.toml")).unwrap();
    shown.run("gone since it was locked", &mut dlpack.command(["build"]));
    shown.is("indexes/local");
}

#[test]
fn wheels_that_do_not_go_together() {
    let one = wheel("one", &[("shared/lib.so", b"one"), ("both", b"")]);
    let two = wheel("two", &[("shared/lib.so", b"two")]);
    let three = wheel("three", &[("both/x.py", b"")]);
    let index = SimpleIndex::start(
        Manner::Html,
        &[
            ("one-1.0-py3-none-any.whl", &one),
            ("two-1.0-py3-none-any.whl", &two),
            ("three-1.0-py3-none-any.whl", &three),
        ],
    );
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    shown.replace(index.url().replace("/simple/", "").replace("http://", ""), "INDEX");
    let direct = format!("one @ {}", index.url().replace("/simple/", "/files/one-1.0-py3-none-any.whl"));
    for (case, requirements) in [
        ("one file with two contents", "\"one\", \"two\""),
        ("a file and a directory", "\"one\", \"three\""),
        ("a wheel by its URL", &format!("\"{direct}\"")),
    ] {
        dlpack.write("dlpack.toml", &format!("{VENV}requirements = [{requirements}]\n"));
        shown.run(case, dlpack.command(["lock"]).env("UV_DEFAULT_INDEX", index.url()));
    }
    shown.is("indexes/together");
}
