//! `[tool.poetry.dependencies]`: the words that Poetry had before `[project]`, said in
//! PyPA's where they mean the same.

use std::path::Path;

use toml::{Table, Value};

use crate::recipe::Word;

use super::note::{Item, Note};
use super::packages::Packages;
use super::project;
use super::pyproject::{Pyproject, Selection, is_in};
use super::python::Wanted;

/// Adds what the table says, if there is one.
pub(super) fn read(pyproject: &Pyproject, directory: &Path, packages: &mut Packages, selection: &Selection) {
    let Some(table) = pyproject.get(&["tool", "poetry", "dependencies"]).and_then(Value::as_table) else { return };
    for (name, value) in table {
        if name != "python" {
            let is_optional = value.get("optional").and_then(Value::as_bool) == Some(true);
            if !is_optional || of_extra(pyproject, selection, name) {
                dependency(pyproject, directory, packages, name, value);
            } else {
                let why = "it is optional: an extra has it, or nobody";
                packages.unsaid(&pyproject.place(&format!("{name} =")), &format!("{name} = {value}"), why);
            }
            continue;
        }
        let place = pyproject.place("python =");
        match value.as_str().and_then(specifier) {
            Some(specifier) => packages.python.push(Wanted::new(place, specifier)),
            None => packages.notes.push(Note::unsaid(&place, &format!("python = {value}"), "--python says which")),
        }
    }
    for source in pyproject.get(&["tool", "poetry", "source"]).and_then(Value::as_array).into_iter().flatten() {
        index(pyproject, packages, source);
    }
}

/// Poetry's manual, "Repositories": a source is the index, one besides it, or one for those
/// packages alone that name it.
fn index(pyproject: &Pyproject, packages: &mut Packages, source: &Value) {
    let Some(url) = source.get("url").and_then(Value::as_str) else {
        let place = pyproject.place("tool.poetry.source");
        return packages.unsaid(&place, &format!("source {source}"), "an index has an address: name it");
    };
    let priority = source.get("priority").and_then(Value::as_str);
    let is_default = source.get("default").and_then(Value::as_bool) == Some(true);
    let place = pyproject.place(url);
    match Word::Index.accepts(url) {
        Ok(()) if is_default || matches!(priority, Some("default" | "primary")) => packages.index(url.to_owned()),
        Ok(()) => packages.extra_index_url.push(url.to_owned()),
        Err(why) => return packages.unsaid(&place, &format!("source {url}"), &why),
    }
    if priority == Some("explicit") {
        let why = "an index of a recipe is asked for every package";
        packages.notes.push(Note::unsaid(&place, &format!("source {url}: priority = explicit"), why));
    }
}

/// Whether one of the selected extras has the package `name`: `[tool.poetry.extras]`.
fn of_extra(pyproject: &Pyproject, selection: &Selection, name: &str) -> bool {
    let extras = pyproject.get(&["tool", "poetry", "extras"]).and_then(Value::as_table);
    let mut selected = extras.into_iter().flatten().filter(|(extra, _)| selection.has_extra(extra));
    let has = |members: &Value| members.as_array().into_iter().flatten().any(|member| member.as_str() == Some(name));
    selected.any(|(_, members)| has(members))
}

/// The groups that `poetry install` installs unasked.
///
/// Poetry's manual, "Optional groups": those that are not `optional`.
pub(super) fn default_groups(pyproject: &Pyproject) -> Vec<String> {
    let tables = pyproject.get(&["tool", "poetry", "group"]).and_then(Value::as_table).into_iter().flatten();
    let is_optional = |(_, group): &(&String, &Value)| group.get("optional").and_then(Value::as_bool) == Some(true);
    let optional: Vec<String> = tables.filter(is_optional).map(|(name, _)| name.clone()).collect();
    let mut groups = pyproject.names().groups;
    groups.retain(|name| !is_in(&optional, name));
    groups
}

