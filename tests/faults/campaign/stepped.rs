//! Bits that flip in what steps stand on and leave, in what is kept of registries, and in what
//! a registry keeps: none of it comes into a layer or stops the next push.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dlpack::oci::Digest;
use dlpack::registry::serve::{Options, Server};
use dlpack::registry::{Reference, Registries, Settings};
use dlpack::store::{Kind, Link, Store};
use tempfile::TempDir;

use super::flips::flip;
use super::scene::{block_on, pull_image};
use super::{Expected, Tally};
use crate::support::command::Dlpack;
use crate::support::tiny;

/// What lies under the second step is read by it, every byte and owner.
const STEPS: &str = r#"
[[layer]]
kind = "run"
name = "made"
command = "mkdir -p /srv/made && echo one >/srv/made/one && ln -s one /srv/made/link && echo x >>/root/.cache/used"
caches = ["/root/.cache"]

[[layer]]
kind = "files"
files = [{ from = "noise", to = "/srv/noise" }]

[[layer]]
kind = "run"
name = "sums"
command = "cd / && busybox find bin etc home lib* srv usr ! -path srv/sums | busybox sort >/tmp/all && busybox xargs stat -c '%n %a %u %g' </tmp/all >srv/sums && busybox xargs busybox sha256sum </tmp/all >>srv/sums 2>/dev/null || true"
caches = ["/root/.cache"]
"#;

/// The kinds of files that steps and pushes leave, by where they are.
const KINDS: [(&str, &str); 7] = [
    ("listings of bases", "listings"),
    ("records of steps", "keys"),
    ("extracted bases", "rootfs"),
    ("extracted layers", "overlays"),
    ("steps' caches", "caches"),
    ("logs", "logs"),
    ("rates", "rates"),
];

/// How much is sent slowly enough to be interrupted, in bytes.
const NOISE: usize = 2 << 20;

/// An environment whose last layer is made by a step on what was extracted, and a registry.
pub struct Stepped {
    dlpack: Dlpack,
    server: Server,
    remote: Store,
    image: String,
    pushes: u32,
    _directory: TempDir,
}

impl Stepped {
    pub fn new() -> Self {
        let (dlpack, directory) = (Dlpack::unprivileged(), tempfile::tempdir().unwrap());
        let remote = Store::open(directory.path()).unwrap();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), remote.clone(), Options::default()).unwrap();
        tiny::layout(&dlpack.work());
        let mut noise = vec![0; NOISE];
        fastrand::Rng::with_seed(13).fill(&mut noise);
        fs::write(dlpack.work().join("noise"), noise).unwrap();
        dlpack.write("dlpack.toml", &format!("{}{STEPS}", tiny::BASE));
        let mut home = Self { dlpack, server, remote, image: String::new(), pushes: 0, _directory: directory };
        let target = home.target();
        home.image = home.dlpack.ok(["push", &target]);
        home
    }

    /// A name in the registry that nothing was pushed to.
    fn target(&mut self) -> String {
        self.pushes += 1;
        format!("{}/team/stepped-{}:1", self.server.address(), self.pushes)
    }

    fn files(&self, place: &str) -> Vec<PathBuf> {
        let entries = walkdir::WalkDir::new(self.dlpack.store().join(place)).sort_by_file_name().into_iter();
        let files = entries.map(|entry| entry.unwrap()).filter(|entry| entry.metadata().unwrap().is_file());
        files.filter(|entry| entry.metadata().unwrap().len() > 0).map(|entry| entry.into_path()).collect()
    }

    /// Forgets the last step's layer, so that it has to run again on what is extracted.
    fn forget_last_step(&self) {
        let layer = self.dlpack.layers_of(&self.image).pop().unwrap();
        for record in Store::open(&self.dlpack.store()).unwrap().entries().unwrap() {
            // A bit of it may have flipped.
            let told = || String::from_utf8_lossy(&fs::read(&record.path).unwrap()).into_owned();
            if record.kind == Kind::Record && told().contains(&layer) {
                fs::remove_file(&record.path).unwrap();
            }
        }
    }

    /// The next push sends the right image.
    fn assert_pushes(&mut self) -> String {
        let target = self.target();
        self.assert_pushes_to(&target);
        target
    }

    fn assert_pushes_to(&self, target: &str) {
        assert_eq!(self.dlpack.ok(["push", target]), self.image);
        assert_eq!(self.pull(target).unwrap().to_string(), self.image);
    }

    /// All of the image at `target`, verified.
    fn pull(&self, target: &str) -> Result<Digest, super::scene::Failure> {
        let reference: Reference = target.parse().unwrap();
        let registries = Registries::new(Settings::default()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        block_on(pull_image(&registries.repository(&reference).unwrap(), "1", &store))
    }

    /// A push that is killed once it has a session for its largest layer: the journal's entry.
    fn interrupted(&self, target: &str) -> PathBuf {
        let mut push = self.dlpack.command(["push", "-q", "--keep-blobs", "--limit-rate", "100K", target]);
        let mut push = push.spawn().unwrap();
        let entry = loop {
            let entries = self.files("uploads");
            if let Some(entry) = entries.into_iter().find(|path| path.extension().is_some_and(|it| it == "json")) {
                break entry;
            }
            assert!(push.try_wait().unwrap().is_none(), "it ended before it had a session");
            std::thread::sleep(Duration::from_millis(5));
        };
        push.kill().unwrap();
        push.wait().unwrap();
        entry
    }
}

