//! A registry that misbehaves, a store on this side, and an image on one of them.

use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use dlpack::oci::{Descriptor, Digest, Manifest, ManifestOrIndex, media_type, parse_manifest};
use dlpack::registry::serve::{Fault, Options, Server};
use dlpack::registry::{
    BlobOrigin, Credential, Credentials, Error, Reference, Registries, Repository, Retry, Settings,
};
use dlpack::store::{self, Area, Store};
use futures_util::TryStreamExt as _;
use tempfile::TempDir;

use super::{Bounds, Way};
use crate::support::proxy::Proxy;
use crate::support::registry::DebianRegistry;

/// The layer's length: several pieces on the way, and more than counts as progress.
pub const LAYER: u64 = 3_000_000;

pub const GREETING: &str = "/v2/";
pub const MANIFESTS: &str = "/manifests/";
pub const UPLOADS: &str = "/blobs/uploads/";

/// `/blobs/DIGEST` of the layer.
pub fn layer_path() -> String {
    format!("/blobs/{}", Digest::of(layer()))
}

/// Where faults are put.
pub enum Place {
    /// Into the embedded registry.
    Embedded,
    /// Onto the wire before Debian's docker-registry; how many scenes there were.
    Debian(DebianRegistry, AtomicU32),
}

impl Place {
    pub fn debian() -> Self {
        Self::Debian(DebianRegistry::start(), AtomicU32::new(0))
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded registry",
            Self::Debian(..) => "docker-registry",
        }
    }
}

/// What is at the other end.
enum Line {
    Embedded(Server),
    Proxied(Proxy),
}

/// A registry that misbehaves, a store on this side, and an image on one of them.
pub struct Scene {
    line: Line,
    pub remote: Store,
    pub local: Store,
    pub image: Digest,
    pub waits: Arc<Mutex<Vec<Duration>>>,
    registries: Registries,
    /// What names of repositories end with, so that each scene has its own.
    suffix: String,
    _directory: TempDir,
}

/// Either side of a transfer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Registry(Box<Error>),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<Failure> for dlpack::cli::error::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Registry(error) => (*error).into(),
            Failure::Store(error) => error.into(),
        }
    }
}

impl Scene {
    /// The image is at the embedded registry.
    pub fn to_pull(options: Options) -> Self {
        Self::embedded(options, Way::Pull, Bounds::USUAL)
    }

    /// The image is here, and is to go to the embedded registry.
    pub fn to_push(options: Options) -> Self {
        Self::embedded(options, Way::Push, Bounds::USUAL)
    }

    /// A scene at `place` in which `faults` are to come, with this side set up to `bounds`.
    pub fn new(place: &Place, way: Way, faults: Vec<Fault>, bounds: Bounds) -> Self {
        match place {
            Place::Embedded => Self::embedded(Options { faults, ..Options::default() }, way, bounds),
            Place::Debian(registry, scenes) => Self::proxied(registry, scenes, way, faults, bounds),
        }
    }

