//! Recipes that can't be locked over their base, and locks that can't be used.

use std::fs;

use super::shown_at;
use crate::support::command::Dlpack;
use crate::support::image::{Layout, Packing, Tar};

const HEAD: &str = "base = { layout = \"layout\", tag = \"small\" }\nplatform = \"linux/amd64\"\n";

/// A home with the layout of a small base: musl, one Python, and a link.
fn over_a_base() -> Dlpack {
    let dlpack = Dlpack::new();
    let tar = Tar::new()
        .file("usr/bin/python3.9", "#!")
        .file("lib/ld-musl-x86_64.so.1", "")
        .file("run/lock/here", "")
        .symlink("var/lock", "../run/lock");
    let layout = Layout::create(dlpack.work().join("layout"));
    layout.image().layer(Packing::Gzip, tar).tagged("small");
    let many =
        (0..120).fold(layout.image(), |image, at| image.layer(Packing::Plain, Tar::new().file("n", at.to_string())));
    many.tagged("many");
    dlpack
}

fn venv(settings: &str) -> String {
    format!("[[layer]]\nkind = \"venv\"\npython = \"3.11\"\n{settings}\n")
}

fn files(entries: &str) -> String {
    format!("[[layer]]\nkind = \"files\"\nfiles = [{entries}]\n")
}

#[test]
fn a_recipe_that_does_not_fit_its_base_or_its_files() {
    let dlpack = over_a_base();
    let mut shown = shown_at(&dlpack);
    dlpack.write("some/file", "");
    fs::create_dir(dlpack.work().join("pipes")).unwrap();
    let pipe = dlpack.work().join("pipes/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let fixed = "interpreter = \"/usr/bin/python3.11\"";
    for (case, layers) in [
        ("no such Python", venv("")),
        ("a base with musl", venv("").replace("3.11", "3.9")),
        ("a base with musl, of which nothing else is asked", venv(fixed)),
        ("a directory for a requirements file", venv(&format!("{fixed}\nrequirements-files = [\"some\"]"))),
        ("a standalone build that is not there", {
            let sha256 = "0".repeat(64);
            venv(&format!("interpreter = {{ url = \"python.tar.gz\", sha256 = \"{sha256}\" }}"))
        }),
        ("another standalone build", {
            let sha256 = "0".repeat(64);
            venv(&format!("interpreter = {{ url = \"some/file\", sha256 = \"{sha256}\" }}"))
        }),
        ("a named pipe", files("{ from = \"pipes\", to = \"/srv\" }")),
        ("two files at one path", files("{ from = \"some/file\", to = \"/a\" }, { content = \"\", to = \"/a\" }")),
        ("a file behind a link of the base", files("{ content = \"\", to = \"/var/lock/mine\" }")),
    ] {
        dlpack.write("dlpack.toml", &format!("{HEAD}{layers}"));
        shown.run(case, &mut dlpack.command(["lock"]));
    }
    dlpack.write("dlpack.toml", &format!("{}{}", HEAD.replace("small", "many"), venv(fixed)));
    shown.run("a base that leaves no layers for wheels", &mut dlpack.command(["lock"]));
    let riscv = format!("base = \"scratch\"\nplatform = \"linux/riscv64\"\n{}", venv(fixed));
    dlpack.write("dlpack.toml", &format!("{riscv}requirements = [\"six\"]\n"));
    shown.run("a platform without wheels", &mut dlpack.command(["lock"]));
    shown.is("locks/base");
}

#[test]
fn a_lock_that_cannot_be_read_or_written() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    dlpack.write("dlpack.toml", "base = \"scratch\"\nplatform = \"linux/amd64\"\n");
    fs::create_dir(dlpack.work().join("dlpack.lock")).unwrap();
    shown.run("a directory", &mut dlpack.command(["build"]));
    fs::remove_dir(dlpack.work().join("dlpack.lock")).unwrap();
    let script = "mount --bind . . && mount -o remount,ro,bind . && cd \"$PWD\" && exec \"$@\"";
    let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"];
    shown.run("a directory that is read-only", &mut dlpack.command_in(&namespace, ["lock"]));
    dlpack.ok(["lock"]);
    shown.run("another platform", &mut dlpack.command(["build", "--platform", "linux/arm64"]));
    dlpack.write("dlpack.lock", "version = 1\nplatform = \"linux/amd64\"\nrubbish = 3\n");
    shown.run("an unknown field", &mut dlpack.command(["build"]));
    shown.is("locks/files");
}

