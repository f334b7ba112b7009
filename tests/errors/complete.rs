//! Every variant of every error has its line in `variants.txt`: which snapshot shows
//! it, or why no person can cause it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// `src/store/mod.rs Error::Io`, and what it says.
type Variants = BTreeMap<String, String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The variants of the errors of one source file that say something by themselves, and
/// do not just pass another error on.
fn variants_in(file: &str, source: &str) -> Variants {
    let mut found = Variants::new();
    let (mut name, mut says, mut is_error) = (String::new(), None, false);
    for line in source.lines().take_while(|line| *line != "#[cfg(test)]") {
        let words: Vec<&str> =
            line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
        match (line.trim_start(), &words[..]) {
            (code, _) if code.starts_with("#[derive(") => is_error = code.contains("Error"),
            (code, _) if code.starts_with("#[error(") => says = Some(code.to_owned()),
            (_, ["pub", "enum", enumeration, ..]) if is_error => name = format!("{file} {enumeration}"),
            (_, [.., "struct", structure]) | (_, ["pub", "struct", structure, ..]) => {
                says.take().map(|says| found.insert(format!("{file} {structure}"), says));
            }
            (code, [variant, ..]) if code.starts_with(|c: char| c.is_ascii_uppercase()) => {
                says.take().map(|says| found.insert(format!("{name}::{variant}"), says));
            }
            // An attribute of several lines.
            (code, _) => says = says.map(|says| if says.ends_with(")]") { says } else { says + code }),
        }
    }
    found.retain(|_, says| !says.starts_with("#[error(transparent)"));
    found
}

/// All variants under `src`.
fn variants() -> Variants {
    let files = walkdir::WalkDir::new(root().join("src")).into_iter().map(|entry| entry.unwrap().into_path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let relative = |path: &PathBuf| path.strip_prefix(root()).unwrap().display().to_string();
    let of_file = |path: PathBuf| (relative(&path), fs::read_to_string(path).unwrap());
    files.map(of_file).flat_map(|(file, source)| variants_in(&file, &source)).collect()
}

/// What stands between the `{}` of a message, up to its first line's end.
fn pieces(attribute: &str) -> Vec<String> {
    let (mut pieces, mut piece, mut in_braces) = (Vec::new(), String::new(), false);
    let mut text = attribute.split_once('"').expect("a message").1.chars().peekable();
    while let Some(c) = text.next() {
        match (c, text.peek()) {
            ('"', _) | ('\\', Some('n')) => break,
            ('\\', Some(_)) => piece.extend(text.next()),
            ('{', Some('{')) | ('}', Some('}')) => piece.extend(text.next()),
            ('{', _) => in_braces = true,
            ('}', _) => (in_braces = false, pieces.push(std::mem::take(&mut piece))).1,
            _ if in_braces => {}
            _ => piece.push(c),
        }
    }
    pieces.push(piece);
    pieces
}

/// Whether a line of `snapshot` is an error or a cause that is made of `pieces`.
fn shows(snapshot: &str, pieces: &[String]) -> bool {
    let said = |line: &&str| line.starts_with("error: ") || line.starts_with("caused by: ");
    snapshot.lines().map(str::trim_start).filter(said).any(|line| {
        pieces.iter().try_fold(line, |rest, piece| rest.split_once(piece.as_str()).map(|(_, after)| after)).is_some()
    })
}

/// The lines of `variants.txt`: each variant, and a snapshot or `never: WHY`.
fn table() -> BTreeMap<String, String> {
    let text = include_str!("variants.txt");
    let mut name = "";
    let mut table = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(entry) = line.strip_prefix("  ") else {
            name = line;
            continue;
        };
        let (variant, rest) = entry.split_once(' ').expect("a variant and its snapshot");
        // A struct is an error of one kind.
        let key = if variant == "-" { name.to_owned() } else { format!("{name}::{variant}") };
        assert_eq!(table.insert(key.clone(), rest.trim().to_owned()), None, "{key} stands twice");
    }
    table
}

#[test]
fn every_error_has_a_snapshot_or_a_reason_why_a_person_cannot_cause_it() {
    let (variants, table) = (variants(), table());
    assert!(variants.len() > 250, "the errors are no longer found: {variants:?}");
    let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<BTreeSet<_>>();
    let missing: Vec<_> = names(&variants).difference(&names(&table)).cloned().collect();
    assert!(missing.is_empty(), "write into tests/errors/variants.txt which snapshot shows these: {missing:#?}");
    let gone: Vec<_> = names(&table).difference(&names(&variants)).cloned().collect();
    assert!(gone.is_empty(), "tests/errors/variants.txt has errors that are no more: {gone:#?}");
    for (variant, place) in table.iter().filter(|(_, place)| !place.starts_with("never: ")) {
        let snapshot = if place.ends_with(".rs") { place.clone() } else { format!("snapshots/{place}.txt") };
        let text = fs::read_to_string(root().join("tests").join(&snapshot))
            .unwrap_or_else(|error| panic!("{snapshot}: {error}"));
        assert!(shows(&text, &pieces(&variants[variant])), "{snapshot} does not show {variant}");
    }
}
