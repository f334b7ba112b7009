//! Instruction by instruction: what each says in a recipe, or a comment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use super::super::bases;
use super::super::draft::{Base, Draft, Kind, Layer, Part, Text, Venv, itself};
use super::super::error::Error;
use super::super::note::{Note, Place};
use super::super::packages::Packages;
use super::account::Accounts;
use super::ignore::Ignored;
use super::stages::{Stages, argument};
use super::syntax::Instruction;
use super::tree::Tree;
use super::words::{Variables, meaning, split};
use super::{Dockerfile, Installed, copy, run};
use crate::oci::DEFAULT_PATH;
use crate::recipe::Word;

/// What is known while a stage is read.
pub(super) struct Translator<'a> {
    pub(super) directory: &'a Path,
    pub(super) draft: Draft,
    /// `ARG`s of the stage with their values.
    arguments: BTreeMap<String, String>,
    /// `ENV`s in their order.
    environment: Vec<(String, String)>,
    image: &'a str,
    /// Stages that are no part of the image.
    pub(super) stages: &'a [String],
    pub(super) workdir: String,
    pub(super) user: Option<String>,
    /// What RUN's command is given to.
    pub(super) shell: Vec<String>,
    /// What COPY put where: path in the image, path on disk.
    pub(super) copied: Vec<(String, String)>,
    pub(super) accounts: Accounts,
    pub(super) venv: Option<Installed>,
    /// Whether a RUN fetched the lists of Debian packages.
    pub(super) has_lists: bool,
    /// Whether a RUN changed where Debian packages come from.
    pub(super) has_sources: bool,
    /// Whether a RUN removed Debian packages.
    pub(super) removes: bool,
    /// The files in /tmp that steps speak of.
    pub(super) temporary: BTreeSet<String>,
    /// What `ENV`s speak of that only the base knows, which no step sees.
    left: Vec<(Place, String, String)>,
    pub(super) tree: Tree,
    /// Where each variable has its value from.
    places: BTreeMap<String, Place>,
    /// What COPY does not bring.
    pub(super) ignored: Rc<Ignored>,
}

impl Variables for Translator<'_> {
    fn value(&self, name: &str) -> Option<String> {
        // "Environment variables defined using the ENV instruction always override an ARG instruction of
        // the same name."
        let own = self.environment.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        own.or_else(|| self.arguments.get(name).cloned())
            .or_else(|| (name == "PATH").then(|| bases::path_of(self.image).map(str::to_owned)).flatten())
    }
}

/// The last stage as a recipe.
pub(super) fn translate(directory: &Path, stages: &Stages) -> Result<Dockerfile, Error> {
    let mut translator = Translator {
        directory,
        draft: Draft::default(),
        arguments: BTreeMap::new(),
        environment: Vec::new(),
        image: &stages.image,
        stages: &stages.names,
        workdir: "/".into(),
        user: None,
        shell: ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
        copied: Vec::new(),
        accounts: Accounts::default(),
        venv: None,
        has_lists: false,
        has_sources: false,
        removes: false,
        temporary: BTreeSet::new(),
        left: Vec::new(),
        tree: Tree::default(),
        places: BTreeMap::new(),
        ignored: Rc::new(Ignored::read(directory, &stages.base.place.file)?),
    };
    translator.base(stages)?;
    for instruction in &stages.instructions {
        translator.instruction(instruction, stages)?;
    }
    translator.what_steps_lack();
    let Translator { draft, venv, .. } = translator;
    Ok(Dockerfile { draft, image: stages.image.clone(), venv })
}

