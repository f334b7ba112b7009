//! The entrypoint and what it starts, in containers of a real Debian.

use std::path::Path;
use std::process::{Command, Output};

use dlpack::changeset::{Changeset, account, entrypoint, jupyter, sshd};
use dlpack::recipe::LayerKind;

use crate::support::container::{Container, Root, Settings, free_port};
use crate::support::payload::{base_files_of, lock, recipe};
use crate::support::rootfs;

const ENTRYPOINT: &str = "/usr/local/bin/dlpack-entrypoint";
const PATH: &str =
    "PATH=/home/dev/.venv/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ROOT: (u32, u32) = (0, 0);
const DEV: (u32, u32) = (1234, 1234);

/// An image with an account `dev`, sshd on `port`, and what `more` says.
struct Image {
    root: Root,
    keys: tempfile::TempDir,
    port: u16,
}

impl Image {
    fn new(more: &str) -> Self {
        let keys = tempfile::tempdir().expect("a directory");
        let key = keys.path().join("key");
        let mut keygen = Command::new("ssh-keygen");
        crate::support::output(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key), "openssh-client");
        let public = std::fs::read_to_string(key.with_extension("pub")).expect("a key");
        let port = free_port();
        let text = format!(
            "base = \"scratch\"\n\
             [[layer]]\nname = \"account\"\nkind = \"account\"\nuser = \"dev\"\nuid = 1234\n\
             authorized-keys = [{:?}]\n\
             [[layer]]\nname = \"sshd\"\nkind = \"sshd\"\nport = {port}\n{more}",
            public.trim()
        );
        let lock = lock(recipe(&text), base_files_of(&rootfs::tar()), &[]);
        let mut layers: Vec<Box<dyn Changeset>> = Vec::new();
        for (_, account) in account::changesets(&lock, Path::new("/")).expect("an account") {
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
        let layers: Vec<&dyn Changeset> = layers.iter().map(AsRef::as_ref).collect();
        Self { root: Root::new(&layers), keys, port }
    }

    fn start(&self, user: (u32, u32), args: &[&str], env: &[&str]) -> Container {
        let home = if user == ROOT { "HOME=/root" } else { "HOME=/home/dev" };
        let env = [&[PATH, home], env].concat();
        Container::start(&self.root, &Settings { args: &[&[ENTRYPOINT], args].concat(), user, env: &env })
    }

    fn ssh(&self, user: &str, options: &[&str], command: &str) -> Output {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-p", &self.port.to_string(), "-i"]).arg(self.keys.path().join("key"));
        for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR"] {
            ssh.args(["-o", option]);
        }
        ssh.args(options).arg(format!("{user}@127.0.0.1")).arg(command);
        ssh.output().unwrap_or_else(|error| panic!("can't run ssh: {error}\nhint: apt-get install openssh-client"))
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
    let image = Image::new("");
    let mut container = image.start(ROOT, &[], &[]);
    listening(&mut container);
    assert_eq!(image.over_ssh("id -un; pwd"), "dev\n/home/dev\n");
    for (user, options) in [
        ("root", [].as_slice()),
        ("dev", &["-o", "PubkeyAuthentication=no"]),
        ("root", &["-o", "PubkeyAuthentication=no"]),
    ] {
        let refused = image.ssh(user, options, "true");
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && message.contains("Permission denied (publickey)"), "{message}");
    }
}

#[test]
fn the_containers_environment_is_visible_in_every_kind_of_ssh_login() {
    let image = Image::new("");
    let env = [
        "PLAIN=1",
        "SPACES=two  words #no comment",
        r#"QUOTES=it's "so" \ and `$HOME` 100%"#,
        "EMPTY=",
        "LINES=one\ntwo",
        "INJECTED=x\nPermitRootLogin yes",
        "JUPYTER_TOKEN=secret",
    ];
    let mut container = image.start(ROOT, &[], &env);
    listening(&mut container);
    container.wait_for("LINES has a line break");
    let seen = image.over_ssh("env -0 | tr '\\0' '\\n'");
    for line in [env[0], env[1], env[2], env[3], PATH] {
        assert!(seen.lines().any(|seen| seen == line), "no {line} in\n{seen}");
    }
    for absent in ["LINES", "INJECTED", "JUPYTER_TOKEN", "HOME=/root", "CONTAINER_PATH", "DLPACK"] {
        assert!(!seen.contains(absent), "{absent} in\n{seen}");
    }
    assert_eq!(image.over_ssh("bash -lc 'echo PATH=$PATH'").trim_end(), PATH, "a login shell");
    assert_eq!(image.over_ssh("sh -lc 'echo PATH=$PATH'").trim_end(), PATH, "a login shell of dash");
    assert!(!image.ssh("root", &[], "true").status.success());
}

#[test]
fn two_containers_of_one_image_have_different_host_keys_and_one_keeps_its_own() {
    let image = Image::new("");
    let fingerprint = |image: &Image| {
        let mut container = image.start(ROOT, &[], &[]);
        let line = container.wait_for("host key SHA256:");
        listening(&mut container);
        container.signal("TERM");
        assert_eq!(container.end().0, 0);
        line
    };
    let first = fingerprint(&image);
    assert_eq!(first, fingerprint(&image), "a container that starts again");
    let other = Image::new("");
    assert_ne!(first.rsplit(' ').next(), fingerprint(&other).rsplit(' ').next());
}

