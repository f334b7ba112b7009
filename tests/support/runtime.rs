//! Container runtimes that run an image from a registry: Docker's daemon, podman, and
//! runc on what umoci unpacked.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::container::CAPABILITIES;
use super::output;
use super::started::Started;

/// Something that runs commands in containers of one image.
pub trait Runtime {
    /// Runs `command` as `user` (`uid:gid`, or empty for the image's own), with
    /// `mounts` from here to there, read-only, in a new container.
    fn run(&self, user: &str, mounts: &[(&Path, &str)], command: &[&str]) -> Output;

    /// Starts the image's own entrypoint with more environment (`NAME=VALUE`), in a new
    /// container on the host's network.
    fn start(&self, env: &[&str]) -> Started;

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
    /// Starts the daemon and pulls `image`.
    pub fn pull(image: &str) -> Self {
        let docker = Self::begin(image);
        output(docker.command().args(["pull", "--quiet", image]), "docker.io");
        docker
    }

    /// Starts the daemon and loads `archive`, which has to have `image`; what it said, too.
    pub fn load(archive: &Path, image: &str) -> (Self, String) {
        let docker = Self::begin(image);
        let loaded = output(docker.command().arg("load").arg("--input").arg(archive), "docker.io");
        (docker, String::from_utf8_lossy(&loaded.stdout).into_owned())
    }

    fn begin(image: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-docker-").tempdir().expect("a temporary directory");
        let mut dockerd = Command::new("dockerd");
        dockerd.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        for (option, name) in
            [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid"), ("--config-file", "daemon.json")]
        {
            dockerd.arg(option).arg(directory.path().join(name));
        }
        fs::write(directory.path().join("daemon.json"), "{}").expect("written");
        dockerd.arg("--host").arg(socket(directory.path())).stdout(Stdio::null()).stderr(Stdio::piped());
        let daemon = dockerd.spawn().unwrap_or_else(|error| {
            panic!("can't run dockerd: {error}\nhint: apt-get install docker.io, or run scripts/test")
        });
        let mut docker = Self { daemon, directory, image: image.to_owned() };
        docker.wait();
        docker
    }

    /// Waits until the daemon says that it listens.
    fn wait(&mut self) {
        let mut stderr = BufReader::new(self.daemon.stderr.take().expect("piped"));
        let mut log = String::new();
        while !log.lines().next_back().is_some_and(|line| line.contains("API listen on")) {
            if stderr.read_line(&mut log).expect("text") == 0 {
                panic!(
                    "dockerd does not start here:\n{log}\nhint: it takes root and cgroups that can be written; in a \
                     container, --privileged"
                );
            }
        }
        // it speaks on
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
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
        let mut run = run_of(self.command(), user, mounts);
        output(run.arg(&self.image).args(command), "docker.io")
    }

    fn start(&self, env: &[&str]) -> Started {
        Started::spawn(start_of(self.command(), env).arg(&self.image))
    }

    fn name(&self) -> &'static str {
        "docker"
    }
}

/// `docker run` and `podman run`, which take the same options.
fn run_of(mut client: Command, user: &str, mounts: &[(&Path, &str)]) -> Command {
    client.args(["run", "--rm", "--network", "host"]);
    if !user.is_empty() {
        client.args(["--user", user]);
    }
    for (from, to) in mounts {
        client.arg("--volume").arg(format!("{}:{to}:ro", from.display()));
    }
    client
}

