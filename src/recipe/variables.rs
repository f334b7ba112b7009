//! Variables: `[vars]` declares them with a default, `--set` gives another value,
//! `${name}` in a string takes it. Nothing is read from the environment.

use std::collections::BTreeMap;

use super::error::{Error, Fault, Problem};
use super::origin::{Files, Origin};
use super::tree::{Entries, Node, Value};

/// Fills the variables into every string of `root` and takes `[vars]` out.
pub(super) fn fill(
    root: &mut Entries,
    settings: &[(String, String)],
    files: &Files,
    recipe: &str,
) -> Result<(), Error> {
    let declared = match root.remove("vars") {
        None => Entries::new(),
        Some(entry) => table(entry.node).map_err(|fault| fault.shown(files))?,
    };
    for (name, _) in settings {
        if !declared.contains_key(name) {
            let known = declared.keys().cloned().collect();
            return Err(Error::UnknownSetting { recipe: recipe.to_owned(), name: name.clone(), known });
        }
    }
    values(&declared, settings)
        .and_then(|values| root.values_mut().try_for_each(|entry| fill_node(&mut entry.node, &values)))
        .map_err(|fault| fault.shown(files))
}

fn table(node: Node) -> Result<Entries, Fault> {
    let found = node.kind();
    match node.value {
        Value::Table(entries) => Ok(entries),
        _ => Err(wrong_type(node.origin, "vars", "a table", found)),
    }
}

fn wrong_type(origin: Origin, key: &str, expected: &str, found: &'static str) -> Fault {
    let problem = Problem::Type { what: format!("`{key}`"), expected: expected.to_owned(), found, hint: None };
    Fault { origin, problem }
}

/// Each variable's value; a default may take others, a setting is taken as it stands.
fn values(declared: &Entries, settings: &[(String, String)]) -> Result<BTreeMap<String, String>, Fault> {
    let mut values: BTreeMap<String, String> = settings.iter().cloned().collect();
    for name in declared.keys() {
        evaluate(name, declared, &mut values, &mut Vec::new())?;
    }
    Ok(values)
}

fn evaluate(
    name: &str,
    declared: &Entries,
    values: &mut BTreeMap<String, String>,
    stack: &mut Vec<String>,
) -> Result<(), Fault> {
    let Some(entry) = declared.get(name).filter(|_| !values.contains_key(name)) else {
        return Ok(());
    };
    let origin = entry.node.origin;
    if !is_name(name) {
        return Err(Fault {
            origin: entry.key,
            problem: Problem::Value {
                what: "a key of `vars`".into(),
                value: name.to_owned(),
                why: "a variable's name is letters, digits, `-` and `_`".into(),
                hint: None,
            },
        });
    }
    if let Some(start) = stack.iter().position(|above| above == name) {
        let chain = stack[start..].iter().cloned().chain([name.to_owned()]).collect();
        return Err(Fault { origin, problem: Problem::VariableCycle { chain } });
    }
    let value = match &entry.node.value {
        Value::String(text) => match pieces(text).map_err(|problem| Fault { origin, problem })? {
            None => text.clone(),
            Some(pieces) => {
                stack.push(name.to_owned());
                for piece in &pieces {
                    if let Piece::Variable(needed) = piece {
                        evaluate(needed, declared, values, stack)?;
                    }
                }
                stack.pop();
                join(&pieces, values).map_err(|problem| Fault { origin, problem })?
            }
        },
        Value::Integer(Some(number)) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        _ => return Err(wrong_type(origin, name, "a string, an integer or a boolean", entry.node.kind())),
    };
    values.insert(name.to_owned(), value);
    Ok(())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A piece of a string.
enum Piece<'a> {
    Literal(&'a str),
    Variable(&'a str),
}

/// The pieces of a string; none if it is one literal. `$$` is a `$`, and a `$`
/// before anything but `{` stays: `$HOME` in a command is the shell's.
fn pieces(text: &str) -> Result<Option<Vec<Piece<'_>>>, Problem> {
    if !text.contains("$$") && !text.contains("${") {
        return Ok(None);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let after = &rest[at + 1..];
        if let Some(next) = after.strip_prefix('$') {
            pieces.push(Piece::Literal(&rest[..=at]));
            rest = next;
        } else if let Some(name) = after.strip_prefix('{') {
            pieces.push(Piece::Literal(&rest[..at]));
            let (name, next) = name.split_once('}').filter(|(name, _)| is_name(name)).ok_or(Problem::VariableForm)?;
            pieces.push(Piece::Variable(name));
            rest = next;
        } else {
            pieces.push(Piece::Literal(&rest[..=at]));
            rest = after;
        }
    }
    pieces.push(Piece::Literal(rest));
    Ok(Some(pieces))
}

fn join(pieces: &[Piece<'_>], values: &BTreeMap<String, String>) -> Result<String, Problem> {
    let text = |piece: &Piece<'_>| match *piece {
        Piece::Literal(text) => Ok(text.to_owned()),
        Piece::Variable(name) => values
            .get(name)
            .cloned()
            .ok_or_else(|| Problem::UnknownVariable { name: name.to_owned(), known: values.keys().cloned().collect() }),
    };
    pieces.iter().map(text).collect()
}

fn fill_node(node: &mut Node, values: &BTreeMap<String, String>) -> Result<(), Fault> {
    match &mut node.value {
        Value::String(text) => {
            let filled = pieces(text).and_then(|pieces| pieces.map(|pieces| join(&pieces, values)).transpose());
            if let Some(text) = filled.map_err(|problem| Fault { origin: node.origin, problem })? {
                node.value = Value::Filled(text);
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill_node(item, values)),
        Value::Table(entries) => entries.values_mut().try_for_each(|entry| fill_node(&mut entry.node, values)),
        _ => Ok(()),
    }
}
