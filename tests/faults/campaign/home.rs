//! A small environment that is built and pushed again and again by the real `dlpack`, each
//! time from the same state of its store.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dlpack::registry::serve::{Options, Server};
use dlpack::registry::{Reference, Registries, Settings};
use dlpack::store::Store;
use tempfile::TempDir;

use super::scene::{block_on, pull_image};
use crate::support::command::Dlpack;
use crate::support::output;

/// What the store is before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// What was fetched is there, no layer is.
    Fetched,
    /// Everything is there.
    Built,
}

/// The environment, locked, and a registry to push it to.
pub struct Home {
    pub dlpack: Dlpack,
    server: Server,
    remote: Store,
    /// The image that an honest run makes.
    pub image: String,
    /// How long that took.
    pub honest: Duration,
    /// What is in the store after an honest run.
    whole: BTreeSet<PathBuf>,
    saved: TempDir,
    pushes: std::cell::Cell<u32>,
}

impl Home {
    /// The environment with a file of `noise` bytes beside what it always has.
    pub fn new(noise: usize) -> Self {
        let (dlpack, directory) = (Dlpack::new(), tempfile::tempdir().unwrap());
        let remote = Store::open(&directory.path().join("registry")).unwrap();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), remote.clone(), Options::default()).unwrap();
        dlpack.write_recipe("\"scratch\"");
        let mut bytes = vec![0; noise];
        fastrand::Rng::with_seed(11).fill(&mut bytes);
        fs::write(dlpack.work().join("noise"), bytes).unwrap();
        dlpack.edit("dlpack.toml", "files = [", "files = [{ from = \"noise\", to = \"/srv/noise\" }, ");
        dlpack.ok(["lock"]);
        let mut home = Self {
            dlpack,
            server,
            remote,
            image: String::new(),
            honest: Duration::ZERO,
            whole: BTreeSet::new(),
            saved: directory,
            pushes: std::cell::Cell::new(0),
        };
        home.save(State::Fetched);
        home.dlpack.ok(["build"]);
        copy(&home.dlpack.store().join("downloads"), &home.saved(State::Fetched));
        home.restore(State::Fetched);
        let begun = Instant::now();
        home.image = home.dlpack.ok(["build"]);
        home.honest = begun.elapsed();
        home.dlpack.ok(["cache", "gc"]);
        home.save(State::Built);
        home.whole = files(&home.dlpack.store());
        home
    }

    fn saved(&self, state: State) -> PathBuf {
        self.saved.path().join(format!("{state:?}"))
    }

    fn save(&self, state: State) {
        fs::create_dir(self.saved(state)).unwrap();
        copy(&self.dlpack.store().join("."), &self.saved(state));
    }

    /// Brings the store back to `state`.
    pub fn restore(&self, state: State) {
        let store = self.dlpack.store();
        fs::remove_dir_all(&store).unwrap();
        copy(&self.saved(state), &store);
    }

    /// The files that the store has at `place` in `state`, as paths of the store.
    pub fn saved_files(&self, state: State, place: &str) -> Vec<PathBuf> {
        let all = files(&self.saved(state));
        all.into_iter().filter(|path| path.starts_with(place)).collect()
    }

    /// A name in the registry that nothing was pushed to.
    pub fn target(&self) -> String {
        self.pushes.set(self.pushes.get() + 1);
        format!("{}/team/env-{}:1", self.server.address(), self.pushes.get())
    }

    /// `dlpack ARGS`, quiet and to be ended from outside.
    pub fn spawn(&self, arguments: &[&str]) -> std::process::Child {
        let mut command = self.dlpack.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// An honest run of `arguments` comes to the image, and after a collection the store has
    /// what it has after any honest build, and nothing else; after a push perhaps less, since
    /// layers that can be made again need not be kept.
    pub fn assert_heals(&self, arguments: &[&str]) {
        assert_eq!(self.dlpack.ok(arguments), self.image);
        self.dlpack.ok(["cache", "gc"]);
        let found = files(&self.dlpack.store());
        let orphans: Vec<_> = found.difference(&self.whole).collect();
        let missing: Vec<_> = self.whole.difference(&found).collect();
        let whole = missing.is_empty() || arguments[0] == "push";
        assert!(orphans.is_empty() && whole, "orphans: {orphans:?}, missing: {missing:?}");
    }

    /// The image is at `target`, every byte of it.
    pub fn assert_arrived(&self, target: &str) {
        let reference: Reference = target.parse().unwrap();
        let registries = Registries::new(Settings::default()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let image = block_on(pull_image(&registries.repository(&reference).unwrap(), "1", &store)).unwrap();
        assert_eq!(image.to_string(), self.image);
        assert_eq!(self.remote.size(dlpack::store::Area::Blobs, &image).map(|_| image), Some(image));
    }
}

/// Everything in the store by path, but its locks and how fast registries were.
fn files(store: &Path) -> BTreeSet<PathBuf> {
    let entries = walkdir::WalkDir::new(store).into_iter().map(|entry| entry.expect("a readable store"));
    let files = entries.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path());
    let names = files.map(|path| path.strip_prefix(store).expect("below").to_owned());
    let is_lock = |name: &Path| name == Path::new("lock") || name.extension().is_some_and(|it| it == "lock");
    names.filter(|name| !is_lock(name) && !name.starts_with("rates")).collect()
}

/// Copies a directory, or what is in it, with times and owners.
fn copy(from: &Path, to: &Path) {
    output(Command::new("cp").arg("-a").arg(from).arg(to), "coreutils");
}
