//! Errors as a person sees them, compared with snapshots: `SNAPSHOTS=overwrite cargo
//! test` writes what is shown now.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use dlpack::cli::error::{Colour, Failure};
use snapbox::Data;

use super::command::Ran;

/// Errors one after the other, each as `dlpack` would end with it.
#[derive(Default)]
pub struct Shown {
    /// What differs from run to run, and what stands for it.
    replaced: Vec<(String, &'static str)>,
    text: String,
}

impl Shown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows `by` wherever an error has `what`.
    pub fn replace(&mut self, what: impl Into<String>, by: &'static str) {
        self.replaced.push((what.into(), by));
    }

    /// The error that `case` is about.
    pub fn add(&mut self, case: &str, error: impl Into<Failure>) {
        let failure = error.into();
        let mut said = Vec::new();
        failure.show(&mut said, Colour::Never);
        self.note(case, &String::from_utf8(said).expect("UTF-8"), failure.exit() as i32);
    }

    /// The same where the causes are the system's, and differ from run to run.
    pub fn add_without_causes(&mut self, case: &str, error: impl Into<Failure>) {
        let failure = error.into();
        let mut said = Vec::new();
        failure.show(&mut said, Colour::Never);
        let said = String::from_utf8(said).expect("UTF-8");
        let lines = said.lines().filter(|line| !line.starts_with("caused by: "));
        self.note(case, &lines.map(|line| format!("{line}\n")).collect::<String>(), failure.exit() as i32);
    }

    /// The error that `dlpack` ends with when it is run as `command`.
    #[track_caller]
    pub fn run(&mut self, case: &str, command: &mut Command) {
        let ran = command.output().map(Ran::from).expect("dlpack runs");
        assert_ne!(ran.status, 0, "{case}: it succeeded:\n{}{}", ran.stdout, ran.stderr);
        let from = ran.stderr.find("error: ").unwrap_or_else(|| panic!("{case}: no error in {}", ran.stderr));
        self.note(case, &ran.stderr[from..], ran.status);
    }

    fn note(&mut self, case: &str, said: &str, status: i32) {
        let text = self.replaced.iter().fold(said.to_owned(), |text, (what, by)| text.replace(what, by));
        let case = case.escape_default();
        writeln!(self.text, "# {case}\n{}--- exit status {status}\n", redacted(&text)).expect("memory");
    }

    /// Compares all of them with `tests/snapshots/NAME.txt`.
    #[track_caller]
    pub fn is(&self, name: &str) {
        snapbox::Assert::new().action_env("SNAPSHOTS").eq(self.text.as_str(), snapshot(name));
    }
}

/// `tests/snapshots/NAME.txt`.
fn snapshot(name: &str) -> Data {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name).with_extension("txt");
    Data::read_from(&path, None)
}

/// The text with `DIGEST` for each digest or the beginning of one, `SESSION` for that
/// of an upload, `TIME` for each span of time, `.tmp` for each temporary file, and `SOME` bytes before
/// a connection broke off.
pub fn redacted(text: &str) -> String {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let (mut out, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let boundary = !out.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
        let run = rest.find(|c| !hex(c)).unwrap_or(rest.len());
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let after = &rest[number..];
        if out.ends_with("broke off after ") && number > 0 && !rest.starts_with("0 ") {
            out += "SOME";
            rest = after;
        } else if let Some(random) = rest.strip_prefix(".tmp") {
            out += ".tmp";
            rest = random.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        } else if boundary && run == 32 {
            out += "SESSION";
            rest = &rest[run..];
        } else if boundary && [12, 64].contains(&run) {
            out += "DIGEST";
            rest = &rest[run..];
        } else if boundary && number > 0 && (after.starts_with(" s)") || after.starts_with(" s\n")) {
            out += "TIME";
            rest = &after[2..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}
