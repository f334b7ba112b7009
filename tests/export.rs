//! `dlpack export`: what it writes is what the tools read that it is for, is the same each
//! time, and is there whole or not at all.

#[path = "export/archives.rs"]
mod archives;
#[path = "export/cloned.rs"]
mod cloned;
#[path = "export/cloning.rs"]
mod cloning;
#[path = "export/flat.rs"]
mod flat;
#[path = "export/installed.rs"]
mod installed;
#[path = "export/interrupted.rs"]
mod interrupted;
#[path = "export/language_server.rs"]
mod language_server;
#[path = "export/refused.rs"]
mod refused;
#[path = "export/relaid.rs"]
mod relaid;
#[path = "export/sif.rs"]
mod sif;
#[path = "export/venv.rs"]
mod venv;

use std::fs;
use std::path::{Path, PathBuf};

use dlpack::oci::Digest;
use serde_json::{Value, json};

use crate::support::command::Dlpack;
use crate::support::image::{Form, Layout, Packing, Tar, debian};
use crate::support::registry::DebianRegistry;

/// An image at a registry that has most of what layers have: whiteouts, an opaque directory,
/// hard links, owners, modes, and a layer in zstd.
struct Many {
    registry: DebianRegistry,
}

/// The name that [`Many`] has its image under.
const MANY: &str = "team/many:1";

impl Many {
    fn new() -> Self {
        let registry = DebianRegistry::start();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::create(directory.path().join("images"));
        let base = Tar::new()
            .directory("etc")
            .file("etc/hostname", "below\n")
            .file("etc/gone", "gone\n")
            .directory("opt")
            .file("opt/old", "old\n")
            .entry(tar::EntryType::Directory, "opt/deep", "", 0o750, (7, 8), b"")
            .file("opt/deep/old", "old\n")
            .directory("usr")
            .directory("usr/lib")
            .symlink("lib", "usr/lib")
            .owned_file("usr/lib/big", 0o4755, (1000, 70_000), noise(700_000))
            .hard_link("usr/lib/big-too", "usr/lib/big")
            .entry(tar::EntryType::XHeader, "pax", "", 0o644, (0, 0), b"31 SCHILY.xattr.user.note=kept\n")
            .file("usr/lib/noted", "noted\n")
            .file("usr/lib/zeros", vec![0; 300_000]);
        let over = Tar::new()
            .file("etc/.wh.gone", "")
            .file("etc/hostname", "above\n")
            .entry(tar::EntryType::Directory, "opt", "", 0o700, (3, 4), b"")
            .file("opt/.wh..wh..opq", "")
            .file("opt/new", "new\n")
            .file("lib/through-a-link", "here\n")
            .entry(tar::EntryType::Fifo, "run-fifo", "", 0o640, (5, 6), b"")
            .hard_link("etc/hostname-too", "etc/hostname");
        let container = json!({
            "Env": ["PATH=/usr/bin:/bin", "GREETING=it's $HOME", "not a name=x"],
            "Entrypoint": ["/bin/echo", "it's"],
            "Cmd": ["me"],
            "Labels": {"org.example.note": "kept"},
        });
        let made = |config: &mut Value| config["config"] = container;
        layout.image().config(made).layer(Packing::Gzip, base).layer(Packing::Zstd, over).tagged("many");
        layout.push("many", &registry, MANY, Form::Oci);
        Self { registry }
    }

    fn name(&self) -> String {
        self.registry.reference(MANY)
    }
}

/// Bytes that don't compress, always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(5);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Exports `name` as `format` into `file` of the work directory.
fn export(dlpack: &Dlpack, name: &str, format: &str, file: &str) -> PathBuf {
    dlpack.ok(["export", name, "--format", format, "-o", file]);
    dlpack.work().join(file)
}

/// The digest of a file, or of all names, modes and contents of a directory.
fn digest(path: &Path) -> Digest {
    if path.is_file() {
        return Digest::of(&fs::read(path).expect("read"));
    }
    let mut all = Vec::new();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.expect("an entry");
        let name = entry.path().strip_prefix(path).expect("below").display().to_string();
        let metadata = entry.path().symlink_metadata().expect("metadata");
        let content = if metadata.is_file() { fs::read(entry.path()).expect("read") } else { Vec::new() };
        all.push(format!("{name} {:?} {}\n", metadata.file_type(), Digest::of(&content)));
    }
    Digest::of(all.concat().as_bytes())
}

/// What an unfinished export leaves in a directory.
fn leftovers(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).expect("read").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn two_exports_are_the_same_whatever_the_store_the_umask_and_the_time_zone() {
    let many = Many::new();
    let (one, other) = (Dlpack::new(), Dlpack::unprivileged());
    // the store's name of it is no part of it
    other.ok(["pull", &many.name()]);
    for (format, file) in [
        ("oci", "layout"),
        ("oci-archive", "many.oci.tar"),
        ("docker-archive", "many.tar"),
        ("squashfs", "many.sqsh"),
        ("sif", "many.sif"),
        ("rootfs", "many"),
    ] {
        let first = export(&one, &many.name(), format, file);
        let mut command = other.command_in(
            &["sh", "-c", "umask 077; exec \"$@\"", "sh"],
            ["export", &many.name(), "--format", format, "-o", file],
        );
        let ran = command.env("TZ", "Asia/Seoul").env("LC_ALL", "C").output().expect("it runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(digest(&first), digest(&other.work().join(file)), "{format}");
    }
}
