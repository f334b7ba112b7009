//! The resolved recipe: no `extends`, no variables, every path relative to the
//! recipe's directory. It is what a lock keeps a copy of, under the same keys as in
//! the recipe's file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cache::VerifyingKey;
use crate::layer::{CEILING, Compression};
use crate::oci::Platform;

/// A recipe with nothing left to fill in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recipe {
    /// What lies under the layers.
    pub base: Base,
    /// The platform to build for where `--platform` says nothing; this machine's if
    /// not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The keys of which one must have signed a cache's records; anybody's records are
    /// used if none is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_keys: Vec<VerifyingKey>,
    /// Repositories `[REGISTRY/]NAME` whose layers of wheels need not be made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wheelhouses: Vec<String>,
    /// How long the blob of a layer may be, in bytes; [`CEILING`] if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_layer_size: Option<u64>,
    /// How blobs are compressed; gzip if not given.
    #[serde(default)]
    pub compression: Compression,
    /// What the image config says.
    #[serde(default)]
    pub config: Config,
    /// The layers, lowest first.
    #[serde(default, rename = "layer")]
    pub layers: Vec<Layer>,
}

impl Recipe {
    /// How long the blob of a layer may be, in bytes: what is longer is in parts.
    pub fn ceiling(&self) -> u64 {
        self.max_layer_size.unwrap_or(CEILING)
    }
}

/// What lies under the layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "BaseForm", into = "BaseForm")]
pub enum Base {
    /// `base = "scratch"`: nothing.
    Scratch,
    /// `base = "nvidia/cuda:12.4.1-…"`: an image in a registry.
    Image(String),
    /// `base = { layout = "DIR", tag = "NAME" }`: an image in an OCI layout on disk.
    Layout {
        /// The layout's directory, relative to the recipe's.
        path: String,
        /// The name in its index; the only manifest if not given.
        tag: Option<String>,
    },
    /// `base = { archive = "debian", suite = "bookworm", … }`: made of packages.
    Archive(Archive),
}

/// A base that is made of the packages of an archive: the essential ones, apt, and
/// others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Archive {
    /// What the archive's `Release` has as its origin, in lower case: `debian`.
    pub archive: String,
    /// The suite, by its codename: `bookworm`.
    pub suite: String,
    /// Further packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// The archive's address; where this machine's apt has it, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// The components that packages are taken from; `main` if not given.
    #[serde(default = "main", skip_serializing_if = "is_main")]
    pub components: Vec<String>,
    /// The archive's keyring, relative to the recipe; that which this machine's apt has
    /// for it, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The component that every archive has.
pub(super) fn main() -> Vec<String> {
    vec!["main".into()]
}

fn is_main(components: &[String]) -> bool {
    components == ["main"]
}

/// [`Base`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum BaseForm {
    Name(String),
    Layout {
        layout: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tag: Option<String>,
    },
    Archive(Archive),
}

impl From<BaseForm> for Base {
    fn from(form: BaseForm) -> Self {
        match form {
            BaseForm::Name(name) if name == "scratch" => Self::Scratch,
            BaseForm::Name(name) => Self::Image(name),
            BaseForm::Layout { layout, tag } => Self::Layout { path: layout, tag },
            BaseForm::Archive(archive) => Self::Archive(archive),
        }
    }
}

impl From<Base> for BaseForm {
    fn from(base: Base) -> Self {
        match base {
            Base::Scratch => Self::Name("scratch".into()),
            Base::Image(name) => Self::Name(name),
            Base::Layout { path, tag } => Self::Layout { layout: path, tag },
            Base::Archive(archive) => Self::Archive(archive),
        }
    }
}

/// The image config. Env, labels and ports are added to the base's; each other
/// field replaces the base's if it is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Ports, `8888` or `8888/tcp`.
    pub expose: Vec<String>,
    /// The working directory.
    pub workdir: Option<String>,
    /// The user that the image runs as.
    pub user: Option<String>,
    /// The entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// The default command.
    pub cmd: Option<Vec<String>>,
}

/// One recipe layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// What a flavour names to replace or drop it; the kind if not given.
    pub name: String,
    /// What it is made of.
    #[serde(flatten)]
    pub kind: LayerKind,
}

