//! Debian's registry on loopback, and a base in it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::{must, wait_for};

/// The registry, until it is dropped.
pub struct Registry {
    /// `127.0.0.1:PORT`.
    pub address: String,
    storage: PathBuf,
    server: Child,
}

impl Registry {
    /// Starts it with all it writes under `directory`.
    pub fn start(directory: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let config = directory.join("registry.yml");
        let storage = directory.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\nhttp: {{ addr: {address} }}\n",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(directory.join("registry.log")).unwrap();
        let mut server = Command::new("docker-registry");
        let server = server.arg("serve").arg(&config).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let server = server.expect("apt-get install docker-registry");
        wait_for("the registry", || TcpStream::connect(&address).is_ok());
        Self { address, storage, server }
    }

    /// How many bytes of blobs it holds.
    pub fn bytes(&self) -> u64 {
        walkdir::WalkDir::new(self.storage.join("docker/registry/v2/blobs"))
            .into_iter()
            .filter_map(Result::ok)
            .filter_map(|entry| entry.metadata().ok())
            .filter(fs::Metadata::is_file)
            .map(|meta| meta.len())
            .sum()
    }

    /// Writes a registries.conf that leads docker.io here, as a person sets up a mirror.
    pub fn be_docker_io(&self, file: &Path) {
        let text = format!("[[registry]]\nprefix = \"docker.io\"\nlocation = \"{}\"\ninsecure = true\n", self.address);
        fs::write(file, text).unwrap();
    }

    /// Makes a Debian of this machine's release and pushes it as `name`. `options` are
    /// mmdebstrap's; the tar is kept in `directory` for the next time.
    pub fn push_debian(&self, directory: &Path, name: &str, options: &[&str]) {
        let (tar, layout) = (directory.join("base.tar"), directory.join("base-layout"));
        if !tar.exists() {
            println!("making the base …");
            let release = fs::read_to_string("/etc/os-release").unwrap();
            let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap().to_owned();
            must(Command::new("mmdebstrap").arg("--quiet").args(options).arg(&suite).arg(&tar));
        }
        let _ = fs::remove_dir_all(&layout);
        let image = format!("{}:base", layout.display());
        must(Command::new("umoci").args(["init", "--layout"]).arg(&layout));
        must(Command::new("umoci").args(["new", "--image", &image]));
        must(Command::new("umoci").args(["raw", "add-layer", "--image", &image]).arg(&tar));
        let target = format!("docker://{}/{name}", self.address);
        must(Command::new("skopeo").args(["copy", "-q", "--dest-tls-verify=false", &format!("oci:{image}"), &target]));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A port of loopback that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
