//! Reads pip's requirements files: "Requirements File Format" in pip's manual.

use std::path::Path;

use crate::recipe::Word;

use super::error::Error;
use super::note::{Item, Place};
use super::packages::Packages;
use super::{file, project};

/// How deep requirements files may include each other.
const DEPTH: usize = 16;

/// A logical line of a requirements file.
struct Line {
    place: Place,
    /// As it is written, without its comment.
    text: String,
    /// Whether it stands in a constraints file.
    constrains: bool,
    says: Says,
}

/// What a line says.
enum Says {
    Requirement(String),
    /// What uv would not take by its hash: a project, a wheel, a URL.
    Direct(String),
    Index(String),
    ExtraIndex(String),
    NoBinary(String),
    /// An option that has no say in what is installed.
    Nothing,
    /// An option that a recipe has no word for.
    Option(&'static str),
}

/// What the requirements file `file` says. Paths start from `directory`.
///
/// # Errors
/// If it, or a file that it includes, can't be read or is not of pip's format.
pub(super) fn read(directory: &Path, file: &str) -> Result<Packages, Error> {
    let mut lines = Vec::new();
    include(directory, file, false, 0, &mut lines)?;
    let whole = lines.iter().all(|line| match &line.says {
        Says::Requirement(_) | Says::Nothing => true,
        Says::Index(url) | Says::ExtraIndex(url) => Word::Index.accepts(url).is_ok(),
        Says::Direct(_) | Says::NoBinary(_) | Says::Option(_) => false,
    });
    let mut packages = Packages::default();
    if whole && Word::Path.accepts(file).is_ok() {
        packages.files.push(file.to_owned());
    }
    for line in lines {
        add(directory, &mut packages, line, whole);
    }
    Ok(packages)
}

/// What `file` says as a constraints file.
///
/// # Errors
/// As [`read`].
pub(super) fn constraints(directory: &Path, file: &str) -> Result<Packages, Error> {
    let mut lines = Vec::new();
    include(directory, file, true, 0, &mut lines)?;
    let mut packages = Packages::default();
    lines.into_iter().for_each(|line| add(directory, &mut packages, line, false));
    Ok(packages)
}

/// Adds a line. Where files are taken as they are (`whole`), only what the recipe has to
/// say besides.
fn add(directory: &Path, packages: &mut Packages, line: Line, whole: bool) {
    let Line { place, text, constrains, says } = line;
    match says {
        Says::Requirement(requirement) if whole => {
            if !constrains {
                packages.named.push(requirement);
            }
        }
        Says::Requirement(requirement) if constrains => packages.constraints.push(Item::Said(requirement)),
        Says::Requirement(requirement) => packages.require(Item::Said(requirement)),
        Says::Direct(_) if constrains => packages.unsaid(&place, &text, "a constraint on a URL or a path"),
        Says::Direct(what) => project::add(directory, packages, &place, &text, &what),
        Says::Index(url) | Says::ExtraIndex(url) if Word::Index.accepts(&url).is_err() => {
            packages.unsaid(&place, &text, "a password has no place in an index's URL: put it into ~/.netrc");
        }
        Says::Index(url) => packages.index(url),
        Says::ExtraIndex(url) => {
            if !packages.extra_index_url.contains(&url) {
                packages.extra_index_url.push(url);
            }
        }
        Says::NoBinary(names) => {
            for name in names.split(',').map(str::trim) {
                match Word::ProjectName.accepts(name) {
                    Ok(()) if !packages.no_binary.contains(&name.to_owned()) => {
                        packages.no_binary.push(name.to_owned())
                    }
                    Ok(()) => {}
                    Err(_) => packages.unsaid(&place, &text, "`no-binary` takes names of packages"),
                }
            }
        }
        Says::Nothing => {}
        Says::Option(why) => packages.unsaid(&place, &text, why),
    }
}

fn include(directory: &Path, file: &str, constrains: bool, depth: usize, lines: &mut Vec<Line>) -> Result<(), Error> {
    if depth > DEPTH {
        return Err(Error::Depth { path: directory.join(file), depth: DEPTH });
    }
    let text = file::read(directory, file)?;
    let beside = file.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
    for (number, text) in logical_lines(&text) {
        let place = Place::new(file, number);
        if let Some((option, included)) = inclusion(&text) {
            let included = if beside.is_empty() { included.to_owned() } else { format!("{beside}/{included}") };
            include(directory, &included, constrains || option == 'c', depth + 1, lines)?;
        } else {
            let says = says(&place, &text)?;
            lines.push(Line { place, text, constrains, says });
        }
    }
    Ok(())
}

/// The lines that say something, numbered, continuations joined and comments taken off.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (number, physical) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (number, so_far) = begun.take().unwrap_or((number + 1, String::new()));
        // pip: "A line ending in an unescaped \ is treated as a line continuation"
        match physical.strip_suffix('\\').filter(|line| !line.trim_start().starts_with('#')) {
            Some(part) => begun = Some((number, so_far + part)),
            None => lines.push((number, so_far + physical)),
        }
    }
    lines.extend(begun);
    let said = |(number, line): (usize, String)| {
        let line = without_comment(&line).trim();
        (!line.is_empty()).then(|| (number, line.to_owned()))
    };
    lines.into_iter().filter_map(said).collect()
}

