//! What the bench stands on: a registry, a base under the recipe's name, wheels
//! at hand, and the recipe before and after a small change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::peers::registry::{Registry, free_port};
use crate::peers::{must, wait_for};

/// The name under which the recipes know their base.
pub const BASE: &str = "nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04";

/// Which requirements there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Those of the torch recipe.
    Torch,
    /// What data science begins with.
    Medium,
    /// Two small wheels.
    Small,
}

/// One measured round.
pub struct Measured {
    /// Wall-clock time.
    pub time: Duration,
    /// Bytes that the registry has more than before.
    pub sent: u64,
    /// Peak resident memory in KiB; 0 where it isn't measured.
    pub peak_kib: u64,
    /// Bytes that went to a disk (proc(5), write_bytes); 0 where it isn't measured.
    pub written: u64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s, {}", self.time.as_secs_f64(), megabytes(self.sent))
    }
}

/// `12.3 MB`.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.3} MB", bytes as f64 / 1e6)
}

/// Everything prepared; cheap to clone, removed with the last clone.
#[derive(Clone)]
pub struct Bench(Rc<Parts>);

struct Parts {
    directory: PathBuf,
    registry: Registry,
    wheelhouse: String,
    wheel_server: Child,
}

impl Bench {
    /// Starts the servers, makes the base, locks both recipes and fetches their
    /// wheels: none of that is timed.
    pub fn prepare(size: Size) -> Self {
        let directory = std::env::var_os("DLPACK_BENCH_DIR")
            .map(PathBuf::from)
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-image"));
        fs::create_dir_all(&directory).unwrap();
        let registry = Registry::start(&directory);
        let (wheelhouse, wheel_server) = start_wheelhouse(&directory);
        registry.be_docker_io(&directory.join("registries.conf"));
        registry.push_debian(&directory, BASE, &["--variant=minbase", INCLUDE]);
        let bench = Self(Rc::new(Parts { directory, registry, wheelhouse, wheel_server }));
        for (round, tqdm) in [("before", "4.67.0"), ("after", "4.67.1"), ("later", "4.66.6")] {
            bench.write_recipe(round, tqdm, size);
            println!("locking and fetching `{round}` …");
            let since = Instant::now();
            must(bench.dlpack(&["lock", "-q", "-r"]).arg(bench.recipe(round)));
            println!("  locked in {:.1} s", since.elapsed().as_secs_f64());
            must(bench.dlpack(&["build", "-q", "-r"]).arg(bench.recipe(round)).stdout(Stdio::null()));
            bench.lay_out_wheels(round);
        }
        bench.forget_layers();
        bench
    }

    /// Where everything lies.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// `127.0.0.1:PORT` of the registry.
    pub fn registry(&self) -> &str {
        &self.0.registry.address
    }

    /// The page that links the wheels, for pip's `--find-links`.
    pub fn wheelhouse(&self) -> &str {
        &self.0.wheelhouse
    }

    /// The recipe of a round.
    pub fn recipe(&self, round: &str) -> PathBuf {
        self.directory().join(format!("{round}.toml"))
    }

    /// The same wheels as a requirements file.
    pub fn requirements(&self, round: &str) -> PathBuf {
        self.directory().join(format!("{round}.txt"))
    }

    /// How many bytes of blobs the registry holds.
    pub fn registry_bytes(&self) -> u64 {
        self.0.registry.bytes()
    }

    /// How many bytes the wheels of a round have.
    pub fn wheel_bytes(&self, round: &str) -> u64 {
        let lock = fs::read_to_string(self.directory().join(format!("{round}.lock"))).unwrap();
        let lock: toml::Table = lock.parse().unwrap();
        let layers = lock["layer"].as_array().unwrap().iter();
        let wheels = layers.flat_map(|layer| layer.get("wheel").and_then(toml::Value::as_array).into_iter().flatten());
        wheels.map(|wheel| wheel["size"].as_integer().unwrap() as u64).sum()
    }

    /// `dlpack push` on an empty disk, which fetches the wheels as well.
    pub fn dlpack_push_from_nothing(&self, recipe: &Path) -> Measured {
        fs::remove_dir_all(self.directory().join("store")).unwrap();
        self.push_to("bench/nothing:latest", recipe)
    }

    /// `dlpack push` on an empty disk to where the records of earlier pushes are.
    pub fn dlpack_push_from_empty_disk(&self, recipe: &Path) -> Measured {
        fs::remove_dir_all(self.directory().join("store")).unwrap();
        self.dlpack_push(recipe)
    }

    /// `dlpack push`, timed, with its peak memory and what it wrote.
    pub fn dlpack_push(&self, recipe: &Path) -> Measured {
        self.push_to("bench/dlpack:latest", recipe)
    }