/// The kinds of layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LayerKind {
    /// Debian packages.
    Apt(Apt),
    /// A command.
    Run(Run),
    /// A Python venv of wheels.
    Venv(Venv),
    /// A user account.
    Account(Account),
    /// An ssh server's settings.
    Sshd(Sshd),
    /// JupyterLab's settings.
    Jupyter(Jupyter),
    /// Files from the recipe's directory.
    Files(Files),
    /// The local time zone.
    Timezone(Timezone),
}

/// `kind = "apt"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Apt {
    /// What `apt-get install` is given: `name`, `name=version`, `name:architecture`.
    pub packages: Vec<String>,
    /// Whether what packages recommend is installed, too.
    #[serde(default)]
    pub recommends: bool,
    /// Archives beside those that the base's apt knows.
    #[serde(default)]
    pub sources: Vec<AptSource>,
}

/// An archive that packages are taken from: a stanza of `sources.list(5)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AptSource {
    /// Where it is.
    pub url: String,
    /// Its suites, or an exact path that ends in `/`.
    pub suites: Vec<String>,
    /// Their components; none for an exact path.
    #[serde(default)]
    pub components: Vec<String>,
    /// Its OpenPGP key, relative to the recipe; those that the base trusts if not given.
    #[serde(default)]
    pub key: Option<String>,
    /// For which architectures; all that the base's dpkg has if empty.
    #[serde(default)]
    pub architectures: Vec<String>,
}

/// `kind = "run"`. Either `command` or `script` is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Run {
    /// What the shell is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// A file that is run, relative to the recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// What `command` is given to as its last argument.
    pub shell: Vec<String>,
    /// Its environment, besides `PATH`, `HOME` and `LC_ALL`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where it starts, absolute.
    pub workdir: String,
    /// Who it runs as, as in `[config]`; root if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether it may use the network.
    #[serde(default)]
    pub network: bool,
    /// Files that only the step sees, and that nothing keeps.
    #[serde(default)]
    pub secrets: Vec<RunSecret>,
    /// Directories that persist between builds and are in no layer.
    #[serde(default)]
    pub caches: Vec<RunCache>,
    /// Files and directories of the recipe that the step can read.
    #[serde(default)]
    pub mounts: Vec<RunMount>,
    /// The layers before it that it sees besides the base and what ran on that.
    #[serde(default)]
    pub sees: Vec<String>,
}

/// A secret of a `run` layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunSecret {
    /// What `--secret` calls it.
    pub name: String,
    /// The file that the step reads, absolute.
    pub to: String,
    /// Whether the step runs without it, too.
    #[serde(default)]
    pub optional: bool,
}

/// A cache directory of a `run` layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunCache {
    /// Where the step sees it, absolute.
    pub to: String,
    /// What it is known by: layers that name the same share it.
    pub id: String,
}

/// A read-only mount of a `run` layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunMount {
    /// A file or directory, relative to the recipe.
    pub from: String,
    /// Where the step sees it, absolute.
    pub to: String,
}

/// Where packages for an account lie, CPython's `site.USER_BASE`.
pub const USER_SITE: &str = "~/.local";

/// `kind = "venv"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Venv {
    /// Where it lies in the image, absolute.
    #[serde(default = "default_venv")]
    pub path: String,
    /// The account that the packages are for: they lie in its `~/.local`, on top of what the
    /// base's Python has, and there is no venv. Then `path` is [`USER_SITE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Python's version, `3.10`.
    pub python: String,
    /// Which interpreter; the base's `/usr/bin/python3.X` if not given, and then
    /// it must be in the base's file list.
    #[serde(default)]
    pub interpreter: Option<Interpreter>,
    /// Requirements (PyPA dependency specifiers), one a string.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// requirements.txt files, relative to the recipe.
    #[serde(default)]
    pub requirements_files: Vec<String>,
    /// Constraints, one a string.
    #[serde(default)]
    pub constraints: Vec<String>,
    /// The index; pip's and uv's own setting if not given.
    #[serde(default)]
    pub index_url: Option<String>,
    /// More indexes, each preferred over those after it and over `index-url`.
    #[serde(default)]
    pub extra_index_url: Vec<String>,
    /// Wheels on disk, relative to the recipe.
    #[serde(default)]
    pub wheels: Vec<String>,
    /// Projects on disk, relative to the recipe, that are built into wheels: source
    /// trees, checkouts, sdists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// Packages that are built from their sdists though there are wheels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_binary: Vec<String>,
    /// Requirements of builds beside those that projects declare themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_requirements: Vec<String>,
    /// Whether there is bytecode for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bytecode: bool,
    /// Whether pip is installed into it.
    #[serde(default)]
    pub pip: bool,
}