#[test]
fn as_the_images_user_it_has_an_sshd_of_its_own() {
    let image = Image::new("");
    let mut container = image.start(DEV, &[], &["SPACES=two words"]);
    listening(&mut container);
    assert_eq!(image.over_ssh("id -un; echo $SPACES"), "dev\ntwo words\n");
    assert!(!image.ssh("root", &[], "true").status.success());
    container.signal("TERM");
    let (status, _, log) = container.end();
    assert_eq!(status, 0, "{log}");
}

#[test]
fn arguments_are_passed_through_with_their_output_and_exit_status() {
    let image = Image::new("");
    for user in [ROOT, DEV] {
        let script = r#"printf '%s|' "$@"; exit 7"#;
        let container = image.start(user, &["sh", "-c", script, "sh", "two words", "it's", "$HOME", ""], &[]);
        let (status, stdout, log) = container.end();
        assert_eq!((status, stdout.as_str()), (7, "two words|it's|$HOME||"), "{log}");
        assert_eq!(image.start(user, &["no-such-command"], &[]).end().0, 127);
        assert_eq!(image.start(user, &["A=b"], &[]).end().0, 127, "no assignment to env");
        assert_eq!(image.start(user, &["sh", "-c", "kill -9 $$"], &[]).end().0, 137);
    }
}

#[test]
fn services_run_beside_a_command_and_keep_out_of_its_output() {
    let image = Image::new("");
    // the command waits for the service without a clock: the log is a file that it watches
    let script = "until grep -q 'Server listening' /run/dlpack/sshd.log; do :; done; echo ready >&2; read -r _ < /go";
    crate::support::output(Command::new("mkfifo").arg(image.root.path().join("go")), "coreutils");
    let mut container = image.start(ROOT, &["sh", "-c", script], &[]);
    container.wait_for("ready");
    assert_eq!(image.over_ssh("echo in"), "in\n");
    assert_eq!(image.root.chroot("0:0", "stat -c %a /run/dlpack/sshd.log"), "600\n");
    std::fs::write(image.root.path().join("go"), "\n").expect("written");
    let (status, stdout, log) = container.end();
    assert_eq!((status, stdout.as_str()), (0, ""), "{log}");
    assert!(log.contains("dlpack: started sshd, see /run/dlpack"), "{log}");
}

#[test]
fn none_of_the_services_is_started_if_none_is_wanted() {
    let image = Image::new("");
    let (status, stdout, log) = image.start(ROOT, &["echo", "hello"], &["DLPACK_SERVICES="]).end();
    assert_eq!((status, stdout.as_str(), log.as_str()), (0, "hello\n", ""));
    let (status, _, log) = image.start(ROOT, &[], &["DLPACK_SERVICES="]).end();
    assert_eq!((status, log.as_str()), (64, "dlpack: nothing to start, and no command given"));
}

#[test]
fn sigterm_ends_it_and_reaches_the_command() {
    let image = Image::new("");
    for user in [ROOT, DEV] {
        let mut services = image.start(user, &[], &[]);
        listening(&mut services);
        services.signal("TERM");
        let (status, _, log) = services.end();
        assert_eq!(status, 0, "{log}");

        let script = "trap 'echo told; exit 5' TERM; echo up >&2; while :; do sleep 0.1; done";
        let mut told = image.start(user, &["sh", "-c", script], &[]);
        told.wait_for("up");
        told.signal("TERM");
        let (status, stdout, log) = told.end();
        assert_eq!((status, stdout.as_str()), (5, "told\n"), "{log}");

        let mut untold = image.start(user, &["sh", "-c", "echo up >&2; exec sleep 1000"], &[]);
        untold.wait_for("up");
        untold.signal("TERM");
        assert_eq!(untold.end().0, 143);
    }
}

#[test]
fn sigint_reaches_a_command_that_would_not_be_told_in_the_background_of_a_shell() {
    let image = Image::new("");
    let script = "import signal,sys; print('up', file=sys.stderr, flush=True); signal.pause()";
    let mut python = image.start(DEV, &["python3", "-c", script], &[]);
    python.wait_for("up");
    python.signal("INT");
    let (status, _, log) = python.end();
    assert!(status == 130 && log.contains("KeyboardInterrupt"), "{status} {log}");
}

#[test]
fn orphans_are_reaped() {
    let image = Image::new("");
    let script = "(sleep 0 & exec true); for n in 1 2 3; do (sh -c 'exit 0 &' &); done; wait; sleep 0.3; \
                  cat /proc/[0-9]*/stat 2>/dev/null | awk '$3 == \"Z\"' | wc -l";
    let (status, stdout, log) = image.start(ROOT, &["sh", "-c", script], &["DLPACK_SERVICES="]).end();
    assert_eq!((status, stdout.as_str()), (0, "0\n"), "{log}");
}
