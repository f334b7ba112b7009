//! Containers of runc on a real Debian with layers over it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use dlpack::changeset::Changeset;
use serde_json::json;
use tempfile::TempDir;

use super::payload::tar_of;
use super::started::Transcript;
use super::{output, rootfs};

/// Docker's default set.
pub const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// A root filesystem: the tests' Debian with layers over it.
#[derive(Clone)]
pub struct Root {
    path: PathBuf,
    read_only: bool,
    _own: Option<Arc<TempDir>>,
}

impl Root {
    /// One that a container may write to.
    pub fn new(layers: &[&dyn Changeset]) -> Self {
        let own = tempfile::Builder::new().prefix("dlpack-root-").tempdir().expect("a temporary directory");
        let path = own.path().join("rootfs");
        unpack(layers, &path);
        Self { path, read_only: false, _own: Some(Arc::new(own)) }
    }

    /// One that several containers share, each with empty `/run`, `/tmp` and
    /// `/var/lib/dlpack` of its own. The one that an earlier run made is replaced.
    pub fn shared(layers: &[&dyn Changeset], name: &str) -> Self {
        let path = super::parts().join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).expect("removed");
        }
        unpack(layers, &path);
        std::fs::create_dir(path.join("var/lib/dlpack")).expect("created");
        Self { path, read_only: true, _own: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `command` prints when run by the container's shell in a chroot.
    pub fn chroot(&self, user: &str, command: &str) -> String {
        let mut chroot = Command::new("chroot");
        chroot.arg(format!("--userspec={user}")).arg(&self.path).args(["/bin/sh", "-c", command]).env_clear();
        let printed = output(chroot.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "coreutils");
        String::from_utf8(printed.stdout).expect("UTF-8")
    }
}

fn unpack(layers: &[&dyn Changeset], root: &Path) {
    extract(&rootfs::tar(), root);
    for layer in layers {
        let mut tar = tempfile::NamedTempFile::new().expect("a temporary file");
        tar.write_all(&tar_of(*layer).expect("a layer")).expect("written");
        extract(tar.path(), root);
    }
}

fn extract(tar: &Path, root: &Path) {
    std::fs::create_dir_all(root).expect("created");
    let mut command = Command::new("tar");
    output(command.arg("--numeric-owner").arg("-xpf").arg(tar).arg("-C").arg(root), "tar");
}

/// How a container is started.
pub struct Settings<'a> {
    pub args: &'a [&'a str],
    /// uid and gid.
    pub user: (u32, u32),
    pub env: &'a [&'a str],
}

/// A running container, which ends when it is dropped.
pub struct Container {
    id: String,
    child: Child,
    log: Transcript,
    _bundle: TempDir,
}

impl Container {
    /// Starts `settings` on `root`, in a process namespace of its own and on the
    /// host's network.
    pub fn start(root: &Root, settings: &Settings<'_>) -> Self {
        let bundle = tempfile::Builder::new().prefix("dlpack-bundle-").tempdir().expect("a temporary directory");
        let config = bundle.path().join("config.json");
        std::fs::write(config, configuration(root, settings).to_string()).expect("written");
        let id = bundle.path().file_name().expect("a name").to_string_lossy().replace('.', "_");
        let mut command = Command::new("runc");
        command.arg("run").arg("--bundle").arg(bundle.path()).arg(&id);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("can't run runc: {error}\nhint: apt-get install runc, or run scripts/test"));
        let log = Transcript::of(vec![Box::new(child.stderr.take().expect("a pipe"))]);
        Self { id, child, log, _bundle: bundle }
    }

    /// The first line of the log that has `text` in it, once it is there.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        self.log.wait_for(text)
    }

    /// Sends a signal to its first process.
    pub fn signal(&self, signal: &str) {
        output(Command::new("runc").args(["kill", &self.id, signal]), "runc");
    }

    /// What `args` print when run beside it as root.
    pub fn exec(&self, args: &[&str]) -> String {
        let printed = output(Command::new("runc").args(["exec", &self.id]).args(args), "runc");
        String::from_utf8(printed.stdout).expect("UTF-8")
    }

    /// Its exit status, what it wrote to stdout, and its log, when it has ended.
    pub fn end(mut self) -> (i32, String, String) {
        let mut stdout = String::new();
        self.child.stdout.take().expect("a pipe").read_to_string(&mut stdout).expect("read");
        let status = self.child.wait().expect("waited");
        (status.code().unwrap_or(-1), stdout, self.log.whole())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("runc").args(["delete", "--force", &self.id]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

fn configuration(root: &Root, settings: &Settings<'_>) -> serde_json::Value {
    let mount = |kind: &str, at: &str, options: &[&str]| json!({ "destination": at, "type": kind, "source": kind, "options": options });
    let (uid, gid) = settings.user;
    let capabilities = if uid == 0 { json!(CAPABILITIES) } else { json!([]) };
    let mut mounts = vec![
        mount("proc", "/proc", &[]),
        mount("tmpfs", "/dev", &["nosuid", "mode=755"]),
        mount("devpts", "/dev/pts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        mount("tmpfs", "/dev/shm", &["nosuid", "nodev"]),
    ];
    if root.read_only {
        for (at, mode) in [("/run", "mode=755"), ("/tmp", "mode=1777"), ("/var/lib/dlpack", "mode=755")] {
            mounts.push(mount("tmpfs", at, &["nosuid", mode]));
        }
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": uid, "gid": gid },
            "args": settings.args,
            "env": settings.env,
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES, "effective": capabilities, "permitted": capabilities,
            },
        },
        "root": { "path": root.path, "readonly": root.read_only },
        "mounts": mounts,
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }] },
    })
}

/// A port of loopback that nobody listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
