//! How a failure is shown and which status the process exits with.
//!
//! A failure is three things, whoever it comes from: what happened (`error:`), why,
//! cause by cause (`caused by:`), and what a person can do about it (`hint:`).

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// What kind of failure it is, for scripts: the process's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitKind {
    /// None of the others.
    Other = 1,
    /// The command line is wrong (clap exits with the same).
    Usage = 2,
    /// The recipe or the lock is wrong, or they don't fit each other.
    Recipe = 3,
    /// A registry or an index can't be reached, or breaks off again and again.
    Network = 4,
    /// It was reached and refuses: no credentials, or not the right ones.
    Access = 5,
    /// Bytes are not what their digest, their size or their format says.
    Integrity = 6,
    /// The store or the disk: full, read-only, not writable.
    Store = 7,
    /// The sandbox can't work here.
    Sandbox = 8,
    /// A command that a layer is made by failed.
    Command = 9,
    /// An image is not what its lock makes.
    Differs = 10,
    /// A recipe's test failed in its image.
    Test = 11,
    /// `doctor`: everything works, and something is lost.
    Impaired = 12,
    /// `doctor`: something does not work.
    Unfit = 13,
    /// A container's program can't be executed: sh(1), Exit Status.
    NotExecutable = 126,
    /// A container's program is not there.
    NotFound = 127,
    /// SIGTERM: what Slurm and CI runners send.
    Terminated = 143,
    /// SIGINT: 128 and the signal's number, as shells have it.
    Interrupted = 130,
}

impl ExitKind {
    /// Whether a signal ended the command.
    pub fn is_signal(self) -> bool {
        matches!(self, Self::Terminated | Self::Interrupted)
    }
}

impl From<ExitKind> for ExitCode {
    fn from(exit: ExitKind) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit status and what a person can do about it.
pub trait Explain: Error {
    /// What a person can do.
    fn hint(&self) -> Option<String>;

    /// The status to exit with.
    fn exit(&self) -> ExitKind;
}

impl Explain for crate::recipe::Error {
    fn hint(&self) -> Option<String> {
        self.hint()
    }

    fn exit(&self) -> ExitKind {
        ExitKind::Recipe
    }
}

/// Why a command failed: the error at the end of every verb's `Result`.
#[derive(Debug)]
pub struct Failure {
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
    exit: ExitKind,
}

impl<E: Explain + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { hint: error.hint(), exit: error.exit(), error: Box::new(error) }
    }
}

/// What is said in `text`, without the lines of a file (`3 | …`, ` | ^`) that it points at.
fn in_one_line(text: &str) -> String {
    let points = |line: &&str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    plain(text).lines().filter(|line| !points(line)).collect::<Vec<_>>().join(": ")
}

impl Failure {
    /// A failure that no module's error says: `error` is an error or a sentence.
    pub fn new(exit: ExitKind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { error: error.into(), hint: None, exit }
    }

    /// A command line that clap takes and that says too little or too much.
    pub fn usage(message: &str) -> Self {
        Self::new(ExitKind::Usage, message).hint("`--help` after the verb shows its arguments")
    }

    /// Nowhere to keep layers.
    pub fn no_home() -> Self {
        Self::new(ExitKind::Store, "there is no home directory to keep layers in")
            .hint("name a directory with --store or DLPACK_STORE, or set HOME")
    }

    /// The same as the cause of `what` went wrong.
    pub fn about(self, what: impl Into<String>) -> Self {
        Self { error: Box::new(About { what: what.into(), source: self.error }), ..self }
    }

    /// The same with a hint, in place of the one that it has.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The status to exit with.
    pub fn exit(&self) -> ExitKind {
        self.exit
    }

    /// What happened and why, for those who make a line of it.
    pub fn in_one_line(&self) -> String {
        let causes = std::iter::successors(self.error.source(), |error| (**error).source());
        let causes = causes.map(|error| format!(": {}", in_one_line(&error.to_string())));
        in_one_line(&self.error.to_string()) + &causes.collect::<String>()
    }

    /// Writes it for a person. What can't be written is not missed: the exit status
    /// says it, too.
    pub fn show(&self, out: &mut dyn Write, colour: Colour) {
        let _ = out.write_all(self.render(colour).as_bytes());
    }

    fn render(&self, colour: Colour) -> String {
        let mut said = plain(&self.error.to_string());
        let mut text = format!("{} {said}\n", colour.paint("error:", RED));
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let why = plain(&error.to_string());
            // An error that passes its cause's words on says nothing new.
            if !said.ends_with(&why) {
                let _ = writeln!(text, "{} {why}", colour.paint("caused by:", BOLD));
            }
            said = why;
            cause = error.source();
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{} {}", colour.paint("hint:", CYAN), plain(hint));
        }
        text
    }
}

/// What a command was about when it failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct About {
    what: String,
    source: Box<dyn Error + Send + Sync>,
}

// ECMA-48 SGR: bold, and bold with a foreground.
const BOLD: &str = "1";
const RED: &str = "1;31";
const CYAN: &str = "1;36";

/// Whether labels are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// For a terminal.
    Always,
    /// For a file, a pipe, a log.
    Never,
}

impl Colour {
    /// Colour on a terminal that has it, unless `NO_COLOR` is set.
    pub fn of_stderr() -> Self {
        Self::of(&io::stderr())
    }

    /// The same for any other.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if stream.is_terminal() && !set("NO_COLOR") && !dumb { Self::Always } else { Self::Never }
    }

    /// `label` in the `style` of ECMA-48 SGR.
    pub fn paint(self, label: &str, style: &str) -> String {
        match self {
            Self::Always => format!("\x1b[{style}m{label}\x1b[0m"),
            Self::Never => label.to_owned(),
        }
    }
}

/// The text without control characters: a registry's message must not move the
/// cursor or set the title of somebody's terminal.
fn plain(text: &str) -> String {
    let text = text.trim_end();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Colour, ExitKind, Failure};

    #[derive(Debug, thiserror::Error)]
    #[error("can't push `{0}`")]
    struct Outer(&'static str, #[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Middle(#[from] std::io::Error);

    fn failure(message: &str) -> Failure {
        Failure::new(ExitKind::Network, Outer("a/b", Middle(std::io::Error::other(message.to_owned()))))
    }

    #[test]
    fn a_failure_is_what_happened_why_and_what_to_do() {
        let shown = failure("connection refused").about("no luck").hint("start it").render(Colour::Never);
        let expected = "error: no luck\ncaused by: can't push `a/b`\ncaused by: connection refused\nhint: start it\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn on_a_terminal_only_the_labels_are_coloured() {
        let shown = failure("refused").render(Colour::Always);
        assert_eq!(shown, "\x1b[1;31merror:\x1b[0m can't push `a/b`\n\x1b[1mcaused by:\x1b[0m refused\n");
    }

    #[test]
    fn what_a_server_says_cannot_command_the_terminal() {
        let shown = failure("\x1b]0;owned\x07").render(Colour::Never);
        assert_eq!(shown, "error: can't push `a/b`\ncaused by: \\u{1b}]0;owned\\u{7}\n");
    }
}
