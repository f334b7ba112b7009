//! Loading: the file and all that it extends, merged, filled in and read.

use std::collections::BTreeMap;
use std::fs::File as OpenFile;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::container::Container;
use super::decode::{decode, decode_container, decode_tests};
use super::error::{Error, Fault, Problem};
use super::flavour::{layer_named, merge};
use super::model::{Base, Interpreter, LayerKind, Recipe};
use super::origin::{Excerpt, File, Files, Location, Origin};
use super::shipped::{shipped, shipped_names};
use super::test::Tests;
use super::tree::{Entries, Entry, Node, Value, parse};
use super::values::rebased;
use super::variables;
use crate::text;

/// How deep recipes may extend each other.
const DEPTH: usize = 8;

/// How long a recipe's file may be, in bytes.
const LENGTH: u64 = 1 << 20;

/// A recipe as it was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The recipe, with nothing left to fill in.
    pub recipe: Recipe,
    /// How containers of its image are started.
    pub container: Container,
    /// What its image is tested by.
    pub tests: Tests,
    /// The directory that its paths start from.
    pub directory: PathBuf,
    /// The variables that were given a value (`--set`).
    pub settings: BTreeMap<String, String>,
    /// Where each of its values stands.
    pub sources: Sources,
}

/// Where each value of a loaded recipe stands, across the files that it extends.
#[derive(Clone, Debug)]
pub struct Sources {
    files: Files,
    root: Node,
}

impl Recipe {
    /// Loads the recipe at `path`, or the shipped one of that name if there is no
    /// such file, with `settings` (`--set`) for its variables. Of the files that its
    /// layers name it reads none: see [`Loaded::check_files`].
    ///
    /// # Errors
    /// Whatever is wrong with it, with file, line and column.
    pub fn load(path: &Path, settings: &[(String, String)]) -> Result<Loaded, Error> {
        let directory = directory_of(path);
        let shipped = path.to_str().and_then(|name| Some((name, shipped(name)?))).filter(|_| !path.is_file());
        let (name, text) = match shipped {
            Some((name, text)) => (shipped_file(name), text.to_owned()),
            None => {
                let text = read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
                (path.display().to_string(), text)
            }
        };
        let mut loader = Loader { files: Files::default(), chain: Vec::new() };
        let file = loader.files.add(File { name: name.clone(), directory: String::new(), text });
        let origin = Origin::new(file, 0..0);
        let root = loader.document(file, directory);
        let files = loader.files;
        let mut root = root.map_err(|fault| fault.shown(&files))?;
        variables::fill(&mut root, settings, &files, &name)?;
        let recipe = decode(&root, origin, &files).map_err(|fault| fault.shown(&files))?;
        let container = decode_container(&root, origin, &files).map_err(|fault| fault.shown(&files))?;
        let tests = decode_tests(&root, origin, &files).map_err(|fault| fault.shown(&files))?;
        let sources = Sources { files, root: Node { origin, value: Value::Table(root) } };
        let settings = settings.iter().cloned().collect();
        Ok(Loaded { recipe, container, tests, directory: directory.to_owned(), settings, sources })
    }
}

/// What is known while files are read.
struct Loader {
    files: Files,
    /// The files from the recipe to the one that is read now, each with what tells
    /// it from others.
    chain: Vec<(String, PathBuf)>,
}

impl Loader {
    /// The file's document laid over what it extends.
    fn document(&mut self, file: usize, directory: &Path) -> Result<Entries, Fault> {
        let origin = Origin::new(file, 0..0);
        let File { name, directory: prefix, text } = self.files.file(origin).clone();
        let identity = std::fs::canonicalize(&name).unwrap_or_else(|_| PathBuf::from(&name));
        self.chain.push((name, identity));
        let mut entries = match parse(file, &text)? {
            Node { value: Value::Table(entries), .. } => entries,
            _ => Entries::new(),
        };
        let parent = match entries.remove("extends") {
            None => Entries::new(),
            Some(entry) => self.extended(&entry, &prefix, directory)?,
        };
        merge(parent, entries, &self.files)
    }

    fn extended(&mut self, entry: &Entry, prefix: &str, directory: &Path) -> Result<Entries, Fault> {
        let field = super::table::Field::of("extends", &entry.node, &self.files);
        let target = field.text(super::values::recipe_path)?;
        let fault = |problem| Fault { origin: entry.node.origin, problem };
        let file = match shipped(&target) {
            Some(text) => File { name: shipped_file(&target), directory: String::new(), text: text.to_owned() },
            None => {
                let relative = rebased(prefix, &target);
                let path = directory.join(&relative);
                let text = read(&path).map_err(|reason| {
                    fault(Problem::Extends { path: target.clone(), reason, shipped: shipped_names().collect() })
                })?;
                let above = relative.rsplit_once('/').map_or("", |(above, _)| above);
                File { name: path.display().to_string(), directory: above.to_owned(), text }
            }
        };
        let identity = std::fs::canonicalize(&file.name).unwrap_or_else(|_| PathBuf::from(&file.name));
        let names = |from: usize| self.chain[from..].iter().map(|(name, _)| name.clone()).chain([file.name.clone()]);
        if let Some(from) = self.chain.iter().position(|(_, other)| *other == identity) {
            return Err(fault(Problem::ExtendsCycle { chain: names(from).collect() }));
        }
        if self.chain.len() > DEPTH {
            return Err(fault(Problem::ExtendsDepth { cap: DEPTH, chain: names(0).collect() }));
        }
        let number = self.files.add(file);
        self.document(number, directory)
    }
}

