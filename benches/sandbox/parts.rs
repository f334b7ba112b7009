//! What the bench stands on: a registry with a small Debian under the name of the
//! recipes' base, an ordinary user, and the packages of `base.toml` at hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dlpack::oci::{ChainId, Digest};
use dlpack::progress::Progress;
use dlpack::sandbox::{Host, Rootfs, Step};
use dlpack::store::{Store, Tree};
use tempfile::TempDir;

use crate::peers::registry::Registry;
use crate::peers::{Peer, must};

/// The name under which recipes know their base.
const BASE: &str = "nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04";

/// A peer's image of the base with the packages in it.
const AT_HAND: &str = "localhost/bench/at-hand:latest";

/// An ordinary user: nobody knows it, and it has no subordinate ids.
const USER: &str = "65000";

/// What the bench is called with by itself to measure the start of a sandbox.
pub const START: &str = "--start-on";

/// Everything prepared; removed when it is dropped.
pub struct Bench {
    registry: Registry,
    directory: PathBuf,
    _removed: TempDir,
}

impl Bench {
    /// Starts the registry and puts the base into it.
    pub fn prepare() -> Self {
        let parent = std::env::var_os("DLPACK_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let removed = tempfile::Builder::new().prefix("dlpack-bench-sandbox-").tempdir_in(parent).unwrap();
        let directory = removed.path().to_owned();
        let ours = directory.join("user");
        fs::create_dir(&ours).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        must(Command::new("chown").arg(USER).arg(&ours));
        let registry = Registry::start(&directory);
        registry.be_docker_io(&directory.join("registries.conf"));
        // The lists of packages stay, as docker's step has them at hand; and as in Docker's own
        // Debian images, dpkg does not wait for the disk.
        let unsafe_io = "--customize-hook=echo force-unsafe-io >\"$1/etc/dpkg/dpkg.cfg.d/docker-apt-speedup\"";
        let options = ["--variant=apt", "--skip=cleanup/apt/lists", "--include=ca-certificates", unsafe_io];
        registry.push_debian(&directory, BASE, &options);
        Self { registry, directory, _removed: removed }
    }

    /// Where everything lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Locks the recipes, fetches the packages, extracts the base and builds the layer:
    /// none of that is timed.
    pub fn make_ready(&self) {
        let base = format!("base = \"{BASE}\"\n");
        let apt = format!("{base}\n[[layer]]\nkind = \"apt\"\npackages = {:?}\n", packages());
        for (name, text) in [("none", base), ("apt", apt)] {
            fs::write(self.recipe(name), text).unwrap();
            for verb in ["lock", "build"] {
                must(self.dlpack(&[verb, "-q", "-r"]).arg(self.recipe(name)));
            }
        }
    }

    /// Makes the store forget which layers it has; the packages and the base stay.
    pub fn forget_layer(&self) {
        let keys = self.directory.join("user/store/keys");
        fs::remove_dir_all(&keys).unwrap();
        fs::create_dir(&keys).unwrap();
        must(Command::new("chown").arg(USER).arg(&keys));
    }

    /// `dlpack build`.
    pub fn timed_build(&self, recipe: &str) -> Duration {
        let mut build = self.dlpack(&["build", "-q", "-r"]);
        build.arg(self.recipe(recipe));
        timed(|| must(&mut build))
    }

    /// From nothing to the end of `true` in a sandbox on the extracted base.
    pub fn timed_start(&self) -> Duration {
        let roots = self.directory.join("user/store/rootfs/sha256");
        let chain = fs::read_dir(&roots).unwrap().next().unwrap().unwrap().file_name();
        let mut start = as_user(std::env::current_exe().unwrap().as_os_str());
        start.arg(START).arg(self.directory.join("user/store")).arg(chain);
        let output = start.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "no sandbox was started");
        Duration::from_secs_f64(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
    }

    /// Gives `peer` the base, with the same packages in apt's cache.
    pub fn put_at_hand(&self, peer: &dyn Peer) {
        let base = format!("{}/{BASE}", self.registry.address);
        peer.pull(&base);
        let context = self.directory.join("context");
        let debs = context.join("debs");
        fs::create_dir_all(&debs).unwrap();
        let lock: toml::Table = fs::read_to_string(self.directory.join("user/apt.lock")).unwrap().parse().unwrap();
        for deb in lock["layer"][0]["deb"].as_array().unwrap() {
            let text = |name: &str| deb[name].as_str().unwrap();
            // apt's name of a package in its cache: the colon of an epoch is escaped
            let file = format!("{}_{}_{}.deb", text("name"), text("version").replace(':', "%3a"), text("architecture"));
            let hex = text("sha256").trim_start_matches("sha256:");
            fs::copy(self.directory.join("user/store/downloads/sha256").join(hex), debs.join(file)).unwrap();
        }
        fs::write(context.join("Dockerfile"), format!("FROM {base}\nCOPY debs/ /var/cache/apt/archives/\n")).unwrap();
        peer.build(AT_HAND, &context);
    }

    /// `docker build` of a Dockerfile that installs the packages; another one each round,
    /// so that no layer of an earlier round will do.
    pub fn timed_peer(&self, peer: &dyn Peer, round: usize) -> Duration {
        let context = self.directory.join("step");
        fs::create_dir_all(&context).unwrap();
        let install = format!(
            "FROM {AT_HAND}\nRUN : round {round}; DEBIAN_FRONTEND=noninteractive apt-get install -y \
             --no-install-recommends --no-download {}\n",
            packages().join(" ")
        );
        fs::write(context.join("Dockerfile"), install).unwrap();
        timed(|| peer.build("bench/apt:latest", &context))
    }

    fn recipe(&self, name: &str) -> PathBuf {
        self.directory.join("user").join(format!("{name}.toml"))
    }

    fn dlpack(&self, arguments: &[&str]) -> Command {
        let mut command = as_user(env!("CARGO_BIN_EXE_dlpack").as_ref());
        command
            .env("HOME", self.directory.join("user"))
            .env("DLPACK_STORE", self.directory.join("user/store"))
            .env("CONTAINERS_REGISTRIES_CONF", self.directory.join("registries.conf"))
            .current_dir(self.directory.join("user"))
            .args(arguments);
        command
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let since = Instant::now();
    work();
    since.elapsed()
}

/// `program` as an ordinary user.
fn as_user(program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    command
}

/// The packages of `recipes/base.toml`.
fn packages() -> Vec<String> {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/base.toml");
    let recipe: toml::Table = fs::read_to_string(recipe).unwrap().parse().unwrap();
    let apt = recipe["layer"].as_array().unwrap().iter().find(|layer| layer["kind"].as_str() == Some("apt")).unwrap();
    apt["packages"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Finds the base `chain` in a store, starts a sandbox on it, runs `true` there and prints how
/// long that took, in seconds.
pub fn start_on(store: &Path, chain: &str) {
    let scratch = store.with_file_name("scratch");
    let host = Host {
        program: env!("CARGO_BIN_EXE_dlpack").into(),
        scratch: scratch.clone(),
        caches: scratch.join("caches"),
        logs: scratch.join("logs"),
        secrets: Default::default(),
        shell_on_failure: false,
        progress: Progress::silent(),
    };
    let store = Store::open(store).unwrap();
    let chain = ChainId(Digest::from_hex(chain).unwrap());
    let since = Instant::now();
    let base = store.tree(Tree::Flattened, &chain.0).expect("the base is as it was extracted");
    let mut sandbox = Rootfs::new(vec![base.join("root")], Arc::new(host)).open().unwrap();
    sandbox.run(&Step::new(["true"]), &mut |_| ()).unwrap();
    println!("{}", since.elapsed().as_secs_f64());
}
