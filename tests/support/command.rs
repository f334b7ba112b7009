//! Running the real `dlpack` in a world of its own: home, store, and registries.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A home directory with a store and a `registries.conf` in it.
pub struct Dlpack {
    directory: TempDir,
}

/// What a run of `dlpack` left.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; -1 if a signal ended it.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Dlpack {
    /// A new home; `docker.io` leads nowhere.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-home-").tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("work")).expect("created");
        let home = Self { directory };
        // port 9 is discard: whatever asks docker.io without a mirror fails at once
        home.mirror_docker_io("127.0.0.1:9");
        home
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_dlpack"));
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
            .env("NO_COLOR", "1")
            .env("TERM", "dumb");
        self.with_package_index(&mut command);
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
