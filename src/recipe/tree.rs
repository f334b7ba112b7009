//! A TOML document in which each key and each value knows where it stands, so that
//! flavours can be merged and an error can still point at a line.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Fault, Problem};
use super::origin::Origin;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    /// A string that variables were filled into: it may stand for a number or a boolean.
    Filled(String),
    /// None if it does not fit 64 bits.
    Integer(Option<i64>),
    Float,
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Entries),
}

/// A table's entries.
pub(super) type Entries = BTreeMap<String, Entry>;

/// An entry of a table.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Origin,
    pub(super) node: Node,
}

impl Node {
    /// What errors call its type.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::String(_) | Value::Filled(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) | Value::Filled(text) => Some(text),
            _ => None,
        }
    }

    /// The value at `key`, if it is a table that has one.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Table(entries) => entries.get(key).map(|entry| &entry.node),
            _ => None,
        }
    }
}

/// Parses a recipe's text; `file` is its number among the recipe's files.
pub(super) fn parse(file: usize, text: &str) -> Result<Node, Fault> {
    let document = DeTable::parse(text).map_err(|error| Fault {
        origin: Origin::new(file, error.span().unwrap_or_default()),
        problem: Problem::Syntax { message: error.message().to_owned() },
    })?;
    let origin = Origin::new(file, document.span());
    Ok(Node { origin, value: Value::Table(entries(file, document.into_inner())) })
}

fn entries(file: usize, table: DeTable<'_>) -> Entries {
    let entry = |(key, value): (Spanned<_>, _)| {
        let origin = Origin::new(file, key.span());
        (std::borrow::Cow::into_owned(key.into_inner()), Entry { key: origin, node: node(file, value) })
    };
    table.into_iter().map(entry).collect()
}

fn node(file: usize, value: Spanned<DeValue<'_>>) -> Node {
    let origin = Origin::new(file, value.span());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => Value::Array(items.into_iter().map(|item| node(file, item)).collect()),
        DeValue::Table(table) => Value::Table(entries(file, table)),
    };
    Node { origin, value }
}
