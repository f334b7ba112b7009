//! The entrypoint and what it starts, in containers of a real Debian.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use dlpack::changeset::{Changeset, account, entrypoint, jupyter, sshd};
use dlpack::lock::Lock;
use dlpack::recipe::LayerKind;

use crate::support::container::{Container, Root, Settings, free_port};
use crate::support::payload::{base_files_of, lock, recipe};
use crate::support::rootfs;
use crate::support::visitor::{self, get, token_in};

const ENTRYPOINT: &str = "/usr/local/bin/dlpack-entrypoint";
const PATH: &str =
    "PATH=/home/dev/.venv/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ROOT: (u32, u32) = (0, 0);
const DEV: (u32, u32) = (1234, 1234);

/// An image with an account `dev`, sshd, and what `more` says.
struct Image {
    layers: Vec<Box<dyn Changeset>>,
    keys: tempfile::TempDir,
}

/// A root filesystem of an image, and the port that its sshd gets.
struct Host<'a> {
    root: Root,
    image: &'a Image,
    port: u16,
}

impl Image {
    fn new(more: &str) -> Self {
        let keys = tempfile::tempdir().expect("a directory");
        let public = visitor::new_key(&keys.path().join("key"));
        let text = format!(
            "base = \"scratch\"\n\
             [[layer]]\nname = \"account\"\nkind = \"account\"\nuser = \"dev\"\nuid = 1234\n\
             authorized-keys = [{:?}]\n\
             [[layer]]\nname = \"sshd\"\nkind = \"sshd\"\n{more}",
            public
        );
        let lock = lock(recipe(&text), base_files_of(&rootfs::tar()), &[]);
        Self { layers: changesets(&lock), keys }
    }

    fn host(&self) -> Host<'_> {
        Host { root: Root::new(&self.layers()), image: self, port: free_port() }
    }

    fn layers(&self) -> Vec<&dyn Changeset> {
        self.layers.iter().map(AsRef::as_ref).collect()
    }
}

/// The changesets of a lock without venvs, as they are planned.
fn changesets(lock: &Lock) -> Vec<Box<dyn Changeset>> {
    let mut layers: Vec<Box<dyn Changeset>> = Vec::new();
    for (_, account) in account::changesets(lock, Path::new("/")).expect("an account") {
        layers.push(Box::new(account));
    }
    for layer in &lock.recipe.layers {
        match &layer.kind {
            LayerKind::Sshd(sshd) => layers.push(Box::new(sshd::changeset(sshd, &lock.recipe.config))),
            LayerKind::Jupyter(jupyter) => layers.push(Box::new(jupyter::changeset(jupyter, &lock.recipe))),
            _ => {}
        }
    }
    layers.push(Box::new(entrypoint::changeset(&lock.recipe).expect("services")));
    layers
}

/// What containers that need no root of their own share.
fn shared() -> Host<'static> {
    static IMAGE: LazyLock<Image> = LazyLock::new(|| Image::new(""));
    static ROOT: LazyLock<Root> = LazyLock::new(|| Root::shared(&IMAGE.layers(), "entrypoint-root"));
    Host { root: ROOT.clone(), image: &IMAGE, port: free_port() }
}