impl Translator<'_> {
    fn base(&mut self, stages: &Stages) -> Result<(), Error> {
        let from = &stages.base;
        if stages.image != "scratch" {
            Word::Image.accepts(&stages.image).map_err(|why| Error::Syntax {
                place: from.place.to_string(),
                message: format!("`{}` is no image: {why}", stages.image),
                hint: Some("give each ARG that FROM has in it a default".into()),
            })?;
        }
        let used: Vec<_> = stages.arguments.iter().filter(|(name, _)| mentions(&stages.written, name)).collect();
        let plain = used.iter().all(|(name, _)| stages.written.contains(&format!("${{{name}}}")));
        self.draft.base = Base::Image(if !used.is_empty() && plain {
            let defaults = used.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
            self.draft.vars = defaults.collect();
            Text::WithVariables(stages.written.clone())
        } else {
            Text::plain(stages.image.clone())
        });
        for value in from.flag("platform") {
            match Word::Platform.accepts(value) {
                Ok(()) => self.draft.platform = Some(value.to_owned()),
                Err(why) => self.draft.base_notes.push(Note::unsaid(&from.place, &from.original, &why)),
            }
        }
        for other in &stages.others {
            let why = "a recipe has one image: build this stage by a recipe or a `run` layer of its own";
            self.draft.about.push(Note::unsaid(&other.place, &other.original, why));
        }
        Ok(())
    }

    fn instruction(&mut self, instruction: &Instruction, stages: &Stages) -> Result<(), Error> {
        match instruction.keyword.as_str() {
            "ARG" => self.argument(instruction, stages),
            "ENV" => self.environment(instruction),
            "LABEL" => self.labels(instruction),
            "WORKDIR" => self.workdir(instruction),
            "USER" => self.user(instruction),
            "EXPOSE" => self.expose(instruction),
            "SHELL" => self.shell(instruction),
            "CMD" => self.draft.config.cmd = Some(self.command(instruction)),
            // "If CMD is defined from the base image, setting ENTRYPOINT will reset CMD to an empty value": so does
            // the recipe's.
            "ENTRYPOINT" => self.draft.config.entrypoint = Some(self.command(instruction)),
            "COPY" | "ADD" => copy::copy(self, instruction),
            "RUN" => run::run(self, instruction)?,
            "HEALTHCHECK" => self.unsaid(instruction, "an OCI image has no health check"),
            "STOPSIGNAL" => self.unsaid(instruction, "a recipe has no word for it: the base's is kept"),
            "VOLUME" => self.unsaid(instruction, "mount it when a container starts: `mounts` in [run], or -v"),
            "MAINTAINER" => self.unsaid(instruction, "a label says it: org.opencontainers.image.authors"),
            _ => self.unsaid(instruction, "a recipe has no word for it"),
        }
        Ok(())
    }

    /// A comment where the instruction's layer would stand.
    pub(super) fn unsaid(&mut self, instruction: &Instruction, why: &str) {
        self.note(&instruction.place, &instruction.original, why);
    }

    pub(super) fn note(&mut self, place: &Place, original: &str, why: &str) {
        self.draft.parts.push(Part::Note(Note::unsaid(place, original, why)));
    }

    /// A comment on the config.
    fn config_note(&mut self, instruction: &Instruction, why: &str) {
        self.draft.config.notes.push(Note::unsaid(&instruction.place, &instruction.original, why));
    }

    fn argument(&mut self, instruction: &Instruction, stages: &Stages) {
        for word in split(&instruction.arguments) {
            let (name, default) = argument(&word);
            let default = default.and_then(|value| meaning(&value, self).ok());
            // An ARG without a default has that of the one before the first FROM.
            let global = stages.arguments.iter().rev().find(|(known, _)| *known == name);
            match default.or_else(|| global.and_then(|(_, value)| value.clone())) {
                Some(value) => {
                    self.places.insert(name.clone(), instruction.place.clone());
                    self.arguments.insert(name, value);
                }
                None => self.config_note(instruction, "it has no default: write its value where it is used"),
            }
        }
    }

    /// "Environment variable substitution use the same value for each variable throughout the entire
    /// instruction": the pairs are evaluated before any of them holds.
    fn environment(&mut self, instruction: &Instruction) {
        let pairs: Vec<_> = pairs(&instruction.arguments)
            .into_iter()
            .map(|(name, value)| {
                let meant = meaning(&value, &OfBase(self));
                (name, meant, meaning(&value, self), meaning(&value, &Empty(self)), value)
            })
            .collect();
        for (name, meant, known, without, typed) in pairs {
            if Word::Variable.accepts(&name).is_err() {
                self.config_note(instruction, "an environment variable's name is letters, digits and `_`");
                continue;
            }
            let (Ok(meant), Ok(value)) = (meant, without) else {
                self.config_note(instruction, "a variable stands in it in a form that a recipe has no word for");
                continue;
            };
            if let Err(unknown) = known {
                self.left.push((instruction.place.clone(), format!("ENV {name}={typed}"), unknown));
            }
            self.places.insert(name.clone(), instruction.place.clone());
            self.environment.retain(|(known, _)| *known != name);
            self.environment.push((name.clone(), value));
            let env = &mut self.draft.config.env;
            env.retain(|(known, _)| *known != name);
            env.push((name, Text::Plain(meant)));
        }
    }

    /// Notes what steps have no value for: their environment is what stands in them.
    fn what_steps_lack(&mut self) {
        if !self.draft.layers().any(|layer| matches!(layer.kind, Kind::Run(_))) {
            return;
        }
        for (place, original, name) in std::mem::take(&mut self.left) {
            let why = match name.as_str() {
                "PATH" => "steps have no $PATH of the base, which is not known here: name what they need in `env`",
                _ => "steps have no environment of the base: name what they need in `env`",
            };
            self.draft.config.notes.push(Note::unsaid(&place, &original, why));
        }
    }

    fn labels(&mut self, instruction: &Instruction) {
        for (name, value) in pairs(&instruction.arguments) {
            match (meaning(&name, self), meaning(&value, self)) {
                (Ok(name), Ok(value)) if !name.is_empty() => {
                    self.draft.config.labels.retain(|(known, _)| *known != name);
                    self.draft.config.labels.push((name, Text::Plain(value)));
                }
                _ => self.config_note(instruction, "a variable in it has no value that is known here"),
            }
        }
    }

    fn workdir(&mut self, instruction: &Instruction) {
        let Ok(path) = meaning(instruction.arguments.trim(), self) else {
            return self.config_note(instruction, "a variable in it has no value that is known here");
        };
        self.workdir = absolute(&self.workdir, &path);
        self.tree.add(self.workdir.clone());
        self.draft.config.workdir = Some(Text::plain(self.workdir.clone()));
    }

    fn user(&mut self, instruction: &Instruction) {
        match meaning(instruction.arguments.trim(), self) {
            Ok(user) if Word::User.accepts(&user).is_ok() => {
                self.draft.config.user = Some(Text::plain(user.clone()));
                self.user = Some(user).filter(|user| !matches!(user.as_str(), "root" | "0" | "root:root" | "0:0"));
            }
            _ => self.config_note(instruction, "a variable in it has no value that is known here"),
        }
    }

    fn expose(&mut self, instruction: &Instruction) {
        for word in split(&instruction.arguments) {
            let Ok(port) = meaning(&word, self) else {
                self.config_note(instruction, "a variable in it has no value that is known here");
                continue;
            };
            let (range, protocol) =
                port.split_once('/').map_or((port.as_str(), ""), |(range, protocol)| (range, protocol));
            let ends = range.split_once('-').unwrap_or((range, range));
            let (Ok(first), Ok(last)) = (ends.0.parse::<u16>(), ends.1.parse::<u16>()) else {
                self.config_note(instruction, "a port is a number from 1 to 65535");
                continue;
            };
            for number in first..=last {
                let port = if protocol.is_empty() {
                    number.to_string()
                } else {
                    format!("{number}/{}", protocol.to_lowercase())
                };
                if Word::Port.accepts(&port).is_err() {
                    self.config_note(instruction, "a port is a number from 1 to 65535");
                } else if !self.draft.config.expose.contains(&port) {
                    self.draft.config.expose.push(port);
                }
            }
        }
    }

    fn shell(&mut self, instruction: &Instruction) {
        match instruction.words().filter(|words| words.first().is_some_and(|program| program.starts_with('/'))) {
            Some(words) => self.shell = words,
            None => self.config_note(instruction, "a shell is a JSON list that begins with its path in the image"),
        }
    }

    /// Exec form as it is; shell form by the shell.
    fn command(&self, instruction: &Instruction) -> Vec<String> {
        let shell_form = || [self.shell.clone(), vec![instruction.arguments.trim().to_owned()]].concat();
        instruction.words().unwrap_or_else(shell_form)
    }

    /// The variables whose names begin so, with where their values are from.
    pub(super) fn variables(&self, prefix: &str) -> Vec<(String, String, Place)> {
        let known = self.places.iter().filter(|(name, _)| name.starts_with(prefix));
        known.filter_map(|(name, place)| Some((name.clone(), self.value(name)?, place.clone()))).collect()
    }

    /// What a RUN has in its environment besides what every step has.
    pub(super) fn step_environment(&self) -> Vec<(String, Text)> {
        let mut env: BTreeMap<String, String> = self.arguments.clone();
        env.extend(self.environment.iter().cloned());
        let path = self.path_of_steps();
        let path = match &self.venv {
            Some(venv) => {
                let bin = format!("{}/bin", venv.path.as_deref().unwrap_or("/opt/venv"));
                if path.split(':').any(|part| part == bin) { path } else { format!("{bin}:{path}") }
            }
            None => path,
        };
        env.remove("PATH");
        if path != DEFAULT_PATH {
            env.insert("PATH".into(), path);
        }
        env.into_iter().map(|(name, value)| (name, Text::Plain(value))).collect()
    }

    /// The search path that steps have: where that of the base is not known, the sandbox's own.
    fn path_of_steps(&self) -> String {
        self.value("PATH").unwrap_or_else(|| DEFAULT_PATH.to_owned())
    }

    /// The Python packages so far; their layer is where the first was installed.
    pub(super) fn packages(&mut self) -> &mut Packages {
        let draft = &mut self.draft;
        let venv = self.venv.get_or_insert_with(|| {
            let kind = Kind::Venv(Venv::default());
            draft.parts.push(Part::Layer(Layer { notes: Vec::new(), name: Some("python".into()), kind }));
            Installed { part: draft.parts.len() - 1, path: None, python: None, packages: Packages::default() }
        });
        &mut venv.packages
    }

    /// The path on disk of what COPY put at `path` of the image.
    pub(super) fn on_disk(&self, path: &str) -> Option<String> {
        let path = self.tree.resolved(&absolute(&self.workdir, path));
        let copied = self.copied.iter().rev().find_map(|(to, from)| {
            if *to == path {
                return Some(from.clone());
            }
            let inside = path.strip_prefix(to.trim_end_matches('/'))?.strip_prefix('/')?;
            Some(if from == "." { inside.to_owned() } else { format!("{from}/{inside}") })
        });
        copied.or_else(|| self.project_on_disk(&path))
    }

    /// The directory on disk of a project that COPY brought entry by entry.
    fn project_on_disk(&self, path: &str) -> Option<String> {
        const FILE: &str = "pyproject.toml";
        let file = absolute(path, FILE);
        let (_, from) = self.copied.iter().rev().find(|(to, _)| *to == file)?;
        let directory = from.strip_suffix(FILE)?.trim_end_matches('/');
        Some(if directory.is_empty() { ".".to_owned() } else { directory.to_owned() })
    }
}

