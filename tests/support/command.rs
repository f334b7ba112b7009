//! Running the real `dlpack` in a world of its own: home, store, and registries.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::image::Layout;
use super::sandbox::UID;

/// A home directory with a store and a `registries.conf` in it.
pub struct Dlpack {
    directory: TempDir,
    /// Whom commands run as, if not as whoever runs the tests.
    uid: Option<u32>,
}

/// What a run of `dlpack` left.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; -1 if a signal ended it.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// `dlpack serve` over a home's store, killed when dropped.
pub struct Served {
    pub child: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Dlpack {
    /// A new home; `docker.io` leads nowhere.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-home-").tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("work")).expect("created");
        let home = Self { directory, uid: None };
        // port 9 is discard: whatever asks docker.io without a mirror fails at once
        home.mirror_docker_io("127.0.0.1:9");
        home
    }

    /// A new home of a user who has nothing: no name, no group, no subordinate ids.
    pub fn unprivileged() -> Self {
        let mut home = Self::new();
        if rustix::process::getuid().is_root() {
            for path in [home.home().to_owned(), home.work()] {
                std::os::unix::fs::chown(path, Some(UID), Some(UID)).expect("root may chown");
            }
            home.uid = Some(UID);
        }
        home
    }

    /// A new home of such a user, with `base` as `base` in [`Self::work`], and its root
    /// filesystem extracted in the store.
    pub fn unprivileged_on(base: &Layout) -> Self {
        let home = Self::unprivileged_before(base);
        home.ok(["cache", "list"]); // makes the store
        symlink(base.extracted(), home.store().join("rootfs")).expect("linked");
        home
    }

    /// The same before anything is extracted.
    fn unprivileged_before(base: &Layout) -> Self {
        let home = Self::unprivileged();
        symlink(base.path(), home.work().join("base")).expect("linked");
        home
    }

    /// Extracts the image `gzip` of `base` into `trees`, as a step's store does it.
    pub(super) fn extract(base: &Layout, trees: &Path) {
        let home = Self::unprivileged_before(base);
        let unfinished = trees.with_extension("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir(&unfinished).expect("created");
        std::os::unix::fs::chown(&unfinished, home.uid, home.uid).expect("root may chown");
        symlink(&unfinished, home.store()).expect("linked");
        let step = "[[layer]]\nkind = \"run\"\ncommand = \"true\"\n";
        home.write("dlpack.toml", &format!("base = {{ layout = \"base\", tag = \"gzip\" }}\n{step}"));
        home.ok(["build"]);
        fs::rename(unfinished.join("rootfs"), trees).expect("renamed");
        fs::remove_dir_all(&unfinished).expect("removed");
    }

    /// A new home whose `docker.io` is the registry at `address`.
    pub fn with_docker_io(address: &str) -> Self {
        let home = Self::new();
        home.mirror_docker_io(address);
        home
    }

    /// Lets `docker.io` lead to the registry at `address`, without TLS.
    pub fn mirror_docker_io(&self, address: &str) {
        let text = format!(
            "[[registry]]\nprefix = \"docker.io\"\nlocation = \"{address}\"\ninsecure = true\n\n\
             [[registry]]\nlocation = \"{address}\"\ninsecure = true\n"
        );
        fs::write(self.registries_conf(), text).expect("registries.conf written");
    }

    /// Whether its commands run as root.
    pub fn is_root(&self) -> bool {
        self.uid.is_none() && rustix::process::getuid().is_root()
    }

    /// `$HOME`.
    pub fn home(&self) -> &Path {
        self.directory.path()
    }

    /// The directory that commands run in, empty at first.
    pub fn work(&self) -> PathBuf {
        self.home().join("work")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.home().join("store")
    }

    /// containers' registries.conf(5).
    pub fn registries_conf(&self) -> PathBuf {
        self.home().join("registries.conf")
    }

    /// Writes a file into [`Self::work`], with the directories above it.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(&path, content).unwrap_or_else(|error| panic!("can't write {}: {error}", path.display()));
        path
    }

    /// `dlpack ARGS`, to be changed further before it is run.
    pub fn command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Command {
        self.command_as_user(env!("CARGO_BIN_EXE_dlpack"), arguments)
    }

