//! What `dlpack init` says to a directory, a file or an option that it can't take.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::shown_at;
use crate::support::command::Dlpack;

#[test]
fn what_init_refuses_is_said_with_the_line_that_is_wrong() {
    let dlpack = Dlpack::unprivileged();
    let mut shown = shown_at(&dlpack);
    let files = [
        ("a Dockerfile with an instruction that there is not", "Dockerfile", "FROM debian:12\nRUNS true\n"),
        ("a Dockerfile without FROM", "Dockerfile", "# nothing\n"),
        ("a Dockerfile whose here-document has no end", "Dockerfile", "FROM debian:12\nRUN <<EOF\ntrue\n"),
        ("a Dockerfile on a base whose Python is not known", "Dockerfile", "FROM a/b:1\nRUN pip install six\n"),
        ("a requirements file with a line that is none", "requirements.txt", "six\nnumpy=1.26\n"),
        ("a requirements file that includes one that is not there", "requirements.txt", "-r more.txt\n"),
        ("a requirements file that includes itself", "requirements.txt", "-r requirements.txt\n"),
        ("a pyproject.toml that is not TOML", "pyproject.toml", "[project]\nname = \n"),
        (
            "a pyproject.toml for no Python that there is",
            "pyproject.toml",
            "[project]\nrequires-python = \">=3.99\"\ndependencies = [\"six\"]\n",
        ),
        ("an environment.yml that is not YAML", "environment.yml", "dependencies:\n  - a\n - b: [\n"),
        ("an environment.yml of another form", "environment.yml", "dependencies: 3\n"),
    ];
    for (case, name, text) in files {
        dlpack.write(name, text);
        shown.run(case, &mut dlpack.command(["init"]));
        fs::remove_file(dlpack.work().join(name)).unwrap();
    }
    let bytes: [(&str, &str, &[u8]); 5] = [
        ("a requirements file in UTF-16", "requirements.txt", b"\xff\xfes\0i\0x\0"),
        ("an environment.yml with a byte that is no text", "environment.yml", b"dependencies:\n  - caf\xe9\n"),
        ("a pyproject.toml with a byte that is no text", "pyproject.toml", b"[project]\n# caf\xe9\n"),
        ("a Dockerfile with a byte that is no text", "Dockerfile", b"FROM debian:12\nLABEL a=caf\xe9\n"),
        ("a .python-version in UTF-16", ".python-version", b"\xff\xfe3\0.\0"),
    ];
    for (case, name, bytes) in bytes {
        fs::write(dlpack.work().join(name), bytes).unwrap();
        shown.run(case, &mut dlpack.command(["init"]));
        fs::remove_file(dlpack.work().join(name)).unwrap();
    }
    dlpack.write("Dockerfile", "FROM debian:12\nCOPY . /app\n");
    fs::write(dlpack.work().join(".dockerignore"), b"*.log\n\xff\n").unwrap();
    shown.run("a .dockerignore with a byte that is no text", &mut dlpack.command(["init"]));
    fs::remove_file(dlpack.work().join("Dockerfile")).unwrap();
    fs::create_dir(dlpack.work().join("requirements.txt")).unwrap();
    shown.run("a directory that is called as a file of requirements is", &mut dlpack.command(["init"]));
    fs::remove_dir(dlpack.work().join("requirements.txt")).unwrap();
    dlpack.write("requirements.txt", "six\n");
    shown.run("a file in place of the directory", &mut dlpack.command(["init", "requirements.txt"]));
    fs::remove_file(dlpack.work().join("requirements.txt")).unwrap();
    fs::create_dir(dlpack.work().join("closed")).unwrap();
    fs::set_permissions(dlpack.work().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    shown.run("a directory that can't be looked into", &mut dlpack.command(["init", "closed"]));
    let options: [(&str, &[&str]); 9] = [
        ("a directory that is not there", &["elsewhere"]),
        ("an extra of no file", &["--extra", "gpu"]),
        ("a flavour that there is not", &["--flavour", "rapid"]),
        ("a CUDA that no base has", &["--cuda", "9.0"]),
        ("a Python that is none", &["--python", "2.7"]),
        ("a Python that no base with this CUDA has", &["--cuda", "12.4", "--python", "3.12"]),
        ("a name that can't be an account's", &["--user", "Alice"]),
        ("a file of a kind that is not known", &["--from", "setup.cfg"]),
        ("a file that is not there", &["--from", "requirements-dev.txt"]),
    ];
    for (case, arguments) in options {
        shown.run(case, dlpack.command(["init"]).args(arguments));
    }
    let groups = "[project]\ndependencies = [\"six\"]\n[dependency-groups]\nlint = [\"six\"]\ntest = [\"six\"]\n";
    dlpack.write("pyproject.toml", groups);
    shown.run("a group that there is not", &mut dlpack.command(["init", "--group", "docs"]));
    fs::remove_file(dlpack.work().join("pyproject.toml")).unwrap();
    dlpack.write("dlpack.toml", "base = \"scratch\"\n");
    shown.run("a recipe that is there", &mut dlpack.command(["init"]));
    fs::remove_file(dlpack.work().join("dlpack.toml")).unwrap();
    fs::set_permissions(dlpack.work(), fs::Permissions::from_mode(0o555)).unwrap();
    shown.run("a directory that can't be written to", &mut dlpack.command(["init"]));
    shown.is("init/errors");
}
