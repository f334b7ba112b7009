//! Projects, wheels and URLs that a requirement names directly, not by an index.

use std::fs;
use std::path::Path;

use crate::recipe::Word;

use super::note::Place;
use super::packages::Packages;

/// Whether a requirement names a path or a URL.
pub(super) fn is_direct(text: &str) -> bool {
    let specifier = text.split(';').next().unwrap_or(text).trim();
    text.contains("://")
        || specifier.starts_with(['.', '/', '~'])
        || specifier.contains('/')
        || specifier.ends_with(".whl")
        || specifier.ends_with(".tar.gz")
        || text.contains(" @ ")
        || text.contains("@file:")
}

/// Adds `what`, a path from `directory` or a URL; `original` is the line that says it.
pub(super) fn add(directory: &Path, packages: &mut Packages, place: &Place, original: &str, what: &str) {
    let target = what.split_once(" @ ").map_or(what, |(_, target)| target);
    let (target, marker) = target.split_once(" ;").map_or((target, None), |(target, marker)| (target, Some(marker)));
    let target = target.trim();
    if let Some(marker) = marker {
        return packages.unsaid(place, original, &format!("a path or a URL has no marker here ({})", marker.trim()));
    }
    if is_of_version_control(target) {
        return packages.unsaid(place, original, "a build has no git: name a checkout's directory in `projects`");
    }
    let local = target.strip_prefix("file://").or_else(|| target.strip_prefix("file:")).unwrap_or(target);
    if local.contains("://") {
        return packages.unsaid(
            place,
            original,
            "download it, and name a wheel in `wheels`, an sdist or a checkout in `projects`",
        );
    }
    let (local, extras) = local.split_once('[').map_or((local, ""), |(local, extras)| (local, extras));
    let path = plain(local);
    if Word::Path.accepts(&path).is_err() {
        return packages.unsaid(place, original, "a lock has to work on every machine: name a path from here");
    }
    if path.ends_with(".whl") {
        push(&mut packages.wheels, path);
        return;
    }
    if !extras.is_empty() {
        return packages.unsaid(place, original, "a project has no extras here: name what the extra brings");
    }
    match lack(&directory.join(&path)) {
        None => push(&mut packages.projects, path),
        Some(why) => packages.unsaid(place, original, why),
    }
}

/// pip's manual, "VCS Support": schemes such as `git+https`.
fn is_of_version_control(target: &str) -> bool {
    ["git+", "hg+", "svn+", "bzr+", "git@", "ssh://", "git://"].iter().any(|scheme| target.starts_with(scheme))
}

/// Why what lies at `path` can't be named in `projects`, if it can't.
pub(super) fn lack(path: &Path) -> Option<&'static str> {
    if path.is_file() {
        let is_sdist = path.to_string_lossy().ends_with(".tar.gz");
        return (!is_sdist).then_some("a file in `projects` is an sdist, a .tar.gz");
    }
    let Ok(text) = fs::read_to_string(path.join("pyproject.toml")) else {
        return Some("a project needs a pyproject.toml with [project], `name` and `dependencies`");
    };
    let document: Option<toml::Table> = text.parse().ok();
    let project = document.as_ref().and_then(|document| document.get("project")?.as_table());
    let says = |key: &str| project.is_some_and(|project| project.contains_key(key));
    let dynamic = project.and_then(|project| project.get("dynamic")?.as_array());
    let is_dynamic = |key: &str| dynamic.is_some_and(|list| list.iter().any(|item| item.as_str() == Some(key)));
    (!says("name") || is_dynamic("dependencies"))
        .then_some("a project needs a pyproject.toml with [project], `name` and `dependencies`")
}

fn plain(path: &str) -> String {
    let path = path.trim().trim_end_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path);
    if path.is_empty() { ".".to_owned() } else { path.to_owned() }
}

fn push(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}
