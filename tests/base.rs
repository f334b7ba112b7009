//! Reading a base: which image a name leads to, what its layers hold, and that
//! nothing of a base that lies gets into a lock.

mod bad;
mod files;

use std::path::{Path, PathBuf};
use std::process::Command;

use dlpack::lock::base::{self, Needs, Resolved};
use dlpack::oci::{Platform, media_type};
use dlpack::progress::Progress;
use dlpack::recipe::Base;
use dlpack::registry::{Config, Registries, Settings};
use dlpack::store::Store;
use tempfile::TempDir;

use crate::support::host::host;
use crate::support::image::{self, Form, Layout, Packing, Tar};
use crate::support::registry::DebianRegistry;
use crate::support::{output, rootfs};

const ALL: Needs = Needs { accounts: true, list: true, libc: true };
const NONE: Needs = Needs { accounts: false, list: false, libc: false };

/// A store and registries, as a person would have them.
struct World {
    directory: TempDir,
    registries: Registries,
    store: Store,
}

impl World {
    /// A world without registries.
    fn new() -> Self {
        Self::configured("")
    }

    /// A world whose `docker.io` is `registry`.
    fn with(registry: &DebianRegistry) -> Self {
        let address = registry.address();
        Self::configured(&format!("[[registry]]\nprefix = \"docker.io\"\nlocation = \"{address}\"\ninsecure = true\n"))
    }

    fn configured(registries_conf: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registries.conf");
        std::fs::write(&path, registries_conf).unwrap();
        let mut config = Config::default();
        config.read(&path).unwrap();
        let registries = Registries::new(Settings { config, ..Settings::default() }).unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self { directory, registries, store }
    }

    /// A new layout that recipes of this world name as `layout`.
    fn layout(&self) -> Layout {
        Layout::create(self.directory.path().join("layout"))
    }

    async fn resolve(&self, base: &Base, needs: Needs) -> Result<Resolved, base::Error> {
        self.resolve_for("linux/amd64", base, needs).await
    }

    async fn resolve_for(&self, platform: &str, base: &Base, needs: Needs) -> Result<Resolved, base::Error> {
        let platform: Platform = platform.parse().unwrap();
        let (registries, progress) = (&self.registries, Progress::silent());
        base::resolve(
            base,
            self.directory.path(),
            &platform,
            needs,
            registries,
            &self.store,
            &host(&self.store, progress),
        )
        .await
    }
}

fn named(name: &str) -> Base {
    Base::Image(name.to_owned())
}

fn in_layout(tag: &str) -> Base {
    Base::Layout { path: "layout".to_owned(), tag: Some(tag.to_owned()) }
}

/// What `skopeo inspect --raw` gives for a name.
fn raw(registry: &DebianRegistry, name: &str) -> Vec<u8> {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false"]);
    output(skopeo.arg(format!("docker://{}", registry.reference(name))), "skopeo").stdout
}

fn debian_layout() -> PathBuf {
    image::debian().path().to_owned()
}

#[tokio::test]
async fn a_name_in_a_registry_leads_to_pins_of_manifest_and_config() {
    let registry = DebianRegistry::start();
    let digest = image::push_debian(&registry, "library/debian:12");
    let resolved = World::with(&registry).resolve(&named("debian:12"), NONE).await.unwrap();
    let pin = resolved.locked.manifest.unwrap();
    let bytes = raw(&registry, "library/debian:12");
    assert_eq!((pin.digest.to_string(), pin.size), (digest, bytes.len() as u64));
    assert_eq!(pin.media_type, media_type::MANIFEST);
    assert_eq!(resolved.locked.index, None);
    let image = resolved.image.unwrap();
    assert_eq!(resolved.locked.config.unwrap().digest, image.manifest.config.digest);
    assert_eq!(resolved.locked.diff_ids, image.config.rootfs.diff_ids);
}

#[tokio::test]
async fn an_image_can_be_named_by_its_digest() {
    let registry = DebianRegistry::start();
    let digest = image::push_debian(&registry, "library/debian:12");
    let by_digest = named(&format!("debian@{digest}"));
    let resolved = World::with(&registry).resolve(&by_digest, NONE).await.unwrap();
    assert_eq!(resolved.locked.manifest.unwrap().digest.to_string(), digest);
}

#[tokio::test]
async fn a_docker_manifest_is_taken_as_it_is() {
    let registry = DebianRegistry::start();
    image::debian().push("gzip", &registry, "library/debian:docker", Form::Docker);
    let resolved = World::with(&registry).resolve(&named("debian:docker"), ALL).await.unwrap();
    assert_eq!(resolved.locked.manifest.unwrap().media_type, media_type::DOCKER_MANIFEST);
    assert_eq!(resolved.locked.config.unwrap().media_type, media_type::DOCKER_CONFIG);
    assert!(resolved.files.unwrap().contains("/etc/passwd"));
}

#[tokio::test]
async fn an_index_leads_to_the_image_of_the_platform() {
    let registry = DebianRegistry::start();
    for (tag, form, index) in
        [("oci", Form::Oci, media_type::INDEX), ("docker", Form::Docker, media_type::DOCKER_INDEX)]
    {
        image::debian().push("index", &registry, &format!("library/debian:{tag}"), form);
        let world = World::with(&registry);
        let base = named(&format!("debian:{tag}"));
        let amd64 = world.resolve(&base, NONE).await.unwrap();
        let arm64 = world.resolve_for("linux/arm64", &base, NONE).await.unwrap();
        assert_eq!(amd64.locked.index.as_ref().unwrap().media_type, index);
        assert_eq!(amd64.locked.index, arm64.locked.index);
        assert_ne!(amd64.locked.manifest, arm64.locked.manifest);
        assert_eq!(amd64.image.unwrap().config.architecture, "amd64");
        assert_eq!(arm64.image.unwrap().config.architecture, "arm64");
    }
}