fn start_of(client: Command, env: &[&str]) -> Command {
    let mut run = run_of(client, "", &[]);
    for variable in env {
        run.args(["--env", variable]);
    }
    run
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

/// podman with a storage of its own, and an image that it pulled.
pub struct Podman {
    directory: TempDir,
    image: String,
}

impl Podman {
    /// Pulls `image`.
    pub fn pull(image: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-podman-").tempdir().expect("a temporary directory");
        let podman = Self { directory, image: image.to_owned() };
        output(podman.command().args(["pull", "--quiet", "--tls-verify=false", image]), "podman");
        podman
    }

    fn command(&self) -> Command {
        let mut podman = Command::new("podman");
        podman.arg("--root").arg(self.directory.path().join("root"));
        podman.arg("--runroot").arg(self.directory.path().join("run"));
        // a copy of the image for each of its layers, which `vfs` makes, is too much
        podman.args(["--storage-driver", "overlay", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
        podman
    }

    /// podman's own limits are above those that a container on which tests run may have.
    fn limited(mut run: Command) -> Command {
        run.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        run
    }
}

impl Runtime for Podman {
    fn run(&self, user: &str, mounts: &[(&Path, &str)], command: &[&str]) -> Output {
        let mut run = Self::limited(run_of(self.command(), user, mounts));
        output(run.arg(&self.image).args(command), "podman")
    }

    fn start(&self, env: &[&str]) -> Started {
        Started::spawn(Self::limited(start_of(self.command(), env)).arg(&self.image))
    }

    fn name(&self) -> &'static str {
        "podman"
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // overlay's directory is a mount of its own, which would keep the directory
        let _ = Command::new("umount").arg(self.directory.path().join("root/overlay")).stderr(Stdio::null()).status();
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

/// What a container has of its own though its root filesystem is shared: as the bundle
/// is one, so would be the host keys.
const OWN: [(&str, &str); 3] = [("/run", "mode=755"), ("/tmp", "mode=1777"), ("/var/lib/dlpack", "mode=755")];

impl Runc {
    /// The bundle's configuration, on the host's network.
    fn configuration(&self) -> Value {
        let made = fs::read(self.bundle().join("config.json")).expect("a bundle");
        let mut config: Value = serde_json::from_slice(&made).expect("JSON");
        config["process"]["terminal"] = json!(false);
        config["root"]["path"] = json!(self.bundle().join("rootfs"));
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "network");
        config
    }

    /// `runc run` of a container with this configuration.
    fn command(&self, config: &Value) -> Command {
        static CONTAINERS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("dlpack-test-{}-{}", std::process::id(), CONTAINERS.fetch_add(1, Ordering::Relaxed));
        let bundle = self.directory.path().join(&name);
        fs::create_dir(&bundle).expect("created");
        fs::write(bundle.join("config.json"), config.to_string()).expect("written");
        let mut run = Command::new("runc");
        run.arg("--root").arg(self.directory.path().join("state")).arg("run").arg("--bundle").arg(bundle).arg(name);
        run.stdin(Stdio::null());
        run
    }
}

impl Runtime for Runc {
    fn run(&self, user: &str, mounts: &[(&Path, &str)], command: &[&str]) -> Output {
        let mut config = self.configuration();
        config["process"]["args"] = json!(command);
        if let Some((uid, gid)) = user.split_once(':') {
            let id = |id: &str| id.parse::<u32>().expect("an id");
            config["process"]["user"] = json!({ "uid": id(uid), "gid": id(gid) });
        }
        for (from, to) in mounts {
            let mount = json!({ "destination": to, "type": "bind", "source": from, "options": ["bind", "ro"] });
            config["mounts"].as_array_mut().expect("mounts").push(mount);
        }
        output(&mut self.command(&config), "runc")
    }

    fn start(&self, env: &[&str]) -> Started {
        let mut config = self.configuration();
        config["process"]["env"].as_array_mut().expect("an environment").extend(env.iter().map(|line| json!(line)));
        for (at, mode) in OWN {
            let mount = json!({ "destination": at, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", mode] });
            config["mounts"].as_array_mut().expect("mounts").push(mount);
        }
        // umoci gives fewer than Docker does, which sshd needs to change to its users
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(CAPABILITIES);
        }
        Started::spawn(&mut self.command(&config))
    }

    fn name(&self) -> &'static str {
        "runc"
    }
}
