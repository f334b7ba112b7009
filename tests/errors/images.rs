//! Images that can't be pulled or looked at.

use std::fs;

use dlpack::oci::{Descriptor, media_type};
use dlpack::registry::serve::{Options, Server};
use dlpack::store::{Area, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::shown_at;
use crate::support::command::Dlpack;

/// A registry over a store that images are put into as they are.
struct Raw {
    server: Server,
    store: Store,
    _directory: TempDir,
}

impl Raw {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), store.clone(), Options::default()).unwrap();
        Self { server, store, _directory: directory }
    }

    fn put(&self, media_type: &str, bytes: &[u8]) -> Value {
        self.store.put(Area::Blobs, bytes).unwrap();
        serde_json::to_value(Descriptor::of(media_type, bytes)).unwrap()
    }

    fn manifest(&self, config: &Value) -> Value {
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": []});
        self.put(media_type::MANIFEST, manifest.to_string().as_bytes())
    }

    /// An index of `entry` for linux/amd64.
    fn index(&self, entry: &Value) -> Value {
        let mut entry = entry.clone();
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [entry]});
        self.put(media_type::INDEX, index.to_string().as_bytes())
    }

    fn image(&self) -> Value {
        let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}});
        self.manifest(&self.put(media_type::CONFIG, config.to_string().as_bytes()))
    }

    /// Names what `descriptor` describes, and returns its name for a client.
    fn tag(&self, name: &str, descriptor: &Value) -> String {
        let descriptor: Descriptor = serde_json::from_value(descriptor.clone()).unwrap();
        self.store.tag(&format!("docker.io/team/{name}:1"), &descriptor).unwrap();
        format!("{}/team/{name}:1", self.server.address())
    }
}

#[test]
fn an_image_that_cannot_be_pulled() {
    let (raw, dlpack) = (Raw::start(), Dlpack::new());
    let mut shown = shown_at(&dlpack);
    shown.replace(raw.server.address().to_string(), "REGISTRY");
    let mut pulled = |case: &str, descriptor: &Value, platform: &str| {
        let name = raw.tag(&case.replace(' ', "-"), descriptor);
        shown.run(case, &mut dlpack.command(["pull", &name, "--platform", platform]));
    };
    let image = raw.image();
    pulled("another platform", &raw.index(&image), "linux/riscv64");
    pulled("an index in an index", &raw.index(&raw.index(&image)), "linux/amd64");
    let chart = raw.manifest(&raw.put("application/vnd.cncf.helm.config.v1+json", b"{}"));
    pulled("a chart", &chart, "linux/amd64");
    let broken = raw.manifest(&raw.put(media_type::CONFIG, b"{\"rootfs\":5}"));
    pulled("a config that is none", &broken, "linux/amd64");
    let mut long = raw.put(media_type::CONFIG, b"{}");
    long["size"] = (5 << 20).into();
    pulled("a config that is too long", &raw.manifest(&long), "linux/amd64");
    shown.is("images/pull");
}

#[test]
fn a_base_whose_index_lies_about_its_image() {
    let (raw, dlpack) = (Raw::start(), Dlpack::new());
    let mut shown = shown_at(&dlpack);
    shown.replace(raw.server.address().to_string(), "REGISTRY");
    let mut image = raw.image();
    image["size"] = (image["size"].as_u64().unwrap() + 1).into();
    let name = raw.tag("base", &raw.index(&image));
    dlpack.write("dlpack.toml", &format!("base = \"{name}\"\nplatform = \"linux/amd64\"\n"));
    shown.run("another length", &mut dlpack.command(["lock"]));
    shown.is("images/base");
}

#[test]
fn an_image_that_is_broken_in_the_store() {
    let (raw, dlpack) = (Raw::start(), Dlpack::new());
    let mut shown = shown_at(&dlpack);
    shown.replace(raw.server.address().to_string(), "REGISTRY");
    let name = raw.tag("image", &raw.image());
    let digest = dlpack.ok(["pull", &name]);
    let config = dlpack.stored(&digest)["config"]["digest"].as_str().unwrap().to_owned();
    fs::write(dlpack.blob(&config), "damaged").unwrap();
    shown.run("a damaged config", &mut dlpack.command(["inspect", &name]));
    shown.run("a config that is gone", &mut dlpack.command(["inspect", &name]));
    dlpack.ok(["pull", &name]);
    let index = raw.index(&raw.image());
    let store = Store::open(&dlpack.store()).unwrap();
    let bytes = raw.store.read(Area::Blobs, &index["digest"].as_str().unwrap().parse().unwrap()).unwrap().unwrap();
    store.put(Area::Blobs, &bytes).unwrap();
    store.tag(&name, &serde_json::from_value(index).unwrap()).unwrap();
    shown.run("an index under its name", &mut dlpack.command(["inspect", &name]));
    shown.is("images/store");
}
