//! Reads `pyproject.toml`: `[project]` and `[dependency-groups]` (PyPA), `[tool.uv]`, and
//! the table of older versions of Poetry.

use std::collections::BTreeSet;
use std::path::Path;

use toml::{Table, Value};

use crate::python::source::required_name;
use crate::recipe::Word;

use super::error::Error;
use super::note::{Item, Note, Place};
use super::packages::Packages;
use super::python::Wanted;
use super::{file, poetry, project};

/// What is installed of a project besides what it depends on: names as uv's `--extra` and
/// `--group` take them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Its extras.
    pub extras: Vec<String>,
    /// Its dependency groups.
    pub groups: Vec<String>,
}

impl Selection {
    pub(super) fn has_extra(&self, name: &str) -> bool {
        is_in(&self.extras, name)
    }

    pub(super) fn has_group(&self, name: &str) -> bool {
        is_in(&self.groups, name)
    }
}

/// PyPA, "Dependency Groups": "Tools SHOULD … normalize" names, as those of extras and of packages are.
pub(super) fn is_in(names: &[String], name: &str) -> bool {
    names.iter().any(|known| required_name(known) == required_name(name))
}

/// A `pyproject.toml`.
pub(super) struct Pyproject {
    name: String,
    text: String,
    pub(super) document: Table,
}

