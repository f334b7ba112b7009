//! A recipe before it is written: what it says, in the order in which it says it, with
//! comments where its sources say more.

use super::note::{Item, Note};
use super::packages::Packages;

/// A recipe that is being put together.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// What stands at the top.
    pub(super) about: Vec<Note>,
    /// What lies under the layers.
    pub(super) base: Base,
    /// Comments on it.
    pub(super) base_notes: Vec<Note>,
    /// `os/architecture`, where a source says so.
    pub(super) platform: Option<String>,
    /// Variables and their defaults.
    pub(super) vars: Vec<(String, String)>,
    /// The image config.
    pub(super) config: Config,
    /// How containers of it are started.
    pub(super) run: Vec<(&'static str, Text)>,
    /// The layers, lowest first, and comments in their places.
    pub(super) parts: Vec<Part>,
}

/// What lies under the layers.
#[derive(Debug)]
pub(super) enum Base {
    /// An image.
    Image(Text),
    /// A recipe that comes with dlpack.
    Flavour {
        /// Its name.
        name: String,
        /// The base in place of its own.
        image: Option<String>,
    },
}

impl Default for Base {
    fn default() -> Self {
        Self::Image(Text::plain("scratch"))
    }
}

/// A string of the recipe: as it stands in the image, or with variables to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// What the image gets.
    Plain(String),
    /// With `${name}` of [`Draft::vars`].
    WithVariables(String),
}

/// `text` as the value of one of the recipe's `env` that means itself: docs/recipes.md, "`\$` is a `$`".
pub(super) fn itself(text: &str) -> String {
    text.replace('$', r"\$")
}

impl Text {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::Plain(text.into())
    }
}

/// The image config.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) notes: Vec<Note>,
    pub(super) env: Vec<(String, Text)>,
    pub(super) labels: Vec<(String, Text)>,
    pub(super) expose: Vec<String>,
    pub(super) workdir: Option<Text>,
    pub(super) user: Option<Text>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) cmd: Option<Vec<String>>,
}

/// A layer, or a comment where one would stand.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a draft has a handful of parts, and most are layers")]
pub(super) enum Part {
    Note(Note),
    Layer(Layer),
}

/// A layer and the comments over it.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) notes: Vec<Note>,
    /// Where it is not the kind.
    pub(super) name: Option<String>,
    pub(super) kind: Kind,
}

/// The kinds of layers that are written.
#[derive(Debug)]
pub(super) enum Kind {
    Apt(Apt),
    Run(Run),
    Venv(Venv),
    Account(Account),
    Files(Vec<File>),
}

impl Kind {
    /// What the recipe calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Apt(_) => "apt",
            Self::Run(_) => "run",
            Self::Venv(_) => "venv",
            Self::Account(_) => "account",
            Self::Files(_) => "files",
        }
    }

    /// Whether it amends a layer of the flavour, and does not say its kind.
    pub(super) fn amends(&self) -> bool {
        matches!(self, Self::Apt(Apt { amends: true, .. }) | Self::Venv(Venv { amends: true, .. }))
    }

    /// Whether it is assembled, so that a command sees it only where it says so.
    pub(super) fn is_assembled(&self) -> bool {
        !matches!(self, Self::Apt(_) | Self::Run(_))
    }
}

/// `kind = "apt"`.
#[derive(Debug, Default)]
pub(super) struct Apt {
    /// Whether it amends the flavour's.
    pub(super) amends: bool,
    pub(super) packages: Vec<Item>,
    pub(super) recommends: bool,
}

/// `kind = "run"`.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) command: String,
    /// The recipe's own if empty.
    pub(super) shell: Vec<String>,
    pub(super) env: Vec<(String, Text)>,
    pub(super) workdir: Option<String>,
    pub(super) user: Option<String>,
    pub(super) network: bool,
    pub(super) secrets: Vec<(String, Option<String>)>,
    pub(super) caches: Vec<String>,
    pub(super) mounts: Vec<(String, String)>,
    pub(super) sees: Vec<String>,
}

/// `kind = "venv"`.
#[derive(Debug, Default)]
pub(super) struct Venv {
    /// Whether it amends the flavour's, and has no Python of its own to say.
    pub(super) amends: bool,
    /// The account that the packages are for, on top of the base's, in place of a venv.
    pub(super) user: Option<String>,
    pub(super) path: Option<String>,
    pub(super) python: Option<String>,
    pub(super) interpreter: Option<String>,
    pub(super) packages: Packages,
}

/// `kind = "account"`.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) user: Option<Text>,
    pub(super) uid: Option<Text>,
    pub(super) gid: Option<u32>,
    pub(super) home: Option<String>,
    pub(super) shell: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) venv: Option<String>,
    /// The command that makes it, for where a layer can't.
    pub(super) command: String,
}

/// An entry of `kind = "files"`.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) from: From,
    pub(super) to: String,
    pub(super) mode: Option<String>,
    pub(super) owner: Option<String>,
}

/// What a file of the image is taken from.
#[derive(Debug, Clone)]
pub(super) enum From {
    Path(String),
    Content(String),
}

impl Draft {
    /// Adds a layer with a name of its own: its kind, or its kind and a number.
    pub(super) fn push(&mut self, notes: Vec<Note>, kind: Kind) -> String {
        let same = self.layers().filter(|layer| layer.kind.name() == kind.name()).count();
        let name = if same == 0 { kind.name().to_owned() } else { format!("{}-{}", kind.name(), same + 1) };
        let layer = Layer { notes, name: (same > 0).then(|| name.clone()), kind };
        self.parts.push(Part::Layer(layer));
        name
    }

    /// The layers.
    pub(super) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.parts.iter().filter_map(|part| match part {
            Part::Layer(layer) => Some(layer),
            Part::Note(_) => None,
        })
    }

    /// The names of the layers that a command sees only where it says so.
    pub(super) fn assembled(&self) -> Vec<String> {
        let assembled = self.layers().filter(|layer| layer.kind.is_assembled());
        assembled.map(|layer| layer.name.clone().unwrap_or_else(|| layer.kind.name().to_owned())).collect()
    }
}

impl Draft {
    /// Lets all paths on disk begin with `above`.
    pub(super) fn rebase(&mut self, above: &str) {
        if above.is_empty() {
            return;
        }
        let rebase = |path: &mut String| {
            *path = if path == "." { above.trim_end_matches('/').to_owned() } else { format!("{above}{path}") }
        };
        for part in &mut self.parts {
            let Part::Layer(layer) = part else { continue };
            match &mut layer.kind {
                Kind::Venv(venv) => {
                    let packages = &mut venv.packages;
                    let lists = [&mut packages.files, &mut packages.wheels, &mut packages.projects];
                    lists.into_iter().flatten().for_each(rebase);
                }
                Kind::Files(files) => files.iter_mut().for_each(|file| {
                    if let From::Path(path) = &mut file.from {
                        rebase(path);
                    }
                }),
                Kind::Run(run) => run.mounts.iter_mut().for_each(|(from, _)| rebase(from)),
                Kind::Apt(_) | Kind::Account(_) => {}
            }
        }
    }
}
