//! Control files: stanzas of fields (deb822(5), Debian policy 5.1).

/// A stanza: its fields in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stanza<'a> {
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Stanza<'a> {
    /// The value of the field `name`, in whatever case; that of a folded or multiline
    /// field with its line feeds.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The words of a field; none if it is not there.
    pub fn words(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.get(name).unwrap_or_default().split_whitespace()
    }

    /// The lines of a multiline field but for its first, trimmed.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.get(name).unwrap_or_default().lines().skip(1).map(str::trim)
    }
}

/// The stanzas of `text`. What is no field is passed over: the file was verified, and
/// whatever is missing then is missed where it is needed.
pub fn stanzas(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // 5.1: "The paragraphs are separated by empty lines", of spaces and tabs, too
        let mut fields: Vec<(&str, &str)> = Vec::new();
        while !rest.is_empty() {
            let end = rest.find('\n').map_or(rest.len(), |at| at + 1);
            let line = rest[..end].trim_end();
            if line.is_empty() && !fields.is_empty() {
                break;
            }
            let folded = rest[end..].split_inclusive('\n').take_while(|line| continues(line)).map(str::len);
            let end = end + folded.sum::<usize>();
            // A multiline field's first line may be empty, and is one of its lines all the same.
            if let Some((name, value)) = rest[..end].split_once(':').filter(|_| !line.starts_with(['#', ' ', '\t'])) {
                fields.push((name, value.trim_end().trim_start_matches([' ', '\t'])));
            }
            rest = &rest[end..];
        }
        (!fields.is_empty()).then_some(Stanza { fields })
    })
}

/// "Continuation lines … start with a space or a tab"; in lists of sources, comments
/// may stand between them.
fn continues(line: &str) -> bool {
    line.starts_with([' ', '\t']) && !line.trim().is_empty() || line.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_case_and_folded_ones_whole() {
        let text = "# a comment\nPackage: a\nDepends: b,\n c\n\n\nPackage: d\nSHA256:\n 1 2\n 3 4\n";
        let all: Vec<Stanza<'_>> = stanzas(text).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].get("package"), all[0].get("Depends")), (Some("a"), Some("b,\n c")));
        assert_eq!(all[1].lines("SHA256").collect::<Vec<_>>(), ["1 2", "3 4"]);
        assert_eq!(all[1].get("Depends"), None);
    }
}
