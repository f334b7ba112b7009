//! The embedded registry in the test's own process: its requests can be read, and faults put in.

use dlpack::registry::serve::{Exchange, Fault, Options, Server};
use dlpack::store::Store;
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

    /// The manifest that `digest` names.
    pub fn manifest(&self, digest: &str) -> Vec<u8> {
        let path = self.directory.path().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        std::fs::read(path).expect("a manifest")
    }

    /// How many bytes of uploads it has read since requests were last cleared.
    pub fn received(&self) -> u64 {
        let requests = self.server.requests();
        let uploads = requests.iter().filter(|request| request.target.contains("/blobs/uploads/"));
        uploads.map(|request| request.received).sum()
    }

    /// The requests since they were last cleared that are of `method` and whose target has `part` in it.
    pub fn requests(&self, method: &str, part: &str) -> Vec<Exchange> {
        let wanted = |request: &Exchange| request.method == method && request.target.contains(part);
        self.server.requests().into_iter().filter(wanted).collect()
    }
}
