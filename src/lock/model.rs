//! What a lock file holds.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::layer::Attributes;
use crate::oci::{DiffId, Digest, Platform};
use crate::python::scheme::{InvalidVersion, Scheme};
use crate::recipe::Recipe;

/// The version of the lock's form.
pub const VERSION: u32 = 1;

/// A lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    /// [`VERSION`].
    pub version: u32,
    /// The platform that it was resolved for.
    pub platform: Platform,
    /// The variables of the recipe that `--set` gave a value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// The base.
    pub base: LockedBase,
    /// One for each layer of `recipe`, in its order.
    #[serde(rename = "layer")]
    pub layers: Vec<LockedLayer>,
    /// The recipe that it was resolved from.
    pub recipe: Recipe,
}

/// A blob by digest and size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pin {
    /// Its media type, as the registry has it.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The base, resolved. Its layers are those of the pinned manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedBase {
    /// The index that the tag named, if it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Pin>,
    /// The image's manifest; none for `scratch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Pin>,
    /// The image's config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Pin>,
    /// The DiffIDs of its layers, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff_ids: Vec<DiffId>,
    /// What a base from an archive is made of; the image above is that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<LockedArchive>,
    /// What the layers amend: account files and the skeleton of a home.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "file")]
    pub files: Vec<BaseFile>,
}

impl LockedBase {
    /// The content of the base's file at `path` (without a leading slash).
    pub fn file(&self, path: &str) -> Option<&BaseFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// What a base from an archive is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedArchive {
    /// The addresses that packages are from; a package's `source` is one of them.
    pub sources: Vec<String>,
    /// The suites of them, as they were when they were verified.
    #[serde(rename = "suite")]
    pub suites: Vec<LockedSuite>,
    /// The keyring of the recipe, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<LockedInput>,
    /// The packages, by name.
    #[serde(rename = "deb")]
    pub debs: Vec<LockedDeb>,
}

/// A suite of an archive, verified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedSuite {
    /// Its name, `bookworm-security`.
    pub name: String,
    /// Which of the addresses it is at, from 0.
    pub source: u32,
    /// The components that packages are taken from.
    pub components: Vec<String>,
    /// When it was published, as its `Release` says.
    pub date: String,
    /// The sha256 of its `Release`.
    pub release: Digest,
    /// The fingerprint of the key that signed it.
    pub signed_by: String,
}

/// A file of the base that a layer amends or copies, with its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BaseFile {
    /// Relative to the root, without a leading slash.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Its sha256.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its content, or a link's target; base64 where it is not UTF-8.
    pub content: String,
    /// Whether `content` is base64.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub base64: bool,
}

impl BaseFile {
    /// The file at `path` with this content, or the link with this target.
    pub fn new(path: String, kind: FileKind, attributes: Attributes, bytes: &[u8]) -> Self {
        let (content, base64) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (BASE64_STANDARD.encode(bytes), true),
        };
        let (sha256, size) = (Digest::of(bytes), bytes.len() as u64);
        let Attributes { mode, uid, gid } = attributes;
        Self { path, kind, mode, uid, gid, sha256, size, content, base64 }
    }

    /// Its content, or a link's target, as it is in the base.
    ///
    /// # Errors
    /// If it is said to be base64 and isn't.
    pub fn bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        if self.base64 { BASE64_STANDARD.decode(&self.content) } else { Ok(self.content.clone().into_bytes()) }
    }
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// What a layer consumes beyond what the recipe says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LockedLayer {
    /// The packages.
    Apt(LockedApt),
    /// The script and what is mounted.
    Run {
        /// Sorted by `to`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<LockedFile>,
    },
    /// The wheels and their packing.
    Venv(LockedVenv),
    /// The ids that it came to.
    Account {
        /// The uid.
        uid: u32,
        /// The gid.
        gid: u32,
        /// The lines of `authorized_keys`, from the recipe and its files.
        authorized_keys: Vec<String>,
        /// The files that those are from, but for those in a home.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<LockedInput>,
    },
    /// All in the recipe.
    Sshd,
    /// All in the recipe.
    Jupyter,
    /// The files with their hashes.
    Files {
        /// Sorted by `to`.
        files: Vec<LockedFile>,
    },
    /// All in the recipe.
    Timezone,
}

/// An apt layer, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedApt {
    /// The packages that the recipe asks for, as dpkg names them: those that apt marks as
    /// installed by hand (apt-mark(8)).
    pub manual: Vec<String>,
    /// The addresses of the archives, as the base or the recipe has them.
    pub sources: Vec<String>,
    /// The keys of the recipe's own archives.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "input")]
    pub inputs: Vec<LockedInput>,
    /// What is installed, by name and architecture.
    #[serde(rename = "deb")]
    pub debs: Vec<LockedDeb>,
}