/// Flips `flips` bits, one at a time, as many in files of each kind; `seed` says which. `count`
/// is told of each kind when it is through.
pub fn run(flips: usize, seed: u64, count: &mut dyn FnMut(Tally)) {
    let mut home = Stepped::new();
    let mut chance = fastrand::Rng::with_seed(seed);
    let each = flips.div_ceil(KINDS.len() + 3);
    for (kind, place) in KINDS {
        let mut tally = Tally::new(format!("a bit flips in {kind}, seed {seed}"));
        for _ in 0..each {
            let files = home.files(place);
            assert!(!files.is_empty(), "nothing in {place}");
            let file = &files[chance.usize(..files.len())];
            let (at, bit) = flip(file, &mut chance);
            tally.count(&format!("{} at byte {at}, bit {bit}", file.display()), || {
                home.forget_last_step();
                home.assert_pushes();
                Expected::Survived
            });
        }
        count(tally);
    }
    count(in_the_journal(&mut home, each, &mut chance, seed));
    count(at_the_registry(&mut home, each, &mut chance, seed));
    count(at_the_cache(&mut home, each, &mut chance, seed));
}

/// Where uploads stand: the next push goes on, or begins again, and never sends elsewhere.
fn in_the_journal(home: &mut Stepped, flips: usize, chance: &mut fastrand::Rng, seed: u64) -> Tally {
    let mut tally = Tally::new(format!("a bit flips in the journal of uploads, seed {seed}"));
    for _ in 0..flips {
        let target = home.target();
        let entry = home.interrupted(&target);
        let (at, bit) = flip(&entry, chance);
        tally.count(&format!("{} at byte {at}, bit {bit}", entry.display()), || {
            home.assert_pushes_to(&target);
            Expected::Survived
        });
        // of others it is known that they end with their push
        let _ = fs::remove_file(entry);
    }
    tally
}

/// What the embedded registry keeps of its repositories: whoever pulls gets the image or an
/// error, and the next push mends it.
fn at_the_registry(home: &mut Stepped, flips: usize, chance: &mut fastrand::Rng, seed: u64) -> Tally {
    let mut tally = Tally::new(format!("a bit flips in a registry's links, seed {seed}"));
    let target = home.assert_pushes();
    let (_, name) = target.trim_end_matches(":1").split_once('/').unwrap();
    let name = name.to_owned();
    for _ in 0..flips {
        let link = link_of(&home.remote, &name, &home.image);
        let (at, bit) = flip(&link, chance);
        tally.count(&format!("{} at byte {at}, bit {bit}", link.display()), || {
            let pulled = home.pull(&target);
            let verdict = match pulled {
                Ok(digest) => {
                    assert_eq!(digest.to_string(), home.image);
                    Expected::Survived
                }
                Err(_) => Expected::Refused("Registry"),
            };
            home.assert_pushes_to(&target);
            verdict
        });
    }
    tally
}

/// What a remote cache says of layers: an empty disk makes what it can't be told, and tells it anew.
fn at_the_cache(home: &mut Stepped, flips: usize, chance: &mut fastrand::Rng, seed: u64) -> Tally {
    let mut tally = Tally::new(format!("a bit flips in a remote cache's records, seed {seed}"));
    let target = home.assert_pushes();
    for _ in 0..flips {
        let records = records_in(&home.remote, &target);
        let record = &records[chance.usize(..records.len())];
        let (at, bit) = flip(record, chance);
        tally.count(&format!("{} at byte {at}, bit {bit}", record.display()), || {
            fs::remove_dir_all(home.dlpack.store()).unwrap();
            home.assert_pushes_to(&target);
            Expected::Survived
        });
        // What this one said is said by another now; of others it is known that they are whole.
        let _ = fs::remove_file(record);
    }
    tally
}

/// The manifests of records that a registry has in the repository of `target`, by what they record.
fn records_in(remote: &Store, target: &str) -> Vec<PathBuf> {
    let (_, repository) = target.trim_end_matches(":1").split_once('/').unwrap();
    let linked = remote.root().join("repositories").join(repository).join("_manifests");
    let blob = |link: std::io::Result<fs::DirEntry>| remote.root().join("blobs/sha256").join(link.unwrap().file_name());
    let mut records: Vec<(String, PathBuf)> = fs::read_dir(linked)
        .unwrap()
        .map(blob)
        .filter_map(|path| {
            let manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            Some((manifest["annotations"]["dev.dlpack.record"].as_str()?.to_owned(), path))
        })
        .collect();
    records.sort();
    assert!(!records.is_empty(), "{repository} has no records");
    records.into_iter().map(|(_, path)| path).collect()
}

/// The file that says that the repository has the manifest.
fn link_of(remote: &Store, repository: &str, image: &str) -> PathBuf {
    let digest: Digest = image.parse().unwrap();
    assert!(remote.linked(repository, Link::Manifest, &digest).unwrap().is_some());
    Path::new(remote.root()).join("repositories").join(repository).join("_manifests").join(digest.hex())
}
