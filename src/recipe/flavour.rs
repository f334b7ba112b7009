//! Flavours: a recipe that extends another is merged over it. Keys of the child
//! win; a layer with a name that the parent has replaces it (with a `kind`) or
//! amends it (without); others are appended, or come `after` the one they name.

use super::error::{Fault, Problem};
use super::origin::{Files, Origin};
use super::tree::{Entries, Entry, Node, Value};
use super::values::layer_name;

/// Lays `child` over `parent`; both are whole recipes without `extends`.
pub(super) fn merge(mut parent: Entries, mut child: Entries, files: &Files) -> Result<Entries, Fault> {
    let dropped = child.remove("drop");
    let added = child.remove("layer");
    if dropped.is_some() || added.is_some() {
        let (key, origin, inherited) = match parent.remove("layer") {
            None => {
                let origin = added.as_ref().or(dropped.as_ref()).map(|entry| (entry.key, entry.node.origin));
                let Some((key, origin)) = origin else { return Ok(parent) };
                (key, origin, Vec::new())
            }
            Some(entry) => (entry.key, entry.node.origin, array("layer", entry.node)?),
        };
        let layers = merge_layers(inherited, added, dropped, files)?;
        parent.insert("layer".into(), Entry { key, node: Node { origin, value: Value::Array(layers) } });
    }
    for (key, entry) in child {
        let merged = match (key.as_str(), parent.remove(&key)) {
            ("config", Some(below)) => over(below, entry, config_field),
            ("run" | "test", Some(below)) => over(below, entry, amended),
            ("vars", Some(below)) => over(below, entry, |_, _, above| above),
            _ => entry,
        };
        parent.insert(key, merged);
    }
    Ok(parent)
}

/// Merges two tables key by key; what is no table replaces.
fn over(below: Entry, above: Entry, field: fn(&str, Entry, Entry) -> Entry) -> Entry {
    let Entry { key, node: Node { origin, value } } = above;
    let value = match (below.node.value, value) {
        (Value::Table(mut entries), Value::Table(above)) => {
            for (name, entry) in above {
                let merged = match entries.remove(&name) {
                    Some(below) => field(&name, below, entry),
                    None => entry,
                };
                entries.insert(name, merged);
            }
            Value::Table(entries)
        }
        (_, value) => value,
    };
    Entry { key, node: Node { origin, value } }
}

/// Env, labels and ports are sets, and are added to; the rest of the config replaces.
fn config_field(name: &str, below: Entry, above: Entry) -> Entry {
    match name {
        "env" | "labels" => over(below, above, |_, _, above| above),
        "expose" => amended(name, below, above),
        _ => above,
    }
}

/// A field of a layer that is amended: lists grow, tables merge, the rest replaces.
fn amended(_: &str, below: Entry, mut above: Entry) -> Entry {
    match (below.node.value, above.node.value) {
        (Value::Array(mut items), Value::Array(more)) => {
            items.extend(more);
            above.node.value = Value::Array(items);
            above
        }
        (below_value @ Value::Table(_), above_value @ Value::Table(_)) => {
            let below = Entry { key: below.key, node: Node { origin: below.node.origin, value: below_value } };
            let above = Entry { key: above.key, node: Node { origin: above.node.origin, value: above_value } };
            over(below, above, |_, _, above| above)
        }
        (_, value) => Entry { key: above.key, node: Node { origin: above.node.origin, value } },
    }
}

fn merge_layers(
    mut layers: Vec<Node>,
    added: Option<Entry>,
    dropped: Option<Entry>,
    files: &Files,
) -> Result<Vec<Node>, Fault> {
    if let Some(entry) = dropped {
        for item in array("drop", entry.node)? {
            let name = item.text().ok_or_else(|| wrong_type(&item, "an item of `drop`", "a string"))?;
            let at = find(&layers, name, "drop", item.origin)?;
            layers.remove(at);
        }
    }
    let mut seen: Vec<(String, Origin)> = Vec::new();
    for mut layer in added.map_or(Ok(Vec::new()), |entry| array("layer", entry.node))? {
        let (name, origin) = name_of(&layer)?;
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == name) {
            let problem = Problem::Twice {
                what: format!("a layer `{name}`"),
                first: files.location(*first),
                hint: "give one of them a `name`: without one, a layer is called after its kind",
            };
            return Err(Fault { origin, problem });
        }
        seen.push((name.clone(), origin));
        let after = take(&mut layer, "after");
        place(&mut layers, layer, &name, after)?;
    }
    Ok(layers)
}