/// A binary package of Debian's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedDeb {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `amd64`, `all` and so on (Debian policy 5.6.8).
    pub architecture: String,
    /// Which of the archives it is from, from 0.
    pub source: u32,
    /// Where it lies in the archive.
    pub path: String,
    /// Its sha256.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A venv, resolved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedVenv {
    /// What `bin/python` leads to.
    pub interpreter: LockedInterpreter,
    /// Where packages for an account lie, in place of a venv.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "user")]
    pub user: Option<Box<LockedUser>>,
    /// Python's version in full where it is known (a standalone build), else `3.X`.
    pub python: String,
    /// The wheels, by name.
    #[serde(default, rename = "wheel")]
    pub wheels: Vec<LockedWheel>,
    /// The requirements files that it was resolved from, with those that they include.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "input")]
    pub inputs: Vec<LockedInput>,
    /// What is built from source, by name; a layer of its own each.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "source")]
    pub sources: Vec<LockedSource>,
    /// Python files that a wheel has and another one's layer replaces with other
    /// content, by the wheel's name: there is no bytecode of them. Relative to the venv.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shadowed: BTreeMap<String, Vec<String>>,
    /// How many shared bins there are; a wheel's `bin` is less than that, or none
    /// for a layer of its own.
    pub bins: u32,
}

impl LockedVenv {
    /// Where its wheels go; `path` is the recipe's.
    ///
    /// # Errors
    /// If the lock's version of Python is none.
    pub fn scheme(&self, path: &str) -> Result<Scheme, InvalidVersion> {
        let python = self.python.parse()?;
        Ok(match self.user.as_deref() {
            Some(LockedUser { base, uid, gid, .. }) => {
                Scheme::of_user(base, python, &self.interpreter.path, (*uid, *gid))
            }
            None => Scheme::new(path, python),
        })
    }
}

/// The packages of an account, on top of what the base's Python has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedUser {
    /// Where they lie, absolute: `~/.local`.
    pub base: String,
    /// The account's uid.
    pub uid: u32,
    /// Its gid.
    pub gid: u32,
    /// What of the base's Python the requirements came to: it is not installed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub present: Vec<LockedPresent>,
}

/// A distribution that the base's Python has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedPresent {
    /// Normalised name.
    pub name: String,
    /// Version, as its metadata says it.
    pub version: String,
}

/// A project that is built into a wheel in the sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedSource {
    /// Normalised name.
    pub name: String,
    /// Version; none where only the build tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it is from.
    pub from: LockedOrigin,
    /// The wheels that it is built with.
    #[serde(default, rename = "requires")]
    pub requires: Vec<LockedWheel>,
}

impl LockedSource {
    /// Name and version as a person reads them.
    pub fn label(&self) -> String {
        match &self.version {
            Some(version) => format!("{} {version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Where a project's source is from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockedOrigin {
    /// An sdist of an index or on disk.
    Sdist(LockedSdist),
    /// A source tree on disk.
    Tree(LockedInput),
}

/// An sdist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedSdist {
    /// File name.
    pub file: String,
    /// Its sha256.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where it is from, as [`LockedWheel::index`].
    pub index: String,
}

/// What is on disk and was read when the recipe was locked: a file by its sha256, a
/// source tree by that of the list of its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedInput {
    /// Its path relative to the recipe.
    pub path: String,
    /// Its sha256.
    pub sha256: Digest,
}

/// The interpreter, resolved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedInterpreter {
    /// The absolute path of the executable in the image.
    pub path: String,
    /// The standalone build's archive, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<LockedFile>,
}

/// A wheel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedWheel {
    /// Normalised name (PyPA name normalisation).
    pub name: String,
    /// Version.
    pub version: String,
    /// File name.
    pub file: String,
    /// Its sha256.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where it is from: `default`, `extra-0` (the first of `extra-index-url`), …,
    /// or `local:PATH` for a wheel on disk, relative to the recipe.
    pub index: String,
    /// The shared bin that it lies in; a layer of its own if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bin: Option<u32>,
    /// Files that are left out of its layer, relative to the venv: another wheel of
    /// the same bin brings them, and a layer names no path twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

#[cfg(test)]
impl LockedWheel {
    /// Version 1 of `name`, of `size` bytes, in no bin.
    pub(super) fn named(name: &str, size: u64) -> Self {
        Self {
            name: name.into(),
            version: "1".into(),
            file: format!("{name}-1-py3-none-any.whl"),
            sha256: Digest::of(name.as_bytes()),
            size,
            index: "default".into(),
            bin: None,
            without: Vec::new(),
        }
    }
}

/// A file from disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedFile {
    /// Its path relative to the recipe, or its URL for an archive; empty where the
    /// recipe has the content itself.
    pub from: String,
    /// Where it goes in the image, without a leading slash.
    pub to: String,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Its sha256 (of the target, for a link).
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}