#[test]
fn a_file_that_changed_after_it_was_locked() {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    dlpack.write("etc/one", "1");
    let recipe = files("{ from = \"etc\", to = \"/etc\" }");
    dlpack.write("dlpack.toml", &format!("base = \"scratch\"\nplatform = \"linux/amd64\"\n{recipe}"));
    dlpack.ok(["lock"]);
    dlpack.write("etc/two", "2");
    shown.run("a new file", &mut dlpack.command(["build"]));
    fs::remove_file(dlpack.work().join("etc/two")).unwrap();
    dlpack.write("etc/one", "one");
    shown.run("another content", &mut dlpack.command(["build"]));
    // Without its recipe nothing is compared before the layer is written.
    fs::remove_file(dlpack.work().join("dlpack.toml")).unwrap();
    shown.run("another content, and no recipe beside the lock", &mut dlpack.command(["build"]));
    fs::remove_file(dlpack.work().join("etc/one")).unwrap();
    shown.run("no file, and no recipe beside the lock", &mut dlpack.command(["build"]));
    shown.is("locks/changed");
}

type Edit = fn(&str) -> String;

/// Edits a lock of a venv, perhaps an account over it, a time zone and a file, without
/// the recipe beside it, and builds it.
fn edited(name: &str, account: &str, edits: &[(&str, Edit)]) {
    let dlpack = Dlpack::new();
    let mut shown = shown_at(&dlpack);
    let layout = Layout::create(dlpack.work().join("layout"));
    layout.image().layer(Packing::Gzip, Tar::new().file("etc/passwd", "root:x:0:0::/:\n")).tagged("small");
    let venv = venv("interpreter = \"/usr/bin/python3.11\"");
    let zone = "[[layer]]\nkind = \"timezone\"\nzone = \"Asia/Seoul\"\n";
    let text = files("{ content = \"hello\", to = \"/etc/motd\" }");
    dlpack.write("dlpack.toml", &format!("{HEAD}{venv}{account}{zone}{text}"));
    dlpack.ok(["lock"]);
    fs::remove_file(dlpack.work().join("dlpack.toml")).unwrap();
    fs::remove_dir_all(dlpack.store()).unwrap();
    let locked = fs::read_to_string(dlpack.work().join("dlpack.lock")).unwrap();
    for (case, edit) in edits {
        let other = edit(&locked);
        assert_ne!(other, locked, "{case}");
        dlpack.write("dlpack.lock", &other);
        shown.run(case, &mut dlpack.command(["build"]));
    }
    shown.is(name);
}

/// The lock with another version of Python for its venv; the recipe in it stays.
fn other_python(lock: &str) -> String {
    lock.replacen("python = \"3.11\"", "python = \"eleven\"", 1)
}

#[test]
fn a_lock_that_somebody_edited() {
    edited(
        "locks/edited",
        "",
        &[
            ("another kind of layer", |lock| lock.replacen("kind = \"timezone\"", "kind = \"sshd\"", 1)),
            ("no time zone", |lock| lock.replace("\"Asia/Seoul\"", "\"../../etc/shadow\"")),
            ("no content", |lock| lock.replace("content = \"hello\"", "from = \"hello\"")),
            ("no version of Python", other_python),
            ("a scratch base", |lock| {
                let lock = lock.replace("[recipe.base]\nlayout = \"layout\"\ntag = \"small\"\n", "");
                lock.replace("[recipe]\n", "[recipe]\nbase = \"scratch\"\n")
            }),
            ("another config", |lock| {
                let (head, rest) = lock.split_once("[base.config]").expect("a base's config");
                let (before, after) = rest.split_once("sha256:").expect("its digest");
                format!("{head}[base.config]{before}sha256:{}{}", "ab".repeat(32), &after[64..])
            }),
        ],
    );
    edited(
        "locks/edited-account",
        "[[layer]]\nkind = \"account\"\nuser = \"dev\"\nvenv = \"/opt/venv\"\n",
        &[
            ("no version of Python", other_python),
            ("no user name", |lock| lock.replace("user = \"dev\"", "user = \"Dev:0\"")),
            ("no home", |lock| lock.replace("user = \"dev\"", "user = \"dev\"\nhome = \"/home/../etc\"")),
            ("no venv", |lock| lock.replace("venv = \"/opt/venv\"", "venv = \"/opt/other\"")),
        ],
    );
}
