//! Images made for tests, by hand where each byte matters, from a real Debian
//! where its files do; pushed by skopeo.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use dlpack::oci::{Digest, Hasher, media_type};
use serde_json::{Value, json};

use super::command::Dlpack;
use super::registry::DebianRegistry;
use super::rootfs;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// The form that skopeo pushes an image in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Oci,
    /// Docker's manifest, version 2, schema 2.
    Docker,
}

/// The tar of a layer, entry by entry.
pub struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.owned_file(path, 0o644, (0, 0), content)
    }

    pub fn owned_file(self, path: &str, mode: u32, owner: (u32, u32), content: impl AsRef<[u8]>) -> Self {
        self.entry(tar::EntryType::Regular, path, "", mode, owner, content.as_ref())
    }

    pub fn directory(self, path: &str) -> Self {
        self.entry(tar::EntryType::Directory, path, "", 0o755, (0, 0), b"")
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Symlink, path, target, 0o777, (0, 0), b"")
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Link, path, target, 0o644, (0, 0), b"")
    }

    /// An entry whose path and target stand in the header as they are given,
    /// however wrong.
    pub fn entry(
        mut self,
        kind: tar::EntryType,
        path: &str,
        target: &str,
        mode: u32,
        owner: (u32, u32),
        content: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_mode(mode);
        header.set_uid(owner.0.into());
        header.set_gid(owner.1.into());
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).expect("appended");
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("finished")
    }
}

/// An OCI image layout on disk.
pub struct Layout {
    path: PathBuf,
}

/// An image of a layout being put together.
pub struct Image<'a> {
    layout: &'a Layout,
    layers: Vec<Value>,
    diff_ids: Vec<String>,
    config: Value,
}

impl Layout {
    /// A new layout in the directory `path`, which is made.
    pub fn create(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        fs::create_dir_all(path.join("blobs/sha256")).expect("created");
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
        let layout = Self { path };
        layout.write_index(&json!({"schemaVersion": 2, "manifests": []}));
        layout
    }

    /// The layout that is at `path`.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root filesystems of a store that has extracted the image `gzip`, once for all
    /// tests: nothing writes to them.
    pub fn extracted(&self) -> PathBuf {
        let trees = self.path.with_extension("extracted");
        let _alone = rootfs::alone(&trees);
        if !trees.exists() {
            Dlpack::extract(self, &trees);
        }
        trees
    }

    /// The file of a blob, for a test that damages it.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// Adds a blob and returns its descriptor.
    pub fn add(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes).to_string();
        fs::write(self.blob(&digest), bytes).expect("written");
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// An image for linux/amd64.
    pub fn image(&self) -> Image<'_> {
        self.image_for("amd64")
    }

    pub fn image_for(&self, architecture: &str) -> Image<'_> {
        let config = json!({"architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/usr/bin:/bin"]}});
        Image { layout: self, layers: Vec::new(), diff_ids: Vec::new(), config }
    }

    /// Adds an index over `manifests` (descriptor and architecture) under `tag`.
    pub fn index(&self, tag: &str, manifests: &[(Value, &str)]) -> Value {
        let with_platform = |(manifest, architecture): &(Value, &str)| {
            let mut manifest = manifest.clone();
            manifest["platform"] = json!({"os": "linux", "architecture": architecture});
            manifest
        };
        let manifests: Vec<Value> = manifests.iter().map(with_platform).collect();
        let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests});
        let descriptor = self.add(media_type::INDEX, index.to_string().as_bytes());
        self.tag(tag, &descriptor);
        descriptor
    }

    /// Names `descriptor` in the layout's `index.json`.
    pub fn tag(&self, tag: &str, descriptor: &Value) {
        let mut index: Value =
            serde_json::from_slice(&fs::read(self.path.join("index.json")).expect("read")).expect("JSON");
        let mut named = descriptor.clone();
        named["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        index["manifests"].as_array_mut().expect("an array").push(named);
        self.write_index(&index);
    }

    fn write_index(&self, index: &Value) {
        fs::write(self.path.join("index.json"), index.to_string()).expect("written");
    }

    /// Pushes what `tag` names, index and all, as `name` (`library/debian:12`)
    /// and returns the digest that `name` then has.
    #[track_caller]
    pub fn push(&self, tag: &str, registry: &DebianRegistry, name: &str, form: Form) -> String {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let digest = directory.path().join("digest");
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false", "--digestfile"]);
        skopeo.arg(&digest);
        if form == Form::Docker {
            skopeo.args(["--format", "v2s2"]);
        }
        skopeo.arg(format!("oci:{}:{tag}", self.path.display()));
        super::output(skopeo.arg(format!("docker://{}", registry.reference(name))), "skopeo");
        fs::read_to_string(digest).expect("skopeo wrote the digest").trim().to_owned()
    }
}

