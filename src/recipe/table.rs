//! Reading a table key by key: which keys may stand, of which type, and what their
//! values may be.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::error::{Fault, Problem};
use super::origin::{Files, Location, Origin};
use super::tree::{Entries, Entry, Node, Value};
use super::values::Complaint;

/// What a value has to satisfy.
pub(super) type Rule = fn(&str) -> Result<(), Complaint>;

/// A table whose keys are all known.
pub(super) struct Table<'a> {
    pub(super) origin: Origin,
    place: &'static str,
    entries: &'a Entries,
    files: &'a Files,
}

/// A value and the key that it has, or the key of the array that it is an item of.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) node: &'a Node,
    key: &'a str,
    item: bool,
    files: &'a Files,
}

impl<'a> Table<'a> {
    /// The table in `field`, which errors call `place`. A key that is not in
    /// `allowed` is refused, the first in the file first.
    pub(super) fn open(field: Field<'a>, place: &'static str, allowed: &'static [&'static str]) -> Result<Self, Fault> {
        let Value::Table(entries) = &field.node.value else {
            return Err(field.wrong_type("a table", None));
        };
        Self::of(entries, field.node.origin, field.files, place, allowed)
    }

    /// A table of these entries.
    pub(super) fn of(
        entries: &'a Entries,
        origin: Origin,
        files: &'a Files,
        place: &'static str,
        allowed: &'static [&'static str],
    ) -> Result<Self, Fault> {
        let unknown = entries.iter().filter(|(key, _)| !allowed.contains(&key.as_str()));
        match unknown.min_by_key(|(_, entry)| entry.key) {
            None => Ok(Self { origin, place, entries, files }),
            Some((key, Entry { key: origin, .. })) => {
                Err(Fault { origin: *origin, problem: Problem::UnknownKey { key: key.clone(), place, allowed } })
            }
        }
    }

    /// The value at `key`.
    pub(super) fn field(&self, key: &'static str) -> Option<Field<'a>> {
        self.entries.get(key).map(|entry| Field::of(key, &entry.node, self.files))
    }

    /// `value`, which the table can't do without.
    pub(super) fn needs<T>(&self, key: &'static str, value: Option<T>) -> Result<T, Fault> {
        value.ok_or(Fault { origin: self.origin, problem: Problem::MissingKey { key, place: self.place } })
    }

    /// Says that of two keys exactly one is to stand.
    pub(super) fn either(&self, one: &'static str, other: &'static str) -> Result<(), Fault> {
        let (origin, found) = match (self.entries.get(one), self.entries.get(other)) {
            (Some(_), Some(entry)) => (entry.key, "this one has both"),
            (None, None) => (self.origin, "this one has neither"),
            _ => return Ok(()),
        };
        Err(Fault { origin, problem: Problem::Either { place: self.place, one, other, found } })
    }

    /// A string that satisfies `rule`.
    pub(super) fn text(&self, key: &'static str, rule: Rule) -> Result<Option<String>, Fault> {
        self.field(key).map(|field| field.text(rule)).transpose()
    }

    /// A path from the directory of the file that it stands in, made one from the
    /// recipe's own.
    pub(super) fn path(&self, key: &'static str) -> Result<Option<String>, Fault> {
        self.field(key).map(Field::path).transpose()
    }

    /// A boolean; false if not there.
    pub(super) fn flag(&self, key: &'static str) -> Result<bool, Fault> {
        self.field(key).map_or(Ok(false), Field::flag)
    }

    /// A TCP port.
    pub(super) fn port(&self, key: &'static str) -> Result<Option<u16>, Fault> {
        let port = |field: Field<'_>| field.integer(1..=u16::MAX, "a port is");
        self.field(key).map(port).transpose()
    }

    /// An array whose items `read` reads; empty if not there.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        read: impl Fn(Field<'a>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        self.field(key).map_or(Ok(Vec::new()), |field| field.items()?.map(read).collect())
    }

    /// A table of strings whose keys satisfy `rule`; empty if not there.
    pub(super) fn strings(
        &self,
        key: &'static str,
        rule: Rule,
        value: Rule,
    ) -> Result<BTreeMap<String, String>, Fault> {
        let Some(field) = self.field(key) else {
            return Ok(BTreeMap::new());
        };
        let Value::Table(entries) = &field.node.value else {
            return Err(field.wrong_type("a table", None));
        };
        let string = |(name, entry): (&'a String, &'a Entry)| {
            rule(name).map_err(|complaint| Fault {
                origin: entry.key,
                problem: complaint.about(format!("a key of `{key}`"), name),
            })?;
            let field = Field::of(name, &entry.node, self.files);
            Ok((name.clone(), field.text(value)?))
        };
        entries.iter().map(string).collect()
    }

    /// Line and column of a place in one of the recipe's files.
    pub(super) fn location(&self, origin: Origin) -> Location {
        self.files.location(origin)
    }

    /// An array of strings that satisfy `rule`; empty if not there.
    pub(super) fn texts(&self, key: &'static str, rule: Rule) -> Result<Vec<String>, Fault> {
        self.list(key, |field| field.text(rule))
    }
}

