//! Whether a lock still is that of its recipe: the line that changed, if not.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::Error;
use super::local;
use super::model::{Lock, LockedFile, LockedInput, LockedLayer, LockedOrigin, LockedVenv};
use crate::oci::{Digest, Platform};
use crate::python::source;
use crate::recipe::{LayerKind, Loaded};

/// How much of a value an error shows, in characters.
const SHOWN: usize = 60;

/// Checks that `lock` is what locking `loaded` for `platform` came to: the recipe is
/// the same, and so are the files that it names.
///
/// `uid = "host"` and keys in a home (`~/`) are what they were when the recipe was
/// locked; on another machine they are no change.
///
/// # Errors
/// [`Error::Changed`] names the first line that differs, [`Error::FileChanged`] the
/// first file; [`Error::Platform`]; [`Error::File`] if a file can't be read.
pub fn fits(lock: &Lock, loaded: &Loaded, platform: &Platform) -> Result<(), Error> {
    let json = |recipe| serde_json::to_value(recipe).unwrap_or_default();
    let (was, now) = (json(&lock.recipe), json(&loaded.recipe));
    if let Some(Difference { path, field, change }) = recipe_difference(&was, &now) {
        return Err(Error::Changed { place: place(loaded, &path), field, change });
    }
    if !lock.platform.accepts(platform) {
        return Err(Error::Platform { locked: lock.platform.clone(), wanted: platform.clone() });
    }
    for (layer, locked) in loaded.recipe.layers.iter().zip(&lock.layers) {
        let changed = match (&layer.kind, locked) {
            (LayerKind::Files(recipe), LockedLayer::Files { files }) => {
                files_change(files, &local::files(&layer.name, recipe, &loaded.directory)?)
            }
            (LayerKind::Run(run), LockedLayer::Run { files }) => {
                files_change(files, &local::run_files(&layer.name, run, &loaded.directory)?)
            }
            (LayerKind::Venv(venv), LockedLayer::Venv(locked)) => {
                let inputs = local::inputs(&layer.name, &venv.requirements_files, &loaded.directory)?;
                inputs_change(&locked.inputs, &inputs)
                    .or_else(|| wheels_change(locked, loaded))
                    .or_else(|| sources_change(locked, loaded))
            }
            (LayerKind::Apt(apt), LockedLayer::Apt(locked)) => {
                inputs_change(&locked.inputs, &local::apt_keys(&layer.name, apt, loaded)?)
            }
            (LayerKind::Account(account), LockedLayer::Account { inputs, .. }) => {
                inputs_change(inputs, &local::key_files(&layer.name, account, loaded)?)
            }
            _ => None,
        };
        if let Some((path, change)) = changed {
            let place = place(loaded, &["layer".into(), layer.name.clone()]);
            return Err(Error::FileChanged { place, path, change });
        }
    }
    Ok(())
}

/// File, line and column of the value at `path`, or of the nearest one around it.
fn place(loaded: &Loaded, path: &[String]) -> String {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let found = (1..=parts.len()).rev().find_map(|depth| loaded.sources.locate(&parts[..depth]));
    found.map_or_else(|| "the recipe".to_owned(), |location| location.to_string())
}

