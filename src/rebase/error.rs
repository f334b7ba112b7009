//! Why an image is not put on another base.

use thiserror::Error;

use crate::lock;
use crate::oci::{Digest, Platform};

/// Why an image is not put on another base.
#[derive(Debug, Error)]
pub enum Error {
    /// An image of somebody else's.
    #[error("dlpack did not make {reference}: its manifest does not say which of its layers are whose")]
    NotOurs {
        /// The image.
        reference: String,
    },
    /// An image of an earlier dlpack.
    #[error("{reference} does not tell what was added to its base: an older dlpack made it")]
    Older {
        /// The image.
        reference: String,
    },
    /// Somebody added layers.
    #[error("layer {layer} of {reference} lies over those of dlpack, and is not one of them")]
    Foreign {
        /// The image.
        reference: String,
        /// The layer.
        layer: Digest,
    },
    /// Manifest and config are of two minds.
    #[error("the layers of {reference} are {layers} by its manifest, and {diff_ids} by its config")]
    Layers {
        /// The image.
        reference: String,
        /// How many layers the manifest has.
        layers: usize,
        /// How many the config has.
        diff_ids: usize,
    },
    /// The base is for another machine.
    #[error("{reference} is for {platform}, and {base} for {found}")]
    Platform {
        /// The image.
        reference: String,
        /// Its platform.
        platform: Platform,
        /// The new base.
        base: String,
        /// Whom it is for.
        found: String,
    },
    /// A layer of packages.
    #[error(
        "layer `{layer}` has dpkg's state of the base that {reference} has now, which would hide that of {base}: its packages, and their versions"
    )]
    Dpkg {
        /// The layer.
        layer: String,
        /// The image.
        reference: String,
        /// The new base.
        base: String,
    },
    /// Layers that something was run for.
    #[error(
        "layer `{layers}` was made by running commands on the base that {reference} has now, and {base} has other files"
    )]
    Sandboxed {
        /// The layers, joined by `` `, ` ``.
        layers: String,
        /// The image.
        reference: String,
        /// The new base.
        base: String,
    },
    /// Layers of accounts.
    #[error("layer `{layers}` amends the account files of the base that {reference} has now, and {base} has others")]
    Accounts {
        /// The layers, joined by `` `, ` ``.
        layers: String,
        /// The image.
        reference: String,
        /// The new base.
        base: String,
    },
    /// No interpreter.
    #[error("layer `{layer}` runs {path}, and {base} has no such file")]
    NoPython {
        /// The layer.
        layer: String,
        /// The interpreter.
        path: String,
        /// The new base.
        base: String,
        /// The Pythons beside where it should be.
        found: Vec<String>,
    },
    /// Another Python.
    #[error("layer `{layer}` is for Python {wanted}, and {path} of {base} is Python {found}")]
    OtherPython {
        /// The layer.
        layer: String,
        /// The interpreter.
        path: String,
        /// The new base.
        base: String,
        /// Which Python it should be.
        wanted: String,
        /// Which it is.
        found: String,
    },
    /// A distribution of the base's Python that packages lie on top of.
    #[error("layer `{layer}` lies on top of {needs} of the base's Python, and {base} has {found}")]
    Present {
        /// The layer.
        layer: String,
        /// Its name and version.
        needs: String,
        /// The new base.
        base: String,
        /// What that has.
        found: String,
    },
    /// Another C library, or an older one.
    #[error("layer `{layer}` ({title}) needs {needs}, and {base} has {found}")]
    Libc {
        /// The layer.
        layer: String,
        /// What is in it.
        title: String,
        /// `glibc`, or `glibc 2.28`.
        needs: String,
        /// The new base.
        base: String,
        /// What that has.
        found: String,
    },
    /// A file below a link of the base.
    #[error("layer `{layer}` has /{to}, which in {base} lies behind a link, at /{real}")]
    BehindLink {
        /// The layer.
        layer: String,
        /// The file, without a leading slash.
        to: String,
        /// The new base.
        base: String,
        /// Where it would really lie.
        real: String,
    },
    /// The recipe's layers are not the image's.
    #[error("{reference} is not what the lock makes: layer `{layer}` {differs}")]
    OtherRecipe {
        /// The image.
        reference: String,
        /// The layer.
        layer: String,
        /// `is made of other things`, `is not in it` …
        differs: &'static str,
    },
    /// The new base.
    #[error(transparent)]
    Base(#[from] lock::base::Error),
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotOurs { .. } => Some("build it with dlpack once, from a recipe".into()),
            Self::Older { .. } => {
                Some("name its recipe with -r, or push it again: what is pushed from now on tells".into())
            }
            Self::Foreign { .. } => Some("rebase the image that dlpack pushed, and add the layer to that".into()),
            Self::Layers { .. } => Some("the image is broken: push it again, or take another tag".into()),
            Self::Platform { platform, .. } => Some(format!("take a base for {platform}")),
            Self::Dpkg { .. } | Self::Sandboxed { .. } | Self::Accounts { .. } => Some(
                "name its recipe with -r: such layers are then made anew, unless they are known on that base".into(),
            ),
            Self::NoPython { found, .. } if found.is_empty() => Some("take a base with that Python".into()),
            Self::NoPython { found, .. } => Some(format!(
                "it has {}: take a base with that Python, or push the recipe on this one",
                found.join(", ")
            )),
            Self::OtherPython { .. } => Some("take a base with that Python, or push the recipe on the new one".into()),
            Self::Present { .. } => {
                Some("take a base with the same, or push the recipe on the new one: it is resolved anew there".into())
            }
            Self::Libc { .. } => Some("take a base with glibc, and one that is as new as that".into()),
            Self::BehindLink { real, .. } => Some(format!("write `/{real}` in the recipe, and push that")),
            Self::OtherRecipe { .. } => {
                Some("take the recipe and the lock that made it; `dlpack push` makes what they say now".into())
            }
            Self::Base(error) => error.hint(),
        }
    }
}
