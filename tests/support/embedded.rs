//! The embedded registry in the test's own process: its requests can be read, and faults put in.

use std::path::PathBuf;

use dlpack::oci::{Index, media_type};
use dlpack::registry::serve::{Exchange, Fault, Options, Server};
use dlpack::registry::{Reference, Registries, Repository, Settings};
use dlpack::store::Store;
use serde_json::Value;
use tempfile::TempDir;

/// A registry over a store of its own.
pub struct Embedded {
    pub server: Server,
    directory: TempDir,
}

impl Embedded {
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// A registry that lacks or limits what `options` say.
    pub fn with(options: Options) -> Self {
        let directory = tempfile::Builder::new().prefix("dlpack-embedded-").tempdir().expect("a temporary directory");
        let store = Store::open(directory.path()).expect("a store");
        let address = "127.0.0.1:0".parse().expect("an address");
        Self { server: Server::bind(address, store, options).expect("a registry"), directory }
    }

    /// Lets `fault` alone go wrong.
    pub fn fault(&self, fault: Fault) {
        self.server.set_faults(vec![fault]);
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// `127.0.0.1:PORT/NAME`.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address())
    }

    /// The file of a blob or manifest.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.directory.path().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// The manifest that `digest` names.
    pub fn manifest(&self, digest: &str) -> Vec<u8> {
        std::fs::read(self.blob(digest)).expect("a manifest")
    }

    /// How many bytes of uploads it has read since requests were last cleared.
    pub fn received(&self) -> u64 {
        let requests = self.server.requests();
        let uploads = requests.iter().filter(|request| request.target.contains("/blobs/uploads/"));
        uploads.map(|request| request.received).sum()
    }

    /// Puts what `change` makes of the manifest of `image` into its repository as `changed`.
    pub fn change_manifest(&self, image: &str, changed: &str, change: &dyn Fn(&mut Value)) {
        let mut manifest = with_repository(image, async |repository, tag| {
            let (_, bytes) = repository.manifest(tag).await.expect("a manifest");
            serde_json::from_slice(&bytes).expect("JSON")
        });
        change(&mut manifest);
        with_repository(changed, async |repository, tag| {
            let bytes = manifest.to_string().into_bytes();
            repository.push_manifest(tag, media_type::MANIFEST, &bytes).await.expect("pushed");
        });
    }

    /// Puts an index into the repository of `name` that has the manifest `digest` there for linux/amd64.
    pub fn push_index(&self, name: &str, digest: &str) {
        with_repository(name, async |repository, tag| {
            let platform = "linux/amd64".parse().expect("a platform");
            let (manifest, _) = repository.manifest(digest).await.expect("a manifest");
            let index = Index { manifests: vec![manifest.with_platform(&platform)], ..Index::default() };
            let bytes = serde_json::to_vec(&index).expect("JSON");
            repository.push_manifest(tag, media_type::INDEX, &bytes).await.expect("pushed");
        });
    }

    /// The requests since they were last cleared that are of `method` and whose target has `part` in it.
    pub fn requests(&self, method: &str, part: &str) -> Vec<Exchange> {
        let wanted = |request: &Exchange| request.method == method && request.target.contains(part);
        self.server.requests().into_iter().filter(wanted).collect()
    }
}

/// Does something with the repository of `name`, and the tag.
fn with_repository<T>(name: &str, work: impl AsyncFnOnce(Repository, &str) -> T) -> T {
    let reference: Reference = name.parse().expect("a reference");
    let registries = Registries::new(Settings::default()).expect("registries");
    let repository = registries.repository(&reference).expect("a repository");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(work(repository, reference.tag().expect("a tag")))
}
