//! What people use today, on the same Dockerfile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::parts::{BASE, Bench, must, wait_for};

/// A tool that builds a Dockerfile and pushes the result.
pub trait Peer {
    /// What it is called in the table.
    fn name(&self) -> &'static str;
    /// Builds an image that installs `requirements` and pushes it.
    fn build_and_push(&self, requirements: &Path) -> Duration;
}

/// A build context: the Dockerfile that people write today.
fn context(bench: &Bench, requirements: &Path) -> PathBuf {
    let context = bench.directory().join("context");
    fs::create_dir_all(&context).unwrap();
    fs::copy(requirements, context.join("requirements.txt")).unwrap();
    let dockerfile = format!(
        "FROM {}/{BASE}\nRUN python3 -m venv /opt/venv\nCOPY requirements.txt /tmp/requirements.txt\n\
         RUN /opt/venv/bin/pip install --no-cache-dir --no-index --no-deps --find-links {} -r /tmp/requirements.txt\n",
        bench.registry(),
        bench.wheelhouse()
    );
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    context
}

/// Debian's dockerd, started for the bench with a data root of its own.
pub struct Docker {
    daemon: Child,
    root: PathBuf,
    socket: String,
    context: Box<dyn Fn(&Path) -> PathBuf>,
    image: String,
}

impl Docker {
    /// The daemon; nothing where it is not installed.
    pub fn start(bench: &Bench) -> Option<Self> {
        let binary = Path::new("/usr/sbin/dockerd");
        if !binary.exists() {
            return None;
        }
        let root = bench.directory().join("dockerd");
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
        let image = format!("{}/bench/docker:latest", bench.registry());
        let bench = bench.clone();
        let docker = Self { daemon, root, socket, context: Box::new(move |file| context(&bench, file)), image };
        wait_for("dockerd", || docker.command(&["version"]).output().is_ok_and(|output| output.status.success()));
        // The base is at hand for everybody.
        let base = docker.image.replace("bench/docker:latest", BASE);
        must(&mut docker.command(&["pull", "-q", &base]));
        Some(docker)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.env("DOCKER_HOST", &self.socket).env("DOCKER_BUILDKIT", "0").args(arguments);
        command
    }
}

impl Peer for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn build_and_push(&self, requirements: &Path) -> Duration {
        let context = (self.context)(requirements);
        let since = Instant::now();
        must(self.command(&["build", "-q", "--network", "host", "-t", &self.image]).arg(context));
        must(&mut self.command(&["push", "-q", &self.image]));
        since.elapsed()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let terminate = format!("kill {}", self.daemon.id());
        let _ = Command::new("sh").args(["-c", &terminate]).status();
        let _ = self.daemon.wait();
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// buildah, with a storage of its own.
pub struct Buildah {
    root: PathBuf,
    context: Box<dyn Fn(&Path) -> PathBuf>,
    image: String,
}

impl Buildah {
    /// The tool; nothing where it is not installed.
    pub fn find(bench: &Bench) -> Option<Self> {
        Command::new("buildah").arg("--version").output().ok()?;
        let (root, image) = (bench.directory().join("buildah"), format!("{}/bench/buildah:latest", bench.registry()));
        let bench = bench.clone();
        let buildah = Self { root, context: Box::new(move |file| context(&bench, file)), image };
        let base = buildah.image.replace("bench/buildah:latest", BASE);
        must(&mut buildah.command(&["pull", "-q", "--tls-verify=false", &base]));
        Some(buildah)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.root.join("root")).arg("--runroot").arg(self.root.join("run")).args(arguments);
        command
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        let _ = self.command(&["rmi", "-a", "-f"]).output();
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Peer for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn build_and_push(&self, requirements: &Path) -> Duration {
        let context = (self.context)(requirements);
        let since = Instant::now();
        let build = [
            "build",
            "-q",
            "--layers",
            "--isolation",
            "chroot",
            "--network",
            "host",
            "--tls-verify=false",
            "-t",
            &self.image,
        ];
        must(self.command(&build).arg(context));
        must(&mut self.command(&["push", "-q", "--tls-verify=false", &self.image]));
        since.elapsed()
    }
}
