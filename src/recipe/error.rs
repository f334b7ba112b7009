//! Everything that can be wrong with a recipe, in a person's words, with the place
//! and what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::near::nearest;
use super::origin::{Excerpt, Files, Location, Origin};
use super::shipped::shipped_names;

/// Why a recipe can't be loaded.
#[derive(Debug, Error)]
pub enum Error {
    /// The recipe itself can't be read.
    #[error("can't read the recipe `{}`", path.display())]
    Unreadable {
        /// The recipe.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `--set` of a variable that the recipe does not have.
    #[error("`{recipe}` has no variable `{name}` to set")]
    UnknownSetting {
        /// The recipe.
        recipe: String,
        /// What was to be set.
        name: String,
        /// The variables that it has.
        known: Vec<String>,
    },
    /// Something that stands in a file.
    #[error("{}: {problem}\n{at}", at.location)]
    Invalid {
        /// Where.
        at: Box<Excerpt>,
        /// What.
        problem: Box<Problem>,
    },
}

/// What can be wrong at a place in a recipe.
#[derive(Debug, Error)]
pub enum Problem {
    /// Not TOML.
    #[error("this is not TOML: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// A key that nothing reads.
    #[error("unknown key `{key}` in {place}")]
    UnknownKey {
        /// The key.
        key: String,
        /// What kind of table it stands in.
        place: &'static str,
        /// What may stand there.
        allowed: &'static [&'static str],
    },
    /// A key that has to be there.
    #[error("{place} needs `{key}`")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// What kind of table lacks it.
        place: &'static str,
    },
    /// A layer of a kind that there is not.
    #[error("there is no kind of layer `{kind}`")]
    UnknownKind {
        /// What was given.
        kind: String,
        /// The kinds that there are.
        kinds: &'static [&'static str],
    },
    /// A value of another type.
    #[error("{what} has to be {expected}, not {found}")]
    Type {
        /// The key, or the array whose item it is, in words.
        what: String,
        /// What it is to be.
        expected: String,
        /// What it is.
        found: &'static str,
        /// What to write, where that is plain.
        hint: Option<&'static str>,
    },
    /// A value that can't be.
    #[error("{what} can't be `{value}`: {why}")]
    Value {
        /// The key, or the array whose item it is, in words.
        what: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// A secret, which has no place in a recipe, and which no error shows.
    #[error("{what} {why}")]
    Secret {
        /// The key, or the array whose item it is, in words.
        what: String,
        /// What it holds.
        why: String,
        /// Where it belongs.
        hint: String,
    },
    /// Two keys of which only one may stand, or none of two of which one has to.
    #[error("{place} has either `{one}` or `{other}`, and {found}")]
    Either {
        /// What kind of table it is.
        place: &'static str,
        /// The one key.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// `this one has both` or `this one has neither`.
        found: &'static str,
    },
    /// Two things in one recipe that have to differ.
    #[error("{what} stands twice; first at {first}")]
    Twice {
        /// A layer's name, a path.
        what: String,
        /// Where it stands first.
        first: Location,
        /// What to do.
        hint: &'static str,
    },
    /// A layer that is not among those that the recipe extends.
    #[error("there is no layer `{name}` to {verb}")]
    UnknownLayer {
        /// Its name.
        name: String,
        /// `drop`, `amend` or `come after`.
        verb: &'static str,
        /// The layers that there are.
        known: Vec<String>,
    },
    /// A layer that is not among those before the one that is to see it.
    #[error("there is no layer `{name}` before this one to see")]
    NotBefore {
        /// Its name.
        name: String,
        /// The layers before it.
        known: Vec<String>,
    },
    /// `${name}` of a variable that is not declared.
    #[error("there is no variable `{name}`")]
    UnknownVariable {
        /// Its name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// `${` without a name and `}`.
    #[error("`${{` begins a variable, and no name and `}}` follow")]
    VariableForm,
    /// A variable whose value needs itself.
    #[error("the variable `{}` needs itself: {}", chain[0], chain.join(" → "))]
    VariableCycle {
        /// From the variable to itself.
        chain: Vec<String>,
    },
    /// What it extends can't be read.
    #[error("can't read `{path}`, which is extended here: {reason}")]
    Extends {
        /// As it was found from the recipe's directory.
        path: String,
        /// Why.
        reason: io::Error,
        /// The names of the shipped recipes.
        shipped: Vec<&'static str>,
    },
    /// A recipe that extends itself.
    #[error("these recipes extend each other: {}", chain.join(" → "))]
    ExtendsCycle {
        /// From a recipe to itself.
        chain: Vec<String>,
    },
    /// More flavours over each other than anybody means.
    #[error("recipes extend each other more than {cap} deep: {}", chain.join(" → "))]
    ExtendsDepth {
        /// How deep they may.
        cap: usize,
        /// From the recipe to the one that is too much.
        chain: Vec<String>,
    },
    /// A file that the recipe names and that can't be read.
    #[error("can't read `{}`, which `{key}` names: {reason}", path.display())]
    File {
        /// The key.
        key: &'static str,
        /// As it was found from the recipe's directory.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { path, source } if source.kind() == io::ErrorKind::NotFound => {
                let shipped: Vec<&str> = shipped_names().collect();
                let near = path.to_str().and_then(|name| nearest(name, shipped.iter().copied()));
                let meant = near.map(|near| format!("did you mean `-r {near}`? ")).unwrap_or_default();
                let all = list(&shipped);
                Some(format!("{meant}`dlpack init` writes a recipe, `-r` names one: a file, or a shipped one of {all}"))
            }
            Self::Unreadable { .. } => None,
            Self::UnknownSetting { known, .. } if known.is_empty() => {
                Some("declare it in the recipe: [vars] with a default for each".into())
            }
            Self::UnknownSetting { name, known, .. } => Some(suggest(name, known, "its variables are")),
            Self::Invalid { problem, .. } => problem.hint(),
        }
    }

    /// The place, if it is in a file.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::Invalid { at, .. } => Some(&at.location),
            _ => None,
        }
    }
}

