//! Variables in the value of an environment variable, as a Dockerfile's `ENV` has them.

/// A variable where it is spoken of: `$name`, `${name}`, `${name:-word}` or `${name:+word}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable<'a> {
    /// Its name.
    pub name: &'a str,
    /// What stands in its place, and when.
    pub word: Option<Word<'a>>,
}

/// What stands in a variable's place, which may hold variables itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// Where the variable is not set, or empty.
    Unless(&'a str),
    /// Where it is set, and empty where it is not.
    If(&'a str),
}

impl<'a> Variable<'a> {
    /// The variable that `text`, which follows a `$`, begins with, and what comes after it; none
    /// where the `$` stands for itself.
    ///
    /// # Errors
    /// A brace that does not close, or one with something else in it: what is in it.
    pub fn begin(text: &'a str) -> Result<Option<(Self, &'a str)>, &'a str> {
        let Some(braced) = text.strip_prefix('{') else {
            let (name, rest) = text.split_at(name_end(text));
            // POSIX.1, 3.235: "the name does not begin with a digit"
            let is_name = name.starts_with(|c: char| !c.is_ascii_digit());
            return Ok(is_name.then_some((Self { name, word: None }, rest)));
        };
        let close = closing(braced).ok_or(braced)?;
        let (inside, rest) = (&braced[..close], &braced[close + 1..]);
        let (name, modifier) = inside.split_at(name_end(inside));
        let word = match (modifier.strip_prefix(":-"), modifier.strip_prefix(":+")) {
            (Some(word), _) => Some(Word::Unless(word)),
            (_, Some(word)) => Some(Word::If(word)),
            _ if modifier.is_empty() => None,
            _ => return Err(inside),
        };
        if name.is_empty() { Err(inside) } else { Ok(Some((Self { name, word }, rest))) }
    }
}

/// `text` with the values of its variables, which `value` knows.
///
/// Dockerfile reference, "Environment replacement": "`${variable:-word}` indicates that if
/// `variable` is set then the result will be that value. If `variable` is not set then `word` will
/// be the result. `${variable:+word}` indicates that if `variable` is set then `word` will be the
/// result, otherwise the result is the empty string." "Escaping is possible by adding a `\` before
/// the variable". One that is not set is empty.
///
/// # Errors
/// As [`Variable::begin`].
pub fn substitute<'a>(text: &'a str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, &'a str> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        if let Some(before) = before.strip_suffix('\\') {
            out.extend([before, "$"]);
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((variable, after)) = Variable::begin(after)? else {
            out.push('$');
            rest = after;
            continue;
        };
        let known = value(variable.name);
        let is_set = known.as_ref().is_some_and(|value| !value.is_empty());
        match variable.word {
            None => out.push_str(&known.unwrap_or_default()),
            Some(Word::Unless(_)) if is_set => out.push_str(&known.unwrap_or_default()),
            Some(Word::If(_)) if !is_set => {}
            Some(Word::Unless(word) | Word::If(word)) => out.push_str(&substitute(word, value)?),
        }
        rest = after;
    }
    Ok(out + rest)
}

fn name_end(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Where the brace closes that is open at the beginning.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::substitute;

    fn with_a(text: &str) -> Result<String, &str> {
        substitute(text, &|name| match name {
            "A" => Some("1".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_have_their_values_and_what_is_escaped_is_itself() {
        let cases = [
            ("/x:$A", "/x:1"),
            ("${A}x$A-", "1x1-"),
            ("$B|${B}", "|"),
            ("${B:-${A}2}${A:-3}${EMPTY:-4}", "1214"),
            ("a${A:+:$A}b${B:+:$B}", "a:1b"),
            (r"\$A \${A} $ $$ $5", "$A ${A} $ $$ $5"),
            ("plain é", "plain é"),
        ];
        for (text, expected) in cases {
            assert_eq!(with_a(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_brace_with_something_else_in_it_is_refused() {
        for (text, inside) in [("${A", "A"), ("x${A#1}", "A#1"), ("${}", ""), ("${B:-${A}", "B:-${A}")] {
            assert_eq!(with_a(text), Err(inside), "{text}");
        }
    }
}
