//! The Dockerfile's form: instructions with their flags, continuation lines and here-documents
//! (Dockerfile reference, "Format").

use super::super::error::Error;
use super::super::note::Place;

/// What an instruction may be called.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// An instruction.
#[derive(Clone, Debug)]
pub(super) struct Instruction {
    pub(super) place: Place,
    /// In upper case.
    pub(super) keyword: String,
    /// `--name=value`, without the dashes; the value is empty where there is none.
    pub(super) flags: Vec<(String, String)>,
    /// Its arguments on one line.
    pub(super) arguments: String,
    /// Its arguments as they are typed, for a shell.
    pub(super) typed: String,
    pub(super) heredocs: Vec<Heredoc>,
    /// As it stands in the file.
    pub(super) original: String,
}

/// `<<NAME` and the lines up to `NAME`.
#[derive(Clone, Debug)]
pub(super) struct Heredoc {
    pub(super) name: String,
    pub(super) content: String,
    /// Whether variables in it are filled in: its name has no quotes.
    pub(super) expands: bool,
}

impl Instruction {
    /// The values of a flag.
    pub(super) fn flag<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.flags.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The JSON array that its arguments are, in the exec form.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        serde_json::from_str(self.arguments.trim()).ok()
    }
}

/// The instructions of the Dockerfile `file`.
///
/// # Errors
/// An instruction that there is not, or a here-document without its end, with the line.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Instruction>, Error> {
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    let escape = escape_of(&lines);
    let mut instructions = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if is_comment(lines[at]) || lines[at].trim().is_empty() {
            at += 1;
            continue;
        }
        let begin = at;
        let (typed, next) = logical(&lines, at, escape);
        at = next;
        let place = Place::new(file, begin + 1);
        let mut instruction = instruction(place, &typed)?;
        if matches!(instruction.keyword.as_str(), "RUN" | "COPY" | "ADD") {
            for (name, expands, strips) in heredoc_names(&instruction.arguments) {
                let (content, next) = heredoc(&lines, at, &name, strips).ok_or_else(|| Error::Syntax {
                    place: instruction.place.to_string(),
                    message: format!("the here-document `<<{name}` has no end"),
                    hint: Some(format!("a line `{name}` ends it")),
                })?;
                at = next;
                instruction.heredocs.push(Heredoc { name, content, expands });
            }
        }
        instruction.original = lines[begin..at].join("\n");
        instructions.push(instruction);
    }
    Ok(instructions)
}

/// "The escape directive sets the character used to escape characters in a Dockerfile." Directives
/// stand at the top, before anything else.
fn escape_of(lines: &[&str]) -> char {
    let directives = lines.iter().map_while(|line| line.trim().strip_prefix('#')?.split_once('='));
    let escape =
        directives.filter(|(name, _)| name.trim().eq_ignore_ascii_case("escape")).map(|(_, value)| value.trim());
    if escape.last() == Some("`") { '`' } else { '\\' }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// The line at `at` with those that continue it, each on a line of its own behind a `\`,
/// and the number of the line after them. "Comment lines are removed before the Dockerfile
/// instructions are executed".
fn logical(lines: &[&str], mut at: usize, escape: char) -> (String, usize) {
    let mut text = String::new();
    while at < lines.len() {
        let line = lines[at].trim_end();
        at += 1;
        if !text.is_empty() && (is_comment(line) || line.is_empty()) {
            continue;
        }
        match line.strip_suffix(escape) {
            Some(part) => {
                text.push_str(part);
                text.push_str("\\\n");
            }
            None => {
                text.push_str(line);
                break;
            }
        }
    }
    let typed = text.strip_suffix("\\\n").unwrap_or(&text).to_owned();
    (typed, at)
}

fn instruction(place: Place, typed: &str) -> Result<Instruction, Error> {
    let typed = typed.trim();
    let end = typed.find(|c: char| c.is_whitespace() || c == '\\').unwrap_or(typed.len());
    let keyword = typed[..end].to_ascii_uppercase();
    if !KEYWORDS.contains(&keyword.as_str()) {
        return Err(Error::Syntax {
            place: place.to_string(),
            message: format!("there is no instruction `{}`", &typed[..end]),
            hint: Some("a line that goes on ends in `\\`".into()),
        });
    }
    let mut rest = trim_start(&typed[end..]);
    let mut flags = Vec::new();
    let has_flags = matches!(keyword.as_str(), "FROM" | "RUN" | "COPY" | "ADD");
    while let Some(flag) = rest.strip_prefix("--").filter(|_| has_flags) {
        let end = flag.find(|c: char| c.is_whitespace() || c == '\\').unwrap_or(flag.len());
        let (name, value) = flag[..end].split_once('=').unwrap_or((&flag[..end], ""));
        flags.push((name.to_owned(), value.to_owned()));
        rest = trim_start(&flag[end..]);
    }
    if rest.is_empty() {
        return Err(Error::Syntax {
            place: place.to_string(),
            message: format!("{keyword} has no arguments"),
            hint: None,
        });
    }
    Ok(Instruction {
        place,
        keyword,
        flags,
        arguments: rest.replace("\\\n", ""),
        typed: rest.to_owned(),
        heredocs: Vec::new(),
        original: String::new(),
    })
}

/// Without spaces and continuations at its beginning.
fn trim_start(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        match text.strip_prefix("\\\n") {
            Some(rest) => text = rest,
            None => return text,
        }
    }
}

