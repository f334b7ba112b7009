//! The shipped recipes, whole: built with their Debian packages on a base of the name
//! that they have, by an ordinary user, and used in three container runtimes.

use tempfile::TempDir;

use crate::support::command::Dlpack;
use crate::support::container::free_port;
use crate::support::image::{Form, debian_with_apt};
use crate::support::registry::DebianRegistry;
use crate::support::runtime::{Docker, Podman, Runc, Runtime};
use crate::support::visitor::{get, new_key, ssh, token_in};
use crate::support::wheel;

/// What the recipes are made on. Here it is a small Debian with apt, and without Python
/// and sshd, in a registry that stands for docker.io.
const BASE: &str = "nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04";
const DEV: &str = "1000:1000";

/// A registry with the base, a user who builds, and a key to log in with.
struct World {
    registry: DebianRegistry,
    dlpack: Dlpack,
    keys: TempDir,
    public: String,
    port: u16,
}

impl World {
    fn new() -> Self {
        let registry = DebianRegistry::start();
        debian_with_apt().push("gzip", &registry, BASE, Form::Oci);
        let dlpack = Dlpack::unprivileged();
        dlpack.mirror_docker_io(registry.address());
        let keys = tempfile::tempdir().expect("a directory");
        let public = new_key(&keys.path().join("key"));
        Self { registry, dlpack, keys, public, port: free_port() }
    }

    /// Builds and pushes a flavour of `recipe`, whose layer `python` is changed by `python`;
    /// returns the image's name. Beside that, it has what the stand-in and the test need:
    /// Debian's version of Python, a key, and a port for Jupyter that is free here.
    fn push(&self, recipe: &str, python: &str) -> String {
        let (version, public, port) = (wheel::python(), &self.public, self.port);
        let text = format!(
            "extends = \"{recipe}\"\n\
             [[layer]]\nname = \"python\"\npython = \"{version}\"\ninterpreter = \"/usr/bin/python{version}\"\n{python}\n\
             [[layer]]\nname = \"account\"\nauthorized-keys = [\"{public}\"]\n\
             [[layer]]\nname = \"jupyter\"\nport = {port}\n"
        );
        self.dlpack.write("dlpack.toml", &text);
        let name = self.registry.reference(&format!("team/dl-env:{recipe}"));
        self.dlpack.ok(["push", "--update", "--quiet", &name]);
        name
    }

    /// Uses the image `name` as people will.
    fn visit(&self, runtime: &dyn Runtime, imports: &str) {
        eprintln!("with {}", runtime.name());
        let own = ["DLPACK_SSH_PORT", "DLPACK_SERVICES"];
        let (first, second) = (free_port(), free_port());
        let mut one = runtime.start(&[&format!("{}={first}", own[0])]);
        let host_key = one.wait_for("host key SHA256:");
        one.wait_for("Server listening on 0.0.0.0");
        self.log_in(first, imports);
        self.ask_jupyter(&one.wait_for(&format!("http://127.0.0.1:{}", self.port)));

        let mut other = runtime.start(&[&format!("{}={second}", own[0]), &format!("{}=sshd", own[1])]);
        let other_key = other.wait_for("host key SHA256:");
        let fingerprint = |line: &str| line.split_once("SHA256:").expect("a fingerprint").1.to_owned();
        assert_ne!(fingerprint(&host_key), fingerprint(&other_key), "two containers");

        let command = ["python", "-c", &format!("import {imports}, os; print(os.getuid())")];
        let ran = runtime.run(DEV, &[], &command);
        assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), "1000");
    }

    fn log_in(&self, port: u16, imports: &str) {
        let key = self.keys.path().join("key");
        let command = format!("id -un; pwd; python -c 'import {imports}; print(pandas.__file__)'");
        let entered = ssh(&key, port, "dev", &[], &command);
        let (said, refused) = (String::from_utf8_lossy(&entered.stdout), String::from_utf8_lossy(&entered.stderr));
        let site = format!("/opt/venv/lib/python{}/site-packages", wheel::python());
        assert_eq!(said, format!("dev\n/home/dev\n{site}/pandas/__init__.py\n"), "{refused}");
        let password = ["-o", "PubkeyAuthentication=no"].as_slice();
        for (user, options) in [("root", [].as_slice()), ("dev", password), ("root", password)] {
            let refused = ssh(&key, port, user, options, "true");
            let message = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && message.contains("Permission denied (publickey)"), "{message}");
        }
    }

    fn ask_jupyter(&self, address: &str) {
        let token = token_in(address);
        assert_eq!(get(self.port, "/api/contents").0, "403");
        assert_eq!(get(self.port, "/api/contents?token=0123456789").0, "403");
        assert_eq!(get(self.port, &format!("/api/contents?token={token}")).0, "200");
    }

    /// Pulls the image `name` into each runtime, one after the other, and uses it there.
    fn use_everywhere(&self, name: &str, imports: &str) {
        self.visit(&Docker::pull(name), imports);
        self.visit(&Podman::pull(name), imports);
        let runc = {
            let puller = Dlpack::new();
            puller.ok(["pull", "--quiet", name]);
            Runc::unpack(&puller.store(), name)
        };
        self.visit(&runc, imports);
    }
}

/// The layer `python` without what is too much for every change: `xgboost` brings NCCL and
/// half a gigabyte, and what `torch` and `rapids` add is gigabytes more. `dlpack plan` of
/// the whole of them is tested elsewhere, and `torch` with all its wheels below.
fn small_python() -> String {
    let base: toml::Table = include_str!("../recipes/base.toml").parse().expect("TOML");
    let mut layers = base["layer"].as_array().expect("layers").iter();
    let python = layers.find(|layer| layer.get("name").is_some_and(|name| name.as_str() == Some("python")));
    let mut requirements = python.expect("a venv")["requirements"].as_array().expect("requirements").clone();
    requirements.retain(|requirement| requirement.as_str().is_some_and(|text| !text.starts_with("xgboost")));
    format!("kind = \"venv\"\npath = \"/opt/venv\"\nrequirements = {}", toml::Value::from(requirements))
}

/// `base`, and `torch` and `rapids` with the wheels of `base`: what those have of their
/// own is wheels, which [`small_python`] leaves out.
#[test]
fn the_recipes_are_built_with_their_debian_packages_by_an_ordinary_user_and_used_in_three_runtimes() {
    let world = World::new();
    for flavour in ["rapids", "torch"] {
        world.push(flavour, &small_python());
    }
    let name = world.push("base", &small_python());
    world.use_everywhere(&name, "sklearn, pandas");
}

#[test]
#[ignore = "the wheels of torch are 3 GB: in the store, the registry and three runtimes they take 25 GB of disk"]
fn the_torch_recipe_is_whole() {
    let world = World::new();
    let name = world.push("torch", "");
    world.use_everywhere(&name, "torch, sklearn, pandas");
}
