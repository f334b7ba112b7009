//! Why there is no lock, or why it can't be used.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::oci::Platform;
use crate::python::{index, resolve, scheme, source, wheel};
use crate::{registry, store};

/// Why there is no lock, or why it can't be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The lock can't be read.
    #[error("can't read the lock {}", path.display())]
    Read {
        /// The lock.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The lock can't be written.
    #[error("can't write the lock {}", path.display())]
    Write {
        /// The lock.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The lock is not in the form that it is written in.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Form {
        /// The lock.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// Another version's lock.
    #[error("the lock {} has version {version}; this dlpack reads version {}", path.display(), super::VERSION)]
    Version {
        /// The lock.
        path: PathBuf,
        /// What it says.
        version: u32,
    },
    /// A line of the recipe that changed.
    #[error("{place}: `{field}` {change} after the recipe was locked")]
    Changed {
        /// File, line and column, or the recipe's name for it.
        place: String,
        /// The field, `layer.python.requirements`.
        field: String,
        /// What became of it: `changed from "a" to "b"`, `has a new entry "c"` …
        change: String,
    },
    /// A file that the recipe names, and that changed.
    #[error("{place}: {path} {change} after the recipe was locked")]
    FileChanged {
        /// File, line and column of the layer.
        place: String,
        /// The file, relative to the recipe.
        path: String,
        /// `changed`, `is new` or `is gone`.
        change: &'static str,
    },
    /// A lock for another platform.
    #[error("the lock is for {locked}, not for {wanted}")]
    Platform {
        /// Whose it is.
        locked: Platform,
        /// What was asked for.
        wanted: Platform,
    },
    /// The base can't be resolved.
    #[error(transparent)]
    Base(#[from] super::base::Error),
    /// The packages of an apt layer can't be chosen.
    #[error(transparent)]
    Apt(#[from] super::apt::Error),
    /// The requirements don't resolve.
    #[error(transparent)]
    Resolve(#[from] resolve::Error),
    /// They don't go with what the base's Python has, which stays as it is.
    #[error("layer `{layer}`: the requirements don't go with the base's {base}")]
    OnBase {
        /// The layer.
        layer: String,
        /// Names and versions of the base's distributions that uv speaks of.
        base: String,
        /// What it says.
        #[source]
        source: Box<resolve::Error>,
    },
    /// A project that is to be built says too little of itself, or can't be read.
    #[error("layer `{layer}`: {project} can't be built from source")]
    Source {
        /// The layer.
        layer: String,
        /// The sdist, or the project's path.
        project: String,
        /// Why.
        #[source]
        source: source::Error,
    },
    /// Two projects of one name.
    #[error("layer `{layer}`: {first} and {second} are both the project {name}")]
    SameProject {
        /// The layer.
        layer: String,
        /// One path.
        first: String,
        /// The other.
        second: String,
        /// The name.
        name: String,
    },
    /// A wheel can't be had, or its index.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// HTTP can't be set up.
    #[error(transparent)]
    Http(#[from] registry::http::Error),
    /// A wheel that can't be installed.
    #[error(transparent)]
    Wheel(#[from] wheel::Error),
    /// A version of Python that is none.
    #[error(transparent)]
    Python(#[from] scheme::InvalidVersion),
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Two wheels bring different files of one path.
    #[error("layer `{layer}`: {first} and {second} both bring {path}, with different content")]
    Collision {
        /// The layer.
        layer: String,
        /// One wheel, name and version.
        first: String,
        /// The other.
        second: String,
        /// Relative to the venv.
        path: String,
    },
    /// A path that is a file of one wheel and a directory of another.
    #[error("layer `{layer}`: {path} is a file of {first} and a directory of {second}")]
    FileAndDirectory {
        /// The layer.
        layer: String,
        /// The wheel with the file.
        first: String,
        /// The wheel with the directory.
        second: String,
        /// Relative to the venv.
        path: String,
    },
    /// The base has no such interpreter.
    #[error("layer `{layer}`: the base has no {path}")]
    NoInterpreter {
        /// The layer.
        layer: String,
        /// What was looked for.
        path: String,
        /// The Pythons that the base has.
        found: Vec<String>,
    },
    /// The base's C library is musl, and the wheels are built for glibc.
    #[error("layer `{layer}`: the base has musl ({path}) and no glibc, which Python wheels for {platform} need")]
    Musl {
        /// The layer.
        layer: String,
        /// musl's dynamic linker.
        path: String,
        /// The platform.
        platform: Platform,
    },
    /// A file that the recipe names can't be read.
    #[error("layer `{layer}`: can't read {}", path.display())]
    File {
        /// The layer.
        layer: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that can't be in a layer: a socket, a device, a name that is not UTF-8.
    #[error("layer `{layer}`: {} is {what}", path.display())]
    NotAFile {
        /// The layer.
        layer: String,
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Two entries of a `files` layer at one path.
    #[error("layer `{layer}` has two entries for /{to}")]
    Twice {
        /// The layer.
        layer: String,
        /// The path.
        to: String,
    },
    /// A file that goes below a symbolic link of the base.
    #[error("layer `{layer}`: /{to} is /{real} in the base, behind a symbolic link")]
    BehindLink {
        /// The layer.
        layer: String,
        /// Where the recipe puts it.
        to: String,
        /// Where that is.
        real: String,
    },
    /// A setting of a `files` layer that is none.
    #[error("layer `{layer}`: `{value}` is not {what}")]
    Setting {
        /// The layer.
        layer: String,
        /// What the recipe says.
        value: String,
        /// `an octal mode`, `UID:GID` …
        what: &'static str,
    },
    /// The base has so many layers that none are left.
    #[error("the base has {base} layers, the recipe {recipe}: that leaves none for wheels (a runtime takes 127)")]
    TooManyLayers {
        /// The base's.
        base: usize,
        /// The recipe's other ones.
        recipe: usize,
    },
    /// A thread of dlpack's own ended without a word.
    #[error("{doing} was interrupted")]
    Interrupted {
        /// What.
        doing: &'static str,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Form { .. } | Self::Version { .. } => Some("make it anew with `dlpack lock`".into()),
            Self::Changed { .. } | Self::FileChanged { .. } => {
                Some("lock anew with `dlpack lock`, or take the change back".into())
            }
            Self::Platform { locked, wanted, .. } => Some(format!(
                "`dlpack lock --platform {wanted}` locks for that one, `--platform {locked}` takes what is locked"
            )),
            Self::Base(error) => error.hint(),
            Self::Apt(error) => error.hint(),
            Self::Resolve(error) => error.hint(),
            Self::OnBase { base, .. } => Some(format!(
                "packages for a `user` leave the base's as they are: ask for versions that go with {base}, or for a venv"
            )),
            Self::Source { source, .. } => source.hint(),
            Self::SameProject { .. } => Some("leave one of them out of `projects`".into()),
            Self::Index(error) => error.hint(),
            Self::Http(error) => error.hint(),
            Self::Wheel(error) => error.hint(),
            Self::Python(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Collision { first, second, .. } => Some(format!(
                "one would overwrite the other: pin a version of {} or {} that goes together, in `constraints`, or leave one out",
                first.split(' ').next().unwrap_or_default(),
                second.split(' ').next().unwrap_or_default()
            )),
            Self::FileAndDirectory { first, second, .. } => {
                Some(format!("they can't be in one venv: pin other versions in `constraints`, or leave {first} or {second} out"))
            }
            Self::BehindLink { real, .. } => Some(format!("write `/{real}`")),
            Self::NoInterpreter { found, .. } => Some(match found.as_slice() {
                [] => "take a base with that Python, or a standalone build: `interpreter = { url = \"…\", sha256 = \"…\" }`"
                    .into(),
                found => format!(
                    "the base has {}: set `python` to that, and `interpreter` if it is set, or take a standalone build",
                    found.join(", ")
                ),
            }),
            Self::Musl { .. } => Some("take a base with glibc, such as Debian's or Ubuntu's".into()),
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("paths are relative to the recipe".into())
            }
            Self::NotAFile { .. } => Some("leave it out of the directory".into()),
            Self::Twice { .. } => Some("remove one of them".into()),
            Self::TooManyLayers { .. } => Some("squash the base, or put several `files` into one layer".into()),
            Self::Read { .. } | Self::Write { .. } | Self::File { .. } | Self::Setting { .. } | Self::Interrupted { .. } => {
                None
            }
        }
    }
}