/// Replaces, amends or adds one layer.
fn place(layers: &mut Vec<Node>, layer: Node, name: &str, after: Option<Entry>) -> Result<(), Fault> {
    let standing = layers.iter().position(|other| layer_named(other, name));
    let (layer, standing) = match standing {
        Some(at) if layer.get("kind").is_none() => (amend(layers.remove(at), layer), at),
        Some(at) => {
            layers.remove(at);
            (layer, at)
        }
        None if layer.get("kind").is_none() => {
            return Err(Fault { origin: name_of(&layer)?.1, problem: unknown(layers, name, "amend") });
        }
        None => (layer, layers.len()),
    };
    let at = match after {
        None => standing,
        Some(entry) => {
            let name = entry.node.text().ok_or_else(|| wrong_type(&entry.node, "`after`", "a string"))?;
            find(layers, name, "come after", entry.node.origin)? + 1
        }
    };
    layers.insert(at, layer);
    Ok(())
}

fn amend(below: Node, above: Node) -> Node {
    let key = above.origin;
    over(Entry { key: below.origin, node: below }, Entry { key, node: above }, amended).node
}

fn find(layers: &[Node], name: &str, verb: &'static str, origin: Origin) -> Result<usize, Fault> {
    let at = layers.iter().position(|layer| layer_named(layer, name));
    at.ok_or_else(|| Fault { origin, problem: unknown(layers, name, verb) })
}

fn unknown(layers: &[Node], name: &str, verb: &'static str) -> Problem {
    let known = layers.iter().filter_map(|layer| name_of(layer).ok()).map(|(name, _)| name).collect();
    Problem::UnknownLayer { name: name.to_owned(), verb, known }
}

/// Whether a layer is called `name`: by its `name`, else by its `kind`.
pub(super) fn layer_named(layer: &Node, name: &str) -> bool {
    layer.get("name").or_else(|| layer.get("kind")).and_then(Node::text) == Some(name)
}

/// A layer's name and where it stands. It is read before variables are filled in:
/// names are what flavours go by.
fn name_of(layer: &Node) -> Result<(String, Origin), Fault> {
    if !matches!(layer.value, Value::Table(_)) {
        return Err(wrong_type(layer, "an item of `layer`", "a table"));
    }
    let Some((key, node)) = ["name", "kind"].iter().find_map(|key| layer.get(key).map(|node| (key, node))) else {
        return Err(Fault { origin: layer.origin, problem: Problem::MissingKey { key: "kind", place: "a layer" } });
    };
    let name = node.text().ok_or_else(|| wrong_type(node, &format!("`{key}`"), "a string"))?;
    if *key == "name" {
        layer_name(name)
            .map_err(|complaint| Fault { origin: node.origin, problem: complaint.about(format!("`{key}`"), name) })?;
    }
    Ok((name.to_owned(), node.origin))
}

fn take(table: &mut Node, key: &str) -> Option<Entry> {
    match &mut table.value {
        Value::Table(entries) => entries.remove(key),
        _ => None,
    }
}

fn array(key: &str, node: Node) -> Result<Vec<Node>, Fault> {
    match node {
        Node { value: Value::Array(items), .. } => Ok(items),
        other => Err(wrong_type(&other, &format!("`{key}`"), "an array")),
    }
}

fn wrong_type(node: &Node, what: &str, expected: &str) -> Fault {
    let hint = what.ends_with("`layer`").then_some("each layer begins with a line [[layer]]");
    let problem = Problem::Type { what: what.to_owned(), expected: expected.to_owned(), found: node.kind(), hint };
    Fault { origin: node.origin, problem }
}