/// Variables as the recipe's `env` speaks of them: what is the base's, by name.
struct OfBase<'a>(&'a Translator<'a>);

impl Variables for OfBase<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let env = self.0.draft.config.env.iter().find(|(known, _)| known == name);
        match env {
            Some((_, Text::Plain(value) | Text::WithVariables(value))) => Some(value.clone()),
            None => self.0.arguments.get(name).map(|value| itself(value)),
        }
    }

    fn is_left(&self, _name: &str) -> bool {
        true
    }

    fn push(&self, meaning: &mut String, c: char) {
        meaning.push_str(&itself(&c.to_string()));
    }
}

/// Variables of which those that are not known are empty; the search path is that of a step.
struct Empty<'a>(&'a Translator<'a>);

impl Variables for Empty<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let step_path = || if name == "PATH" { self.0.path_of_steps() } else { String::new() };
        Some(self.0.value(name).unwrap_or_else(step_path))
    }
}

/// Whether `text` has the variable `name` in it.
fn mentions(text: &str, name: &str) -> bool {
    let starts = [format!("${{{name}"), format!("${name}")];
    starts.iter().any(|start| text.contains(start))
}

/// `NAME=VALUE …`, or the older `NAME VALUE`, both still with quotes.
fn pairs(text: &str) -> Vec<(String, String)> {
    let words = split(text);
    let is_assignment = |word: &String| word.contains('=');
    if words.first().is_some_and(is_assignment) {
        let pair = |word: String| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        return words.into_iter().filter_map(pair).collect();
    }
    let (name, value) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    vec![(name.to_owned(), value.trim().to_owned())]
}

/// `path` from `directory`, without `.`, `..` and empty parts.
pub(super) fn absolute(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let from = if path.starts_with('/') { "" } else { directory };
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
