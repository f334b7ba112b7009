//! What benches are run beside and stand on: the tools that people use today, each
//! with a storage of its own, which goes with it; and a registry.

pub mod registry;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// A tool that builds a Dockerfile.
pub trait Peer {
    /// What it is called in the table.
    fn name(&self) -> &'static str;
    /// A command of its on its own storage.
    fn command(&self, arguments: &[&str]) -> Command;
    /// Builds the Dockerfile in `context` as `image`; with the network of the host.
    fn build(&self, image: &str, context: &Path);
    /// Pushes `image` to the registry that its name begins with.
    fn push(&self, image: &str);
    /// Gets `image` from there.
    fn pull(&self, image: &str);
}

/// What builds in a dockerd.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// The daemon itself.
    Classic,
    /// Its BuildKit.
    BuildKit,
}

/// How a pushed layer is compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Gzip,
    Zstd,
}

/// Debian's dockerd, started for the bench.
pub struct Docker {
    daemon: Child,
    root: PathBuf,
    socket: String,
    builder: Builder,
}

impl Docker {
    /// The daemon, with all it writes under `directory`; nothing where it is not
    /// installed.
    pub fn start(directory: &Path, builder: Builder) -> Option<Self> {
        let binary = Path::new("/usr/sbin/dockerd");
        if !binary.exists() {
            return None;
        }
        let root = directory.join("dockerd");
        fs::create_dir_all(&root).unwrap();
        let socket = format!("unix://{}", root.join("socket").display());
        let log = fs::File::create(root.join("log")).unwrap();
        let daemon = Command::new(binary)
            .args(["--iptables=false", "--bridge=none", "-H", &socket])
            .arg("--data-root")
            .arg(root.join("data"))
            .arg("--exec-root")
            .arg(root.join("exec"))
            .arg("--pidfile")
            .arg(root.join("pid"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let docker = Self { daemon, root, socket, builder };
        wait_for("dockerd", || docker.command(&["version"]).output().is_ok_and(|output| output.status.success()));
        Some(docker)
    }
}

impl Peer for Docker {
    fn name(&self) -> &'static str {
        if self.builder == Builder::BuildKit { "buildkit" } else { "docker" }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        let buildkit = if self.builder == Builder::BuildKit { "1" } else { "0" };
        command.env("DOCKER_HOST", &self.socket).env("DOCKER_BUILDKIT", buildkit).args(arguments);
        command
    }

    fn build(&self, image: &str, context: &Path) {
        must(self.command(&["build", "-q", "--network", "host", "-t", image]).arg(context));
    }

    fn push(&self, image: &str) {
        must(&mut self.command(&["push", "-q", image]));
    }

    fn pull(&self, image: &str) {
        must(&mut self.command(&["pull", "-q", image]));
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.daemon), Signal::TERM);
        let _ = self.daemon.wait();
        // What it leaves mounted: a network namespace, that of the host.
        let _ = unmount(self.root.join("exec/netns/default"), UnmountFlags::DETACH);
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// buildah, without a daemon.
pub struct Buildah {
    root: PathBuf,
    format: Format,
}

impl Buildah {
    /// The tool, with all it writes under `directory`; nothing where it is not
    /// installed.
    pub fn find(directory: &Path, format: Format) -> Option<Self> {
        Command::new("buildah").arg("--version").output().ok()?;
        Some(Self { root: directory.join("buildah"), format })
    }
}

impl Peer for Buildah {
    fn name(&self) -> &'static str {
        if self.format == Format::Zstd { "buildah-zstd" } else { "buildah" }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.root.join("root")).arg("--runroot").arg(self.root.join("run")).args(arguments);
        command
    }

    fn build(&self, image: &str, context: &Path) {
        let how = ["build", "-q", "--layers", "--isolation", "chroot", "--network", "host", "--tls-verify=false"];
        must(self.command(&how).args(["-t", image]).arg(context));
    }

    fn push(&self, image: &str) {
        must(&mut self.command(&["push", "-q", "--tls-verify=false", image]));
    }

    fn pull(&self, image: &str) {
        must(&mut self.command(&["pull", "-q", "--tls-verify=false", image]));
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        let _ = self.command(&["rm", "-a"]).output();
        let _ = self.command(&["rmi", "-a", "-f"]).output();
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Runs `command`, which must succeed within [`LIMIT`].
pub fn must(command: &mut Command) {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (process, (running, ended)) = (Pid::from_child(&child), channel::<()>());
    let watch = thread::spawn(move || {
        if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(process, Signal::KILL);
        }
    });
    let status = child.wait().unwrap();
    drop(running);
    watch.join().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Waits up to a minute for `ready`.
pub fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let since = Instant::now();
    while !ready() {
        assert!(since.elapsed() < Duration::from_secs(60), "{what} does not start");
        thread::sleep(Duration::from_millis(50));
    }
}