#[tokio::test]
async fn a_platform_that_an_index_lacks_is_an_error_that_lists_those_it_has() {
    let registry = DebianRegistry::start();
    image::debian().push("index", &registry, "library/debian:12", Form::Oci);
    let error = World::with(&registry).resolve_for("linux/riscv64", &named("debian:12"), NONE).await.unwrap_err();
    assert_eq!(error.to_string(), "the base has no image for linux/riscv64");
    assert_eq!(error.hint().unwrap(), "it has linux/amd64, linux/arm64: choose one with --platform, or another base");
}

#[tokio::test]
async fn a_layout_on_disk_is_a_base_as_a_registry_is() {
    let world = World::new();
    let base =
        |tag: Option<&str>| Base::Layout { path: debian_layout().display().to_string(), tag: tag.map(str::to_owned) };
    let resolved = world.resolve(&base(Some("gzip")), ALL).await.unwrap();
    assert!(resolved.files.unwrap().contains("usr/bin/tmux"));
    let error = world.resolve(&base(Some("latest")), NONE).await.unwrap_err();
    assert!(error.to_string().ends_with("has no manifest named `latest`"), "{error}");
    assert_eq!(error.hint().unwrap(), "its names are: gzip, zstd, index");
    let error = world.resolve(&base(None), NONE).await.unwrap_err();
    assert!(error.to_string().ends_with("does not have exactly one manifest"), "{error}");
}

#[tokio::test]
async fn the_only_image_of_a_layout_needs_no_name() {
    let world = World::new();
    let only = world.layout().image().layer(Packing::Plain, Tar::new().file("etc/passwd", "root\n")).tagged("any");
    let base = Base::Layout { path: "layout".to_owned(), tag: None };
    let resolved = world.resolve(&base, ALL).await.unwrap();
    assert_eq!(resolved.locked.manifest.unwrap().digest.to_string(), only["digest"].as_str().unwrap());
    assert_eq!(resolved.locked.files[0].content, "root\n");
}

#[tokio::test]
async fn scratch_has_nothing() {
    let resolved = World::new().resolve(&Base::Scratch, ALL).await.unwrap();
    assert_eq!((resolved.locked.manifest, resolved.locked.diff_ids, resolved.locked.files), (None, vec![], vec![]));
    assert!(resolved.files.unwrap().is_empty() && resolved.image.is_none());
}

#[tokio::test]
async fn no_layer_is_read_for_a_recipe_that_does_not_need_the_files() {
    let registry = DebianRegistry::start();
    image::push_debian(&registry, "library/debian:12");
    registry.forget_requests();
    let resolved = World::with(&registry).resolve(&named("debian:12"), NONE).await.unwrap();
    assert!(resolved.files.is_none());
    let config = resolved.locked.config.unwrap().digest.to_string();
    let read: Vec<String> = registry.blob_reads().into_iter().map(|request| request.target).collect();
    assert_eq!(read, [format!("/v2/library/debian/blobs/{config}")]);
}

#[tokio::test]
async fn a_layer_is_read_once_for_each_store() {
    let registry = DebianRegistry::start();
    image::push_debian(&registry, "library/debian:12");
    let world = World::with(&registry);
    let first = world.resolve(&named("debian:12"), ALL).await.unwrap();
    registry.forget_requests();
    let second = world.resolve(&named("debian:12"), ALL).await.unwrap();
    assert_eq!(registry.blob_reads(), []);
    assert_eq!((first.locked, first.files), (second.locked, second.files));
}

#[tokio::test]
async fn a_locked_base_is_loaded_from_the_store_without_a_request() {
    let registry = DebianRegistry::start();
    image::push_debian(&registry, "library/debian:12");
    let world = World::with(&registry);
    let resolved = world.resolve(&named("debian:12"), NONE).await.unwrap();
    drop(registry);
    let loaded = base::load(&resolved.locked, None, &world.store).await.unwrap();
    assert_eq!(loaded, resolved.image);
}

#[tokio::test]
async fn a_locked_base_is_loaded_by_digest_into_an_empty_store() {
    let registry = DebianRegistry::start();
    image::push_debian(&registry, "library/debian:12");
    let resolved = World::with(&registry).resolve(&named("debian:12"), NONE).await.unwrap();
    image::debian().push("zstd", &registry, "library/debian:12", Form::Oci);
    let fresh = World::with(&registry);
    let source = base::source(&named("debian:12"), Path::new("."), &fresh.registries, &fresh.store).unwrap();
    let loaded = base::load(&resolved.locked, source.as_ref(), &fresh.store).await.unwrap();
    assert_eq!(loaded, resolved.image);
}

#[tokio::test]
async fn resolving_can_be_moved_to_another_thread() {
    let world = World::new();
    world.layout().image().layer(Packing::Gzip, Tar::new().file("etc/passwd", "root\n")).tagged("small");
    tokio::spawn(async move { world.resolve(&in_layout("small"), ALL).await.unwrap() }).await.unwrap();
}

/// What GNU tar finds in the tar of the small Debian.
fn extracted(path: &str) -> String {
    let mut tar = Command::new("tar");
    let bytes = output(tar.arg("-xOf").arg(rootfs::tar()).arg(format!("./{path}")), "tar").stdout;
    String::from_utf8(bytes).unwrap()
}