type Change = Option<(String, &'static str)>;

fn files_change(was: &[LockedFile], now: &[LockedFile]) -> Change {
    let named = |file: &LockedFile| if file.from.is_empty() { format!("/{}", file.to) } else { file.from.clone() };
    let other = |file: &LockedFile, files: &[LockedFile]| files.iter().find(|other| other.to == file.to).cloned();
    let gone_or_changed = was.iter().find_map(|file| match other(file, now) {
        None => Some((named(file), "is gone")),
        Some(found) => (found != *file).then(|| (named(file), "changed")),
    });
    gone_or_changed.or_else(|| now.iter().find(|file| other(file, was).is_none()).map(|file| (named(file), "is new")))
}

fn inputs_change(was: &[LockedInput], now: &[LockedInput]) -> Change {
    let changed = was.iter().find(|input| !now.contains(input)).map(|input| (input.path.clone(), "changed"));
    changed.or_else(|| now.iter().find(|input| !was.contains(input)).map(|input| (input.path.clone(), "is new")))
}

fn wheels_change(locked: &LockedVenv, loaded: &Loaded) -> Change {
    locked.wheels.iter().find_map(|wheel| file_change(&wheel.index, (wheel.sha256, wheel.size), loaded))
}

/// What became of a file on disk, which `index` names.
fn file_change(index: &str, locked: (Digest, u64), loaded: &Loaded) -> Change {
    let path = index.strip_prefix("local:")?;
    match local::hash(&loaded.directory.join(path)) {
        Ok(found) if found == locked => None,
        Ok(_) => Some((path.to_owned(), "changed")),
        Err(_) => Some((path.to_owned(), "is gone")),
    }
}

fn sources_change(locked: &LockedVenv, loaded: &Loaded) -> Change {
    locked.sources.iter().find_map(|source| match &source.from {
        LockedOrigin::Sdist(sdist) => file_change(&sdist.index, (sdist.sha256, sdist.size), loaded),
        LockedOrigin::Tree(LockedInput { path, sha256 }) => {
            let tree = source::files(&loaded.directory.join(path)).and_then(|files| files.digest());
            match tree {
                Ok(found) if found == *sha256 => None,
                Ok(_) => Some((path.clone(), "changed")),
                Err(_) => Some((path.clone(), "is gone, or can't be read,")),
            }
        }
    })
}

/// Where two recipes differ.
#[derive(Debug, PartialEq)]
struct Difference {
    /// As [`crate::recipe::Sources::locate`] takes it.
    path: Vec<String>,
    /// As a person names it.
    field: String,
    change: String,
}

impl Difference {
    fn new(path: &[String], change: String) -> Self {
        let numbers = |part: &&String| part.parse::<usize>().is_err();
        let field = path.iter().filter(numbers).cloned().collect::<Vec<_>>().join(".");
        Self { path: path.to_vec(), field, change }
    }
}

fn recipe_difference(was: &Value, now: &Value) -> Option<Difference> {
    // The base's table is ours (`image`, `layout`), not the recipe's.
    let base = vec!["base".to_owned()];
    if was["base"] != now["base"] {
        return Some(Difference::new(&base, changed(&plain_base(&was["base"]), &plain_base(&now["base"]))));
    }
    let layers = |recipe: &Value| recipe["layer"].as_array().cloned().unwrap_or_default();
    let rest = |recipe: &Value| {
        let mut rest = recipe.clone();
        rest.as_object_mut().map(|rest| rest.remove("layer"));
        rest
    };
    difference(&mut Vec::new(), &rest(was), &rest(now)).or_else(|| layers_difference(&layers(was), &layers(now)))
}

fn plain_base(base: &Value) -> Value {
    base.get("image").unwrap_or(base).clone()
}

fn layers_difference(was: &[Value], now: &[Value]) -> Option<Difference> {
    let name = |layer: &Value| layer["name"].as_str().unwrap_or_default().to_owned();
    let (old, new): (Vec<_>, Vec<_>) = (was.iter().map(name).collect(), now.iter().map(name).collect());
    let path = |name: &str| vec!["layer".to_owned(), name.to_owned()];
    if let Some(added) = new.iter().find(|name| !old.contains(name)) {
        return Some(Difference::new(&path(added), "was added".into()));
    }
    if let Some(removed) = old.iter().find(|name| !new.contains(name)) {
        return Some(Difference { path: path(""), ..Difference::new(&path(removed), "was removed".into()) });
    }
    if let Some((_, moved)) = old.iter().zip(&new).find(|(old, new)| old != new) {
        return Some(Difference::new(&path(moved), "was moved".into()));
    }
    was.iter().zip(now).find_map(|(was, now)| difference(&mut path(&name(now)), was, now))
}

fn difference(path: &mut Vec<String>, was: &Value, now: &Value) -> Option<Difference> {
    match (was, now) {
        _ if was == now => None,
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            keys.into_iter().find_map(|key| {
                path.push(key.clone());
                let none = Value::Null;
                let found = difference(path, old.get(key).unwrap_or(&none), new.get(key).unwrap_or(&none));
                path.pop();
                found
            })
        }
        (Value::Array(old), Value::Array(new)) => Some(list_difference(path, old, new)),
        _ => Some(Difference::new(path, changed(was, now))),
    }
}

