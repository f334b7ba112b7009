//! Container runtimes that run an image from a registry: Docker's daemon, and runc on
//! what umoci unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::output;

/// How long dockerd may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that runs commands in containers of one image.
pub trait Runtime {
    /// Runs `command` as `user` (`uid:gid`, or empty for the image's own), with
    /// `mounts` from here to there, read-only, in a new container.
    fn run(&self, user: &str, mounts: &[(&Path, &str)], command: &[&str]) -> Output;

    /// What it is called in a test that fails.
    fn name(&self) -> &'static str;
}

/// A dockerd of its own, without a network of its own, and an image that it pulled.
pub struct Docker {
    daemon: Child,
    directory: TempDir,
    image: String,
}

impl Docker {
    /// Starts the daemon and pulls `image`; nothing where a daemon can't run, as in
    /// a container without privileges.
    pub fn pull(image: &str) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("dlpack-docker-").tempdir().expect("a temporary directory");
        let log = fs::File::create(directory.path().join("log")).expect("a log");
        let mut dockerd = Command::new("dockerd");
        dockerd.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        for (option, name) in
            [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid"), ("--config-file", "daemon.json")]
        {
            dockerd.arg(option).arg(directory.path().join(name));
        }
        fs::write(directory.path().join("daemon.json"), "{}").expect("written");
        dockerd.arg("--host").arg(socket(directory.path())).stdout(Stdio::null()).stderr(log);
        let daemon = dockerd.spawn().unwrap_or_else(|error| {
            panic!("can't run dockerd: {error}\nhint: apt-get install docker.io, or run scripts/test")
        });
        let mut docker = Self { daemon, directory, image: image.to_owned() };
        if let Err(log) = docker.wait() {
            eprintln!("dockerd does not start here, so that it is left to runc alone:\n{log}");
            return None;
        }
        output(docker.command().args(["pull", "--quiet", image]), "docker.io");
        Some(docker)
    }

    /// Waits until the daemon answers; its log if it ends.
    fn wait(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while !self.command().arg("version").output().is_ok_and(|answer| answer.status.success()) {
            let ended = self.daemon.try_wait().expect("waited").is_some();
            if ended || begun.elapsed() > PATIENCE {
                return Err(fs::read_to_string(self.directory.path().join("log")).unwrap_or_default());
            }
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.arg("--host").arg(socket(self.directory.path())).env("DOCKER_CONFIG", self.directory.path());
        docker
    }
}

fn socket(directory: &Path) -> String {
    format!("unix://{}", directory.join("sock").display())
}

impl Runtime for Docker {
    fn run(&self, user: &str, mounts: &[(&Path, &str)], command: &[&str]) -> Output {
        let mut run = self.command();
        run.args(["run", "--rm", "--network", "host"]);
        if !user.is_empty() {
            run.args(["--user", user]);
        }
        for (from, to) in mounts {
            run.arg("--volume").arg(format!("{}:{to}:ro", from.display()));
        }
        output(run.arg(&self.image).args(command), "docker.io")
    }

    fn name(&self) -> &'static str {
        "docker"
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // SIGTERM: it ends its containerd, too, and unmounts what it mounted
        let _ = rustix::process::kill_process(Pid::from_child(&self.daemon), Signal::TERM);
        let _ = self.daemon.wait();
        // the namespace of `--network host` stays mounted, and would keep the directory
        let _ = Command::new("umount").arg(self.directory.path().join("exec/netns/default")).status();
    }
}

/// runc on a bundle that umoci unpacked.
pub struct Runc {
    directory: TempDir,
}

impl Runc {
    /// Unpacks the image `tag` of the layout `store`.
    pub fn unpack(store: &Path, tag: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-runc-").tempdir().expect("a temporary directory");
        let mut umoci = Command::new("umoci");
        umoci.args(["unpack", "--image", &format!("{}:{tag}", store.display())]);
        output(umoci.arg(directory.path().join("bundle")), "umoci");
        Self { directory }
    }

    fn bundle(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }
}

impl Runtime for Runc {
    fn run(&self, user: &str, mounts: &[(&Path, &str)], command: &[&str]) -> Output {
        let path = self.bundle().join("config.json");
        let made = fs::read(&path).expect("a bundle");
        let mut config: Value = serde_json::from_slice(&made).expect("JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(command);
        if let Some((uid, gid)) = user.split_once(':') {
            let id = |id: &str| id.parse::<u32>().expect("an id");
            config["process"]["user"] = json!({ "uid": id(uid), "gid": id(gid) });
        }
        for (from, to) in mounts {
            let mount = json!({ "destination": to, "type": "bind", "source": from, "options": ["bind", "ro"] });
            config["mounts"].as_array_mut().expect("mounts").push(mount);
        }
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "network");
        fs::write(&path, config.to_string()).expect("written");
        let mut run = Command::new("runc");
        run.arg("--root").arg(self.directory.path().join("state")).arg("run").arg("--bundle").arg(self.bundle());
        let ran = output(run.arg(format!("dlpack-test-{}", std::process::id())).stdin(Stdio::null()), "runc");
        fs::write(&path, made).expect("written");
        ran
    }

    fn name(&self) -> &'static str {
        "runc"
    }
}
