//! The remote cache: what was made once, anywhere, is not made again, and what others
//! say of a layer is gone by only as far as it is true.

mod collected;
mod found;
mod trust;

use std::fs;
use std::path::PathBuf;

use dlpack::oci::{Digest, media_type};
use dlpack::registry::serve::{Exchange, Features, Options, Server};
use dlpack::registry::{Registries, Repository, Settings};
use dlpack::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::command::Dlpack;

/// What records are.
const ARTIFACT: &str = "application/vnd.dlpack.layer.v1";

/// The embedded registry over a store of its own.
struct Registry {
    server: Server,
    directory: TempDir,
}

impl Registry {
    fn start() -> Self {
        Self::with(Features::default())
    }

    fn with(features: Features) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let options = Options { features, ..Options::default() };
        Self { server: Server::bind("127.0.0.1:0".parse().unwrap(), store, options).unwrap(), directory }
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.server.address())
    }

    /// What was asked since this was last called, greetings left out: `METHOD path`.
    fn asked(&self) -> Vec<String> {
        let asked =
            self.exchanges().iter().map(|exchange| format!("{} {}", exchange.method, exchange.target)).collect();
        self.server.clear_requests();
        asked
    }

    fn exchanges(&self) -> Vec<Exchange> {
        let greeting = |exchange: &Exchange| exchange.target == "/v2/";
        self.server.requests().into_iter().filter(|exchange| !greeting(exchange)).collect()
    }

    /// The file of a blob or manifest.
    fn blob(&self, digest: &str) -> PathBuf {
        self.directory.path().join("store/blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// The manifests of all records.
    fn records(&self) -> Vec<Value> {
        let files = fs::read_dir(self.directory.path().join("store/blobs/sha256")).unwrap();
        let read = |file: fs::DirEntry| serde_json::from_slice::<Value>(&fs::read(file.path()).unwrap()).ok();
        files.filter_map(|file| read(file.unwrap())).filter(|json| json["artifactType"] == ARTIFACT).collect()
    }

    /// Puts `manifest` under `tag` of `team/env`, as somebody would who may write there.
    fn put(&self, tag: &str, manifest: &Value) {
        put(&self.reference("team/env"), tag, manifest);
    }
}

/// The repository `name`, as dlpack itself speaks to it.
fn repository(name: &str) -> Repository {
    Registries::new(Settings::default()).unwrap().repository(&name.parse().unwrap()).unwrap()
}

/// Waits for an answer.
fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(answer)
}

/// Puts `manifest` under `tag`, and returns its digest.
fn put(name: &str, tag: &str, manifest: &Value) -> Digest {
    let media_type = manifest["mediaType"].as_str().unwrap_or(media_type::MANIFEST);
    let bytes = serde_json::to_vec(manifest).unwrap();
    wait(repository(name).push_manifest(tag, media_type, &bytes)).unwrap()
}

/// A home with the lock of a small environment on nothing: five layers, two of them of wheels.
fn home() -> Dlpack {
    let dlpack = Dlpack::new();
    dlpack.write_recipe("\"scratch\"");
    dlpack.ok(["lock"]);
    dlpack
}

/// A home on an empty disk with the recipe and the lock of `dlpack`.
fn elsewhere(dlpack: &Dlpack) -> Dlpack {
    let home = Dlpack::new();
    for file in ["dlpack.toml", "dlpack.lock"] {
        fs::copy(dlpack.work().join(file), home.work().join(file)).unwrap();
    }
    home
}

/// What was sent or read of layers: neither questions nor manifests.
fn moved(asked: &[String]) -> Vec<&String> {
    let moves = |asked: &&String| {
        let (method, target) = asked.split_once(' ').unwrap();
        ["POST", "PATCH", "PUT"].contains(&method) && target.contains("/blobs/")
            || method == "GET" && target.contains("/blobs/")
    };
    asked.iter().filter(moves).collect()
}

fn count(asked: &[String], what: &str) -> usize {
    asked.iter().filter(|asked| asked.contains(what)).count()
}

/// How many of the store's layers were fetched or made: blobs that are no JSON.
fn layers_in(dlpack: &Dlpack) -> usize {
    let Ok(blobs) = fs::read_dir(dlpack.store().join("blobs/sha256")) else { return 0 };
    blobs
        .filter(|blob| serde_json::from_slice::<Value>(&fs::read(blob.as_ref().unwrap().path()).unwrap()).is_err())
        .count()
}

fn sums(pushed: &Value) -> [&Value; 4] {
    ["built", "present", "mounted", "uploaded"].map(|name| &pushed[name])
}

fn numbers(numbers: [u64; 4]) -> [Value; 4] {
    numbers.map(|number| json!(number))
}