/// The names of the here-documents that arguments begin: whether they expand variables,
/// and whether tabs are taken off (`<<-`).
fn heredoc_names(arguments: &str) -> Vec<(String, bool, bool)> {
    let mut names = Vec::new();
    for word in arguments.split_whitespace() {
        // "here-documents": `<<EOF`, `<<-EOF`, `<<"EOF"`, also behind a descriptor: `3<<EOF`
        let Some(rest) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else { continue };
        let (rest, strips) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
        let quoted = rest.starts_with(['"', '\'']);
        let name: String = rest.trim_matches(['"', '\'']).to_owned();
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if !name.is_empty() && plain {
            names.push((name, !quoted, strips));
        }
    }
    names
}

/// The lines from `at` up to `name`, and the number of the line after it.
fn heredoc(lines: &[&str], at: usize, name: &str, strips: bool) -> Option<(String, usize)> {
    let stripped = |line: &&str| if strips { line.trim_start_matches('\t').to_owned() } else { (*line).to_owned() };
    let length = lines.get(at..)?.iter().position(|line| stripped(line) == name)?;
    let content = lines[at..at + length].iter().map(|line| stripped(line) + "\n").collect();
    Some((content, at + length + 1))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn continuations_comments_flags_and_here_documents_are_read() {
        let text = "# syntax=docker/dockerfile:1\nFROM --platform=linux/amd64 debian:12 AS a\n\nRUN apt-get update && \\\n  # why\n\n  apt-get install -y \\\n  git\nRUN <<EOF\necho a\n  echo b\nEOF\nCOPY <<-\"X\" /a\n\thi\n\tX\nCMD [\"a\", \"b\"]\n";
        let instructions = parse("Dockerfile", text).unwrap_or_default();
        let keywords: Vec<_> = instructions.iter().map(|i| (i.keyword.as_str(), i.place.line)).collect();
        assert_eq!(keywords, [("FROM", 2), ("RUN", 4), ("RUN", 9), ("COPY", 13), ("CMD", 16)]);
        assert_eq!(instructions[0].flags, [("platform".to_owned(), "linux/amd64".to_owned())]);
        assert_eq!(instructions[1].arguments, "apt-get update &&   apt-get install -y   git");
        assert_eq!(instructions[2].heredocs[0].content, "echo a\n  echo b\n");
        assert_eq!(
            (instructions[3].heredocs[0].content.as_str(), instructions[3].heredocs[0].expands),
            ("hi\n", false)
        );
        assert_eq!(instructions[4].words(), Some(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn what_is_no_dockerfile_is_refused_with_its_line() {
        for (text, place) in
            [("FROM a\nRUNS b\n", "Dockerfile:2"), ("FROM a\nRUN <<E\na\n", "Dockerfile:2"), ("FROM\n", "Dockerfile:1")]
        {
            let error = parse("Dockerfile", text).map(|_| ()).map_err(|error| error.to_string());
            assert!(error.as_ref().is_err_and(|error| error.starts_with(place)), "{error:?}");
        }
    }
}
