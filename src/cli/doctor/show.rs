//! How findings are written: a line each under their headings, with what to do below it.

use std::io;

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::display::count;
use crate::cli::error::Colour;
use crate::doctor::{Facts, Finding, Section, Severity};

/// The worst of the severities.
pub fn worst(found: &[Finding]) -> Severity {
    found.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
}

/// The findings and what they were made of.
pub fn as_json(facts: &Facts, found: &[Finding]) -> Value {
    json!({ "version": 1, "severity": worst(found), "findings": found, "facts": facts })
}

/// The findings for a person.
pub fn as_text(found: &[Finding], context: &Context) -> String {
    let colour = Colour::of(&io::stdout());
    let width = found.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or_default();
    let shown = |finding: &&Finding| !context.quiet() || finding.severity > Severity::Note;
    let mut text = String::new();
    let mut section = None;
    for finding in found.iter().filter(shown) {
        if section != Some(finding.section) {
            section = Some(finding.section);
            text += &format!("{}\n", colour.paint(heading(finding.section), BOLD));
        }
        let (label, style) = label(finding.severity);
        let label = colour.paint(&format!("{label:<7}"), style);
        let Finding { subject, found, .. } = finding;
        let space = " ".repeat(width - subject.chars().count());
        text += &format!("  {label}  {subject}{space}  {found}\n");
        text += &below(finding, context.verbose());
    }
    text + &sum(found)
}

/// Why it matters, where it does, and what to do.
fn below(finding: &Finding, verbose: bool) -> String {
    let why = finding.why.as_ref().filter(|_| verbose || finding.severity > Severity::Note);
    let words = why.into_iter().chain(&finding.advice).cloned();
    let commands = finding.commands.iter().map(|command| format!("$ {command}"));
    words.chain(commands).map(|line| format!("           {line}\n")).collect()
}

fn sum(found: &[Finding]) -> String {
    let of = |severity| found.iter().filter(|finding| finding.severity == severity).count();
    let parts = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
    let parts = parts.map(|(severity, noun)| (of(severity), noun));
    let said: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| count(*n, noun)).collect();
    if said.is_empty() { "all is well\n".to_owned() } else { format!("{}\n", said.join(", ")) }
}

fn heading(section: Section) -> &'static str {
    match section {
        Section::Machine => "machine",
        Section::Store => "store",
        Section::Registries => "registries",
        Section::Gpu => "gpu",
        Section::Docker => "docker",
    }
}

// ECMA-48 SGR: bold, and bold or not with a foreground.
const BOLD: &str = "1";

fn label(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Ok => ("ok", "32"),
        Severity::Note => ("note", "36"),
        Severity::Warning => ("warning", "1;33"),
        Severity::Error => ("error", "1;31"),
    }
}