impl Image<'_> {
    /// Adds a layer.
    pub fn layer(self, packing: Packing, tar: Tar) -> Self {
        let bytes = tar.finish();
        self.layer_from(packing, &bytes[..])
    }

    /// Adds a layer from the bytes of its tar.
    pub fn layer_from(mut self, packing: Packing, tar: impl Read) -> Self {
        let unnamed = tempfile::NamedTempFile::new_in(self.layout.path()).expect("a file");
        let blob = unnamed.as_file().try_clone().expect("cloned");
        let diff_id = compress(packing, tar, blob).expect("compressed");
        let mut hasher = Hasher::new();
        io::copy(&mut File::open(unnamed.path()).expect("opened"), &mut hasher).expect("hashed");
        let (digest, size) = hasher.finish();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        unnamed.as_file().set_permissions(mode).expect("changed");
        unnamed.persist(self.layout.blob(&digest.to_string())).expect("renamed");
        let media_type = match packing {
            Packing::Plain => media_type::LAYER_TAR,
            Packing::Gzip => media_type::LAYER_GZIP,
            Packing::Zstd => media_type::LAYER_ZSTD,
        };
        self.layers.push(json!({"mediaType": media_type, "digest": digest.to_string(), "size": size}));
        self.diff_ids.push(diff_id.to_string());
        self
    }

    /// Changes the config.
    pub fn config(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Changes the layers' descriptors and DiffIDs, to lie.
    pub fn with_layers(mut self, change: impl FnOnce(&mut Vec<Value>, &mut Vec<String>)) -> Self {
        change(&mut self.layers, &mut self.diff_ids);
        self
    }

    /// Adds the image to the layout without a name; returns its descriptor.
    pub fn finish(self) -> Value {
        let mut config = self.config;
        config["rootfs"] = json!({"type": "layers", "diff_ids": self.diff_ids});
        let config = self.layout.add(media_type::CONFIG, config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": self.layers,
        });
        self.layout.add(media_type::MANIFEST, manifest.to_string().as_bytes())
    }

    /// The same under `tag`.
    pub fn tagged(self, tag: &str) -> Value {
        let layout = self.layout;
        let descriptor = self.finish();
        layout.tag(tag, &descriptor);
        descriptor
    }
}

/// Compresses `tar` into `blob` and returns its DiffID.
fn compress(packing: Packing, mut tar: impl Read, blob: File) -> io::Result<Digest> {
    let mut hashed = Hashed { hasher: Hasher::new(), inner: &mut tar };
    match packing {
        Packing::Plain => io::copy(&mut hashed, &mut { blob }).map(drop)?,
        Packing::Gzip => {
            let mut gzip = flate2::write::GzEncoder::new(blob, flate2::Compression::fast());
            io::copy(&mut hashed, &mut gzip)?;
            gzip.finish()?.flush()?;
        }
        Packing::Zstd => zstd::stream::copy_encode(&mut hashed, blob, 1)?,
    }
    Ok(hashed.hasher.finish().0)
}

struct Hashed<R> {
    hasher: Hasher,
    inner: R,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// A layout with the small Debian of [`rootfs`], made once: the tags `gzip` and
/// `zstd` name its image in either packing, `index` an index that has it for
/// linux/amd64 and another, small image for linux/arm64.
pub fn debian() -> Layout {
    made_once(&rootfs::tar(), |layout, tar| {
        let shell = |config: &mut Value| config["config"]["Cmd"] = json!(["/bin/sh"]);
        let image = |packing| layout.image().config(shell).layer_from(packing, tar());
        let gzip = image(Packing::Gzip).tagged("gzip");
        image(Packing::Zstd).tagged("zstd");
        let hostname = Tar::new().file("etc/hostname", "arm64\n");
        let other = layout.image_for("arm64").layer(Packing::Gzip, hostname).finish();
        layout.index("index", &[(gzip, "amd64"), (other, "arm64")]);
    })
}

/// A layout whose one image is a small Debian with a C compiler, made once.
pub fn debian_with_compiler() -> Layout {
    made_once(&rootfs::tar_with_compiler(), |layout, tar| {
        layout.image().layer_from(Packing::Gzip, tar()).tagged("gzip");
    })
}

/// A layout with the Debian of [`rootfs::with_apt`], made once: `gzip`, and `bare`, where apt
/// knows no archive.
pub fn debian_with_apt() -> Layout {
    made_once(&rootfs::with_apt(), |layout, tar| {
        let debian = || layout.image().layer_from(Packing::Gzip, tar());
        debian().tagged("gzip");
        let none = Tar::new().file(&rootfs::APT_LIST.replace("machine", ".wh.machine"), "");
        debian().layer(Packing::Gzip, none).tagged("bare");
    })
}

/// The layout beside `tar`. The first caller has `make` fill it, which is given the tar
/// as often as it asks; others wait.
fn made_once(tar: &Path, make: impl FnOnce(&Layout, &dyn Fn() -> File)) -> Layout {
    let path = tar.with_extension("oci");
    let _alone = rootfs::alone(&path);
    if !path.exists() {
        let unfinished = tar.with_extension("oci.unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        make(&Layout::create(&unfinished), &|| File::open(tar).expect("opened"));
        fs::rename(&unfinished, &path).expect("renamed");
    }
    Layout { path }
}

/// Pushes the small Debian into `registry` as `name` in OCI form, gzip.
#[track_caller]
pub fn push_debian(registry: &DebianRegistry, name: &str) -> String {
    debian().push("gzip", registry, name, Form::Oci)
}