fn default_venv() -> String {
    "/opt/venv".into()
}

/// The interpreter of a venv.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", untagged)]
pub enum Interpreter {
    /// A path in the image that the recipe vouches for.
    Path(String),
    /// A standalone build (a `.tar.gz` or `.tar.zst` whose root is `python/`),
    /// which becomes a layer of its own.
    Standalone {
        /// Where it is fetched from, or a path relative to the recipe.
        url: String,
        /// Its sha256, 64 hex digits.
        sha256: String,
        /// Where it lies in the image; `/opt/python` if not given.
        #[serde(default)]
        path: Option<String>,
    },
}

/// A uid or gid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdSetting {
    /// That of whoever locks the recipe.
    Host,
    /// A number.
    #[serde(untagged)]
    Id(u32),
}

/// `kind = "account"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Account {
    /// The login name.
    pub user: String,
    /// Its uid; 1000 if not given.
    #[serde(default)]
    pub uid: Option<IdSetting>,
    /// Its gid; the uid if not given.
    #[serde(default)]
    pub gid: Option<IdSetting>,
    /// Its shell; `/bin/bash` if not given.
    #[serde(default)]
    pub shell: Option<String>,
    /// Its home; `/home/USER` if not given.
    #[serde(default)]
    pub home: Option<String>,
    /// Further groups that exist in the base.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Lines of `authorized_keys`.
    #[serde(default)]
    pub authorized_keys: Vec<String>,
    /// Files of authorised keys, relative to the recipe; `~` is the caller's home.
    #[serde(default)]
    pub authorized_keys_files: Vec<String>,
    /// The name of the environment variable, or `file:PATH`, that has the
    /// password's crypt(5) hash. Locked if not given.
    #[serde(default)]
    pub password_secret: Option<String>,
    /// The venv whose packages the account's own `~/.venv` sees; none if not given.
    #[serde(default)]
    pub venv: Option<String>,
}

/// `kind = "sshd"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sshd {
    /// The port as root; 22 if not given.
    #[serde(default)]
    pub port: Option<u16>,
    /// Whether passwords are accepted.
    #[serde(default)]
    pub passwords: bool,
}

/// `kind = "jupyter"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Jupyter {
    /// The port; 8888 if not given.
    #[serde(default)]
    pub port: Option<u16>,
    /// The root directory; the user's home if not given.
    #[serde(default)]
    pub root_dir: Option<String>,
    /// The venv it runs from; `/opt/venv` if not given.
    #[serde(default)]
    pub venv: Option<String>,
    /// The account it runs as when the container starts as root; the recipe's if it
    /// makes just one, and root otherwise, if not given.
    #[serde(default)]
    pub user: Option<String>,
}

/// `kind = "files"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Files {
    /// What goes where.
    pub files: Vec<FilesEntry>,
}

/// One file or directory of a `files` layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FilesEntry {
    /// A file or directory, relative to the recipe; or `content`.
    #[serde(default)]
    pub from: Option<String>,
    /// The content of a file, in place of `from`.
    #[serde(default)]
    pub content: Option<String>,
    /// Where it goes, absolute.
    pub to: String,
    /// `0644`, in octal; 0755 for what is executable on disk and 0644 for the rest
    /// if not given.
    #[serde(default)]
    pub mode: Option<String>,
    /// `UID` or `UID:GID`, numeric; root if not given. A `UID` alone is its GID, too.
    #[serde(default)]
    pub owner: Option<String>,
}

/// `kind = "timezone"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Timezone {
    /// `Asia/Seoul`.
    pub zone: String,
}
