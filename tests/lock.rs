//! A lock names every byte that a build consumes, works with every mirror, and says
//! which line no longer fits.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use dlpack::lock::{self, Lock, LockedLayer, LockedVenv};
use dlpack::oci::Platform;
use dlpack::progress::{Event, Listener, Progress};
use dlpack::python::index::{self, Indexes};
use dlpack::recipe::{LayerKind, Loaded, Recipe, Venv};
use dlpack::registry::Registries;
use dlpack::store::{Area, Store};

use crate::support::command::Dlpack;
use crate::support::host::host;
use crate::support::image::{Layout, Packing, Tar};
use crate::support::index::{Manner, SimpleIndex, wheel};

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";

/// A recipe's directory with a store beside it.
struct Place {
    directory: tempfile::TempDir,
    warnings: Arc<Warnings>,
}

#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Listener for Warnings {
    fn hear(&self, event: &Event) {
        if let Event::Warning { message } = event {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), warnings: Arc::default() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn store(&self) -> Store {
        Store::open(&self.path("store")).unwrap()
    }

    fn progress(&self) -> Progress {
        Progress::new(self.warnings.clone())
    }

    /// A recipe of one venv with these settings.
    fn venv(&self, python: &str, settings: &str) -> Loaded {
        let recipe = format!(
            "base = \"scratch\"\n\n[[layer]]\nkind = \"venv\"\nname = \"python\"\npython = \"{python}\"\n\
             interpreter = \"/usr/bin/python{python}\"\n{settings}\n"
        );
        self.write("dlpack.toml", recipe).load()
    }

    fn load(&self) -> Loaded {
        Recipe::load(&self.path("dlpack.toml"), &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    async fn lock(&self, loaded: &Loaded, platform: &str, previous: Option<&Lock>) -> Result<Lock, lock::Error> {
        let registries = Registries::from_environment().unwrap();
        let (platform, store) = (platform.parse().unwrap(), self.store());
        let host = host(&store, self.progress());
        lock::resolve(loaded, &platform, previous, &registries, &store, &host).await
    }

    async fn locked(&self, loaded: &Loaded, platform: &str) -> Lock {
        self.lock(loaded, platform, None).await.unwrap_or_else(|error| panic!("{}", told(&error)))
    }

    /// Fetches what `lock` names into a store of its own, with this recipe's indexes.
    async fn fetch(&self, loaded: &Loaded, lock: &Lock, store: &str) -> Result<Store, lock::Error> {
        let store = Store::open(&self.path(store)).unwrap();
        let registries = Registries::from_environment().unwrap();
        let (recipe, directory) = (venv_of(loaded), &loaded.directory);
        let wheels: Vec<index::Wheel> = wheels_of(lock).wheels.iter().map(Into::into).collect();
        let indexes = Indexes::configured(directory, recipe.index_url.as_deref(), &recipe.extra_index_url)?;
        index::fetch(registries.http(), Some(&indexes), directory, &store, &wheels, &self.progress()).await?;
        Ok(store)
    }
}

fn venv_of(loaded: &Loaded) -> &Venv {
    match &loaded.recipe.layers[0].kind {
        LayerKind::Venv(venv) => venv,
        other => panic!("{other:?}"),
    }
}

fn wheels_of(lock: &Lock) -> &LockedVenv {
    match &lock.layers[0] {
        LockedLayer::Venv(venv) => venv,
        other => panic!("{other:?}"),
    }
}

/// The error with its causes, and the hint.
fn told(error: &lock::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!("\n{error}"));
        cause = error.source();
    }
    text + "\nhint: " + &error.hint().unwrap_or_default()
}

