//! The manual's examples: each command line in it is one that dlpack takes, and each file
//! that it names is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::uv::uv;

/// What has the schemas of CI services' files.
const SCHEMAS: &str = "check-jsonschema==0.39.0";

/// What ends a command in a shell's line.
const ENDS: [&str; 7] = ["|", "||", "&&", ";", "&", ">", "2>"];

/// A command line of the manual.
struct Line {
    /// The file, and the line in it.
    at: String,
    /// What dlpack is given.
    words: Vec<String>,
}

#[test]
fn each_command_line_of_the_manual_is_one_that_dlpack_takes() {
    let lines: Vec<Line> = pages().iter().flat_map(|page| commands(page)).collect();
    assert!(lines.len() > 30, "{} command lines: the manual was not read", lines.len());
    let mut wrong = Vec::new();
    for line in &lines {
        if let Err(error) = dlpack::cli::command().try_get_matches_from(["dlpack".to_owned()].iter().chain(&line.words))
        {
            let why = error.to_string().lines().next().unwrap_or_default().to_owned();
            wrong.push(format!("{}: dlpack {}: {why}", line.at, line.words.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_manual_links_to_is_there() {
    let mut missing = Vec::new();
    for page in pages().iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let there = match heading {
                "" => target.exists(),
                _ => fs::read_to_string(&target).is_ok_and(|text| anchors(&text).any(|anchor| anchor == heading)),
            };
            if !there {
                missing.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_examples_for_ci_and_slurm_are_of_the_form_that_those_take() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    for (schema, file) in [("vendor.github-workflows", "github.yml"), ("vendor.gitlab-ci", "gitlab.yml")] {
        let mut check = Command::new(uv());
        check.args(["tool", "run", "--quiet", "--from", SCHEMAS, "check-jsonschema", "--builtin-schema", schema]);
        let output = check.arg(examples.join(file)).output().unwrap();
        let [said, why] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(output.status.success(), "{file}: {said}{why}\nhint: {SCHEMAS} comes from the package index");
    }
    let script = Command::new("bash").arg("-n").arg(examples.join("slurm.sh")).output().unwrap();
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
}

/// What a page's headings are linked by.
fn anchors(text: &str) -> impl Iterator<Item = String> + '_ {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let kept = |letter: char| letter.is_alphanumeric() || [' ', '-', '_'].contains(&letter);
        let heading: String =
            line.trim_start_matches('#').trim().to_lowercase().chars().filter(|it| kept(*it)).collect();
        heading.replace(' ', "-")
    })
}

/// The README, the manual's pages, its examples, and the recipes.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    for directory in ["docs", "docs/examples", "recipes"] {
        let entries = fs::read_dir(root.join(directory)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(entries.filter(|path| path.is_file()));
    }
    pages.sort();
    pages
}

/// The command lines in a page: in the blocks of a shell, in scripts, and in recipes' comments.
fn commands(page: &Path) -> Vec<Line> {
    let text = fs::read_to_string(page).unwrap();
    let is_page = page.extension().is_some_and(|extension| extension == "md");
    let (mut lines, mut in_shell) = (Vec::new(), !is_page);
    for (number, line) in (1..).zip(text.lines()) {
        if is_page && line.trim_start().starts_with("```") {
            in_shell = line.trim() == "```sh";
            continue;
        }
        let line = line.strip_prefix("#   ").unwrap_or(line);
        if in_shell && !line.trim_start().starts_with('#') {
            let at = format!("{}:{number}", page.display());
            lines.extend(of_line(line).into_iter().map(|words| Line { at: at.clone(), words }));
        }
    }
    lines
}

/// The commands of dlpack in a shell's line, each without the `dlpack`.
fn of_line(line: &str) -> Vec<Vec<String>> {
    let words = words(line);
    let starts = words.iter().enumerate().filter(|(_, word)| *word == "dlpack").map(|(start, _)| start + 1);
    let command = |start: usize| {
        words[start..].iter().take_while(|word| !ENDS.contains(&word.as_str())).cloned().collect::<Vec<_>>()
    };
    starts.map(command).filter(|words| words.first().is_some_and(|verb| verb.starts_with(char::is_lowercase))).collect()
}

/// The words of a shell's line, up to its comment, with names in place of variables.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in line.chars().chain([' ']) {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (_, Some(open)) if letter == open => quote = None,
            ('#', None) if word.is_empty() => break,
            (letter, None) if letter.is_whitespace() => {
                let word = std::mem::take(&mut word);
                // what a person puts in is written in capitals, as are variables' names
                let word = if word.starts_with('-') { word } else { word.to_lowercase() };
                words.extend(Some(word).filter(|word| !word.is_empty()));
            }
            ('$' | '{' | '}' | '(' | ')', _) => {}
            (letter, _) => word.push(letter),
        }
    }
    words
}
