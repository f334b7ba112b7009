//! What a project requires, in the three forms in which its files say so: PKG-INFO,
//! `[project]`, and setuptools' `requires.txt`.

use std::collections::BTreeMap;

use super::super::wheel::normalize;

/// Requirements by the extra that brings them; the empty one is always there.
pub(super) type Requires = BTreeMap<String, Vec<String>>;

/// The normalised name of what `requirement` (a PyPA dependency specifier) requires.
pub fn required_name(requirement: &str) -> String {
    let end = requirement.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'));
    normalize(&requirement[..end.unwrap_or(requirement.len())])
}

/// `Requires-Dist` fields, whose extra stands in the marker.
pub(super) fn of_fields<'a>(fields: impl Iterator<Item = &'a str>) -> Requires {
    let mut requires = Requires::new();
    for field in fields {
        let (requirement, marker) = field.split_once(';').unwrap_or((field, ""));
        let (extra, marker) = take_extra(marker.trim());
        requires.entry(extra).or_default().push(with_marker(requirement.trim(), &marker));
    }
    requires
}

fn with_marker(requirement: &str, marker: &str) -> String {
    if marker.is_empty() { requirement.to_owned() } else { format!("{requirement} ; {marker}") }
}

/// The extra that `marker` asks for, and the marker without it:
/// `python_version < "3.9" and extra == "dev"`.
fn take_extra(marker: &str) -> (String, String) {
    let clauses: Vec<&str> = marker.split(" and ").map(str::trim).collect();
    let extra_of = |clause: &str| {
        let (variable, value) = clause.split_once("==")?;
        let value = value.trim();
        let quoted = value.len() > 1 && value.starts_with(['"', '\'']) && value.ends_with(['"', '\'']);
        (variable.trim() == "extra" && quoted).then(|| value[1..value.len() - 1].to_owned())
    };
    match clauses.iter().position(|clause| extra_of(clause).is_some()) {
        Some(at) => {
            let extra = extra_of(clauses[at]).unwrap_or_default();
            let rest: Vec<&str> = clauses.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, c)| *c).collect();
            (extra, rest.join(" and "))
        }
        None => (String::new(), marker.to_owned()),
    }
}

/// setuptools' `requires.txt`: a line a requirement, under `[EXTRA:MARKER]`.
pub(super) fn of_requires_txt(text: &str) -> Requires {
    let mut requires = Requires::new();
    let (mut extra, mut marker) = (String::new(), String::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let (name, condition) = section.split_once(':').unwrap_or((section, ""));
            (extra, marker) = (name.trim().to_owned(), condition.trim().to_owned());
        } else {
            requires.entry(extra.clone()).or_default().push(with_marker(line, &marker));
        }
    }
    requires
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_by_the_extra_in_their_marker() {
        let fields =
            ["six>=1", "tqdm ; extra == 'dev'", r#"x; python_version < "3.9" and extra == "dev""#, "y;a == 'b'"];
        let requires = of_fields(fields.into_iter());
        assert_eq!(requires[""], ["six>=1", "y ; a == 'b'"]);
        assert_eq!(requires["dev"], ["tqdm", r#"x ; python_version < "3.9""#]);
    }

    #[test]
    fn the_sections_of_requires_txt_are_extras_and_markers() {
        let requires = of_requires_txt("six\n\n[:python_version < \"3\"]\nenum34\n\n[dev]\ntqdm\n");
        assert_eq!(requires[""], ["six", "enum34 ; python_version < \"3\""]);
        assert_eq!(requires["dev"], ["tqdm"]);
    }

    #[test]
    fn a_requirement_begins_with_its_name() {
        for text in ["Foo.Bar[x]>=1", "foo_bar (>=1)", "foo-bar", "foo-bar;x=='y'"] {
            assert_eq!(required_name(text), "foo-bar", "{text}");
        }
    }
}