    fn embedded(options: Options, way: Way, bounds: Bounds) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [remote, local] = stores(&directory);
        let image = put_image(if way == Way::Pull { &remote } else { &local });
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), remote.clone(), options).unwrap();
        let address = server.address().to_string();
        Self::between(Line::Embedded(server), &address, directory, [remote, local], image, (String::new(), bounds))
    }

    fn proxied(registry: &DebianRegistry, scenes: &AtomicU32, way: Way, faults: Vec<Fault>, bounds: Bounds) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [remote, local] = stores(&directory);
        let image = put_image(if way == Way::Pull { &remote } else { &local });
        let proxy = Proxy::before(registry.address());
        let address = proxy.address().to_string();
        let suffix = format!("-{}", scenes.fetch_add(1, Ordering::Relaxed));
        let scene = Self::between(Line::Proxied(proxy), &address, directory, [remote, local], image, (suffix, bounds));
        if way == Way::Pull {
            scene.push_from(&scene.remote).unwrap();
        }
        scene.set_faults(faults);
        scene
    }

    fn between(
        line: Line,
        address: &str,
        directory: TempDir,
        [remote, local]: [Store; 2],
        image: Digest,
        (suffix, bounds): (String, Bounds),
    ) -> Self {
        let waits = Arc::<Mutex<Vec<Duration>>>::default();
        let waited = waits.clone();
        let mut retry = Retry::default().with_pause(move |pause| {
            waited.lock().unwrap().push(pause);
            Box::pin(std::future::ready(()))
        });
        retry.silence = bounds.silence;
        let credentials = Credentials::only(address, Credential::basic("anna", "secret"));
        let chunk = bounds.part;
        let registries = Registries::new(Settings { retry, credentials, chunk, ..Settings::default() }).unwrap();
        Self { line, remote, local, image, waits, registries, suffix, _directory: directory }
    }

    /// The embedded registry.
    pub fn server(&self) -> &Server {
        match &self.line {
            Line::Embedded(server) => server,
            Line::Proxied(_) => panic!("a proxy"),
        }
    }

    /// Where this side believes the registry to be.
    pub fn address(&self) -> String {
        match &self.line {
            Line::Embedded(server) => server.address().to_string(),
            Line::Proxied(proxy) => proxy.address().to_string(),
        }
    }

    /// Puts `faults` in the place of those that are still to come.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        match &self.line {
            Line::Embedded(server) => server.set_faults(faults),
            Line::Proxied(proxy) => proxy.set_faults(faults),
        }
    }

    /// Whether each fault has fallen on a request.
    pub fn all_fell(&self) -> bool {
        match &self.line {
            Line::Embedded(server) => server.all_faults_fell(),
            Line::Proxied(proxy) => proxy.all_fell(),
        }
    }

    pub fn repository(&self, name: &str) -> Repository {
        let reference: Reference = format!("{}/{name}{}:tag", self.address(), self.suffix).parse().unwrap();
        self.registries.repository(&reference).unwrap()
    }

    /// Pulls or pushes the image.
    pub fn go(&self, way: Way) -> Result<Digest, Failure> {
        match way {
            Way::Pull => self.pull(),
            Way::Push => self.push(),
        }
    }

    /// Pulls `team/image:tag` into the local store.
    pub fn pull(&self) -> Result<Digest, Failure> {
        self.pull_into(&self.local)
    }

    fn pull_into(&self, store: &Store) -> Result<Digest, Failure> {
        block_on(pull_image(&self.repository("team/image"), "tag", store))
    }

    /// Pushes the local store's image to `team/image:tag`, offering a mount.
    pub fn push(&self) -> Result<Digest, Failure> {
        self.push_from(&self.local)
    }

    fn push_from(&self, store: &Store) -> Result<Digest, Failure> {
        block_on(async {
            let repository = self.repository("team/image");
            let bytes = store.read(Area::Blobs, &self.image)?.unwrap();
            let Ok(ManifestOrIndex::Manifest(manifest)) = parse_manifest(&bytes, media_type::MANIFEST) else {
                panic!("an index is here");
            };
            let base = self.repository("team/base");
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                let origin = BlobOrigin::Store(store.clone());
                repository.push_blob(blob, &origin, Some(&base), &|_| {}).await?;
            }
            Ok(repository.push_manifest("tag", media_type::MANIFEST, &bytes).await?)
        })
    }

    /// Nothing lies under a wrong name, and nothing is left half-written.
    pub fn assert_sound(&self) {
        for store in [&self.local, &self.remote] {
            assert_eq!(store.verify(&|_| {}).unwrap().damaged, Vec::<std::path::PathBuf>::new());
        }
        assert_eq!(std::fs::read_dir(self.local.root().join("tmp")).unwrap().count(), 0);
        let image: Vec<Digest> = blobs_of_the_image();
        let entries = self.local.entries().unwrap();
        assert!(entries.iter().all(|entry| image.contains(&entry.digest)), "{entries:?}");
    }

    /// What was pushed can be pulled, every byte of it.
    pub fn assert_arrived(&self, way: Way) {
        if way == Way::Push {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path()).unwrap();
            assert_eq!(self.pull_into(&store).unwrap(), self.image);
        }
    }
}

/// Pulls all of the image that `tag` names into `store`, verified.
pub async fn pull_image(repository: &Repository, tag: &str, store: &Store) -> Result<Digest, Failure> {
    let (descriptor, bytes) = repository.manifest(tag).await?;
    let Ok(ManifestOrIndex::Manifest(manifest)) = parse_manifest(&bytes, &descriptor.media_type) else {
        panic!("an index came");
    };
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        let mut writer = store.writer()?;
        let mut stream = repository.pull_blob(blob);
        while let Some(piece) = stream.try_next().await? {
            writer.write_all(&piece).unwrap();
        }
        store.keep_as(Area::Blobs, writer, &blob.digest, blob.size)?;
    }
    Ok(store.put(Area::Blobs, &bytes)?)
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub fn layer() -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut bytes = vec![0; LAYER as usize];
        fastrand::Rng::with_seed(7).fill(&mut bytes);
        bytes
    });
    &BYTES
}

fn manifest() -> Vec<u8> {
    let layer = Descriptor::of(media_type::LAYER_GZIP, layer());
    serde_json::to_vec(&Manifest::new(Descriptor::of(media_type::CONFIG, b"{}"), vec![layer])).unwrap()
}

fn blobs_of_the_image() -> Vec<Digest> {
    vec![Digest::of(&manifest()), Digest::of(b"{}"), Digest::of(layer())]
}

fn stores(directory: &TempDir) -> [Store; 2] {
    ["remote", "local"].map(|name| Store::open(&directory.path().join(name)).unwrap())
}

pub fn put_image(store: &Store) -> Digest {
    store.put(Area::Blobs, b"{}").unwrap();
    store.put(Area::Blobs, layer()).unwrap();
    let digest = store.put(Area::Blobs, &manifest()).unwrap();
    store.tag("docker.io/team/image:tag", &Descriptor::of(media_type::MANIFEST, &manifest())).unwrap();
    digest
}