impl Host<'_> {
    fn start(&self, user: (u32, u32), args: &[&str], env: &[&str]) -> Container {
        let home = if user == ROOT { "HOME=/root" } else { "HOME=/home/dev" };
        let port = format!("DLPACK_SSH_PORT={}", self.port);
        let env = [&[PATH, home, &port], env].concat();
        Container::start(&self.root, &Settings { args: &[&[ENTRYPOINT], args].concat(), user, env: &env })
    }

    fn ssh(&self, user: &str, options: &[&str], command: &str) -> Output {
        visitor::ssh(&self.image.keys.path().join("key"), self.port, user, options, command)
    }

    /// What `command` prints when `dev` runs it over ssh.
    #[track_caller]
    fn over_ssh(&self, command: &str) -> String {
        let output = self.ssh("dev", &[], command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

fn listening(container: &mut Container) {
    container.wait_for("Server listening on 0.0.0.0");
}

#[test]
fn sshd_takes_keys_and_no_password_and_no_root() {
    let host = shared();
    let mut container = host.start(ROOT, &[], &[]);
    listening(&mut container);
    assert_eq!(host.over_ssh("id -un; pwd"), "dev\n/home/dev\n");
    for (user, options) in [
        ("root", [].as_slice()),
        ("dev", &["-o", "PubkeyAuthentication=no"]),
        ("root", &["-o", "PubkeyAuthentication=no"]),
    ] {
        let refused = host.ssh(user, options, "true");
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && message.contains("Permission denied (publickey)"), "{message}");
    }
}

#[test]
fn the_containers_environment_is_visible_in_every_kind_of_ssh_login() {
    let host = shared();
    let env = [
        "PLAIN=1",
        "SPACES=two  words #no comment",
        r#"QUOTES=it's "so" \ and `$HOME` 100%"#,
        "EMPTY=",
        "LINES=one\ntwo",
        "INJECTED=x\nPermitRootLogin yes",
        "JUPYTER_TOKEN=secret",
    ];
    let mut container = host.start(ROOT, &[], &env);
    listening(&mut container);
    container.wait_for("LINES has a line break");
    let seen = host.over_ssh("env -0 | tr '\\0' '\\n'");
    for line in [env[0], env[1], env[2], env[3], PATH] {
        assert!(seen.lines().any(|seen| seen == line), "no {line} in\n{seen}");
    }
    for absent in ["LINES", "INJECTED", "JUPYTER_TOKEN", "HOME=/root", "CONTAINER_PATH", "DLPACK"] {
        assert!(!seen.contains(absent), "{absent} in\n{seen}");
    }
    assert_eq!(host.over_ssh("bash -lc 'echo PATH=$PATH'").trim_end(), PATH, "a login shell");
    assert_eq!(host.over_ssh("sh -lc 'echo PATH=$PATH'").trim_end(), PATH, "a login shell of dash");
    assert!(!host.ssh("root", &[], "true").status.success());
}

#[test]
fn two_containers_of_one_image_have_different_host_keys_and_one_keeps_its_own() {
    let image = Image::new("");
    let fingerprint = |host: &Host<'_>| {
        let mut container = host.start(ROOT, &[], &[]);
        let line = container.wait_for("host key SHA256:");
        listening(&mut container);
        container.signal("TERM");
        assert_eq!(container.end().0, 0);
        line.rsplit(' ').next().map(str::to_owned)
    };
    let (one, other) = (image.host(), image.host());
    let first = fingerprint(&one);
    assert_eq!(first, fingerprint(&one), "a container that starts again");
    assert_ne!(first, fingerprint(&other), "another container");
}

#[test]
fn as_the_images_user_it_has_an_sshd_of_its_own() {
    let image = Image::new("");
    let host = image.host();
    let mut container = host.start(DEV, &[], &["SPACES=two words"]);
    listening(&mut container);
    assert_eq!(host.over_ssh("id -un; echo $SPACES"), "dev\ntwo words\n");
    assert!(!host.ssh("root", &[], "true").status.success());
    container.signal("TERM");
    let (status, _, log) = container.end();
    assert_eq!(status, 0, "{log}");
}

#[test]
fn root_that_may_not_bind_the_port_of_ssh_takes_the_users() {
    let host = shared();
    let env = [PATH, "HOME=/root"];
    let start = |args: &[&str]| Container::start(&host.root, &Settings { args, user: ROOT, env: &env });
    // as root of a user namespace on the machine's own network has it
    start(&["setpriv", "--bounding-set=-net_bind_service", ENTRYPOINT]).wait_for("port 2222, host key");
    start(&[ENTRYPOINT]).wait_for("port 22, host key");
}

#[test]
fn arguments_are_passed_through_with_their_output_and_exit_status() {
    let host = shared();
    for user in [ROOT, DEV] {
        let script = r#"printf '%s|' "$@"; exit 7"#;
        let container = host.start(user, &["sh", "-c", script, "sh", "two words", "it's", "$HOME", ""], &[]);
        let (status, stdout, log) = container.end();
        assert_eq!((status, stdout.as_str()), (7, "two words|it's|$HOME||"), "{log}");
        assert_eq!(host.start(user, &["no-such-command"], &[]).end().0, 127);
        assert_eq!(host.start(user, &["A=b"], &[]).end().0, 127, "no assignment to env");
        assert_eq!(host.start(user, &["sh", "-c", "kill -9 $$"], &[]).end().0, 137);
    }
}

#[test]
fn services_run_beside_a_command_and_keep_out_of_its_output() {
    let image = Image::new("");
    let host = image.host();
    // the command waits for the service without a clock: the log is a file that it watches
    let script = "until grep -q 'Server listening' /run/dlpack/sshd.log; do :; done; echo ready >&2; read -r _ < /go";
    crate::support::output(Command::new("mkfifo").arg(host.root.path().join("go")), "coreutils");
    let mut container = host.start(ROOT, &["sh", "-c", script], &[]);
    container.wait_for("ready");
    assert_eq!(host.over_ssh("echo in"), "in\n");
    assert_eq!(host.root.chroot("0:0", "stat -c %a /run/dlpack/sshd.log"), "600\n");
    std::fs::write(host.root.path().join("go"), "\n").expect("written");
    let (status, stdout, log) = container.end();
    assert_eq!((status, stdout.as_str()), (0, ""), "{log}");
    assert!(log.contains("dlpack: started sshd, see /run/dlpack"), "{log}");
}