impl Problem {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, allowed, .. } => Some(suggest(key, allowed, "the keys here are")),
            Self::UnknownKind { kind, kinds } => Some(suggest(kind, kinds, "the kinds are")),
            Self::Type { hint, .. } => hint.map(str::to_owned),
            Self::Value { hint, .. } => hint.clone(),
            Self::Secret { hint, .. } => Some(hint.clone()),
            Self::Twice { hint, .. } => Some((*hint).to_owned()),
            Self::UnknownLayer { known, verb, .. } if known.is_empty() => Some(match *verb {
                "amend" => "a layer that is new has a `kind`".into(),
                _ => "this recipe extends none that has layers".into(),
            }),
            Self::UnknownLayer { name, known, verb } => {
                Some(match (nearest(name, known.iter().map(String::as_str)), *verb) {
                    (None, "amend") => format!("a layer that is new has a `kind`; those to amend are {}", list(known)),
                    _ => suggest(name, known, "the layers are"),
                })
            }
            Self::NotBefore { known, .. } if known.is_empty() => Some("the layers that it sees stand before it".into()),
            Self::NotBefore { name, known } => Some(suggest(name, known, "the layers before it are")),
            Self::UnknownVariable { known, .. } if known.is_empty() => {
                Some("declare it in [vars], or write $${ for a `${` that is meant as it stands".into())
            }
            Self::UnknownVariable { name, known } => Some(format!(
                "{}; write $${{ for a `${{` that is meant as it stands",
                suggest(name, known, "the variables are")
            )),
            Self::VariableForm => Some("write ${name}, or $${ for a `${` that is meant as it stands".into()),
            Self::Extends { path, shipped, .. } => Some(format!(
                "`extends` is a path from the directory of this file, or one of the shipped recipes: {}{}",
                list(shipped),
                nearest(path, shipped.iter().copied())
                    .map(|near| format!("; did you mean `{near}`?"))
                    .unwrap_or_default(),
            )),
            Self::ExtendsCycle { .. } => Some("take `extends` out of one of them".into()),
            Self::File { key: "authorized-keys-files", .. } => {
                Some("name a public key that is there; `ssh-keygen -t ed25519` makes one".into())
            }
            Self::File { .. } => Some("paths start from the directory of the file that they stand in".into()),
            Self::Syntax { .. }
            | Self::MissingKey { .. }
            | Self::Either { .. }
            | Self::VariableCycle { .. }
            | Self::ExtendsDepth { .. } => None,
        }
    }
}

/// `did you mean ...?` where one is near, and all that there are.
fn suggest<S: AsRef<str>>(word: &str, known: &[S], these: &str) -> String {
    match nearest(word, known.iter().map(AsRef::as_ref)) {
        Some(near) => format!("did you mean `{near}`? {these} {}", list(known)),
        None => format!("{these} {}", list(known)),
    }
}

fn list<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A problem and where it is, as long as the files are not at hand to show it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) origin: Origin,
    pub(super) problem: Problem,
}

impl Fault {
    /// The error that a person is shown.
    pub(super) fn shown(self, files: &Files) -> Error {
        let at = match self.problem {
            Problem::Secret { .. } => files.excerpt(self.origin).masked(),
            _ => files.excerpt(self.origin),
        };
        Error::Invalid { at: Box::new(at), problem: Box::new(self.problem) }
    }
}
