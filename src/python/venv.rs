//! The skeleton of a venv: what `python -m venv --without-pip` makes, as a layer.
//! The activation scripts lie in `layers/venv/`.

use serde_json::json;

use crate::layer::{Attributes, Error, LayerWriter};
use crate::oci::Digest;

use super::scheme::Scheme;

const PYVENV_CFG: &str = include_str!("../../layers/venv/pyvenv.cfg");
const ACTIVATE: &str = include_str!("../../layers/venv/bin/activate");
const ACTIVATE_CSH: &str = include_str!("../../layers/venv/bin/activate.csh");
const ACTIVATE_FISH: &str = include_str!("../../layers/venv/bin/activate.fish");

/// What leads from a venv to the packages of another one, in its site-packages.
pub const SHARED: &str = "shared.pth";

/// What stands in [`SHARED`] for the packages in `site_packages`, absolute.
pub fn shared(site_packages: &str) -> String {
    // site: lines that begin with `import` are executed. Unlike a bare path, addsitedir
    // also reads the .pth files that wheels brought there.
    format!("import site; site.addsitedir({})\n", json!(site_packages))
}

/// The site-packages that [`shared`] has made `text` for; none if it has not.
pub fn shared_from(text: &str) -> Option<String> {
    let path = text.strip_prefix("import site; site.addsitedir(")?.strip_suffix(")\n")?;
    serde_json::from_str(path).ok()
}

/// What the skeleton of a venv is a function of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeleton {
    /// Where it lies.
    pub scheme: Scheme,
    /// The absolute path of the interpreter in the image.
    pub interpreter: String,
    /// Its version, as far as it is known: `3.12` or `3.12.4`.
    pub version: String,
}

/// What lies at a path of the skeleton.
pub enum Item {
    /// A directory.
    Directory,
    /// A file's content.
    File(String),
    /// A symbolic link's target.
    Link(String),
}

impl Skeleton {
    /// Writes the skeleton. All of it belongs to root.
    ///
    /// # Errors
    /// Those of the layer.
    pub fn write(&self, out: &mut LayerWriter) -> Result<(), Error> {
        let prefix = self.scheme.prefix().trim_start_matches('/');
        let mut items = self.items();
        items.sort_by(|one, other| one.0.cmp(&other.0));
        for (path, item) in items {
            let path = if path.is_empty() { prefix.to_owned() } else { format!("{prefix}/{path}") };
            match item {
                Item::Directory => out.directory(&path, Attributes::root(0o755))?,
                Item::File(content) => out.file(&path, Attributes::root(0o644), content.as_bytes())?,
                Item::Link(target) => out.symlink(&path, Attributes::root(0o777), &target)?,
            }
        }
        Ok(())
    }

    /// All of it, by path relative to the venv, in no order; the venv's own path is
    /// empty.
    pub fn items(&self) -> Vec<(String, Item)> {
        let mut items: Vec<(String, Item)> =
            self.scheme.directories().into_iter().map(|path| (path, Item::Directory)).collect();
        let mut add = |path: &str, item| items.push((path.to_owned(), item));
        add("pyvenv.cfg", Item::File(self.pyvenv_cfg()));
        // `bin/python` is the one that leads out; the others lead to it, so that
        // sys.executable is in the venv by whichever name Python is started.
        add("bin/python", Item::Link(self.interpreter.clone()));
        add("bin/python3", Item::Link("python".into()));
        add(&format!("bin/python{}", self.scheme.python()), Item::Link("python".into()));
        // CPython's venv makes it on 64-bit systems, where `platlib` may be lib64.
        add("lib64", Item::Link("lib".into()));
        let name = self.scheme.prefix().rsplit('/').next().unwrap_or_default();
        let filled = |script: &str, quote: fn(&str) -> String| {
            Item::File(script.replace("@PREFIX@", &quote(self.scheme.prefix())).replace("@NAME@", &quote(name)))
        };
        add("bin/activate", filled(ACTIVATE, sh));
        add("bin/activate.csh", filled(ACTIVATE_CSH, csh));
        add("bin/activate.fish", filled(ACTIVATE_FISH, fish));
        items
    }

    /// What stands for the files in a key: it changes with the activation scripts.
    pub fn fingerprint(&self) -> Digest {
        let payload = [PYVENV_CFG, ACTIVATE, ACTIVATE_CSH, ACTIVATE_FISH];
        Digest::of(payload.map(|file| Digest::of(file.as_bytes()).to_string()).join(" ").as_bytes())
    }

    fn pyvenv_cfg(&self) -> String {
        let home = self.interpreter.rsplit_once('/').map_or("/", |(home, _)| home);
        PYVENV_CFG
            .replace("@HOME@", home)
            .replace("@VERSION@", &self.version)
            .replace("@EXECUTABLE@", &self.interpreter)
    }
}

fn sh(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn csh(text: &str) -> String {
    // History is expanded between quotes, too.
    format!("'{}'", text.replace('\'', r"'\''").replace('!', r"\!"))
}

fn fish(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}
