//! Comments of a recipe that is being written: what its sources say and it can't, with
//! the line that says it.

use std::fmt::{self, Display};

/// Where something stands in one of the files that a recipe is written from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file, as a person would name it from the directory.
    pub(super) file: String,
    /// The line, from 1.
    pub(super) line: usize,
}

impl Place {
    pub(super) fn new(file: impl Into<String>, line: usize) -> Self {
        Self { file: file.into(), line }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A comment, without its `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    lines: Vec<String>,
    about: About,
}

/// What a comment is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    /// What stands under it.
    Below,
    /// Where that is from.
    From(Place),
    /// What the recipe does not say, and why.
    Unsaid(String),
}

impl Note {
    /// A comment that explains what stands under it.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { lines: text.into().lines().map(masked).collect(), about: About::Below }
    }

    /// Where what stands under it is from.
    pub(super) fn from(place: &Place) -> Self {
        Self { lines: vec![place.to_string()], about: About::From(place.clone()) }
    }

    /// `original`, which stands at `place` and which the recipe does not say, and why.
    pub(super) fn unsaid(place: &Place, original: &str, why: &str) -> Self {
        Self::unsaid_at(&place.to_string(), original, why)
    }

    /// As [`Note::unsaid`], of a place in writing.
    pub(super) fn unsaid_at(place: &str, original: &str, why: &str) -> Self {
        let mut lines = original.lines().map(|line| format!("    {}", line.trim_end()));
        let first = lines.next().unwrap_or_default();
        let mut quoted = vec![format!("{place}: {}", first.trim_start())];
        quoted.extend(lines);
        Self { lines: quoted.iter().map(|line| masked(line)).collect(), about: About::Unsaid(masked(why)) }
    }

    /// Its first line.
    pub(super) fn first_line(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    /// Whether it is about something that the recipe does not say.
    pub(super) fn is_unsaid(&self) -> bool {
        matches!(self.about, About::Unsaid(_))
    }
}

/// The lines of comments that stand together, behind a `#` each: places in a file are on one
/// line, and a reason that holds for several is said once.
pub(super) fn joined(notes: &[Note]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (at, note) in notes.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &notes[before].about);
        match (before, &note.about, lines.last_mut()) {
            (Some(About::From(before)), About::From(place), Some(last)) if before.file == place.file => {
                last.push_str(&format!(", {}", place.line));
            }
            _ => lines.extend(note.lines.iter().cloned()),
        }
        if let About::Unsaid(why) = &note.about
            && notes.get(at + 1).is_none_or(|next| next.about != note.about)
        {
            lines.push(format!("  not said here: {why}"));
        }
    }
    lines
}

/// An item of a list, or a comment where one would stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The item.
    Said(String),
    /// The comment.
    Note(Note),
}

/// The text without user names and passwords of its URLs, and without control
/// characters, which TOML does not take in a comment.
fn masked(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        // RFC 3986, 3.2: the authority ends at the next `/`, `?` or `#`
        let end = after.find(|c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace()).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                out.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    out.replace(|c: char| c.is_control() && c != '\t', " ")
}

#[cfg(test)]
mod tests {
    use super::{Note, Place, joined};

    #[test]
    fn a_comment_quotes_the_line_without_its_password() {
        let place = Place::new("requirements.txt", 3);
        let note = Note::unsaid(&place, "git+https://me:secret@example.org/x@main", "there is no git in a build");
        let lines = joined(&[note]);
        assert_eq!(lines[0], "requirements.txt:3: git+https://***@example.org/x@main");
        assert_eq!(lines[1], "  not said here: there is no git in a build");
        let note = Note::new("\"x @ https://me:secret@example.org/x.whl\",");
        assert_eq!(note.first_line(), "\"x @ https://***@example.org/x.whl\",");
    }

    #[test]
    fn what_stands_together_is_said_once() {
        let place = |line| Place::new("Dockerfile", line);
        let unsaid = |line, what, why| Note::unsaid(&place(line), what, why);
        let notes = [
            Note::from(&place(3)),
            Note::from(&place(4)),
            unsaid(5, "a", "x"),
            unsaid(6, "b", "x"),
            unsaid(7, "c", "y"),
        ];
        let expected = [
            "Dockerfile:3, 4",
            "Dockerfile:5: a",
            "Dockerfile:6: b",
            "  not said here: x",
            "Dockerfile:7: c",
            "  not said here: y",
        ];
        assert_eq!(joined(&notes), expected);
    }
}