/// pip: "A comment ... begins with # and ... must be preceded by whitespace, or begin the line".
fn without_comment(line: &str) -> &str {
    let begins = |at: usize| at == 0 || line[..at].ends_with(char::is_whitespace);
    let at = line.match_indices('#').map(|(at, _)| at).find(|at| begins(*at));
    &line[..at.unwrap_or(line.len())]
}

/// The file that a line includes, and by which option.
fn inclusion(line: &str) -> Option<(char, &str)> {
    for (option, name) in [('r', "--requirement"), ('r', "-r"), ('c', "--constraint"), ('c', "-c")] {
        if let Some(rest) = option_value(line, name) {
            return (!rest.contains("://")).then_some((option, rest));
        }
    }
    None
}

/// What follows an option: `--name VALUE`, `--name=VALUE`, `-n VALUE`, `-nVALUE`.
fn option_value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(name)?;
    let is_long = name.starts_with("--");
    if is_long && !rest.starts_with([' ', '\t', '=']) {
        return None;
    }
    let value = rest.trim_start_matches([' ', '\t']);
    let value = value.strip_prefix('=').unwrap_or(value).trim();
    let value = value.trim_matches(['"', '\'']);
    (!value.is_empty()).then_some(value)
}

fn says(place: &Place, line: &str) -> Result<Says, Error> {
    if line.starts_with('-') {
        return Ok(option(line));
    }
    // pip: per-requirement options follow the specifier
    let text = line.split(" --").next().unwrap_or(line).trim();
    if project::is_direct(text) {
        return Ok(Says::Direct(text.to_owned()));
    }
    Word::Requirement.accepts(text).map_err(|why| Error::Syntax {
        place: place.to_string(),
        message: format!("`{text}` is no requirement: {why}"),
        hint: Some("write name, name[extra] or name>=1.2".into()),
    })?;
    Ok(Says::Requirement(text.to_owned()))
}

fn option(line: &str) -> Says {
    let value = |names: &[&str]| names.iter().find_map(|name| option_value(line, name)).map(str::to_owned);
    if let Some(url) = value(&["--index-url", "--pypi-url", "-i"]) {
        return Says::Index(url);
    }
    if let Some(url) = value(&["--extra-index-url"]) {
        return Says::ExtraIndex(url);
    }
    if let Some(path) = value(&["--editable", "-e"]) {
        return Says::Direct(path);
    }
    if let Some(names) = value(&["--no-binary"]) {
        return Says::NoBinary(names);
    }
    let begins = |names: &[&str]| names.iter().any(|name| line.starts_with(name));
    // A lock has the hash of every file, and prefers wheels.
    if begins(&["--require-hashes", "--prefer-binary", "--use-feature", "--only-binary", "--progress-bar"]) {
        return Says::Nothing;
    }
    Says::Option(match line {
        _ if begins(&["--trusted-host"]) => "registries.conf and SSL_CERT_FILE say whom this machine trusts",
        _ if begins(&["--find-links", "-f", "--no-index"]) => {
            "name wheels on disk in `wheels`, an index in `index-url`"
        }
        _ if begins(&["--pre"]) => "name a pre-release of a package by its version: name>=2.0rc1",
        _ if begins(&["-r", "-c", "--requirement", "--constraint"]) => "a requirements file is read from disk alone",
        _ => "a recipe has no word for this option",
    })
}

#[cfg(test)]
mod tests {
    use super::{logical_lines, option_value};

    #[test]
    fn lines_are_joined_and_comments_taken_off() {
        let text =
            "# top\nnumpy==1.26.4 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n\ntqdm # why\nx @ file:///a#b\n";
        let lines = logical_lines(text);
        assert_eq!(lines[0], (2, "numpy==1.26.4     --hash=sha256:00     --hash=sha256:11".into()));
        assert_eq!(lines[1..], [(6, "tqdm".into()), (7, "x @ file:///a#b".into())]);
    }

    #[test]
    fn options_have_their_values_in_four_forms() {
        for line in ["--index-url https://x", "--index-url=https://x"] {
            assert_eq!(option_value(line, "--index-url"), Some("https://x"));
        }
        assert_eq!((option_value("-rx.txt", "-r"), option_value("-r x.txt", "-r")), (Some("x.txt"), Some("x.txt")));
        assert_eq!(option_value("--index-urls", "--index-url"), None);
    }
}
