//! Where a value stands: files, byte ranges in them, and what a person is shown
//! of it (file, line, column, the line with a caret).

use std::fmt;
use std::ops::Range;

/// A place in a recipe, as an editor counts: the first line and the first column
/// are 1, a column is a character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The recipe's file as it was named, or `shipped:NAME.toml`.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A place with the line that stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Where it is.
    pub location: Location,
    line: String,
    width: usize,
}

impl Excerpt {
    /// The same with dots in place of what is marked.
    pub(super) fn masked(self) -> Self {
        let start = self.location.column - 1;
        let marked = start..start + self.width;
        let line = self.line.chars().enumerate().map(|(n, c)| if marked.contains(&n) { '·' } else { c }).collect();
        Self { line, ..self }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.location.line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs stay tabs, so that the caret stands under its character whatever a tab's width.
        let indent: String =
            self.line.chars().take(self.location.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.line)?;
        write!(f, "{margin} | {indent}{}", "^".repeat(self.width))
    }
}

/// A byte range in one of the files that a recipe is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub(super) file: usize,
    start: usize,
    end: usize,
}

impl Origin {
    pub(super) fn new(file: usize, span: Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end }
    }
}

/// One file of a recipe.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// As errors name it.
    pub(super) name: String,
    /// The directory that its relative paths start from, relative to the recipe's
    /// own; empty for the recipe itself.
    pub(super) directory: String,
    /// What it says.
    pub(super) text: String,
}

/// The files that a recipe is made of: itself first, then what it extends.
#[derive(Clone, Debug, Default)]
pub(super) struct Files(Vec<File>);

impl Files {
    /// Adds a file and says its number.
    pub(super) fn add(&mut self, file: File) -> usize {
        self.0.push(file);
        self.0.len() - 1
    }

    /// The file that `origin` is in.
    pub(super) fn file(&self, origin: Origin) -> &File {
        &self.0[origin.file]
    }

    pub(super) fn location(&self, origin: Origin) -> Location {
        self.excerpt(origin).location
    }

    pub(super) fn excerpt(&self, origin: Origin) -> Excerpt {
        let File { name, text, .. } = self.file(origin);
        let start = origin.start.min(text.len());
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let marked = text.get(start..origin.end.min(line_start + line.len())).unwrap_or_default();
        Excerpt {
            location: Location {
                file: name.clone(),
                line: text[..start].matches('\n').count() + 1,
                column: text[line_start..start].chars().count() + 1,
            },
            line: line.to_owned(),
            width: marked.chars().count().max(1),
        }
    }
}