/// The directory of the recipe or lock at `path`. Nowhere is here: no process can be started in it.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn shipped_file(name: &str) -> String {
    format!("shipped:{name}.toml")
}

fn read(path: &Path) -> io::Result<String> {
    let text = text::read(OpenFile::open(path)?.take(LENGTH + 1))?;
    if text.len() as u64 > LENGTH {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a recipe is at most 1 MiB long"));
    }
    Ok(text)
}

impl Sources {
    /// Where the value at `path` stands: keys as in the file, a layer by its name, an
    /// item by its number, such as `["layer", "python", "requirements", "3"]`. None
    /// for what stands in no file, such as a default.
    pub fn locate(&self, path: &[&str]) -> Option<Location> {
        self.node(path).map(|node| self.files.location(node.origin))
    }

    fn excerpt(&self, path: &[&str]) -> Option<Excerpt> {
        self.node(path).map(|node| self.files.excerpt(node.origin))
    }

    fn node(&self, path: &[&str]) -> Option<&Node> {
        let mut node = &self.root;
        for (depth, part) in path.iter().enumerate() {
            node = match &node.value {
                Value::Array(layers) if depth == 1 && path[0] == "layer" => {
                    layers.iter().find(|layer| layer_named(layer, part))?
                }
                Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
                _ => node.get(part)?,
            };
        }
        Some(node)
    }
}

impl Loaded {
    /// The file on disk that a path of the recipe means: from its directory, or from
    /// the caller's home with `~/`.
    pub fn file(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), std::env::home_dir()) {
            (Some(path), Some(home)) => home.join(path),
            _ => self.directory.join(path),
        }
    }

    /// Checks that every file that the recipe names can be read. Only a lock needs
    /// them all; with one at hand, a build reads what it has to make.
    ///
    /// # Errors
    /// The first that can't be, with the line that names it.
    pub fn check_files(&self) -> Result<(), Error> {
        if let Base::Layout { path, .. } = &self.recipe.base {
            self.check("layout", path, &["base", "layout"])?;
        }
        for layer in &self.recipe.layers {
            let list = |key: &'static str, paths: &[String]| {
                let mut numbered = paths.iter().enumerate();
                numbered.try_for_each(|(n, path)| self.check(key, path, &["layer", &layer.name, key, &n.to_string()]))
            };
            match &layer.kind {
                LayerKind::Venv(venv) => {
                    list("requirements-files", &venv.requirements_files)?;
                    list("wheels", &venv.wheels)?;
                    list("projects", &venv.projects)?;
                    if let Some(Interpreter::Standalone { url, .. }) = &venv.interpreter
                        && !url.contains("://")
                    {
                        self.check("url", url, &["layer", &layer.name, "interpreter", "url"])?;
                    }
                }
                LayerKind::Account(account) => list("authorized-keys-files", &account.authorized_keys_files)?,
                LayerKind::Files(files) => {
                    for (n, entry) in files.files.iter().enumerate() {
                        if let Some(from) = &entry.from {
                            self.check("from", from, &["layer", &layer.name, "files", &n.to_string(), "from"])?;
                        }
                    }
                }
                LayerKind::Run(run) => {
                    if let Some(script) = &run.script {
                        self.check("script", script, &["layer", &layer.name, "script"])?;
                    }
                    for (n, mount) in run.mounts.iter().enumerate() {
                        self.check("from", &mount.from, &["layer", &layer.name, "mounts", &n.to_string(), "from"])?;
                    }
                }
                LayerKind::Apt(apt) => {
                    for (n, source) in apt.sources.iter().enumerate() {
                        if let Some(key) = &source.key {
                            self.check("key", key, &["layer", &layer.name, "sources", &n.to_string(), "key"])?;
                        }
                    }
                }
                LayerKind::Sshd(_) | LayerKind::Jupyter(_) | LayerKind::Timezone(_) => {}
            }
        }
        Ok(())
    }

    fn check(&self, key: &'static str, path: &str, place: &[&str]) -> Result<(), Error> {
        let path = self.file(path);
        let reason = match OpenFile::open(&path) {
            Ok(_) => return Ok(()),
            // A link that is copied as it is may lead nowhere here.
            Err(_) if path.is_symlink() => return Ok(()),
            Err(reason) => reason,
        };
        match self.sources.excerpt(place) {
            Some(at) => {
                Err(Error::Invalid { at: Box::new(at), problem: Box::new(Problem::File { key, path, reason }) })
            }
            None => Err(Error::Unreadable { path, source: reason }),
        }
    }
}
