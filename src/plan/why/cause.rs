//! The causes for which a layer is new, and how each is told to a person.

use std::fmt;

use serde::Serialize;

use crate::changeset::Told;

/// Why a layer is new.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Cause {
    /// The image has no layer of this name and kind.
    Added,
    /// A part of a field: a wheel, a package, a file.
    Part {
        /// The field.
        field: String,
        /// The part's name.
        name: String,
        /// What became of it.
        #[serde(flatten)]
        change: Change,
        /// Where the recipe names it, `FILE:LINE`.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<String>,
    },
    /// A field.
    Field {
        /// Its name.
        name: String,
        /// What it was, as the image tells it.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// What it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Where the recipe says so, `FILE:LINE`.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<String>,
    },
    /// This dlpack writes such layers in another way.
    Format {
        /// The version that wrote the image's.
        from: String,
        /// The version that writes now.
        to: String,
    },
    /// The base is another one.
    Base {
        /// What it was.
        from: String,
        /// What it is.
        to: String,
        /// Where the recipe names it, `FILE:LINE`.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<String>,
    },
    /// It is written over the base, which is another one.
    UnderBase,
    /// It is written over layers that are new.
    Under {
        /// Their names; none where layers have gone, or changed places.
        layers: Vec<String>,
    },
    /// The image does not tell.
    Untold,
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// It is new.
    Added {
        /// Its version, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// It is no more.
    Removed {
        /// Its version, if it had one.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// It has another version.
    Version {
        /// What it was.
        from: String,
        /// What it is.
        to: String,
    },
    /// It has the version that it had, and other bytes or attributes.
    Content,
    /// It was, or is now, in another layer.
    Moved,
}

impl Cause {
    /// Where the recipe says so, `FILE:LINE`.
    pub fn at(&self) -> Option<&str> {
        match self {
            Self::Part { at, .. } | Self::Field { at, .. } | Self::Base { at, .. } => at.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added => write!(f, "the image has no such layer"),
            Self::Part { field, name, change, .. } => {
                match field.as_str() {
                    "requires" => write!(f, "built with ")?,
                    "env" => write!(f, "env ")?,
                    _ => {}
                }
                write!(f, "{name} {change}")
            }
            Self::Field { name, from, to, .. } => match (name.as_str(), plain(from), plain(to)) {
                ("wheels", ..) => write!(f, "which of its wheels brings a file that several have changed"),
                ("payload", ..) => write!(f, "dlpack's own files for it changed"),
                ("account-files", ..) => write!(f, "the account files that it amends changed"),
                ("home-files", ..) => write!(f, "what lies in the home changed"),
                (_, Some(from), Some(to)) => write!(f, "{name} {from} → {to}"),
                (_, None, Some(to)) if from.is_none() => write!(f, "{name} is now {to}"),
                (_, Some(from), None) if to.is_none() => write!(f, "{name} was {from}"),
                _ => write!(f, "{name} changed"),
            },
            Self::Format { from, to } => write!(f, "dlpack writes it in another form: {from} → {to}"),
            Self::Base { from, to, .. } => write!(f, "{from} → {to}"),
            Self::UnderBase => write!(f, "it is written over the base, which changed"),
            Self::Under { layers } if layers.is_empty() => write!(f, "what lies under it changed"),
            Self::Under { layers } => write!(f, "it is written over `{}`, which changed", layers.join("`, `")),
            Self::Untold => write!(f, "the image does not tell what its own was made of"),
        }
    }
}

/// A value that is told as it stands.
fn plain(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !Told::is_digest(value))
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version =
            |version: &Option<String>| version.as_ref().map(|version| format!("{version} ")).unwrap_or_default();
        match self {
            Self::Added { version: of } => write!(f, "{}is added", version(of)),
            Self::Removed { version: of } => write!(f, "{}is removed", version(of)),
            Self::Version { from, to } => write!(f, "{from} → {to}"),
            Self::Content => write!(f, "changed"),
            Self::Moved => write!(f, "moved between layers"),
        }
    }
}