/// What became of a list: the entries that are new and gone tell more than positions.
fn list_difference(path: &mut Vec<String>, old: &[Value], new: &[Value]) -> Difference {
    let added = new.iter().position(|entry| !old.contains(entry));
    let removed = old.iter().position(|entry| !new.contains(entry));
    let (position, change) = match (added, removed) {
        (Some(at), Some(from)) => {
            if let (Value::Object(_), Value::Object(_)) = (&old[from], &new[at]) {
                path.push(at.to_string());
                let found = difference(path, &old[from], &new[at]);
                path.pop();
                if let Some(found) = found {
                    return found;
                }
            }
            (at, changed(&old[from], &new[at]))
        }
        (Some(at), None) => (at, format!("has the new entry {}", shown(&new[at]))),
        (None, Some(from)) => return Difference::new(path, format!("lost its entry {}", shown(&old[from]))),
        (None, None) => (0, "has its entries in another order".into()),
    };
    path.push(position.to_string());
    let found = Difference::new(path, change);
    path.pop();
    found
}

fn changed(was: &Value, now: &Value) -> String {
    match (was, now) {
        (Value::Null, now) => format!("was set to {}", shown(now)),
        (was, Value::Null) => format!("(it was {}) was removed", shown(was)),
        (was, now) => format!("changed from {} to {}", shown(was), shown(now)),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(was: Value, now: Value) -> (String, String, String) {
        let Difference { path, field, change } = recipe_difference(&was, &now).unwrap();
        (path.join("/"), field, change)
    }

    fn with_layer(layer: Value) -> Value {
        json!({ "base": "scratch", "layer": [layer] })
    }

    #[test]
    fn a_changed_requirement_is_named_with_its_place_and_both_values() {
        let venv = |torch: &str| with_layer(json!({ "name": "python", "requirements": ["six", torch, "tqdm"] }));
        let (path, field, change) = found(venv("torch==2.5"), venv("torch==2.6"));
        assert_eq!((path.as_str(), field.as_str()), ("layer/python/requirements/1", "layer.python.requirements"));
        assert_eq!(change, r#"changed from "torch==2.5" to "torch==2.6""#);
    }

    #[test]
    fn what_is_added_removed_or_moved_is_called_so() {
        let venv = |list: &[&str]| with_layer(json!({ "name": "python", "requirements": list }));
        assert_eq!(found(venv(&["a"]), venv(&["b", "a"])).2, r#"has the new entry "b""#);
        assert_eq!(found(venv(&["a", "b"]), venv(&["b"])).2, r#"lost its entry "a""#);
        assert_eq!(found(venv(&["a", "b"]), venv(&["b", "a"])).2, "has its entries in another order");
        let account = |uid: Value| with_layer(json!({ "name": "account", "uid": uid }));
        assert_eq!(found(account(json!(null)), account(json!(1001))).2, "was set to 1001");
        let layers = |names: &[&str]| json!({ "base": "scratch", "layer": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>() });
        assert_eq!(found(layers(&["a"]), layers(&["a", "b"])).1, "layer.b");
        assert_eq!(found(layers(&["a", "b"]), layers(&["b"])).2, "was removed");
        assert_eq!(found(layers(&["a", "b"]), layers(&["b", "a"])).2, "was moved");
    }

    #[test]
    fn a_base_is_named_as_the_recipe_writes_it() {
        let base = |image: &str| json!({ "base": { "image": image }, "layer": [] });
        assert_eq!(found(base("debian:12"), base("debian:13")).2, r#"changed from "debian:12" to "debian:13""#);
    }
}