impl Pyproject {
    /// Reads the file `name` in `directory`.
    ///
    /// # Errors
    /// If it can't be read or is not TOML.
    pub(super) fn read(directory: &Path, name: &str) -> Result<Self, Error> {
        let text = file::read(directory, name)?;
        let document = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Error::Syntax {
                place: Place::new(name, line).to_string(),
                message: format!("this is not TOML: {}", error.message()),
                hint: None,
            }
        })?;
        Ok(Self { name: name.to_owned(), text, document })
    }

    /// The value at `path`.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.document.get(*first)?, |value, key| value.get(key))
    }

    /// Whether it says what is installed.
    pub(super) fn has_packages(&self) -> bool {
        self.get(&["project", "dependencies"]).and_then(Value::as_array).is_some_and(|list| !list.is_empty())
            || self.get(&["tool", "poetry", "dependencies"]).is_some()
    }

    /// `requires-python`.
    pub(super) fn python(&self) -> Option<Wanted> {
        let specifier = self.get(&["project", "requires-python"]).and_then(Value::as_str)?;
        Some(Wanted::new(self.place("requires-python"), specifier))
    }

    /// The first line that has `needle` in it.
    pub(super) fn place(&self, needle: &str) -> Place {
        let line = self.text.lines().position(|line| line.contains(needle)).map_or(1, |line| line + 1);
        Place::new(self.name.clone(), line)
    }

    /// The names of its extras and of its groups.
    pub(super) fn names(&self) -> Selection {
        let keys = |path: &[&str]| {
            let table = self.get(path).and_then(Value::as_table);
            table.into_iter().flat_map(Table::keys).cloned().collect::<Vec<_>>()
        };
        let older = self.get(&["tool", "poetry", "dev-dependencies"]).map(|_| "dev".to_owned());
        Selection {
            extras: [keys(&["project", "optional-dependencies"]), keys(&["tool", "poetry", "extras"])].concat(),
            groups: [keys(&["dependency-groups"]), keys(&["tool", "poetry", "group"]), older.into_iter().collect()]
                .concat(),
        }
    }

    /// The groups that `uv sync` installs unasked.
    ///
    /// uv's manual, "Default groups": `default-groups` of `[tool.uv]`, a list or "all", and `dev` without it.
    pub(super) fn default_groups(&self) -> Vec<String> {
        let mut groups = self.names().groups;
        match self.get(&["tool", "uv", "default-groups"]) {
            Some(Value::String(all)) if all == "all" => {}
            Some(list) => {
                let named: Vec<String> = texts(Some(list)).map(str::to_owned).collect();
                groups.retain(|name| is_in(&named, name));
            }
            None => groups.retain(|name| is_in(&["dev".to_owned()], name)),
        }
        groups
    }

    /// What it says of packages, with the extras and groups of `selection`; the others are
    /// comments. Paths start from `directory`.
    ///
    /// # Errors
    /// If a requirement is none.
    pub(super) fn packages(&self, directory: &Path, selection: &Selection) -> Result<Packages, Error> {
        let mut packages = Packages { python: self.python().into_iter().collect(), ..Packages::default() };
        self.indexes(&mut packages);
        for requirement in texts(self.get(&["project", "dependencies"])) {
            self.require(directory, &mut packages, requirement)?;
        }
        if self.get(&["project", "dependencies"]).is_none() {
            poetry::read(self, directory, &mut packages, selection);
        }
        for constraint in texts(self.get(&["tool", "uv", "constraint-dependencies"])) {
            match Word::Constraint.accepts(constraint) {
                Ok(()) => packages.constraints.push(Item::Said(constraint.to_owned())),
                Err(why) => packages.unsaid(&self.place(constraint), constraint, &why),
            }
        }
        for overridden in texts(self.get(&["tool", "uv", "override-dependencies"])) {
            packages.unsaid(&self.place(overridden), overridden, "a recipe does not override what packages require");
        }
        self.optional(directory, &mut packages, selection)?;
        poetry::groups(self, directory, &mut packages, selection);
        let dynamic = texts(self.get(&["project", "dynamic"])).any(|name| name == "dependencies");
        if dynamic && self.get(&["tool", "poetry"]).is_none() {
            let why = "the project's own build says what it needs: name it here, or build the project";
            packages.unsaid(&self.place("dynamic"), "dynamic = [\"dependencies\"]", why);
        }
        Ok(packages)
    }

    fn require(&self, directory: &Path, packages: &mut Packages, requirement: &str) -> Result<(), Error> {
        let place = self.place(requirement);
        if project::is_direct(requirement) {
            project::add(directory, packages, &place, requirement, requirement);
            return Ok(());
        }
        Word::Requirement.accepts(requirement).map_err(|why| Error::Syntax {
            place: place.to_string(),
            message: format!("`{requirement}` is no requirement: {why}"),
            hint: Some("write name, name[extra] or name>=1.2".into()),
        })?;
        match self.source_of(&required_name(requirement)) {
            None => packages.require(Item::Said(requirement.to_owned())),
            Some(source) => self.require_from(directory, packages, requirement, source),
        }
        Ok(())
    }

    /// `[tool.uv.sources]`: where a package is taken from, for Linux.
    fn source_of(&self, name: &str) -> Option<&Value> {
        let sources = self.get(&["tool", "uv", "sources"])?.as_table()?;
        let source = sources.iter().find(|(key, _)| required_name(key) == name).map(|(_, source)| source)?;
        match source {
            Value::Array(sources) => sources.iter().find(|source| {
                let marker = source.get("marker").and_then(Value::as_str).unwrap_or_default();
                !["darwin", "win32", "Windows", "Darwin"].iter().any(|other| {
                    marker.contains(&format!("== '{other}'")) || marker.contains(&format!("== \"{other}\""))
                })
            }),
            source => Some(source),
        }
    }

    fn require_from(&self, directory: &Path, packages: &mut Packages, requirement: &str, source: &Value) {
        let text = |key: &str| source.get(key).and_then(Value::as_str);
        let original = format!("{requirement} from {source}");
        let place = self.place(requirement);
        if let Some(path) = text("path") {
            project::add(directory, packages, &place, &original, path);
        } else if text("index").is_some() {
            // Its index is among those of the layer.
            packages.require(Item::Said(requirement.to_owned()));
        } else if let Some(url) = text("git").map(|url| format!("git+{url}")).or(text("url").map(str::to_owned)) {
            project::add(directory, packages, &place, &original, &url);
        } else {
            packages.unsaid(&place, &original, "name the project's directory in `projects`");
        }
    }

    /// uv's indexes: the one that `default` says, and further ones.
    fn indexes(&self, packages: &mut Packages) {
        let mut add = |url: &str, is_default: bool, original: &str| {
            let place = self.place(url);
            match Word::Index.accepts(url) {
                Err(why) => packages.notes.push(Note::unsaid(&place, original, &why)),
                Ok(()) if is_default => packages.index_url = Some(url.to_owned()),
                Ok(()) => packages.extra_index_url.push(url.to_owned()),
            }
        };
        for index in self.get(&["tool", "uv", "index"]).and_then(Value::as_array).into_iter().flatten() {
            let Some(url) = index.get("url").and_then(Value::as_str) else { continue };
            let is_default = index.get("default").and_then(Value::as_bool).unwrap_or_default();
            add(url, is_default, &format!("index {url}"));
        }
        if let Some(url) = self.get(&["tool", "uv", "index-url"]).and_then(Value::as_str) {
            add(url, true, &format!("index-url = {url}"));
        }
        for url in texts(self.get(&["tool", "uv", "extra-index-url"])) {
            add(url, false, &format!("extra-index-url = {url}"));
        }
        let explicit = self.get(&["tool", "uv", "index"]).and_then(Value::as_array).into_iter().flatten();
        let names = explicit.filter(|index| index.get("explicit").and_then(Value::as_bool) == Some(true));
        for name in names.filter_map(|index| index.get("name").and_then(Value::as_str)) {
            let why = "an index of a recipe is asked for every package";
            packages.notes.push(Note::unsaid(&self.place("explicit"), &format!("index {name}: explicit = true"), why));
        }
    }

    /// Extras and groups: what is selected of them, and the others as comments.
    fn optional(&self, directory: &Path, packages: &mut Packages, selection: &Selection) -> Result<(), Error> {
        let tables = [
            ("extra", &selection.extras, self.get(&["project", "optional-dependencies"])),
            ("group", &selection.groups, self.get(&["dependency-groups"])),
        ];
        let mut others = Vec::new();
        for (what, selected, table) in tables {
            let Some(table) = table.and_then(Value::as_table) else { continue };
            for name in table.keys() {
                let members = self.members(table, name, &mut BTreeSet::new());
                if is_in(selected, name) {
                    members.iter().try_for_each(|member| self.require(directory, packages, member))?;
                } else if !members.is_empty() {
                    let lines: Vec<String> = members.iter().map(|member| format!("{member:?},")).collect();
                    others.push(format!("{}: `init --{what} {name}` adds\n{}", self.name, lines.join("\n")));
                }
            }
        }
        others.into_iter().for_each(|note| packages.require(Item::Note(Note::new(note))));
        Ok(())
    }

    /// The requirements of an extra or a group, with those that it includes.
    fn members(&self, table: &Table, name: &str, seen: &mut BTreeSet<String>) -> Vec<String> {
        let own = self.get(&["project", "name"]).and_then(Value::as_str).map(required_name).unwrap_or_default();
        if !seen.insert(required_name(name)) {
            return Vec::new();
        }
        let mut members = Vec::new();
        let own_list = table.iter().find(|(known, _)| required_name(known) == required_name(name));
        for item in own_list.map(|(_, list)| list).and_then(Value::as_array).into_iter().flatten() {
            if let Some(group) = item.get("include-group").and_then(Value::as_str) {
                members.extend(self.members(table, group, seen));
            } else if let Some(text) = item.as_str() {
                let extras = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(extras, _)| extras);
                match extras.filter(|_| !own.is_empty() && required_name(text) == own) {
                    None => members.push(text.to_owned()),
                    Some(extras) => {
                        let extras = extras.split(',').map(str::trim);
                        members.extend(extras.flat_map(|extra| self.members(table, extra, seen)));
                    }
                }
            }
        }
        members
    }
}

/// The strings of an array.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
