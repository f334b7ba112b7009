//! Whether a recipe can hold a word, for those who write recipes.

use super::requirement;
use super::table::Rule;
use super::values;

/// What a word is to be in a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// An item of a venv's `requirements`.
    Requirement,
    /// An item of a venv's `constraints`.
    Constraint,
    /// An item of a venv's `no-binary`.
    ProjectName,
    /// The URL of an index.
    Index,
    /// An item of an apt layer's `packages`.
    Package,
    /// A `base` from a registry.
    Image,
    /// A path on disk.
    Path,
    /// A path in the image.
    ImagePath,
    /// A name in an environment.
    Variable,
    /// An item of `expose`.
    Port,
    /// An account's name.
    Login,
    /// The `user` of the image or of a command.
    User,
    /// A file's owner.
    Owner,
    /// A file's mode.
    Mode,
    /// `os/architecture`.
    Platform,
    /// A version of Python.
    Python,
}

impl Word {
    /// Whether a recipe takes `text` for it.
    ///
    /// # Errors
    /// Why not, in words that follow "it can't be".
    pub fn accepts(self, text: &str) -> Result<(), String> {
        let rule: Rule = match self {
            Self::Requirement => requirement::requirement,
            Self::Constraint => requirement::constraint,
            Self::ProjectName => requirement::project_name,
            Self::Index => values::index,
            Self::Package => values::package,
            Self::Image => values::image,
            Self::Path => values::recipe_path,
            Self::ImagePath => values::image_path,
            Self::Variable => values::environment,
            Self::Port => values::exposed,
            Self::Login => values::login,
            Self::User => values::image_user,
            Self::Owner => values::owner,
            Self::Mode => values::mode,
            Self::Platform => values::platform,
            Self::Python => values::python,
        };
        rule(text).map_err(values::Complaint::why)
    }
}
