//! Words of a Dockerfile and of simple shell commands: quotes and variables.

/// What a variable is known to be.
pub(super) trait Variables {
    /// Its value; none where it is not known.
    fn value(&self, name: &str) -> Option<String>;
}

/// The words of `text`, divided where no quote is open, with their quotes.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut begun) = (String::new(), None, false);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(rest.next());
                begun = true;
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
                continue;
            }
            _ => {}
        }
        word.push(c);
        begun = true;
    }
    if begun {
        words.push(word);
    }
    words
}

/// A word's meaning: quotes taken off, variables filled in. The error is the name of a
/// variable that is not known.
///
/// Dockerfile reference, "Environment replacement": `$variable`, `${variable}`,
/// `${variable:-word}`, `${variable:+word}`.
pub(super) fn meaning(word: &str, variables: &dyn Variables) -> Result<String, String> {
    let mut out = String::new();
    let mut quote = None;
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match (c, quote) {
            ('\'', None) | ('"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => {
                let Some(next) = rest.chars().next() else { break };
                rest = &rest[next.len_utf8()..];
                // POSIX.1, 2.2.3: in double quotes a backslash quotes $ ` " \ alone
                if quote == Some('"') && !matches!(next, '$' | '`' | '"' | '\\') {
                    out.push('\\');
                }
                out.push(next);
            }
            ('$', None | Some('"')) => {
                let (value, after) = variable(rest, variables)?;
                out.push_str(&value);
                rest = after;
            }
            (c, _) => out.push(c),
        }
    }
    Ok(out)
}

/// The value of the variable whose name follows a `$`, and what comes after it.
fn variable<'a>(text: &'a str, variables: &dyn Variables) -> Result<(String, &'a str), String> {
    let name_end = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(braced) = text.strip_prefix('{') else {
        let end = name_end(text);
        if end == 0 {
            return Ok(("$".into(), text));
        }
        let name = &text[..end];
        return Ok((variables.value(name).ok_or_else(|| name.to_owned())?, &text[end..]));
    };
    let close = closing(braced).ok_or_else(|| braced.to_owned())?;
    let (inside, after) = (&braced[..close], &braced[close + 1..]);
    let (name, modifier) = inside.split_at(name_end(inside));
    let value = variables.value(name);
    let value = match modifier.get(..2) {
        Some(":-") => match value.filter(|value| !value.is_empty()) {
            Some(value) => value,
            None => meaning(&modifier[2..], variables)?,
        },
        Some(":+") => match value.filter(|value| !value.is_empty()) {
            Some(_) => meaning(&modifier[2..], variables)?,
            None => String::new(),
        },
        None if modifier.is_empty() => value.ok_or_else(|| name.to_owned())?,
        _ => return Err(inside.to_owned()),
    };
    Ok((value, after))
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
    use super::{Variables, meaning, split};

    struct One;

    impl Variables for One {
        fn value(&self, name: &str) -> Option<String> {
            (name == "A").then(|| "1".to_owned())
        }
    }

    #[test]
    fn words_keep_their_quotes_and_mean_what_is_in_them() {
        let words = split(r#"a="b c" 'd e' f\ g"#);
        assert_eq!(words, [r#"a="b c""#, "'d e'", r"f\ g"]);
        let meant: Vec<_> = words.iter().map(|word| meaning(word, &One).unwrap_or_default()).collect();
        assert_eq!(meant, ["a=b c", "d e", "f g"]);
    }

    #[test]
    fn variables_are_filled_in_as_docker_does_it() {
        let cases =
            [("$A-x", "1-x"), ("${A}x", "1x"), ("${B:-${A}2}", "12"), ("${A:+y}", "y"), ("'$A'", "$A"), (r"\$A", "$A")];
        for (word, expected) in cases {
            assert_eq!(meaning(word, &One).as_deref(), Ok(expected), "{word}");
        }
        assert_eq!(meaning("$B", &One), Err("B".into()));
    }
}