impl<'a> Field<'a> {
    pub(super) fn of(key: &'a str, node: &'a Node, files: &'a Files) -> Self {
        Self { node, key, item: false, files }
    }

    /// The field's own field at `key`, if it is a table that has one.
    pub(super) fn get(self, key: &'static str) -> Option<Field<'a>> {
        self.node.get(key).map(|node| Field::of(key, node, self.files))
    }

    pub(super) fn text(self, rule: Rule) -> Result<String, Fault> {
        let text = self.node.text().ok_or_else(|| self.wrong_type("a string", self.node.quoting_hint()))?;
        rule(text).map_err(|complaint| self.refused(text, complaint))?;
        Ok(text.to_owned())
    }

    pub(super) fn path(self) -> Result<String, Fault> {
        self.rebased(super::values::recipe_path)
    }

    /// As [`Field::path`], or a path from the caller's home.
    pub(super) fn home_path(self) -> Result<String, Fault> {
        self.rebased(super::values::home_path)
    }

    fn rebased(self, rule: Rule) -> Result<String, Fault> {
        let path = self.text(rule)?;
        Ok(super::values::rebased(&self.files.file(self.node.origin).directory, &path))
    }

    pub(super) fn flag(self) -> Result<bool, Fault> {
        match &self.node.value {
            Value::Boolean(boolean) => Ok(*boolean),
            Value::Filled(text) => text.parse().map_err(|_| self.refused(text, Complaint::new("it is true or false"))),
            _ => Err(self.wrong_type("true or false", self.node.unquoting_hint())),
        }
    }

    /// A whole number in `range`; the error says so after `what`.
    pub(super) fn integer<N: TryFrom<i64> + PartialOrd + std::fmt::Display>(
        self,
        range: RangeInclusive<N>,
        what: &str,
    ) -> Result<N, Fault> {
        let (number, text) = match &self.node.value {
            Value::Integer(number) => (*number, number.map_or("that".into(), |number| number.to_string())),
            Value::Filled(text) => (text.parse().ok(), text.clone()),
            _ => return Err(self.wrong_type("an integer", self.node.unquoting_hint())),
        };
        let fits = number.and_then(|number| N::try_from(number).ok()).filter(|number| range.contains(number));
        let (low, high) = (range.start(), range.end());
        fits.ok_or_else(|| self.refused(&text, Complaint::new(format!("{what} a whole number from {low} to {high}"))))
    }

    fn items(self) -> Result<impl Iterator<Item = Field<'a>>, Fault> {
        match &self.node.value {
            Value::Array(items) => Ok(items.iter().map(move |node| Field { node, item: true, ..self })),
            _ => Err(self.wrong_type("an array", Some("write it in brackets: [\"…\", \"…\"]"))),
        }
    }

    pub(super) fn wrong_type(self, expected: impl Into<String>, hint: Option<&'static str>) -> Fault {
        let problem = Problem::Type { what: self.name(), expected: expected.into(), found: self.node.kind(), hint };
        Fault { origin: self.node.origin, problem }
    }

    /// `value` refused, with why.
    pub(super) fn refused(self, value: &str, complaint: Complaint) -> Fault {
        let complaint = match self.node.value {
            Value::Filled(_) => complaint.or_hint("its value comes from a variable: see [vars] and `--set`"),
            _ => complaint,
        };
        Fault { origin: self.node.origin, problem: complaint.about(self.name(), value) }
    }

    fn name(self) -> String {
        if self.item { format!("an item of `{}`", self.key) } else { format!("`{}`", self.key) }
    }
}

impl Node {
    fn unquoting_hint(&self) -> Option<&'static str> {
        let plain = |text: &str| text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok();
        self.text().is_some_and(plain).then_some("write it without quotes")
    }

    fn quoting_hint(&self) -> Option<&'static str> {
        match self.value {
            Value::Float => Some("write it in quotes: TOML would read 3.10 as 3.1"),
            Value::Integer(_) | Value::Boolean(_) | Value::Datetime => Some("write it in quotes"),
            Value::Array(_) => Some("write one string, without brackets"),
            _ => None,
        }
    }
}
