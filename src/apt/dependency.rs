//! Relationships between packages (Debian policy 7.1): `a (>= 1.0) | b, c`.

use std::cmp::Ordering;

use super::version;

/// One alternative of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alternative<'a> {
    /// The package, or what packages provide.
    pub name: &'a str,
    /// `>=`, `<<` … and the version, if there is a condition.
    pub condition: Option<(&'a str, &'a str)>,
}

/// The dependencies of a field, each with its alternatives.
pub fn parse(field: &str) -> impl Iterator<Item = impl Iterator<Item = Alternative<'_>>> {
    field.split(',').map(str::trim).filter(|one| !one.is_empty()).map(|one| one.split('|').map(alternative))
}

fn alternative(text: &str) -> Alternative<'_> {
    // 7.1: architectures in brackets stand in source packages alone
    let text = text.split(['[', '<']).next().filter(|_| !text.contains('(')).unwrap_or(text);
    let (name, condition) = text.split_once('(').unwrap_or((text, ""));
    let condition = condition.trim_end().trim_end_matches(')').trim();
    let version = condition.trim_start_matches(['<', '>', '=']);
    let operator = &condition[..condition.len() - version.len()];
    Alternative {
        // `python3:any`: of this architecture, here
        name: name.trim().split(':').next().unwrap_or_default(),
        condition: (!operator.is_empty()).then_some((operator, version.trim())),
    }
}

impl Alternative<'_> {
    /// Whether a package of its name in `version` will do.
    pub fn accepts(&self, version: &str) -> bool {
        let Some((operator, wanted)) = self.condition else { return true };
        let order = version::compare(version, wanted);
        match operator {
            "<<" => order == Ordering::Less,
            "<=" | "<" => order != Ordering::Greater,
            "=" => order == Ordering::Equal,
            ">=" | ">" => order != Ordering::Less,
            ">>" => order == Ordering::Greater,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_and_conditions_are_read() {
        let all: Vec<Vec<_>> =
            parse("libc6 (>= 2.36), awk | mawk (<<2:1~), python3:any,\n x").map(Iterator::collect).collect();
        let of = |name, condition| Alternative { name, condition };
        assert_eq!(all[0], [of("libc6", Some((">=", "2.36")))]);
        assert_eq!(all[1], [of("awk", None), of("mawk", Some(("<<", "2:1~")))]);
        assert_eq!((all[2][0].name, all[3][0].name), ("python3", "x"));
        assert!(all[0][0].accepts("2.36-9") && !all[0][0].accepts("2.35"));
    }
}
