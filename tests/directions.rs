//! The way through has one direction: recipe, lock, plan, assemble, image. A module
//! may use only those before it and what all stand on. Also the forms that every
//! source file keeps to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module in the order of the way through, and which of those before it it may
/// use. Only `assemble` and `cli` see more.
const MAY_USE: [(&str, &[&str]); 25] = [
    ("locked", &[]),
    ("progress", &["locked"]),
    ("oci", &[]),
    ("store", &["oci"]),
    ("registry", &["locked", "oci", "store", "progress"]),
    ("cache", &["locked", "oci", "store", "registry", "progress"]),
    ("layer", &["oci", "store"]),
    ("sandbox", &["locked", "progress", "oci", "store", "layer"]),
    ("apt", &["progress", "oci", "store", "registry", "layer", "sandbox"]),
    ("text", &[]),
    ("recipe", &["text", "oci", "layer", "registry", "cache"]),
    ("python", &["locked", "oci", "store", "registry", "progress", "layer", "recipe"]),
    ("init", &["text", "oci", "recipe", "python"]),
    ("lock", &["oci", "store", "registry", "progress", "layer", "sandbox", "apt", "recipe", "python"]),
    ("changeset", &["oci", "store", "registry", "progress", "layer", "sandbox", "apt", "recipe", "python", "lock"]),
    (
        "plan",
        &[
            "oci",
            "store",
            "registry",
            "progress",
            "cache",
            "layer",
            "sandbox",
            "apt",
            "recipe",
            "python",
            "lock",
            "changeset",
        ],
    ),
    ("export", &["locked", "progress", "oci", "store", "layer", "sandbox", "recipe", "python", "lock", "changeset"]),
    ("assemble", &["*"]),
    ("run", &["text", "oci", "store", "progress", "changeset", "sandbox", "recipe", "assemble"]),
    ("gpu", &["sandbox", "run"]),
    ("diff", &["oci", "store", "registry", "progress", "layer", "changeset", "assemble"]),
    (
        "rebase",
        &[
            "oci",
            "store",
            "registry",
            "progress",
            "sandbox",
            "recipe",
            "python",
            "lock",
            "changeset",
            "plan",
            "assemble",
        ],
    ),
    ("doctor", &["oci", "registry", "sandbox", "gpu"]),
    ("cli", &["*"]),
    ("main", &["cli"]),
];

/// How many lines a source file has at most.
const LINES: usize = 600;

struct Source {
    path: String,
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    assert!(paths.len() > 20, "src/ was not read");
    let source = |path: PathBuf| {
        let relative = path.strip_prefix(&root).unwrap();
        let module = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        Source {
            path: format!("src/{}", relative.display()),
            module: module.trim_end_matches(".rs").to_owned(),
            text: fs::read_to_string(&path).unwrap(),
        }
    };
    paths.into_iter().map(source).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    paths.sort();
}

/// The lines of code, numbered from 1: without comments, and without the unit tests
/// at the end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.lines().take_while(|line| *line != "#[cfg(test)]").enumerate();
    code.map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default()))
}

/// The modules that stand behind `crate::` (or `dlpack::`, for the binary), with the
/// lines that they stand on: `crate::a::b`, and the top level of `crate::{a, b::{c}}`.
fn uses(text: &str) -> Vec<(usize, String)> {
    let code: String = code(text).map(|(_, line)| format!("{line}\n")).collect();
    let name = |at: usize| code[at..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut starts: Vec<usize> = Vec::new();
    for root in ["crate::", "dlpack::"] {
        for (at, root) in code.match_indices(root) {
            let at = at + root.len();
            if code[at..].starts_with('{') { starts.extend(members(&code, at)) } else { starts.push(at) }
        }
    }
    starts.sort_unstable();
    starts.into_iter().map(|at| (code[..at].matches('\n').count() + 1, name(at))).collect()
}

/// Where the members of the group that opens at `open` begin, without those of groups
/// in it.
fn members(code: &str, open: usize) -> Vec<usize> {
    let (mut depth, mut starts) = (0, Vec::new());
    for (at, c) in code[open..].char_indices().map(|(n, c)| (open + n, c)) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(c, '{' | ',') {
            starts.push(at + 1);
        }
    }
    starts
}

#[test]
fn a_module_uses_only_those_before_it_on_the_way() {
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module != "lib") {
        let Some((module, allowed)) = MAY_USE.iter().find(|(module, _)| *module == source.module) else {
            wrong.push(format!("{}: give the module `{}` its place in MAY_USE", source.path, source.module));
            continue;
        };
        for (line, used) in uses(&source.text) {
            let free = used == *module || allowed.contains(&"*") && used != "cli" || allowed.contains(&used.as_str());
            if known.contains(used.as_str()) && !free {
                wrong.push(format!("{}:{line}: `{module}` may not use `{used}`", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_table_of_directions_goes_one_way() {
    for (n, (module, allowed)) in MAY_USE.iter().enumerate() {
        for used in allowed.iter().filter(|used| **used != "*") {
            assert!(MAY_USE[..n].iter().any(|(before, _)| before == used), "`{used}` does not come before `{module}`");
        }
    }
}

#[test]
fn what_a_file_uses_is_found_in_every_form_of_use() {
    let text = "\
use crate::oci::Digest; // crate::comment
use crate::{
    store::{
        Store,
        changeset,
    },
    layer,
};
use crate::{lock, plan::Plan};
fn f() -> crate::recipe::Recipe { crate::python::g(crate::cli::h()) }
";
    let used: Vec<String> = uses(text).into_iter().map(|(_, name)| name).filter(|name| !name.is_empty()).collect();
    assert_eq!(used, ["oci", "store", "layer", "lock", "plan", "recipe", "python", "cli"]);
}

#[test]
fn every_source_file_is_short_and_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for Source { path, text, .. } in sources() {
        let lines = text.lines().count();
        if lines > LINES {
            wrong.push(format!("{path}: {lines} lines, and {LINES} are the most"));
        }
        if !text.starts_with("//! ") {
            wrong.push(format!("{path}: does not begin with `//!` and what it is for"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn unsafe_stands_only_in_the_sandbox() {
    let mut wrong = Vec::new();
    for Source { path, text, .. } in sources().iter().filter(|source| source.module != "sandbox") {
        let mut words = code(text)
            .flat_map(|(n, line)| line.split(|c: char| !c.is_alphanumeric() && c != '_').map(move |word| (n, word)));
        if let Some((n, _)) = words.find(|(_, word)| *word == "unsafe") {
            wrong.push(format!("{path}:{n}: unsafe code outside the sandbox"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
