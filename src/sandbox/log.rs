//! What steps print: whole in a file, line by line for whoever watches, and the last
//! lines for the error if a step fails.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Error;
use crate::progress::Output;

/// How many lines an error shows.
const TAIL: usize = 20;

/// How much of a line is shown, in bytes: a progress bar of a program may print
/// megabytes without ending one. The log has all of it.
const LONGEST: usize = 400;

/// Keeps and tells what steps print. What can't be kept is told still.
pub struct Log {
    path: PathBuf,
    file: File,
    output: Option<Output>,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// Whether a carriage return came last: what follows takes the line's place.
    returned: bool,
    last: VecDeque<String>,
}

impl Log {
    /// A new log `LABEL.log` in `directory`; an older one of that name is replaced.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn create(directory: &Path, label: &str, output: Option<Output>) -> Result<Self, Error> {
        let path = directory.join(format!("{label}.log"));
        let failed = |source| Error::Io { doing: "create", path: path.clone(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        // Whoever reads the older one goes on reading it.
        let _ = fs::remove_file(&path);
        let file = File::create(&path).map_err(failed)?;
        Ok(Self { path, file, output, line: Vec::new(), returned: false, last: VecDeque::new() })
    }

    /// Takes the next bytes that a step printed.
    pub fn take(&mut self, bytes: &[u8]) {
        // A full disk must not fail a step whose output nobody may ever look at.
        let _ = self.file.write_all(bytes);
        for &byte in bytes {
            if std::mem::take(&mut self.returned) && byte != b'\n' {
                self.line.clear();
            }
            match byte {
                b'\n' => self.end_line(),
                b'\r' => self.returned = true,
                _ if self.line.len() < LONGEST => self.line.push(byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        let line = shown(&String::from_utf8_lossy(&self.line));
        self.line.clear();
        if line.is_empty() {
            return;
        }
        if let Some(output) = &self.output {
            output.line(line.as_str());
        }
        if self.last.len() == TAIL {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The last lines until now.
    pub(super) fn last_lines(&mut self) -> Vec<String> {
        self.end_line();
        self.last.iter().cloned().collect()
    }

    /// The last lines, and where all of them are.
    pub fn tail(mut self) -> Tail {
        self.end_line();
        Tail { path: self.path, lines: self.last.into() }
    }
}

/// A line without what would move the cursor or change the colours of a terminal.
fn shown(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut characters = line.trim_end().chars();
    while let Some(character) = characters.next() {
        // ECMA-48, 5.4: a control sequence is ESC `[`, parameters, and a final byte from `@` to `~`
        if character == '\x1b' && characters.next() == Some('[') {
            characters.find(|end| ('@'..='~').contains(end));
        } else if character == '\t' || !character.is_control() {
            shown.push(character);
        }
    }
    shown
}

/// The last lines that a step printed, to be the cause of an error.
#[derive(Clone, Debug)]
pub struct Tail {
    /// The log.
    pub path: PathBuf,
    /// The lines, oldest first.
    pub lines: Vec<String>,
}

impl std::error::Error for Tail {}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if self.lines.is_empty() {
            return write!(f, "it printed nothing ({path})");
        }
        write!(f, "the last lines that it printed; all are in {path}")?;
        self.lines.iter().try_for_each(|line| write!(f, "\n  | {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_has_the_last_lines_and_what_a_terminal_would_show() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::create(directory.path(), "run-1", None).unwrap();
        (0..30).for_each(|n| log.take(format!("line {n}\n\n").as_bytes()));
        log.take(b"10%\r");
        log.take(b"\x1b[1;31mred\x1b[0m\r\n100%");
        let tail = log.tail();
        assert_eq!((tail.lines.len(), tail.lines[0].as_str()), (TAIL, "line 12"));
        assert_eq!(tail.lines[TAIL - 2..], ["red", "100%"]);
        let whole = fs::read_to_string(&tail.path).unwrap();
        assert!(whole.starts_with("line 0\n\nline 1\n") && whole.ends_with("\r\n100%"));
    }
}
