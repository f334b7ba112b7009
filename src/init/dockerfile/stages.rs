//! Stages: the last one is the image; one that is `FROM` another goes on from that.

use super::super::error::Error;
use super::super::note::Place;
use super::syntax::Instruction;
use super::words::{Variables, meaning, split};

/// A Dockerfile by stages.
pub(super) struct Stages {
    /// `ARG`s before the first `FROM`, with their defaults.
    pub(super) arguments: Vec<(String, Option<String>)>,
    /// The image that the last stage is on in the end: its `FROM`.
    pub(super) base: Instruction,
    /// That image as it is written.
    pub(super) written: String,
    /// Its name with the variables filled in.
    pub(super) image: String,
    /// The instructions of the last stage and of those that it goes on from.
    pub(super) instructions: Vec<Instruction>,
    /// Stages that are no part of the image: their `FROM`s.
    pub(super) others: Vec<Instruction>,
    /// The names and numbers of those.
    pub(super) names: Vec<String>,
}

struct Stage {
    from: Instruction,
    image: String,
    name: Option<String>,
    instructions: Vec<Instruction>,
}

/// `ARG`s before the first `FROM`.
struct Global<'a>(&'a [(String, Option<String>)]);

impl Variables for Global<'_> {
    fn value(&self, name: &str) -> Option<String> {
        self.0.iter().rev().find(|(known, _)| known == name).and_then(|(_, value)| value.clone())
    }
}

impl Stages {
    /// The stages of a file's instructions.
    ///
    /// # Errors
    /// If there is no `FROM`.
    pub(super) fn of(file: &str, instructions: Vec<Instruction>) -> Result<Self, Error> {
        let mut arguments: Vec<(String, Option<String>)> = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        for instruction in instructions {
            match (instruction.keyword.as_str(), stages.last_mut()) {
                ("FROM", _) => stages.push(stage(instruction, &arguments)),
                (_, Some(stage)) => stage.instructions.push(instruction),
                ("ARG", None) => {
                    for word in split(&instruction.arguments) {
                        let (name, value) = argument(&word);
                        let value = value.map(|value| meaning(&value, &Global(&arguments)).unwrap_or(value));
                        arguments.push((name, value));
                    }
                }
                (keyword, None) => {
                    return Err(Error::Syntax {
                        place: instruction.place.to_string(),
                        message: format!("{keyword} stands before the first FROM"),
                        hint: Some("a Dockerfile begins with FROM: the image that it is on".into()),
                    });
                }
            }
        }
        let mut chain = Vec::new();
        let mut next = stages.len().checked_sub(1);
        while let Some(at) = next {
            chain.push(at);
            let image = &stages[at].image;
            next = stages[..at].iter().position(|stage| stage.name.as_deref() == Some(image));
        }
        let Some(&first) = chain.last() else {
            return Err(Error::Syntax {
                place: Place::new(file, 1).to_string(),
                message: "there is no FROM".into(),
                hint: Some("a Dockerfile begins with FROM: the image that it is on".into()),
            });
        };
        let instructions = chain.iter().rev().flat_map(|at| stages[*at].instructions.clone()).collect();
        let apart: Vec<usize> = (0..stages.len()).filter(|at| !chain.contains(at)).collect();
        let names = apart.iter().flat_map(|at| [Some(at.to_string()), stages[*at].name.clone()]).flatten().collect();
        let others = apart.iter().map(|at| stages[*at].from.clone()).collect();
        let base = stages.swap_remove(first);
        let written = base.from.arguments.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Self { arguments, base: base.from, written, image: base.image, instructions, others, names })
    }
}

/// `FROM <image> [AS <name>]`.
fn stage(from: Instruction, arguments: &[(String, Option<String>)]) -> Stage {
    let mut words = from.arguments.split_whitespace();
    let written = words.next().unwrap_or_default();
    let image = meaning(written, &Global(arguments)).unwrap_or_else(|_| written.to_owned());
    let name = words.next().filter(|word| word.eq_ignore_ascii_case("as")).and(words.next()).map(str::to_owned);
    Stage { image, name, from, instructions: Vec::new() }
}

/// `ARG <name>[=<default>]`, still with quotes.
pub(super) fn argument(text: &str) -> (String, Option<String>) {
    match text.trim().split_once('=') {
        Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
        None => (text.trim().to_owned(), None),
    }
}