    fn push_to(&self, target: &str, recipe: &Path) -> Measured {
        let before = self.registry_bytes();
        let since = Instant::now();
        let mut child = self.dlpack(&["push", "-q", target, "-r"]).arg(recipe).stdout(Stdio::null()).spawn().unwrap();
        let watched = watch_peak(child.id());
        let ended = waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let time = since.elapsed();
        ended.unwrap();
        let written = written(child.id());
        assert!(child.wait().unwrap().success(), "dlpack push failed");
        let sent = self.registry_bytes().saturating_sub(before);
        Measured { time, sent, peak_kib: watched.join().unwrap(), written }
    }

    fn dlpack(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dlpack"));
        command
            .env("DLPACK_STORE", self.directory().join("store"))
            .env("CONTAINERS_REGISTRIES_CONF", self.directory().join("registries.conf"))
            .current_dir(self.directory())
            .args(arguments);
        command
    }

    /// The recipe of a round on a base that has what its apt layer installs; the small
    /// change is one version of one pure-Python wheel.
    fn write_recipe(&self, round: &str, tqdm: &str, size: Size) {
        let requirements = match size {
            Size::Torch => return fs::write(self.recipe(round), TORCH.replace("@TQDM@", tqdm)).unwrap(),
            Size::Medium => MEDIUM,
            Size::Small => "\"numpy==2.2.6\"",
        };
        let text = format!(
            "base = \"{BASE}\"\n[[layer]]\nkind = \"venv\"\npython = \"3.11\"\n\
             requirements = [\"tqdm=={tqdm}\", {requirements}]\n"
        );
        fs::write(self.recipe(round), text).unwrap();
    }

    /// Every wheel of the lock under its own name, and a requirements file of them.
    fn lay_out_wheels(&self, round: &str) {
        let lock = fs::read_to_string(self.directory().join(format!("{round}.lock"))).unwrap();
        let lock: toml::Table = lock.parse().unwrap();
        let mut requirements = String::new();
        for layer in lock["layer"].as_array().unwrap() {
            for wheel in layer.get("wheel").and_then(toml::Value::as_array).into_iter().flatten() {
                let text = |name: &str| wheel[name].as_str().unwrap();
                let hex = text("sha256").trim_start_matches("sha256:");
                let file = self.directory().join("wheels").join(text("file"));
                if !file.exists() {
                    fs::hard_link(self.directory().join("store/downloads/sha256").join(hex), file).unwrap();
                }
                requirements.push_str(&format!("{}=={}\n", text("name"), text("version")));
            }
        }
        fs::write(self.requirements(round), requirements).unwrap();
    }

    /// The wheels stay, everything made from them goes: the first push is a first one.
    fn forget_layers(&self) {
        let store = self.directory().join("store");
        for area in ["blobs/sha256", "keys"] {
            let _ = fs::remove_dir_all(store.join(area));
            fs::create_dir_all(store.join(area)).unwrap();
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let _ = self.wheel_server.kill();
        let _ = self.wheel_server.wait();
        if std::env::var_os("DLPACK_BENCH_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// What the stand-in for the base has: Python 3.11 and pip, and what the recipe's apt
/// layer would install.
const INCLUDE: &str = "--include=python3,python3-venv,python3-pip,ca-certificates,openssh-server,tmux,curl,tzdata";

/// What [`Size::Medium`] has besides.
const MEDIUM: &str = r#""numpy==2.2.6", "scipy==1.15.3", "pandas==2.2.3", "scikit-learn==1.6.1", "pyarrow==19.0.1",
    "matplotlib==3.10.1", "polars==1.26.0", "numba==0.61.2", "xgboost==3.0.0", "opencv-python-headless==4.11.0.86",
    "lightgbm==4.6.0", "duckdb==1.2.1", "sympy==1.13.3", "pillow==11.1.0""#;

/// On Debian's Python, and without the packages that the stand-in base has.
const TORCH: &str = r#"extends = "torch"
drop = ["apt"]

[[layer]]
name = "python"
python = "3.11"
interpreter = "/usr/bin/python3.11"
constraints = ["tqdm==@TQDM@"]
"#;

fn start_wheelhouse(directory: &Path) -> (String, Child) {
    let (port, wheels) = (free_port().to_string(), directory.join("wheels"));
    fs::create_dir_all(&wheels).unwrap();
    let mut server = Command::new("python3");
    server
        .args(["-m", "http.server", "-b", "127.0.0.1", &port])
        .current_dir(wheels)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let server = server.spawn().expect("apt-get install python3");
    wait_for("the wheelhouse", || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    (format!("http://127.0.0.1:{port}/"), server)
}

/// What a process that has ended, and was not waited for, has caused to be written to a
/// disk (proc(5), /proc/PID/io).
fn written(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("the kernel counts, and we are root");
    let of = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    of("write_bytes:").unwrap().saturating_sub(of("cancelled_write_bytes:").unwrap())
}

/// The kernel keeps the peak itself (proc(5), VmHWM); it is read until the process ends.
fn watch_peak(pid: u32) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let mut peak = 0;
        while let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let Some(kib) = line.and_then(|line| line.split_whitespace().next()?.parse().ok()) else { break };
            peak = kib;
            thread::sleep(Duration::from_millis(20));
        }
        peak
    })
}
