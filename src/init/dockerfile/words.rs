//! Words of a Dockerfile and of simple shell commands: quotes and variables.

use crate::oci::{Variable, Word};

/// What a variable is known to be.
pub(super) trait Variables {
    /// Its value; none where it is not known.
    fn value(&self, name: &str) -> Option<String>;

    /// Whether one that is not known is still spoken of in the meaning: it is left to who reads
    /// that, for whom [`Variables::push`] writes.
    fn is_left(&self, _name: &str) -> bool {
        false
    }

    /// Adds a character that stands for itself to a meaning.
    fn push(&self, meaning: &mut String, c: char) {
        meaning.push(c);
    }
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
                    variables.push(&mut out, '\\');
                }
                variables.push(&mut out, next);
            }
            ('$', None | Some('"')) => {
                let (value, after) = variable(rest, variables)?;
                out.push_str(&value);
                rest = after;
            }
            (c, _) => variables.push(&mut out, c),
        }
    }
    Ok(out)
}

/// The value of the variable whose name follows a `$`, and what comes after it.
fn variable<'a>(text: &'a str, variables: &dyn Variables) -> Result<(String, &'a str), String> {
    let Some((variable, after)) = Variable::begin(text)? else {
        let mut itself = String::new();
        variables.push(&mut itself, '$');
        return Ok((itself, text));
    };
    let name = variable.name;
    let value = variables.value(name);
    if value.is_none() && variables.is_left(name) {
        return Ok((left(&variable, after, variables)?, after));
    }
    let is_set = value.as_ref().is_some_and(|value| !value.is_empty());
    let value = match variable.word {
        None => value.ok_or_else(|| name.to_owned())?,
        Some(Word::Unless(_)) if is_set => value.unwrap_or_default(),
        Some(Word::If(_)) if !is_set => String::new(),
        Some(Word::Unless(word) | Word::If(word)) => meaning(word, variables)?,
    };
    Ok((value, after))
}

/// A variable that is left, as it is spoken of before `after`.
fn left(variable: &Variable<'_>, after: &str, variables: &dyn Variables) -> Result<String, String> {
    let name = variable.name;
    let next = after.trim_start_matches(['"', '\'']).chars().next();
    Ok(match variable.word {
        None if next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') => format!("${{{name}}}"),
        None => format!("${name}"),
        Some(Word::Unless(word)) => format!("${{{name}:-{}}}", meaning(word, variables)?),
        Some(Word::If(word)) => format!("${{{name}:+{}}}", meaning(word, variables)?),
    })
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

    struct Left;

    impl Variables for Left {
        fn value(&self, name: &str) -> Option<String> {
            One.value(name)
        }

        fn is_left(&self, _name: &str) -> bool {
            true
        }

        fn push(&self, meaning: &mut String, c: char) {
            meaning.extend((c == '$').then_some('\\').into_iter().chain([c]));
        }
    }

    #[test]
    fn what_is_left_is_spoken_of_as_before() {
        let cases = [
            (r#""/x:$B""#, "/x:$B"),
            (r#""$B"c ${B}:$A"#, "${B}c $B:1"),
            ("/x${B:+:$B}${C:-'$'$A}", r"/x${B:+:$B}${C:-\$1}"),
            (r"'$B' \$B", r"\$B \$B"),
        ];
        for (word, expected) in cases {
            assert_eq!(meaning(word, &Left).as_deref(), Ok(expected), "{word}");
        }
    }
}
