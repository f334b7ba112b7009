//! What a project's files say of its Python packages, whichever file it is.

use super::note::{Item, Note, Place};
use super::python::Wanted;

/// Python packages, in the words of a venv layer.
#[derive(Clone, Debug, Default)]
pub(super) struct Packages {
    /// What is said about all of it.
    pub(super) notes: Vec<Note>,
    pub(super) requirements: Vec<Item>,
    /// requirements.txt files that are taken as they are.
    pub(super) files: Vec<String>,
    /// What stands in those files.
    pub(super) named: Vec<String>,
    pub(super) constraints: Vec<Item>,
    pub(super) index_url: Option<String>,
    pub(super) extra_index_url: Vec<String>,
    pub(super) wheels: Vec<String>,
    pub(super) projects: Vec<String>,
    pub(super) no_binary: Vec<String>,
    pub(super) pip: bool,
    /// Which Pythons it takes, where it says so.
    pub(super) python: Vec<Wanted>,
}

impl Packages {
    /// Adds what another file says.
    pub(super) fn add(&mut self, other: Packages) {
        self.notes.extend(other.notes);
        for item in other.requirements {
            self.require(item);
        }
        extend(&mut self.files, other.files);
        extend(&mut self.named, other.named);
        extend(&mut self.constraints, other.constraints);
        if let Some(url) = other.index_url {
            self.index(url);
        }
        extend(&mut self.extra_index_url, other.extra_index_url);
        extend(&mut self.wheels, other.wheels);
        extend(&mut self.projects, other.projects);
        extend(&mut self.no_binary, other.no_binary);
        self.pip |= other.pip;
        self.python.extend(other.python);
    }

    /// Adds a requirement, once.
    pub(super) fn require(&mut self, item: Item) {
        if !self.requirements.contains(&item) {
            self.requirements.push(item);
        }
    }

    /// Adds an index. The first is the one; those after it are further ones.
    pub(super) fn index(&mut self, url: String) {
        match &self.index_url {
            None => self.index_url = Some(url),
            Some(known) if *known == url => {}
            Some(_) => extend(&mut self.extra_index_url, vec![url]),
        }
    }

    /// Adds what can't be said among the requirements.
    pub(super) fn unsaid(&mut self, place: &Place, original: &str, why: &str) {
        self.require(Item::Note(Note::unsaid(place, original, why)));
    }

    /// Whether nothing is installed.
    pub(super) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
            && self.files.is_empty()
            && self.wheels.is_empty()
            && self.projects.is_empty()
            && !self.pip
    }

    /// All that is said in words, to look for hints in: requirements and indexes.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        let said = self.requirements.iter().filter_map(|item| match item {
            Item::Said(text) => Some(text.as_str()),
            Item::Note(_) => None,
        });
        let urls = self.extra_index_url.iter().chain(&self.index_url).chain(&self.named);
        said.chain(urls.map(String::as_str))
    }
}

fn extend<T: PartialEq>(list: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}
