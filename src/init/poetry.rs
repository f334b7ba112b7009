//! `[tool.poetry.dependencies]`: the words that Poetry had before `[project]`, said in
//! PyPA's where they mean the same.

use std::path::Path;

use toml::{Table, Value};

use crate::recipe::Word;

use super::note::Item;
use super::packages::Packages;
use super::project;
use super::pyproject::Pyproject;
use super::python::Wanted;

/// Adds what the table says, if there is one.
pub(super) fn read(pyproject: &Pyproject, directory: &Path, packages: &mut Packages) {
    let Some(table) = pyproject.get(&["tool", "poetry", "dependencies"]).and_then(Value::as_table) else { return };
    for (name, value) in table {
        if name == "python" {
            let specifier = value.as_str().and_then(specifier);
            packages.python.extend(specifier.map(|specifier| Wanted::new(pyproject.place("python ="), specifier)));
            continue;
        }
        dependency(pyproject, directory, packages, name, value);
    }
    for source in pyproject.get(&["tool", "poetry", "source"]).and_then(Value::as_array).into_iter().flatten() {
        if let Some(url) = source.get("url").and_then(Value::as_str) {
            match Word::Index.accepts(url) {
                Ok(()) => packages.extra_index_url.push(url.to_owned()),
                Err(why) => packages.unsaid(&pyproject.place(url), &format!("source {url}"), &why),
            }
        }
    }
}

fn dependency(pyproject: &Pyproject, directory: &Path, packages: &mut Packages, name: &str, value: &Value) {
    let place = pyproject.place(&format!("{name} ="));
    let original = format!("{name} = {value}");
    let empty = Table::new();
    let table = value.as_table().unwrap_or(&empty);
    let text = |key: &str| table.get(key).and_then(Value::as_str);
    if table.get("optional").and_then(Value::as_bool) == Some(true) {
        return packages.unsaid(&place, &original, "it is optional");
    }
    if let Some(target) = text("path").or(text("url")) {
        return project::add(directory, packages, &place, &original, target);
    }
    if let Some(url) = text("git") {
        return project::add(directory, packages, &place, &original, &format!("git+{url}"));
    }
    let Some(versions) = value.as_str().or(text("version")).and_then(specifier) else {
        return packages.unsaid(&place, &original, "its versions have no form in PyPA's specifiers");
    };
    let extras: Vec<&str> =
        table.get("extras").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    let python = text("python").and_then(specifier).map(|specifier| {
        let clause = |clause: &str| {
            let end = clause.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
            format!("python_version {} '{}'", &clause[..end], &clause[end..])
        };
        specifier.split(',').map(clause).collect::<Vec<_>>().join(" and ")
    });
    let markers = text("markers").map(str::to_owned).or(python);
    let marker = markers.map(|markers| format!("; {markers}")).unwrap_or_default();
    let requirement = format!("{name}{extras}{versions}{marker}");
    match Word::Requirement.accepts(&requirement) {
        Ok(()) => packages.require(Item::Said(requirement)),
        Err(why) => packages.unsaid(&place, &original, &why),
    }
}

/// Poetry's version constraint as PyPA's specifier; none where it has alternatives (`||`).
fn specifier(constraint: &str) -> Option<String> {
    let constraint = constraint.trim();
    if constraint.contains('|') {
        return None;
    }
    let clauses = constraint.split(',').map(str::trim).filter(|clause| !matches!(*clause, "" | "*"));
    Some(clauses.map(clause).collect::<Option<Vec<_>>>()?.join(","))
}

fn clause(clause: &str) -> Option<String> {
    let numbers = |version: &str| -> Option<Vec<u64>> { version.split('.').map(|part| part.parse().ok()).collect() };
    let below = |version: &str, at: usize| -> Option<String> {
        let numbers = numbers(version)?;
        let kept: Vec<String> = numbers.iter().take(at).map(u64::to_string).collect();
        let next = numbers.get(at).copied().unwrap_or(0) + 1;
        Some([kept, vec![next.to_string()]].concat().join("."))
    };
    if let Some(version) = clause.strip_prefix('^').map(str::trim) {
        // Poetry's manual, "Caret requirements": "does not modify the left-most non-zero digit"
        let numbers = numbers(version)?;
        let at = numbers.iter().position(|number| *number != 0).unwrap_or(numbers.len() - 1);
        return Some(format!(">={version},<{}", below(version, at)?));
    }
    if let Some(version) = clause.strip_prefix('~').filter(|rest| !rest.starts_with('=')).map(str::trim) {
        // "Tilde requirements": the minor version stays, or the major one if it is alone
        let at = usize::from(numbers(version)?.len() > 1);
        return Some(format!(">={version},<{}", below(version, at)?));
    }
    let bare = clause.starts_with(|c: char| c.is_ascii_digit());
    Some(if bare { format!("=={clause}") } else { clause.replace(' ', "") })
}

#[cfg(test)]
mod tests {
    use super::specifier;

    #[test]
    fn carets_and_tildes_are_said_as_ranges() {
        let cases = [
            ("^1.26", ">=1.26,<2"),
            ("^0.2.3", ">=0.2.3,<0.3"),
            ("^0.0.3", ">=0.0.3,<0.0.4"),
            ("~1.2.3", ">=1.2.3,<1.3"),
            ("~1", ">=1,<2"),
            ("1.2.*", "==1.2.*"),
            (">=1.0, <2", ">=1.0,<2"),
            ("~=1.4", "~=1.4"),
            ("*", ""),
            ("2.6.0", "==2.6.0"),
        ];
        for (constraint, expected) in cases {
            assert_eq!(specifier(constraint).as_deref(), Some(expected), "{constraint}");
        }
        assert_eq!(specifier("^1 || ^2"), None);
    }
}