/// What is installed for those who work on the project: the groups of `selection`, and the
/// others as comments.
pub(super) fn groups(pyproject: &Pyproject, directory: &Path, packages: &mut Packages, selection: &Selection) {
    let tables = pyproject.get(&["tool", "poetry", "group"]).and_then(Value::as_table);
    let groups =
        tables.into_iter().flatten().filter_map(|(name, group)| Some((name.as_str(), group.get("dependencies")?)));
    let older = pyproject.get(&["tool", "poetry", "dev-dependencies"]).map(|table| ("dev", table));
    for (name, group) in groups.chain(older) {
        let members = group.as_table().into_iter().flatten();
        if selection.has_group(name) {
            members.for_each(|(name, value)| dependency(pyproject, directory, packages, name, value));
            continue;
        }
        let lines: Vec<String> = members.map(|(name, value)| format!("{name} = {value}")).collect();
        if !lines.is_empty() {
            let why = format!("it is for those who work on the project: `init --group {name}` adds it");
            let place = pyproject.place(if name == "dev" { "dev" } else { name });
            packages.unsaid(&place, &lines.join("\n"), &why);
        }
    }
    let extras = pyproject.get(&["tool", "poetry", "extras"]).and_then(Value::as_table).into_iter().flatten();
    for (name, members) in extras.filter(|(name, _)| !selection.has_extra(name)) {
        let why = format!("an extra is asked for by name: `init --extra {name}`");
        packages.unsaid(&pyproject.place(name), &format!("{name} = {members}"), &why);
    }
}

fn dependency(pyproject: &Pyproject, directory: &Path, packages: &mut Packages, name: &str, value: &Value) {
    let place = pyproject.place(&format!("{name} ="));
    let original = format!("{name} = {value}");
    let empty = Table::new();
    let table = value.as_table().unwrap_or(&empty);
    let text = |key: &str| table.get(key).and_then(Value::as_str);
    let is_for_some = ["python", "markers", "platform"].iter().any(|key| table.contains_key(*key));
    let direct = text("path").or(text("url")).or(text("file")).map(str::to_owned);
    if let Some(target) = direct.or(text("git").map(|url| format!("git+{url}"))) {
        if is_for_some || table.contains_key("extras") {
            return packages.unsaid(&place, &original, "a project has neither markers nor extras here");
        }
        return project::add(directory, packages, &place, &original, &target);
    }
    let Some(versions) = value.as_str().or(text("version")).and_then(specifier) else {
        return packages.unsaid(&place, &original, "its versions have no form in PyPA's specifiers");
    };
    let Some(marker) = marker(table) else {
        return packages.unsaid(&place, &original, "the Pythons that it is for have no form in PyPA's markers");
    };
    let extras: Vec<&str> =
        table.get("extras").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    let requirement = format!("{name}{extras}{versions}{marker}");
    match Word::Requirement.accepts(&requirement) {
        Ok(()) => packages.require(Item::Said(requirement)),
        Err(why) => return packages.unsaid(&place, &original, &why),
    }
    for (key, why) in [
        ("source", "an index of a recipe is asked for every package"),
        ("allow-prereleases", "name a pre-release by its version: name>=2.0rc1"),
    ] {
        if let Some(value) = table.get(key) {
            packages.unsaid(&place, &format!("{name}: {key} = {value}"), why);
        }
    }
}

/// For whom a dependency is, as PyPA's marker: all of `python`, `platform` and `markers`.
fn marker(table: &Table) -> Option<String> {
    let text = |key: &str| table.get(key).and_then(Value::as_str);
    let mut all = Vec::new();
    if let Some(python) = text("python") {
        for clause in specifier(python)?.split(',').filter(|clause| !clause.is_empty()) {
            let (operator, version) = clause.split_at(clause.find(|c: char| c.is_ascii_digit())?);
            all.push(format!("python_version {operator} '{version}'"));
        }
    }
    all.extend(text("platform").map(|platform| format!("sys_platform == '{platform}'")));
    all.extend(text("markers").map(|markers| match all.is_empty() {
        true => markers.to_owned(),
        false => format!("({markers})"),
    }));
    Some(if all.is_empty() { String::new() } else { format!("; {}", all.join(" and ")) })
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