#[test]
fn none_of_the_services_is_started_if_none_is_wanted() {
    let host = shared();
    let (status, stdout, log) = host.start(ROOT, &["echo", "hello"], &["DLPACK_SERVICES="]).end();
    assert_eq!((status, stdout.as_str(), log.as_str()), (0, "hello\n", ""));
    let (status, _, log) = host.start(ROOT, &[], &["DLPACK_SERVICES="]).end();
    assert_eq!((status, log.as_str()), (64, "dlpack: nothing to start, and no command given"));
}

#[test]
fn sigterm_ends_it_and_reaches_the_command() {
    let host = shared();
    for user in [ROOT, DEV] {
        let mut services = host.start(user, &[], &[]);
        listening(&mut services);
        services.signal("TERM");
        let (status, _, log) = services.end();
        assert_eq!(status, 0, "{log}");

        let script = "trap 'echo told; exit 5' TERM; echo up >&2; sleep 1000 & wait";
        let mut told = host.start(user, &["sh", "-c", script], &[]);
        told.wait_for("up");
        told.signal("TERM");
        let (status, stdout, log) = told.end();
        assert_eq!((status, stdout.as_str()), (5, "told\n"), "{log}");

        let mut untold = host.start(user, &["sh", "-c", "echo up >&2; exec sleep 1000"], &[]);
        untold.wait_for("up");
        untold.signal("TERM");
        assert_eq!(untold.end().0, 143);
    }
}

#[test]
fn the_shell_of_busybox_runs_it_as_well() {
    let image = Image::new("");
    let host = image.host();
    let busybox = host.root.path().join("usr/bin/busybox");
    crate::support::output(Command::new("cp").arg("/bin/busybox").arg(&busybox), "busybox");
    let sh = host.root.path().join("usr/bin/sh");
    std::fs::remove_file(&sh).expect("removed");
    std::os::unix::fs::symlink("busybox", &sh).expect("linked");
    let mut services = host.start(ROOT, &[], &["SPACES=two words"]);
    listening(&mut services);
    assert_eq!(host.over_ssh("echo $SPACES"), "two words\n");
    services.signal("TERM");
    assert_eq!(services.end().0, 0);
    let mut told = host.start(DEV, &["sh", "-c", "trap 'exit 5' TERM; echo up >&2; sleep 1000 & wait"], &[]);
    told.wait_for("up");
    told.signal("TERM");
    let (status, _, log) = told.end();
    assert_eq!(status, 5, "{log}");
}

#[test]
fn sigint_reaches_a_command_that_would_not_be_told_in_the_background_of_a_shell() {
    let host = shared();
    let script = "import signal,sys; print('up', file=sys.stderr, flush=True); signal.pause()";
    let mut python = host.start(DEV, &["python3", "-c", script], &[]);
    python.wait_for("up");
    python.signal("INT");
    let (status, _, log) = python.end();
    assert!(status == 130 && log.contains("KeyboardInterrupt"), "{status} {log}");
}

#[test]
fn orphans_are_reaped() {
    let host = shared();
    // ends only when no process that has ended is left
    let script = "for n in 1 2 3; do (sh -c 'exit 0' & exec true); done; \
                  until ! grep -q '^State:.Z' /proc/[0-9]*/status 2>/dev/null; do :; done; echo reaped";
    let (status, stdout, log) = host.start(ROOT, &["sh", "-c", script], &["DLPACK_SERVICES="]).end();
    assert_eq!((status, stdout.as_str()), (0, "reaped\n"), "{log}");
}

