//! The commands of a RUN, as far as they can be told apart without being a shell: a list
//! of simple commands joined by `&&` and `;` (POSIX.1, 2.9.3).

use super::words::{Variables, meaning, split};

/// A command of a list, as it is typed, and what joins it to the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// `&&` or `;`; of the first, `&&`.
    pub(super) joined: &'static str,
    pub(super) text: String,
}

/// The commands of a list; none where it is more than a list: a loop, a condition, `||`.
pub(super) fn segments(command: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let (mut text, mut quote, mut joined) = (String::new(), None, "&&");
    let mut rest = command.chars().peekable();
    let mut depth = 0_usize;
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                text.push(c);
                text.extend(rest.next());
                continue;
            }
            ('"' | '\'' | '`', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('(', None) => depth += 1,
            (')', None) => depth = depth.checked_sub(1)?,
            ('|', None) if depth == 0 && rest.peek() == Some(&'|') => return None,
            ('&', None) if depth == 0 && rest.peek() == Some(&'&') => {
                rest.next();
                push(&mut segments, joined, &mut text);
                joined = "&&";
                continue;
            }
            (';' | '\n', None) if depth == 0 => {
                if c == ';' && rest.peek() == Some(&';') {
                    return None;
                }
                push(&mut segments, joined, &mut text);
                joined = ";";
                continue;
            }
            _ => {}
        }
        text.push(c);
    }
    push(&mut segments, joined, &mut text);
    let compound = |segment: &Segment| {
        // POSIX.1, 2.4, "Reserved Words"
        let reserved =
            ["if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "{", "}", "!"];
        segment.text.split_whitespace().next().is_some_and(|word| reserved.contains(&word) || word.ends_with("()"))
    };
    (quote.is_none() && depth == 0 && !segments.iter().any(compound)).then_some(segments)
}

fn push(segments: &mut Vec<Segment>, joined: &'static str, text: &mut String) {
    let said = std::mem::take(text);
    let said = said.trim();
    if !said.is_empty() {
        segments.push(Segment { joined, text: said.to_owned() });
    }
}

/// A simple command.
pub(super) struct Simple {
    /// The variables that are set for it; for the shell where there is no word.
    pub(super) assignments: Vec<(String, String)>,
    pub(super) words: Vec<String>,
}

/// A simple command; none where a shell would make more of it: pipes, redirections,
/// unknown variables.
pub(super) fn simple(text: &str, variables: &dyn Variables) -> Option<Simple> {
    let mut read = Simple { assignments: Vec::new(), words: Vec::new() };
    for word in split(text) {
        if has_operators(&word) {
            return None;
        }
        let assigned = word.split_once('=').filter(|(name, _)| crate::recipe::Word::Variable.accepts(name).is_ok());
        match assigned.filter(|_| read.words.is_empty()) {
            Some((name, value)) => read.assignments.push((name.to_owned(), meaning(value, variables).ok()?)),
            None => read.words.push(meaning(&word, variables).ok()?),
        }
    }
    Some(read)
}

/// Whether a word has something outside of quotes that a shell acts on.
fn has_operators(word: &str) -> bool {
    let (mut quote, mut rest) = (None, word.chars());
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                rest.next();
            }
            ('`', None | Some('"')) => return true,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('|' | '&' | '<' | '>' | '(' | ')', None) => return true,
            _ => {}
        }
    }
    word.contains("$(")
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[test]
    fn lists_are_divided_and_what_is_more_is_left_whole() {
        let texts = |command: &str| segments(command).map(|list| list.into_iter().map(|s| s.text).collect::<Vec<_>>());
        assert_eq!(texts("a b && c 'd && e'; f | g"), Some(vec!["a b".into(), "c 'd && e'".into(), "f | g".into()]));
        assert_eq!(texts("(a && b) && c $(d; e)"), Some(vec!["(a && b)".into(), "c $(d; e)".into()]));
        for compound in ["a || b", "if a; then b; fi", "for x in a; do b; done", "a 'b"] {
            assert_eq!(texts(compound), None, "{compound}");
        }
    }
}