    /// `PROGRAM ARGS` as the user of this home, in the environment in which `dlpack` is run.
    pub fn command_as_user<I: IntoIterator<Item: AsRef<OsStr>>>(&self, program: &str, arguments: I) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.work()).stdin(Stdio::null());
        for name in ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DLPACK_")) {
            command.env_remove(name);
        }
        command
            .env("HOME", self.home())
            .env("DLPACK_STORE", self.store())
            .env("CONTAINERS_REGISTRIES_CONF", self.registries_conf())
            .env("UV_CACHE_DIR", super::parts().join("uv-cache"))
            // a machine without a driver, whatever this one has
            .env("DLPACK_DRIVER_ROOT", self.home().join("no-driver"))
            .env("NO_COLOR", "1")
            .env("TERM", "dumb");
        self.with_package_index(&mut command);
        if let Some(uid) = self.uid {
            // what is cached for others is not theirs to write
            command.env("UV_CACHE_DIR", self.home().join("uv-cache")).uid(uid).gid(uid);
        }
        command
    }

    /// `WRAPPER dlpack ARGS`, where the wrapper is a program with its own arguments.
    pub fn command_in<I: IntoIterator<Item: AsRef<OsStr>>>(&self, wrapper: &[&str], arguments: I) -> Command {
        let inner = self.command(arguments);
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(inner.get_program()).args(inner.get_args());
        command.current_dir(self.work()).stdin(Stdio::null());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    /// The machine's own settings of pip and uv lie under the real home.
    fn with_package_index(&self, command: &mut Command) {
        let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return };
        for (name, file) in [("PIP_CONFIG_FILE", ".config/pip/pip.conf"), ("UV_CONFIG_FILE", ".config/uv/uv.toml")] {
            if std::env::var_os(name).is_none() && home.join(file).is_file() {
                command.env(name, home.join(file));
            }
        }
    }

    /// Runs `dlpack ARGS` to its end.
    pub fn run<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Ran {
        self.command(arguments).output().map(Ran::from).expect("dlpack runs")
    }

    /// Runs `dlpack ARGS`, which must succeed, and returns what it printed on
    /// stdout without the last newline.
    #[track_caller]
    pub fn ok<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
        ran.stdout.trim_end_matches('\n').to_owned()
    }

    /// Runs `dlpack ARGS --json`, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn json<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Value {
        let ran = self.command(arguments).arg("--json").output().map(Ran::from).expect("dlpack runs");
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
    }

    /// Runs `dlpack ARGS`, which must end with `status` and print nothing, and returns
    /// what it said.
    #[track_caller]
    pub fn refuses<I: IntoIterator<Item: AsRef<OsStr>>>(&self, status: i32, arguments: I) -> String {
        let ran = self.run(arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (status, ""), "{}", ran.stderr);
        ran.stderr
    }

    /// Writes the recipe of a small environment: a file, a time zone, two wheels for
    /// Python 3.11, whichever this machine has, and an account on `base`, which is TOML.
    pub fn write_recipe(&self, base: &str) {
        let recipe = format!(
            r#"base = {base}

[vars]
greeting = "hello"

[config]
env = {{ GREETING = "${{greeting}}" }}

[[layer]]
kind = "files"
files = [{{ content = "Welcome.\n", to = "/etc/motd" }}]

[[layer]]
kind = "timezone"
zone = "Asia/Seoul"

[[layer]]
kind = "venv"
python = "3.11"
interpreter = "/usr/bin/python3.11"
requirements = ["six==1.16.0", "tqdm==4.66.5"]

[[layer]]
kind = "account"
user = "dev"
venv = "/opt/venv"
"#
        );
        self.write("dlpack.toml", &recipe);
    }

    /// Replaces a part of a file that must have it.
    #[track_caller]
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.work().join(name)).expect("a file");
        assert!(text.contains(from), "no `{from}` in {text}");
        self.write(name, &text.replace(from, to));
    }

    /// Serves the store on a free port.
    pub fn serve(&self) -> Served {
        let mut serve = self.command(["serve", "--address", "127.0.0.1:0"]);
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("dlpack runs");
        let mut address = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut address).expect("an address");
        Served { child, address: address.trim().to_owned() }
    }

    /// The file of a blob in the store.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.store().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// A manifest or a config in the store.
    #[track_caller]
    pub fn stored(&self, digest: &str) -> Value {
        let bytes = fs::read(self.blob(digest)).unwrap_or_else(|error| panic!("{digest}: {error}"));
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// The config of the image whose manifest is `digest`.
    #[track_caller]
    pub fn config_of(&self, digest: &str) -> Value {
        self.stored(self.stored(digest)["config"]["digest"].as_str().expect("a digest"))
    }

    /// The digests of the layers of the image whose manifest is `digest`.
    #[track_caller]
    pub fn layers_of(&self, digest: &str) -> Vec<String> {
        let manifest = self.stored(digest);
        let layers = manifest["layers"].as_array().expect("layers").iter();
        layers.map(|layer| layer["digest"].as_str().expect("a digest").to_owned()).collect()
    }

    /// What is under way in the store, or was when somebody was killed.
    pub fn leftovers(&self) -> usize {
        fs::read_dir(self.store().join("tmp")).map_or(0, Iterator::count)
    }

    /// Runs `dlpack ARGS`, which must fail, and returns what it printed on stderr.
    #[track_caller]
    pub fn fails<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> String {
        let ran = self.run(arguments);
        assert_ne!(ran.status, 0, "it succeeded:\n{}{}", ran.stdout, ran.stderr);
        ran.stderr
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