/// The tests' Debian with a venv that has a real Jupyter Server, and an account whose
/// own venv lies over it.
fn with_jupyter(port: u16) -> Root {
    let text = format!(
        "base = \"scratch\"\n\
         [[layer]]\nname = \"a\"\nkind = \"account\"\nuser = \"dev\"\nuid = 1234\nvenv = \"/opt/venv\"\n\
         [[layer]]\nname = \"v\"\nkind = \"venv\"\npath = \"/opt/venv\"\npython = \"3.11\"\n\
         [[layer]]\nname = \"j\"\nkind = \"jupyter\"\nport = {port}\n"
    );
    let lock = lock(recipe(&text), base_files_of(&rootfs::tar()), &["pip", "ipykernel"]);
    let layers = changesets(&lock);
    let root = Root::new(&layers.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    root.chroot("0:0", "python3 -m venv --without-pip /opt/venv");
    let mut copy = Command::new("cp");
    copy.arg("-rT").arg(jupyter_server()).arg(root.path().join("opt/venv/lib/python3.11/site-packages"));
    crate::support::output(&mut copy, "coreutils");
    let program = root.path().join("opt/venv/bin/jupyter-server");
    std::fs::write(&program, "#!/opt/venv/bin/python\nfrom jupyter_server.serverapp import main\nmain()\n")
        .expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    root
}

/// jupyter-server, ipykernel and pip for the Debian's Python, as uv installs them.
fn jupyter_server() -> PathBuf {
    let target = crate::support::parts().join("jupyter-server");
    let _alone = rootfs::alone(&target);
    if !target.exists() {
        let unfinished = target.with_extension("unfinished");
        let mut install = Command::new(crate::support::uv::uv());
        install.args(["pip", "install", "--quiet", "--python-version", "3.11", "--only-binary", ":all:", "--target"]);
        crate::support::output(install.arg(&unfinished).args(["jupyter-server", "ipykernel", "pip", "idna"]), "uv");
        std::fs::rename(unfinished, &target).expect("renamed");
    }
    target
}

#[test]
fn jupyter_answers_those_who_have_the_token_of_this_start() {
    let port = free_port();
    let root = with_jupyter(port);
    let mut tokens = Vec::new();
    for user in [ROOT, DEV] {
        let home = if user == ROOT { "HOME=/root" } else { "HOME=/home/dev" };
        let env = [PATH, home, "JUPYTER_PATH=/home/dev/.venv/share/jupyter"];
        let mut container = Container::start(&root, &Settings { args: &[ENTRYPOINT], user, env: &env });
        container.wait_for("Serving notebooks from local directory: /home/dev");
        let token = token_in(&container.wait_for("http://127.0.0.1"));
        assert_eq!(get(port, "/api/contents").0, "403");
        assert_eq!(get(port, "/api/contents?token=0123456789").0, "403");
        let (status, specs) = get(port, &format!("/api/kernelspecs?token={token}"));
        assert_eq!(status, "200");
        assert!(specs.contains("/home/dev/.venv/bin/python"), "{specs}");
        let uids =
            container.exec(&["sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; stat -c %u $p; done"]);
        assert!(uids.lines().any(|line| line.contains("jupyter-server") && line.ends_with(" 1234")), "{uids}");
        container.signal("TERM");
        let (status, _, log) = container.end();
        assert_eq!(status, 0, "{log}");
        tokens.push(token);
    }
    assert_ne!(tokens[0], tokens[1]);
}

#[test]
fn jupyter_takes_the_token_that_it_is_given_and_keeps_it_out_of_the_log() {
    let port = free_port();
    let root = with_jupyter(port);
    let env = [PATH, "HOME=/root", "JUPYTER_TOKEN=given-at-run-time"];
    let mut container = Container::start(&root, &Settings { args: &[ENTRYPOINT], user: ROOT, env: &env });
    container.wait_for("http://127.0.0.1");
    assert_eq!(get(port, "/api/contents?token=given-at-run-time").0, "200");
    assert_eq!(get(port, "/api/contents").0, "403");
    container.signal("TERM");
    let (_, _, log) = container.end();
    assert!(!log.contains("given-at-run-time"), "{log}");
}

#[test]
fn pip_installs_into_the_accounts_own_venv_and_shadows_the_shared_one() {
    let root = with_jupyter(free_port());
    let make = "import zipfile\n\
        z = zipfile.ZipFile('/tmp/idna-99-py3-none-any.whl', 'w')\n\
        z.writestr('idna/__init__.py', '__version__ = \"99\"')\n\
        z.writestr('idna-99.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: idna\\nVersion: 99\\n')\n\
        z.writestr('idna-99.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
        z.writestr('idna-99.dist-info/RECORD', '')\n\
        z.close()\n";
    std::fs::write(root.path().join("tmp/make.py"), make).expect("written");
    let as_dev = |command: &str| root.chroot("1234:1234", &format!("export HOME=/home/dev {PATH}; {command}"));
    let which = "python -c 'import idna, jupyter_server; print(idna.__version__ == \"99\", idna.__file__)'";
    assert!(as_dev(which).starts_with("False /opt/venv/lib/python3.11/site-packages/idna/"));
    as_dev(
        "python /tmp/make.py && pip install --quiet --no-index --no-deps --no-cache-dir --force-reinstall /tmp/idna-99-py3-none-any.whl",
    );
    assert!(as_dev(which).starts_with("True /home/dev/.venv/lib/python3.11/site-packages/idna/"));
    let shared = root.chroot("0:0", "/opt/venv/bin/python -c 'import idna; print(idna.__version__)'");
    assert_ne!(shared.trim(), "99", "the shared venv is as it was");
}
