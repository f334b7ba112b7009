//! `.dockerignore`: what of a directory COPY does not bring.

use std::fs;
use std::path::Path;

use super::super::error::Error;
use super::super::file;
use super::super::found::listed;

/// The lines of a `.dockerignore`.
pub(super) struct Ignored {
    /// Patterns by their parts, and whether each takes out, in their order.
    rules: Vec<(Vec<String>, bool)>,
}

impl Ignored {
    /// Those for a Dockerfile in `directory`: "the builder looks for an ignore-file named after
    /// the Dockerfile", and else for `.dockerignore`.
    ///
    /// # Errors
    /// If it can't be read.
    pub(super) fn read(directory: &Path, dockerfile: &str) -> Result<Self, Error> {
        let own = format!("{dockerfile}.dockerignore");
        let there = [own.as_str(), ".dockerignore"].into_iter().find(|name| directory.join(name).exists());
        let text = there.map(|name| file::read(directory, name)).transpose()?;
        Ok(Self::of(&text.unwrap_or_default()))
    }

    fn of(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let rules = lines.map(|line| {
            let (pattern, takes_out) = line.strip_prefix('!').map_or((line, true), |kept| (kept, false));
            let parts = pattern.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned);
            (parts.collect(), takes_out)
        });
        Self { rules: rules.collect() }
    }

    /// Whether `path` is left out: the last line that matches it or a directory above says so.
    pub(super) fn names(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let hits = |pattern: &[String]| (1..=parts.len()).any(|end| matches_parts(pattern, &parts[..end]));
        let mut rules = self.rules.iter().rev();
        rules.find(|(pattern, _)| hits(pattern)).is_some_and(|(_, takes_out)| *takes_out)
    }

    /// What of `path` is copied: the path itself if all of it is, else its parts that are.
    pub(super) fn left(&self, directory: &Path, path: &str) -> Vec<String> {
        self.parts(directory, path).0
    }

    fn parts(&self, directory: &Path, path: &str) -> (Vec<String>, bool) {
        let is_named = self.names(path);
        let at = directory.join(path);
        let is_directory = fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_dir());
        if is_named && (!is_directory || self.rules.iter().all(|(_, takes_out)| *takes_out)) {
            return (Vec::new(), false);
        }
        if !is_directory {
            return (vec![path.to_owned()], true);
        }
        let inside = names(&at).into_iter().map(|name| self.parts(directory, &format!("{path}/{name}")));
        let (lists, wholes): (Vec<Vec<String>>, Vec<bool>) = inside.unzip();
        if !is_named && wholes.into_iter().all(|whole| whole) {
            return (vec![path.to_owned()], true);
        }
        (lists.concat(), false)
    }
}

/// The names in a directory, sorted.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let entries = listed(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// "Docker also supports a special wildcard string ** that matches any number of directories
/// (including zero)."
fn matches_parts(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            (0..=path.len()).any(|skipped| matches_parts(rest, &path[skipped..]))
        }
        (Some((first, rest)), Some((name, below))) => matches(first, name) && matches_parts(rest, below),
        _ => false,
    }
}

/// Go's filepath.Match, for `*` and `?`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches(rest, &name[at..]))
        }
        (Some('?'), Some(c)) => matches(&pattern[1..], &name[c.len_utf8()..]),
        (Some(p), Some(c)) if p == c => matches(&pattern[p.len_utf8()..], &name[c.len_utf8()..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Ignored, matches};

    #[test]
    fn patterns_match_as_go_has_them() {
        assert!(matches("*.py", "a.py") && matches("re?ts*.txt", "rexts-1.txt") && matches("*", "a"));
        assert!(!matches("*.py", "a.pyc") && !matches("a", "ab") && !matches("?", ""));
    }

    #[test]
    fn the_last_line_that_matches_says_whether_a_file_is_left_out() {
        let ignored = Ignored::of("# mine\n*.log\n**/*.tmp\nconfig/secrets.yml\n/data/\n!data/small\n");
        for path in ["run.log", "a/b/c.tmp", "c.tmp", "config/secrets.yml", "data/big/x"] {
            assert!(ignored.names(path), "{path}");
        }
        for path in ["a/run.log", "config/a.yml", "data/small/x", "config"] {
            assert!(!ignored.names(path), "{path}");
        }
    }
}