fn files(lock: &Lock) -> Vec<&str> {
    wheels_of(lock).wheels.iter().map(|wheel| wheel.file.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn wheels_are_those_of_the_target_whatever_the_host_is() {
    for python in ["3.10", "3.11", "3.12"] {
        for (platform, machine) in [(AMD64, "x86_64"), (ARM64, "aarch64")] {
            let place = Place::new();
            let lock = place.locked(&place.venv(python, "requirements = [\"numpy\", \"six\"]"), platform).await;
            let numpy = &wheels_of(&lock).wheels[0];
            let tag = python.replace('.', "");
            assert!(numpy.file.contains(&format!("-cp{tag}-cp{tag}-manylinux")), "{}", numpy.file);
            assert!(numpy.file.contains(machine), "{}", numpy.file);
            assert_eq!(wheels_of(&lock).wheels[1].name, "six");
            // A big wheel's directory is read where it lies; a small wheel is downloaded.
            assert_eq!((numpy.bin, place.store().size(Area::Downloads, &numpy.sha256)), (None, None));
            let six = &wheels_of(&lock).wheels[1];
            assert_eq!(place.store().size(Area::Downloads, &six.sha256), Some(six.size));
        }
    }
}

/// A deep learning environment: 180 wheels, 5 GB, none of the big ones downloaded.
const ENVIRONMENT: &str = r#"requirements = [
    "jupyterlab", "numpy", "scipy", "pandas", "matplotlib", "seaborn[stats]", "scikit-learn", "scikit-image",
    "xgboost<3.3", "tqdm", "torch==2.6.0", "torchvision==0.21.0", "torchaudio==2.6.0", "cupy-cuda12x", "cudf-cu12",
    "cuml-cu12", "nvidia-dali-cuda120",
]"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "asks the index for the directories of 58 big wheels, twice: about a minute"]
async fn a_whole_environment_resolves_and_stays_within_the_layers() {
    let place = Place::new();
    for python in ["3.10", "3.12"] {
        let start = std::time::Instant::now();
        let loaded = place.venv(python, ENVIRONMENT);
        let lock = place.locked(&loaded, AMD64).await;
        let first = start.elapsed();
        let wheels = &wheels_of(&lock).wheels;
        let alone = wheels.iter().filter(|wheel| wheel.bin.is_none()).count();
        let size: u64 = wheels.iter().map(|wheel| wheel.size).sum();
        eprintln!("Python {python}: {} wheels, {alone} alone, {} MB, in {first:?}", wheels.len(), size / 1_000_000);
        eprintln!("{}", place.warnings.0.lock().unwrap().join("\n"));
        assert!(wheels.len() > 150 && alone + 16 < 100);
        let again = place.lock(&loaded, AMD64, Some(&lock)).await.unwrap();
        assert_eq!(again, lock);
        lock::write(&place.path("dlpack.lock"), &lock).unwrap();
        assert_eq!(lock::read(&place.path("dlpack.lock")).unwrap().unwrap(), lock);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_has_no_url_and_is_read_back_as_it_was_written() {
    let place = Place::new();
    let loaded = place.venv("3.12", "requirements = [\"tqdm\"]\nconstraints = [\"tqdm==4.66.1\"]\npip = true");
    let lock = place.locked(&loaded, AMD64).await;
    let names: Vec<_> =
        wheels_of(&lock).wheels.iter().map(|wheel| (wheel.name.as_str(), wheel.index.as_str())).collect();
    assert_eq!(names, [("pip", "default"), ("tqdm", "default")]);
    assert_eq!(wheels_of(&lock).wheels[1].version, "4.66.1");

    let path = lock::path_for(&place.path("dlpack.toml"));
    lock::write(&path, &lock).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("://"), "{text}");
    assert!(text.starts_with("# Written by `dlpack lock`"));
    assert_eq!(lock::read(&path).unwrap().unwrap(), lock);
    lock::fits(&lock, &loaded, &AMD64.parse().unwrap()).unwrap();
    lock::write(&path, &place.lock(&loaded, AMD64, Some(&lock)).await.unwrap()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_from_an_extra_index_is_fetched_from_a_mirror_by_its_hash() {
    let (inner, plain) = (wheel("inner", &[("inner.py", b"x = 1\n")]), wheel("plain", &[("plain.py", b"")]));
    let all: &[(&str, &[u8])] = &[("inner-1.0-py3-none-any.whl", &inner), ("plain-1.0-py3-none-any.whl", &plain)];
    let default = SimpleIndex::start(Manner::Html, &all[1..]);
    let extra = SimpleIndex::start(Manner::Html, &all[..1]);
    let place = Place::new();
    // The caller's own settings for uv: a recipe may name no password.
    let settings =
        format!("index-url = \"{}\"\nextra-index-url = [\"{}\"]\n", default.url(), extra.url_with_password());
    place.write("uv.toml", settings);
    let loaded = place.venv("3.12", "requirements = [\"inner\", \"plain\"]");
    let lock = place.locked(&loaded, AMD64).await;
    let indexes: Vec<_> = wheels_of(&lock).wheels.iter().map(|wheel| wheel.index.as_str()).collect();
    assert_eq!(indexes, ["extra-0", "default"]);
    // The page of the extra index gives no size: the server was asked.
    assert_eq!(wheels_of(&lock).wheels[0].size, inner.len() as u64);
    assert!(extra.requests().iter().any(|request| request.to_lowercase().contains("authorization: basic")));
    assert!(default.requests().iter().all(|request| !request.to_lowercase().contains("authorization")));

    let mirror = SimpleIndex::start(Manner::Json, all);
    place.write("uv.toml", format!("index-url = \"{}\"\n", mirror.url()));
    let store = place.fetch(&loaded, &lock, "another-store").await.unwrap();
    for wheel in &wheels_of(&lock).wheels {
        assert_eq!(store.size(Area::Downloads, &wheel.sha256), Some(wheel.size));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let big = wheel("big", &[("big.py", &[b'#'; 300_000])]);
    let files: &[(&str, &[u8])] = &[("big-1.0-py3-none-any.whl", &big)];
    let place = Place::new();
    let sound = SimpleIndex::start(Manner::Html, files);
    let settings = |index: &SimpleIndex| format!("requirements = [\"big\"]\nindex-url = \"{}\"", index.url());
    let lock = place.locked(&place.venv("3.12", &settings(&sound)), AMD64).await;

    let broken = SimpleIndex::start(Manner::BreaksOff, files);
    let store = place.fetch(&place.venv("3.12", &settings(&broken)), &lock, "another-store").await.unwrap();
    assert_eq!(store.size(Area::Downloads, &wheels_of(&lock).wheels[0].sha256), Some(big.len() as u64));
    let again: Vec<_> = broken.requests().into_iter().filter(|request| request.contains("range: bytes=")).collect();
    assert_eq!(again.len(), 1, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_is_asked_again_and_one_without_head_for_a_part() {
    let big = wheel("big", &[("big.py", &[b'#'; 2 << 20])]);
    let place = Place::new();
    let start = || SimpleIndex::start(Manner::Busy, &[("big-1.0-py3-none-any.whl", &big)]);
    let recipe =
        |index: &SimpleIndex| place.venv("3.12", &format!("requirements = [\"big\"]\nindex-url = \"{}\"", index.url()));
    let lock = place.locked(&recipe(&start()), AMD64).await;
    let locked = &wheels_of(&lock).wheels[0];
    assert_eq!(locked.size, big.len() as u64);
    assert_eq!(place.store().size(Area::Downloads, &locked.sha256), None);

    let busy = start();
    let store = place.fetch(&recipe(&busy), &lock, "another-store").await.unwrap();
    assert_eq!(store.size(Area::Downloads, &locked.sha256), Some(locked.size));
    assert_eq!(busy.requests().iter().filter(|request| request.starts_with("GET /files/")).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_than_the_lock_has_are_not_kept() {
    let six = wheel("six", &[("six.py", b"")]);
    let files: &[(&str, &[u8])] = &[("six-1.0-py3-none-any.whl", &six)];
    let place = Place::new();
    let sound = SimpleIndex::start(Manner::Html, files);
    let settings = |index: &SimpleIndex| format!("requirements = [\"six\"]\nindex-url = \"{}\"", index.url());
    let lock = place.locked(&place.venv("3.12", &settings(&sound)), AMD64).await;

    let corrupt = SimpleIndex::start(Manner::Corrupts, files);
    let error = place.fetch(&place.venv("3.12", &settings(&corrupt)), &lock, "other").await.unwrap_err();
    assert!(told(&error).starts_with("can't keep six-1.0-py3-none-any.whl\nexpected sha256:"), "{}", told(&error));
    assert_eq!(fs::read_dir(place.path("other/downloads/sha256")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(place.path("other/tmp")).unwrap().count(), 0);
    place.fetch(&place.venv("3.12", &settings(&sound)), &lock, "other").await.unwrap();

    let rebuilt = wheel("six", &[("six.py", b"changed = True")]);
    let other = SimpleIndex::start(Manner::Json, &[("six-1.0-py3-none-any.whl", &rebuilt)]);
    let error = place.fetch(&place.venv("3.12", &settings(&other)), &lock, "third").await.unwrap_err();
    assert!(told(&error).contains("has another six-1.0-py3-none-any.whl"), "{}", told(&error));
    let empty = SimpleIndex::start(Manner::Html, &[]);
    let error = place.fetch(&place.venv("3.12", &settings(&empty)), &lock, "third").await.unwrap_err();
    assert!(told(&error).starts_with("no index has six-1.0-py3-none-any.whl: asked http"), "{}", told(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn wheels_that_overwrite_each_other_are_an_error_and_trivial_files_a_warning() {
    let big = vec![0; 2 << 20];
    let one = wheel("one", &[("shared/lib.so", b"one"), ("shared/data", &big)]);
    let two = wheel("two", &[("shared/lib.so", b"two"), ("shared/__init__.py", b"")]);
    let three = wheel("three", &[("shared/__init__.py", b"# a licence")]);
    let files: &[(&str, &[u8])] = &[
        ("one-1.0-py3-none-any.whl", &one),
        ("two-1.0-py3-none-any.whl", &two),
        ("three-1.0-py3-none-any.whl", &three),
    ];
    // The directory of a big wheel is read by ranges, or from the whole where a server gives no parts.
    for manner in [Manner::Html, Manner::WithoutRanges] {
        let index = SimpleIndex::start(manner, files);
        let place = Place::new();
        let settings = |names: &str| format!("requirements = [{names}]\nindex-url = \"{}\"", index.url());
        let loaded = place.venv("3.12", &settings("\"one\", \"two\""));
        let error = place.lock(&loaded, AMD64, None).await.unwrap_err();
        assert_eq!(
            told(&error),
            "layer `python`: two 1.0 and one 1.0 both bring lib/python3.12/site-packages/shared/lib.so, with different \
             content\nhint: one would overwrite the other: pin a version of two or one that goes together, in \
             `constraints`, or leave one out"
        );
        let loaded = place.venv("3.12", &settings("\"two\", \"three\""));
        place.locked(&loaded, AMD64).await;
        let warnings = place.warnings.0.lock().unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("both bring lib/python3.12/site-packages/shared/__init__.py"), "{warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_on_disk_is_locked_by_its_path_and_a_change_of_it_is_named() {
    let place = Place::new();
    place.write("wheels dir/mine-1.0-py3-none-any.whl", wheel("mine", &[("mine.py", b"")]));
    let loaded = place.venv("3.11", "wheels = [\"wheels dir/mine-1.0-py3-none-any.whl\"]");
    let lock = place.locked(&loaded, ARM64).await;
    assert_eq!(wheels_of(&lock).wheels[0].index, "local:wheels dir/mine-1.0-py3-none-any.whl");
    let platform: Platform = ARM64.parse().unwrap();
    lock::fits(&lock, &loaded, &platform).unwrap();
    place.fetch(&loaded, &lock, "another-store").await.unwrap();

    place.write("wheels dir/mine-1.0-py3-none-any.whl", wheel("mine", &[("mine.py", b"changed = 1")]));
    let error = lock::fits(&lock, &loaded, &platform).unwrap_err();
    assert!(told(&error).contains("wheels dir/mine-1.0-py3-none-any.whl changed after the recipe was locked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requirements_files_are_resolved_with_what_they_include_and_their_change_is_named() {
    let place = Place::new();
    place.write("requirements/all.txt", "-r base.txt\n").write("requirements/base.txt", "six==1.16.0\n");
    let loaded = place.venv("3.12", "requirements-files = [\"requirements/all.txt\"]");
    let lock = place.locked(&loaded, AMD64).await;
    assert_eq!(files(&lock), ["six-1.16.0-py2.py3-none-any.whl"]);
    place.write("requirements/base.txt", "six==1.17.0\n");
    let error = lock::fits(&lock, &loaded, &AMD64.parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("requirements/base.txt changed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_resolve_says_why_in_uvs_words() {
    let place = Place::new();
    let index = SimpleIndex::start(
        Manner::Html,
        &[("only-1.0.tar.gz", b"x"), ("one-1.0-py3-none-any.whl", &wheel("one", &[]))],
    );
    let settings = |requirement: &str| format!("requirements = [\"{requirement}\"]\nindex-url = \"{}\"", index.url());
    let error = place.lock(&place.venv("3.12", &settings("one==2")), AMD64, None).await.unwrap_err();
    let said = told(&error);
    assert!(said.starts_with("uv can't resolve `python` for linux/amd64, Python 3.12\n"), "{said}");
    assert!(said.contains("there is no version of one==2"), "{said}");
    let error = place.lock(&place.venv("3.12", &settings("only")), AMD64, None).await.unwrap_err();
    assert!(told(&error).contains("only-1.0.tar.gz is not a .tar.gz that can be read"), "{}", told(&error));
    let error = place.lock(&place.venv("3.12", &settings("one")), "linux/riscv64", None).await.unwrap_err();
    assert!(told(&error).contains("there are no Python wheels for linux/riscv64"), "{}", told(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interpreter_is_the_bases_a_path_or_a_standalone_build() {
    let place = Place::new();
    let layout = Layout::create(place.path("base"));
    let python = Tar::new().directory("usr").directory("usr/bin").file("usr/bin/python3.11", "#!");
    layout.image().layer(Packing::Gzip, python).tagged("debian");
    place.write("build/cpython-3.12.7+1-install_only.tar.gz", "an archive");
    let recipe = |python: &str, interpreter: &str| {
        format!(
            "base = {{ layout = \"base\", tag = \"debian\" }}\n[[layer]]\nkind = \"venv\"\npython = \"{python}\"\n\
             {interpreter}\n"
        )
    };
    let lock = place.locked(&place.write("dlpack.toml", recipe("3.11", "")).load(), AMD64).await;
    assert_eq!(wheels_of(&lock).interpreter.path, "/usr/bin/python3.11");

    let error = place.lock(&place.write("dlpack.toml", recipe("3.12", "")).load(), AMD64, None).await.unwrap_err();
    assert_eq!(error.to_string(), "layer `venv`: the base has no /usr/bin/python3.12");
    assert!(error.hint().unwrap().starts_with("the base has python3.11: set `python` to that"));

    let url = "build/cpython-3.12.7+1-install_only.tar.gz";
    let standalone =
        |sha256: &str| recipe("3.12", &format!("interpreter = {{ url = \"{url}\", sha256 = \"{sha256}\" }}"));
    let digest = dlpack::oci::Digest::of(b"an archive");
    let lock = place.locked(&place.write("dlpack.toml", standalone(&digest.hex())).load(), AMD64).await;
    let locked = wheels_of(&lock);
    assert_eq!((locked.interpreter.path.as_str(), locked.python.as_str()), ("/opt/python/bin/python3.12", "3.12.7"));
    assert_eq!(locked.interpreter.archive.as_ref().unwrap().size, 10);
    assert_eq!(place.store().size(Area::Downloads, &digest), Some(10));
    let other = place.write("dlpack.toml", standalone(&"0".repeat(64))).load();
    let error = place.lock(&other, AMD64, None).await.unwrap_err();
    assert!(told(&error).starts_with("can't keep cpython-3.12.7+1-install_only.tar.gz"), "{}", told(&error));
}

#[test]
fn without_uv_the_error_says_how_to_get_it() {
    let error = dlpack::python::uv::Uv::at("/nowhere/uv".as_ref()).unwrap_err();
    assert_eq!(error.to_string(), "there is no `/nowhere/uv` to resolve Python requirements");
    assert!(error.hint().unwrap().contains("pip install uv"));
    let error = dlpack::python::uv::Uv::at("echo".as_ref()).unwrap_err();
    assert!(error.to_string().starts_with("`echo` says that it is `echo (GNU coreutils)"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_that_changed_is_named() {
    let place = Place::new();
    let recipe = "base = \"scratch\"\n\n[[layer]]\nkind = \"account\"\nuser = \"me\"\nuid = \"host\"\n\n\
                  [[layer]]\nkind = \"files\"\nfiles = [\n  { from = \"etc\", to = \"/etc\", mode = \"0600\" },\n  \
                  { content = \"hello\", to = \"/etc/motd\" },\n]\n";
    place.write("dlpack.toml", recipe).write("etc/app/one.conf", "1").write("etc/app/two.conf", "2");
    std::os::unix::fs::symlink("one.conf", place.path("etc/app/link")).unwrap();
    let (loaded, platform) = (place.load(), AMD64.parse::<Platform>().unwrap());
    let lock = place.locked(&loaded, AMD64).await;
    let LockedLayer::Files { files } = &lock.layers[1] else { panic!() };
    let to: Vec<_> = files.iter().map(|file| (file.to.as_str(), file.mode)).collect();
    assert_eq!(
        to,
        [("etc/app/link", 0o777), ("etc/app/one.conf", 0o600), ("etc/app/two.conf", 0o600), ("etc/motd", 0o644)]
    );

    lock::write(&place.path("dlpack.lock"), &lock).unwrap();
    let mut lock = lock::read(&place.path("dlpack.lock")).unwrap().unwrap();
    // As if somebody with another uid had locked it.
    if let LockedLayer::Account { uid, .. } = &mut lock.layers[0] {
        *uid += 1;
    }
    lock::fits(&lock, &loaded, &platform).unwrap();
    let error = lock::fits(&lock, &loaded, &ARM64.parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the lock is for linux/amd64, not for linux/arm64");

    place.write("etc/app/two.conf", "changed");
    let error = lock::fits(&lock, &loaded, &platform).unwrap_err();
    let name = place.path("dlpack.toml").display().to_string();
    assert!(error.to_string().starts_with(&format!("{name}:8:")), "{error}");
    assert!(error.to_string().contains("etc/app/two.conf changed after the recipe was locked"), "{error}");

    place.write("dlpack.toml", recipe.replace("\"me\"", "\"you\""));
    let error = lock::fits(&lock, &place.load(), &platform).unwrap_err();
    let expected = "`layer.account.user` changed from \"me\" to \"you\" after the recipe was locked";
    assert_eq!(error.to_string(), format!("{name}:5:8: {expected}"));
    assert_eq!(error.hint().unwrap(), "lock anew with `dlpack lock`, or take the change back");
}

#[test]
fn a_lock_that_cant_be_read_says_where() {
    let place = Place::new();
    place.write("dlpack.lock", "version = 1\nplatform = \"linux/amd64\"\nrubbish = 3\n");
    let error = lock::read(&place.path("dlpack.lock")).unwrap_err();
    assert!(error.to_string().contains("dlpack.lock:3:1: unknown field `rubbish`"), "{error}");
    place.write("dlpack.lock", "version = 99\n");
    let error = lock::read(&place.path("dlpack.lock")).unwrap_err();
    assert!(error.to_string().contains("has version 99; this dlpack reads version 1"), "{error}");
    assert_eq!(lock::read(&place.path("none.lock")).unwrap(), None);
}

/// A recipe with a variable, locked with `greeting` set.
fn greeted() -> Dlpack {
    let dlpack = Dlpack::new();
    let layer =
        "[[layer]]\nkind = \"files\"\nname = \"motd\"\nfiles = [{ content = \"${greeting}\", to = \"/etc/motd\" }]\n";
    dlpack.write("dlpack.toml", &format!("base = \"scratch\"\n\n[vars]\ngreeting = \"hello\"\n\n{layer}"));
    dlpack.ok(["lock", "--platform", "linux/amd64", "--set", "greeting=hi"]);
    dlpack
}

#[test]
fn a_lock_without_its_recipe_is_not_built_for_other_settings_or_another_platform() {
    let dlpack = greeted();
    std::fs::remove_file(dlpack.work().join("dlpack.toml")).unwrap();
    let same = dlpack.ok(["build", "--set", "greeting=hi", "--platform", "linux/amd64"]);
    assert_eq!(dlpack.ok(["build"]), same);
    for other in [["--set", "greeting=hey"], ["--platform", "linux/arm64"]] {
        let said = dlpack.refuses(3, ["build"].iter().chain(&other));
        assert!(said.contains("there is no recipe to resolve anew"), "{said}");
    }
}

#[test]
fn a_variable_that_the_recipe_no_longer_has_is_forgotten() {
    let dlpack = greeted();
    dlpack.edit("dlpack.toml", "[vars]\ngreeting = \"hello\"\n", "");
    dlpack.edit("dlpack.toml", "${greeting}", "hello");
    let said = dlpack.refuses(3, ["build"]);
    assert!(said.contains("dlpack.toml:"), "{said}");
    dlpack.ok(["lock"]);
    dlpack.ok(["build"]);
    assert!(dlpack.refuses(3, ["lock", "--set", "greeting=hi"]).contains("greeting"));
}
